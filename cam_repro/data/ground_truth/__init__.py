"""The data set that has labels, sizes and boxes but no images, read from any known format."""
