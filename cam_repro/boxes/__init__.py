"""Box rules: from the maps of an image's ranked classes to guessed boxes. One file each."""
