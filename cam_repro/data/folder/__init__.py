"""A plain folder of images, with a folder for each class or without."""
