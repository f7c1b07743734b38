"""Read the masks that the metadata of Choe et al. names for OpenImages30k."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from cam_repro.errors import UserError
from cam_repro.truth import BACKGROUND, IGNORED, Masks

SIZE = 224
"""To which their program resizes each mask, before it unites those of an image."""


@dataclass(frozen=True, eq=False)
class MetadataMasks(Masks):
    """Read masks of objects and of what is ignored, and unite those of an image.

    The masks of OpenImages are larger or smaller than its images, by one factor for both sides.

    folder: where the paths begin. objects: of each image, the masks of its objects; a pixel over 0
    is of an object. ignored: of each image, the mask of what does not count; "" where it has none.
    labels_N: the class of the objects.
    """

    of_image_size = False

    folder: Path
    objects: Sequence[Sequence[str]]
    ignored: Sequence[str]
    labels_N: np.ndarray

    def of(self, index: int) -> np.ndarray:
        """Give the mask of one image; at ``SIZE`` squared where its files differ in size.

        What is both of an object and ignored counts as the object.
        """
        files = [*self.objects[index], *filter(None, [self.ignored[index]])]
        found = [self._read(file) for file in files]
        if len({each_HW.shape for each_HW in found}) > 1:
            nearest = cv2.INTER_NEAREST
            found = [cv2.resize(each_HW, (SIZE, SIZE), interpolation=nearest) for each_HW in found]
        n_objects = len(self.objects[index])
        is_object_HW = np.any(found[:n_objects], axis=0)
        is_ignored_HW = np.any(found[n_objects:], axis=0)  # of none: False
        rest_HW = np.where(is_ignored_HW, IGNORED, BACKGROUND)
        return np.where(is_object_HW, self.labels_N[index] + 1, rest_HW).astype(np.uint8)

    def has(self, index: int) -> bool:
        return True

    def _read(self, file: str) -> np.ndarray:
        """Read one mask as grey values, uint8 (H, W)."""
        path = self.folder / file
        if not path.is_file():
            raise UserError(
                f"{path}: no such mask; masks=DIR is the folder in which the paths of "
                "localization.txt begin"
            )
        grey_HW = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if grey_HW is None:
            raise UserError(f"{path}: cannot be read as an image: copy or download it again")
        return grey_HW
