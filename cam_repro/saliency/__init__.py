"""Show how much each place of an image speaks for a class: one file a saliency method."""
