"""Hold the truth: what is known of a set of images, and what guesses are scored against.

Readers of all formats make the same record, a ``Truth``. An image set is a truth with pixels
(data/image_set.py); the predictions of a run are a truth with guesses (runs/predictions.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from cam_repro.classes import ClassTable
from cam_repro.errors import UserError
from cam_repro.types import NO_LABEL


@dataclass(frozen=True, eq=False)
class RaggedBoxes:
    """Hold the boxes of N images, any number for each, in two arrays.

    values_T4: all T boxes, image after image, int32, in the convention of types.py.
    offsets: int64 (N + 1,); the boxes of image i are ``values_T4[offsets[i]:offsets[i + 1]]``.
    """

    values_T4: np.ndarray
    offsets: np.ndarray

    def __post_init__(self) -> None:
        assert self.values_T4.shape[1:] == (4,), "a box has four coordinates"
        assert self.offsets[0] == 0, "the first image's boxes come first"
        assert self.offsets[-1] == len(self.values_T4), "every box belongs to an image"

    @classmethod
    def from_lists(cls, boxes: Iterable[Sequence[Sequence[int]] | np.ndarray]) -> RaggedBoxes:
        """Make it from a list of boxes ``(x0, y0, x1, y1)`` for each image; a list may be empty."""
        of_images = [np.asarray(of_image, np.int32).reshape(-1, 4) for of_image in boxes]
        empty = np.zeros((0, 4), np.int32)
        return cls.from_counts(np.concatenate([empty, *of_images]), [len(b) for b in of_images])

    @classmethod
    def from_counts(
        cls, values_T4: np.ndarray, counts_N: Sequence[int] | np.ndarray
    ) -> RaggedBoxes:
        """Make it from all boxes, image after image, and the number of boxes of each image."""
        offsets = np.concatenate([[0], np.cumsum(counts_N)]).astype(np.int64)
        return cls(np.asarray(values_T4, np.int32).reshape(-1, 4), offsets)

    @classmethod
    def none(cls, n_images: int) -> RaggedBoxes:
        """Make it for ``n_images`` images, none of which has a box."""
        return cls.from_counts(np.zeros((0, 4), np.int32), np.zeros(n_images, np.int64))

    def __len__(self) -> int:
        """Count the images."""
        return len(self.offsets) - 1

    @property
    def counts_N(self) -> np.ndarray:  # noqa: N802
        """Count the boxes of each image, int64 (N,)."""
        return np.diff(self.offsets)

    def of(self, index: int) -> np.ndarray:
        """Give the boxes of one image, int32 (M, 4)."""
        return self.values_T4[self.offsets[index] : self.offsets[index + 1]]

    def image_of_box(self) -> np.ndarray:
        """Give the index of the image that each box belongs to, int64 (T,)."""
        return np.repeat(np.arange(len(self)), self.counts_N)

    def places_of(self, rows_N: np.ndarray) -> np.ndarray:
        """Give the positions in ``values_T4`` of the boxes of the images ``rows_N``, in that order.

        rows_N: indices of images, repeats allowed; -1 stands for an image without boxes.
        """
        known_N = rows_N >= 0
        counts_N = np.zeros(len(rows_N), np.int64)
        starts_N = np.zeros(len(rows_N), np.int64)
        counts_N[known_N] = self.counts_N[rows_N[known_N]]
        starts_N[known_N] = self.offsets[rows_N[known_N]]
        # A box's position is the start of its image plus its rank within the image.
        first_N = np.cumsum(counts_N) - counts_N
        return np.arange(counts_N.sum()) + np.repeat(starts_N - first_N, counts_N)

    def select(self, rows_N: np.ndarray) -> RaggedBoxes:
        """Take the boxes of the images ``rows_N``, in that order.

        rows_N: indices of images, repeats allowed; -1 stands for an image without boxes.
        """
        rows_N = np.asarray(rows_N, np.int64)
        counts_N = np.zeros(len(rows_N), np.int64)
        counts_N[rows_N >= 0] = self.counts_N[rows_N[rows_N >= 0]]
        return RaggedBoxes.from_counts(self.values_T4[self.places_of(rows_N)], counts_N)

    def impossible(self, sizes_N2: np.ndarray | None) -> np.ndarray:
        """Tell which boxes cannot be, bool (T,): they have no pixel, or leave their image.

        sizes_N2: width and height of each image, 0 where unknown; None where all are.
        """
        low_T2, high_T2 = np.split(self.values_T4, 2, axis=1)
        wrong_T2 = (low_T2 < 0) | (high_T2 < low_T2)
        if sizes_N2 is not None:
            size_T2 = sizes_N2[self.image_of_box()]
            wrong_T2 |= (high_T2 >= size_T2) & (size_T2 > 0)
        return np.any(wrong_T2, axis=1)

    def keep(self, wanted_T: np.ndarray) -> RaggedBoxes:
        """Take the boxes where ``wanted_T``, bool (T,), is true; no image is dropped."""
        counts_N = np.bincount(self.image_of_box()[wanted_T], minlength=len(self))
        return RaggedBoxes.from_counts(self.values_T4[wanted_T], counts_N)


@dataclass(frozen=True, eq=False)
class LabelSets:
    """Hold all classes that each of N images shows, in two arrays.

    values_T: class indices, image after image, int32; those of an image ascend, each once.
    offsets: int64 (N + 1,); the classes of image i are ``values_T[offsets[i]:offsets[i + 1]]``.
    """

    values_T: np.ndarray
    offsets: np.ndarray

    def __post_init__(self) -> None:
        assert self.offsets[0] == 0, "the first image's classes come first"
        assert self.offsets[-1] == len(self.values_T), "every class belongs to an image"

    @classmethod
    def from_lists(cls, classes: Iterable[Iterable[int]]) -> LabelSets:
        """Make it from the classes of each image, in any order; repeats count once."""
        of_images = [np.unique(np.asarray(list(each), np.int32)) for each in classes]
        offsets = np.cumsum([0, *map(len, of_images)]).astype(np.int64)
        return cls(np.concatenate([np.zeros(0, np.int32), *of_images]), offsets)

    def __len__(self) -> int:
        """Count the images."""
        return len(self.offsets) - 1

    @property
    def counts_N(self) -> np.ndarray:  # noqa: N802
        """Count the classes of each image, int64 (N,)."""
        return np.diff(self.offsets)

    def of(self, index: int) -> np.ndarray:
        """Give the classes of one image, int32 (R,)."""
        return self.values_T[self.offsets[index] : self.offsets[index + 1]]

    def multi_hot(self, rows: Sequence[int] | np.ndarray, n_classes: int) -> np.ndarray:
        """Tell which classes each of the images ``rows`` shows, bool (B, C)."""
        shows_BC = np.zeros((len(rows), n_classes), bool)
        for shows_C, row in zip(shows_BC, rows, strict=True):
            shows_C[self.of(int(row))] = True
        return shows_BC


BACKGROUND, IGNORED = 0, 255
"""Values of masks: a pixel of no object, and one that does not count. A class index + 1 is else."""


class Masks(ABC):
    """Give the mask of each image: which class each of its pixels is of.

    It must be picklable, because worker processes read masks.
    of_image_size: whether each has the size of its image.
    """

    of_image_size: bool = True

    @abstractmethod
    def of(self, index: int) -> np.ndarray | None:
        """Give the mask of one image, uint8 (H, W); None if it has none.

        Each value is a class index + 1, ``BACKGROUND`` or ``IGNORED``. Raises UserError where the
        mask cannot be read.
        """

    def has(self, index: int) -> bool:
        """Tell whether one image has a mask, be it broken; if possible without reading it."""
        try:
            return self.of(index) is not None
        except UserError:
            return True


class _SelectedMasks(Masks):
    """Give the masks of the images ``rows``, in that order."""

    def __init__(self, masks: Masks, rows: Sequence[int]) -> None:
        self.masks, self.rows = masks, rows
        self.of_image_size = masks.of_image_size

    def of(self, index: int) -> np.ndarray | None:
        return self.masks.of(self.rows[index])

    def has(self, index: int) -> bool:
        return self.masks.has(self.rows[index])


class Names(Sequence[str]):
    """Hold the names of many images in one array of bytes.

    As Python strings, 1.28 million names would take 100 MB in every process that loads images.
    """

    def __init__(self, names: Iterable[str] | np.ndarray) -> None:
        """Take the names as text, or as an array of UTF-8 bytes.

        Raises UnicodeEncodeError for a name that cannot be written in UTF-8.
        """
        if isinstance(names, np.ndarray):
            self.bytes_N = names
        else:
            self.bytes_N = np.array([name.encode() for name in names], np.bytes_)

    def __len__(self) -> int:
        return len(self.bytes_N)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Names: ...
    def __getitem__(self, index: int | slice) -> str | Names:
        if isinstance(index, slice):
            return Names(self.bytes_N[index])
        name: bytes = self.bytes_N[index]
        return name.decode()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, eq=False, kw_only=True)
class Truth:
    """Hold what is known of N images.

    ids: names of the images, in the order of the split: line i of a submission is of image i.
    labels_N: integers, ``NO_LABEL`` where unknown. They are class indices where ``classes`` is
        given, else the numbers of the file, which are compared with a submission's as they are.
    boxes: the true boxes, in pixels of the images as stored.
    classes: what the labels stand for; None where the file does not tell.
    sizes_N2: width and height in pixels, int32, 0 where unknown; None where no size is known.
    blacklisted_N: bool, true for images that the official localization error leaves out; None
        where no blacklist is given.
    label_sets: all classes of each image; None where each is known to show its label alone, or no
        more is known.
    masks: which class each pixel is of; None where no image has a mask.
    """

    ids: Sequence[str]
    labels_N: np.ndarray
    boxes: RaggedBoxes
    classes: ClassTable | None = None
    sizes_N2: np.ndarray | None = None
    blacklisted_N: np.ndarray | None = None
    label_sets: LabelSets | None = None
    masks: Masks | None = None

    def __post_init__(self) -> None:
        assert len(self.labels_N) == len(self.ids), "a label for every image"
        assert len(self.boxes) == len(self.ids), "boxes for every image"
        assert self.sizes_N2 is None or self.sizes_N2.shape == (len(self.ids), 2)
        assert self.label_sets is None or len(self.label_sets) == len(self.ids)

    def __len__(self) -> int:
        """Count the images."""
        return len(self.ids)

    def select(self, rows: Sequence[int]) -> Truth:
        """Take what is known of the images ``rows``, in that order."""
        rows_N, sets = np.asarray(rows, np.int64), self.label_sets
        return Truth(
            ids=[self.ids[row] for row in rows],
            labels_N=self.labels_N[rows_N],
            boxes=self.boxes.select(rows_N),
            classes=self.classes,
            sizes_N2=None if self.sizes_N2 is None else self.sizes_N2[rows_N],
            blacklisted_N=None if self.blacklisted_N is None else self.blacklisted_N[rows_N],
            label_sets=None if sets is None else LabelSets.from_lists(map(sets.of, rows)),
            masks=None if self.masks is None else _SelectedMasks(self.masks, rows),
        )

    @property
    def n_blacklisted(self) -> int:
        """Count the images that the official localization error leaves out."""
        return 0 if self.blacklisted_N is None else int(np.count_nonzero(self.blacklisted_N))

    @property
    def has_labels(self) -> bool:
        """Tell whether the class of every image is known."""
        return bool((np.asarray(self.labels_N) != NO_LABEL).all())

    @property
    def all_classes(self) -> LabelSets:
        """Give all known classes of each image: its label alone where there are no label sets."""
        if self.label_sets is not None:
            return self.label_sets
        known_N = np.asarray(self.labels_N) >= 0
        offsets = np.concatenate([[0], np.cumsum(known_N)]).astype(np.int64)
        return LabelSets(np.asarray(self.labels_N)[known_N].astype(np.int32), offsets)

    @property
    def has_boxes(self) -> bool:
        """Tell whether any image has a true box."""
        return len(self.boxes.values_T4) > 0
