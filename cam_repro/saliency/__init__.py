"""Saliency methods: how much each place of an image speaks for a class. One file a method."""
