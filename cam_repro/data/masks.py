"""Choose the masks that a training may use, and take them the way of the augmented images."""

from __future__ import annotations

import copy
import logging

import numpy as np
from PIL import Image

from cam_repro.data.augment import Augmentation
from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import UnreadableImage
from cam_repro.data.mask_files import mask_fault
from cam_repro.errors import UserError
from cam_repro.geometry import inside_boxes
from cam_repro.truth import IGNORED

log = logging.getLogger(__name__)

UNKNOWN = -1
"""In a mask for training: a pixel of which it is not known what is there. Others have the class
index + 1 of the object, and 0 for background."""

_STREAM = 2**31
"""Beside the seed in the seed of the choice; no epoch has this number."""


class TrainMasks:
    """Give a mask of each training image, where it has one that may be used.

    images: the training set. source: ``masks``, its masks, or ``boxes``: an image's true boxes,
    filled, are the object of its class. share: of the images, 0 to 1; which of them depends on the
    seed alone, and a larger share has all images of a smaller one.

    Raises UserError where the set has no masks, or no boxes from which it is known what is in them,
    and where no image of the share has any.
    """

    def __init__(self, images: ImageSet, source: str, share: float, seed: int) -> None:
        if source == "masks" and images.masks is None:
            raise UserError(
                f"train.masks=masks: {images.name} has no masks of its training images; use "
                "train.masks=boxes or train.masks=none"
            )
        if source == "boxes" and not images.has_boxes:
            raise UserError(
                f"train.masks=boxes: {images.name} has no boxes of its training images; use "
                "train.masks=none"
            )
        if source == "boxes" and images.label_sets is not None:
            raise UserError(
                f"train.masks=boxes: images of {images.name} have several classes, and a box does "
                "not tell of which it is; use train.masks=masks or train.masks=none"
            )
        self.images, self.source = images, source
        n = round(share * len(images))
        order = np.random.default_rng((seed, _STREAM)).permutation(len(images))
        self.usable_N = np.zeros(len(images), bool)
        self.usable_N[order[:n]] = True
        n_there = sum(map(self._has, np.flatnonzero(self.usable_N).tolist()))
        counts = (
            f"train.masks_share={share:g}: of {len(images)} images {n} may use theirs, and "
            f"{n_there} of these have one"
        )
        if not n_there:
            raise UserError(f"{counts}: raise it, or use train.masks=none")
        log.info("train.masks=%s %s", source, counts)

    def of(self, index: int) -> np.ndarray | None:
        """Give a mask at the size of the original, int32 (H, W); None where it has none.

        Raises UnreadableImage where it cannot be read, or ``mask_fault`` finds something.
        """
        if not self.usable_N[index]:
            return None
        if self.source == "boxes":
            return self._filled_boxes(index)
        assert self.images.masks is not None
        mask_HW = self.images.masks.of(index)
        if mask_HW is None:
            return None
        fault = mask_fault(self.images, index, mask_HW)
        if fault is not None:
            raise UnreadableImage(fault)
        return np.where(mask_HW == IGNORED, UNKNOWN, mask_HW.astype(np.int32))

    def _has(self, index: int) -> bool:
        if self.source == "boxes":
            return len(self.images.boxes.of(index)) > 0
        assert self.images.masks is not None
        return self.images.masks.has(index)

    def _filled_boxes(self, index: int) -> np.ndarray | None:
        boxes_M4 = self.images.boxes.of(index)
        if not len(boxes_M4):
            return None
        width, height = self.images.size(index)
        inside_HW = inside_boxes(boxes_M4, width, height)
        return inside_HW.astype(np.int32) * (int(self.images.labels_N[index]) + 1)


def augmented(
    augmentation: Augmentation,
    mask_HW: np.ndarray,
    prepared_size: tuple[int, int],
    rng: np.random.Generator,
) -> np.ndarray:
    """Take a mask the way of its image: squashed, cropped and mirrored alike.

    The augmentation gets it as a picture whose colours are its numbers, which no resampling may
    mix: of places between two pixels it has the nearest.

    prepared_size: width and height of the prepared image. rng: in the state in which the image's
    was before ``vary``.
    Returns int32 (input_size, input_size).
    """
    nearest = copy.copy(augmentation)
    nearest.resampling = Image.Resampling.NEAREST
    numbers_HW = mask_HW - UNKNOWN
    planes = [numbers_HW & 255, numbers_HW >> 8 & 255, numbers_HW >> 16]
    picture = Image.fromarray(np.stack(planes, 2).astype(np.uint8))
    prepared = Image.fromarray(nearest.prepare(picture))
    if prepared.size != prepared_size:  # of an image that is stored smaller than its original
        prepared = prepared.resize(prepared_size, Image.Resampling.NEAREST)
    numbers_HW3 = nearest.vary(np.asarray(prepared), rng).astype(np.int32)
    return (numbers_HW3 << np.array([0, 8, 16])).sum(2, dtype=np.int32) + UNKNOWN
