"""Read masks, which tell the class of each pixel, from PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cam_repro.data.images import read_values
from cam_repro.truth import BACKGROUND, Masks


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
