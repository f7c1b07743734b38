"""The built-in data set ``demo``: drawn on first use, no download."""
