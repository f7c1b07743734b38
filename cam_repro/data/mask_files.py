"""Read masks, which tell the class of each pixel, from PNG files, and find faults in masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import read_values
from cam_repro.truth import BACKGROUND, IGNORED, Masks


@dataclass(frozen=True, eq=False)
class MaskFiles(Masks):
    """Read masks as they are in files, as VOC's: a palette's numbers, or grey values.

    files: paths of the masks below ``folder``, "" for an image without one.
    """

    folder: Path
    files: Sequence[str]

    def of(self, index: int) -> np.ndarray | None:
        file = self.files[index]
        return read_values(self.folder / file) if file else None

    def has(self, index: int) -> bool:
        return bool(self.files[index])


@dataclass(frozen=True, eq=False)
class ObjectMasks(Masks):
    """Read masks of images of one class: any grey value over ``above`` is an object.

    files: paths of the masks below ``folder``, "" for an image without one. labels_N: the class
    index of each image.
    """

    folder: Path
    files: Sequence[str]
    labels_N: np.ndarray
    above: int = 0

    def of(self, index: int) -> np.ndarray | None:
        file = self.files[index]
        if not file:
            return None
        is_object_HW = read_values(self.folder / file) > self.above
        return np.where(is_object_HW, self.labels_N[index] + 1, BACKGROUND).astype(np.uint8)

    def has(self, index: int) -> bool:
        return bool(self.files[index])


def mask_fault(images: ImageSet, index: int, mask_HW: np.ndarray) -> str | None:
    """Say that a mask is not of the size of its image, or has values that stand for no class.

    images: with masks. Raises UnreadableImage where the image's size cannot be read.
    """
    name, size = images.ids[index], images.size(index)
    assert images.masks is not None, "one of them has a mask"
    if images.masks.of_image_size and mask_HW.shape != size[::-1]:
        here, there = (f"{width}x{height}" for width, height in (size, mask_HW.shape[::-1]))
        return f"{name} is {here}, its mask {there}"
    n_classes = len(images.classes)
    odd_P = mask_HW[(mask_HW > n_classes) & (mask_HW != IGNORED)]
    if len(odd_P):
        return f"{name}: its mask has the value {odd_P.min()}, and there are {n_classes} classes"
    return None
