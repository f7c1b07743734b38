"""The data sets that ``data=NAME`` stands for: the functions that configs/data/*.yaml point to.

Each takes ``split`` and ``with_boxes`` besides the keys of its YAML, and returns an ImageSet.
"""

from __future__ import annotations

from pathlib import Path

from cam_repro.data.ilsvrc import ImageSet, load_image_set
from cam_repro.data.synthetic import demo_root
from cam_repro.errors import UserError


def open_demo(
    *, split: str, with_boxes: bool, seed: int = 0, n_train: int = 2000, n_val: int = 500
) -> ImageSet:
    """The built-in set, made on first use and kept in the cache folder."""
    root = demo_root(seed=seed, n_train=n_train, n_val=n_val)
    return load_image_set(root, split, name="demo", with_boxes=with_boxes)


def open_ilsvrc(
    *, split: str, with_boxes: bool, root: str | None = None, name: str | None = None
) -> ImageSet:
    """ILSVRC, or any set in one of its layouts, at ``root``."""
    if root is None:
        raise UserError("data.root is not given: add data.root=DIR, the folder with the images")
    return load_image_set(Path(root), split, name=name, with_boxes=with_boxes)
