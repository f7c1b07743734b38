"""Tiny ImageNet as it is distributed: 200 of ImageNet's classes, 64x64 pixels, a box an image."""
