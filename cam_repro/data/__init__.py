"""Data sets, views of an image, and the loaders that feed a network."""
