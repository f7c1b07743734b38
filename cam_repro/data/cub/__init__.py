"""CUB-200-2011: 200 kinds of birds, a box an image, masks."""
