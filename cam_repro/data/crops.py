"""Crop the images of a split to a box each, before a network sees them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import ImageStore, Size, UnreadableImage
from cam_repro.errors import UserError
from cam_repro.geometry import clip, scale_boxes
from cam_repro.truth import RaggedBoxes
from cam_repro.types import PAD


@dataclass(frozen=True, eq=False)
class CroppedImages(ImageStore):
    """Read the crops of another store's images; an image without a box counts as unreadable.

    boxes_N4: the box of each image, in pixels of its original, int; ``PAD`` where it has none. What
    of a box lies outside its image is cut. whose: where boxes come from, for messages. sizes_N2:
    width and height of each image that the boxes are of; one that has another size now counts as
    unreadable. None: they are of these images.
    """

    store: ImageStore
    boxes_N4: np.ndarray
    whose: str
    sizes_N2: np.ndarray | None = None

    def path(self, index: int) -> Path:
        return self.store.path(index)

    def size(self, index: int) -> Size:
        return _size(self._box(index, self.store.size(index)))

    def read(self, index: int) -> tuple[Image.Image, Size]:
        image, size = self.store.read(index)
        box_14 = self._box(index, size)
        x0, y0, x1, y1 = scale_boxes(box_14, size, image.size)[0].tolist()
        return image.crop((x0, y0, x1 + 1, y1 + 1)), _size(box_14)

    def _box(self, index: int, size: Size) -> np.ndarray:
        """Give the box of an image within it, (1, 4). Raises UnreadableImage where it has none."""
        x0, y0, x1, y1 = self.boxes_N4[index].tolist()
        if (self.boxes_N4[index] == PAD).all() or x0 > x1 or y0 > y1:
            raise UnreadableImage(f"{self.path(index)}: has no box to crop it to ({self.whose})")
        stated = size if self.sizes_N2 is None else tuple(self.sizes_N2[index].tolist())
        if stated != size:
            raise UnreadableImage(
                f"{self.path(index)}: is {size[0]}x{size[1]} pixels, and its box is of an image of "
                f"{stated[0]}x{stated[1]} ({self.whose})"
            )
        return np.array([clip((x0, y0, x1, y1), *size)])


def _size(box_14: np.ndarray) -> Size:
    x0, y0, x1, y1 = box_14[0].tolist()
    return x1 - x0 + 1, y1 - y0 + 1


def cropped(
    images: ImageSet, boxes_N4: np.ndarray, whose: str, sizes_N2: np.ndarray | None = None
) -> ImageSet:
    """Crop each image to a box; the set has no boxes then. Arguments as of ``CroppedImages``."""
    assert images.store is not None, "only pixels can be cropped"
    digest = hashlib.sha256(np.ascontiguousarray(boxes_N4, np.int64).tobytes()).hexdigest()
    return replace(
        images,
        store=CroppedImages(images.store, boxes_N4, whose, sizes_N2),
        boxes=RaggedBoxes.none(len(images)),
        sizes_N2=None,
        masks=None,
        altered=f"{images.altered or ''} crops of boxes {digest}".strip(),
        described=f"{images.described}, cropped to boxes of {whose}",
    )


def true_boxes(images: ImageSet) -> np.ndarray:
    """Give the true box of each image, (N, 4), ``PAD`` where it has none.

    Raises UserError where an image has several, and where none has any.
    """
    counts_N = images.boxes.counts_N
    if not counts_N.any():
        raise UserError(f"{images.folder}: no true boxes to crop to ({images.described})")
    if (counts_N > 1).any():
        raise UserError(
            f"crop=truth: {images.ids[int((counts_N > 1).argmax())]} has {counts_N.max()} true "
            f"boxes ({int((counts_N > 1).sum())} images have several), and which one to crop to "
            "is not known: crop to the boxes of a run (crop=RUN), or leave crop out"
        )
    boxes_N4 = np.full((len(images), 4), PAD, np.int64)
    boxes_N4[counts_N == 1] = images.boxes.values_T4
    return boxes_N4
