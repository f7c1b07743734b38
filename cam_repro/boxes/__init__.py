"""Turn the maps of an image's best classes into guessed boxes: one file a box rule."""
