"""Hold an image set: the truth of one split's images, and where their pixels are read from."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from cam_repro.classes import ClassTable
from cam_repro.data.images import ImageFiles, ImageStore, Size, at_size
from cam_repro.runs.same_images import WhichImages
from cam_repro.truth import Truth
from cam_repro.types import Sample

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")

ILSVRC_IMAGES = {"train": 1_281_167, "val": 50_000, "test": 100_000}
"""How many images the complete splits of ILSVRC have."""


FILES_COMPARED = 1_000
"""Of how many files the sizes are looked at, evenly over a split, to tell other images."""


def _size_on_disk(path: Path) -> int:
    """Give the size of a file in bytes, -1 where it cannot be told."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def sizes_differ(stated_N2: np.ndarray, found_N2: np.ndarray) -> np.ndarray:
    """Tell which images have another size than is stated, bool (N,); a size of 0 is not known."""
    are_known_N = (stated_N2 > 0).all(axis=1) & (found_N2 > 0).all(axis=1)
    return are_known_N & (stated_N2 != found_N2).any(axis=1)


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageSet(Truth):
    """Hold the images of one split, in the order of their ids: a truth with pixels.

    name: the data set's name, part of every output path.
    folder: the folder of the images, for messages.
    store: where the pixels are read from; None where the data set has no pixels.
    is_ilsvrc: whether this is the complete ILSVRC split, so that results on it can be compared
        with the paper's.
    described: the layout, and where labels and boxes come from, in a few words.
    altered: how the pixels differ from the original images', in a few words; None where they do
        not.
    """

    classes: ClassTable
    name: str
    split: str
    folder: Path
    store: ImageStore | None
    is_ilsvrc: bool = False
    described: str = ""
    altered: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.classes is not None, "an image set states its classes"

    def __getitem__(self, index: int) -> Sample:
        """Give what is known of one image."""
        return Sample(
            id=self.ids[index],
            index=index,
            path=self.folder if self.store is None else self.store.path(index),
            label=int(self.labels_N[index]),
            boxes_M4=self.boxes.of(index),
        )

    def label_set(self, index: int) -> list[int] | None:
        """Give all classes of one image; None where its label is all that is known."""
        return None if self.label_sets is None else self.label_sets.of(index).tolist()

    def read(self, index: int) -> tuple[Image.Image, Size]:
        """Decode one image; give it with the size of its original (``ImageStore.read``)."""
        assert self.store is not None, "no images"
        return self.store.read(index)

    def size(self, index: int) -> Size:
        """Give the size of one image's original (``ImageStore.size``)."""
        assert self.store is not None, "no images"
        return self.store.size(index)

    def original(self, index: int) -> Image.Image:
        """Decode one image at the size of its original, which boxes refer to."""
        return at_size(*self.read(index))

    def warn_of_other_sizes(self, sizes_N2: np.ndarray) -> None:
        """Warn of images that have another size than their annotation states.

        sizes_N2: as read, 0 where an image was not read.
        """
        if self.sizes_N2 is None:
            return
        rows = np.flatnonzero(sizes_differ(self.sizes_N2, sizes_N2))
        if len(rows):
            log.warning(
                "%d of %d images have another size than their annotations state, so their boxes "
                "may be of other pixels (the first: %s is %dx%d, not %dx%d)",
                len(rows),
                len(self),
                self.ids[int(rows[0])],
                *sizes_N2[rows[0]],
                *self.sizes_N2[rows[0]],
            )

    @property
    def has_images(self) -> bool:
        """Tell whether the data set has pixels."""
        return self.store is not None

    @cached_property
    def which(self) -> WhichImages:
        """Tell these images from others, also from those of the same names, labels and boxes."""
        if not isinstance(self.store, ImageFiles):
            return WhichImages(self.fingerprint)
        rows = np.linspace(0, len(self) - 1, min(len(self), FILES_COMPARED)).astype(int)
        sizes = [_size_on_disk(self.store.path(row)) for row in rows.tolist()]
        return WhichImages(self.fingerprint, hashlib.sha256(repr(sizes).encode()).hexdigest())

    @cached_property
    def fingerprint(self) -> str:
        """Compute a SHA-256 of ids, labels, label sets, boxes, classes and ``altered``.

        It does not cover pixels: the same images in another layout have the same fingerprint.
        """
        digest = hashlib.sha256((self.altered or "").encode())
        digest.update("\n".join(self.classes.wnids).encode())
        digest.update("\n".join(self.ids).encode())
        arrays = [self.labels_N, self.boxes.values_T4, self.boxes.offsets]
        if self.label_sets is not None:
            arrays += [self.label_sets.values_T, self.label_sets.offsets]
        for array in arrays:
            digest.update(np.ascontiguousarray(array, np.int64).tobytes())
        return digest.hexdigest()
