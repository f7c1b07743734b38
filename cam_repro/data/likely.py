"""Tell which setting seems to fit a folder of images, where the one that was given does not."""

from __future__ import annotations

import os
from pathlib import Path

from cam_repro.data.image_set import SPLITS
from cam_repro.formats.names import is_image, is_junk

_SIGNS = {
    "tiny_imagenet": ("val/val_annotations.txt", "tiny-imagenet-200/val/val_annotations.txt"),
    "cub": ("images.txt", "CUB_200_2011/images.txt"),
    "voc": ("JPEGImages", "VOC*/JPEGImages", "VOCdevkit/VOC*/JPEGImages"),
}
"""What lies in the root of a data set that has a form of its own, by the NAME of data=NAME."""

_KAGGLE = ("", "Data/CLS-LOC", "ILSVRC/Data/CLS-LOC")
"""Where the folders of splits lie below the root of a data set in one of ILSVRC's layouts."""

_FOLDERS_TRIED = 10
"""In how many folders of classes images are looked for."""


def likely(root: Path, given: str) -> str:
    """Say, as the end of a message, which setting seems to fit a folder; "" where none does.

    given: the NAME of the data=NAME that does not fit.
    """
    name, place = likely_set(root), root
    if name is None and _splits(root):
        name = "ilsvrc"
    elif name is None and root.resolve().name in SPLITS:
        name, place = "ilsvrc", root.resolve().parent
    elif name is None and not any((root / split).is_dir() for split in SPLITS):
        name = "folder" if _holds_images(root) else None
    is_other = name is not None and (name, place) != (given, root)
    return f"; data={name} data.root={place} seems to fit" if is_other else ""


def likely_set(root: Path) -> str | None:
    """Give the NAME of the data=NAME of a folder that has a form of its own, or several splits.

    None where nothing of this is seen. One folder that is called as a split may be a class.
    """
    for name, signs in _SIGNS.items():
        if any(True for sign in signs for _ in root.glob(sign)):
            return name
    return "ilsvrc" if len(_splits(root)) > 1 else None


def _splits(root: Path) -> list[str]:
    """List the splits whose folders hold images, side by side or in folders of classes."""
    places = [root / inner for inner in _KAGGLE]
    return [split for split in SPLITS if any(_holds_images(place / split) for place in places)]


def _holds_images(folder: Path) -> bool:
    """Tell whether a folder holds an image, or one of its first sub-folders does.

    One that cannot be read tells nothing: False.
    """
    try:
        with os.scandir(folder) as listed:
            entries = list(listed)
        inner = [Path(each) for each in entries if each.is_dir() and not is_junk(each.name)]
        names = [entry.name for entry in entries]
        names += [path.name for place in inner[:_FOLDERS_TRIED] for path in place.iterdir()]
        return any(map(is_image, names))
    except OSError:
        return False
