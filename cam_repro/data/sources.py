"""The data sets that ``data=NAME`` stands for: the functions that configs/data/*.yaml point to.

Each takes ``split`` and ``with_boxes`` besides the keys of its YAML, and returns an ImageSet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from cam_repro.data.demo.draw import demo_root
from cam_repro.data.ground_truth.image_set import ground_truth_set
from cam_repro.data.ground_truth.read import read_truth
from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.data.ilsvrc.layouts import Places
from cam_repro.data.image_set import ImageSet
from cam_repro.data.packed.read import load_packed_set
from cam_repro.errors import UserError


def open_image_set(source: Mapping[str, Any], split: str, with_boxes: bool) -> ImageSet:
    """One split of the data set whose function ``_target_`` names, with its keys as arguments."""
    try:
        images: ImageSet = instantiate(dict(source), split=split, with_boxes=with_boxes)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):  # Hydra wraps what a function raises
            raise error.__cause__ from None
        raise
    return images


def places_of(data: Mapping[str, Any]) -> Places:
    """The parts of a tree that the keys of a data set's YAML name."""
    return Places(**{field.name: data.get(field.name) for field in fields(Places)})


def open_demo(
    *, split: str, with_boxes: bool, seed: int = 0, n_train: int = 2000, n_val: int = 500
) -> ImageSet:
    """The built-in set, made on first use and kept in the cache folder."""
    root = demo_root(seed=seed, n_train=n_train, n_val=n_val)
    return load_image_set(root, split, name="demo", with_boxes=with_boxes)


def open_ilsvrc(
    *,
    split: str,
    with_boxes: bool,
    root: str | None = None,
    name: str | None = None,
    classes: str | None = None,
    cache: str | None = None,
    **places: str | None,
) -> ImageSet:
    """ILSVRC, or any set in one of its layouts, at ``root``; ``places`` are those of Places."""
    if root is None:
        raise UserError("data.root is not given: add data.root=DIR (or set CAM_REPRO_ILSVRC)")
    return load_image_set(
        root,
        split,
        name=name,
        with_boxes=with_boxes,
        places=Places(**places),
        classes=classes,
        cache=None if cache is None else Path(cache),
    )


def open_packed(
    *, split: str, with_boxes: bool, root: str | None = None, name: str | None = None
) -> ImageSet:
    """What ``cam-data pack`` wrote to the folder ``root``."""
    if root is None:
        raise UserError("data.root is not given: add data.root=DIR, what cam-data pack wrote")
    return load_packed_set(Path(root).expanduser(), split, name=name, with_boxes=with_boxes)


def open_ground_truth(
    *,
    split: str,
    with_boxes: bool,
    file: str | None = None,
    name: str | None = None,
    cache: str | None = None,
) -> ImageSet:
    """Labels, sizes and boxes from whatever ``cam-score`` takes as ground truth, no images."""
    if file is None:
        raise UserError("data.file is not given: add data.file=F, the labels, sizes and boxes")
    truth = read_truth(Path(file).expanduser())
    if truth.sizes_N2 is None:
        raise UserError(f"{file}: does not say how large the images are; give one that does")
    return ground_truth_set(truth, Path(file).expanduser(), split, name)
