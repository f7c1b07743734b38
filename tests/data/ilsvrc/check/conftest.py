"""A tree in which all is well, to spoil."""

from __future__ import annotations

import pytest
from PIL import Image


@pytest.fixture
def root(make_tree, tmp_path):
    """Three classes; 2 train and 2 val images of each, 2 test images, 32 x 24 pixels.

    Every image is another: val 3 is that of train 0 of class 2, were they not made so.
    """
    root = make_tree(tmp_path / "small", train=2)
    for number, path in enumerate(sorted(root.rglob("*.JPEG"))):
        Image.new("RGB", (32, 24), (9 * number, 0, 0)).save(path)
    return root
