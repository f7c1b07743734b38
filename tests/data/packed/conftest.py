"""A small data set to pack."""

from __future__ import annotations

import numpy as np
import pytest
from packed_helpers import VAL, noise
from PIL import Image

from cam_repro.data.ilsvrc.image_set import load_image_set


@pytest.fixture
def root(make_tree, tmp_path):
    """Twelve training, six validation, two test images; of the second six each of another kind."""
    root = make_tree(tmp_path / "small")
    folder = root / "ILSVRC/Data/CLS-LOC/val"
    Image.fromarray(noise(24, 32)).save(folder / f"{VAL}2.JPEG", "png")
    Image.fromarray(noise(31, 47)[..., 0]).save(folder / f"{VAL}3.JPEG", "jpeg")
    ink = Image.fromarray(np.concatenate([noise(30, 40), noise(30, 40, 1)[..., :1]], 2), "CMYK")
    ink.save(folder / f"{VAL}4.JPEG", "jpeg")
    Image.fromarray(noise(20, 20)).save(folder / f"{VAL}5.JPEG", "jpeg")
    return root


@pytest.fixture
def source(root):
    return load_image_set(root, "val")
