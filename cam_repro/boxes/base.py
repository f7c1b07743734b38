"""What a box strategy is, and the maps that it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import cv2
import numpy as np

from cam_repro.types import Guess


class RankedMaps:
    """The maps of one image's classes, best class first.

    classes: class indices, (R,).
    maps_Rhw: float32, each covering the whole image, at the resolution that the view gave.
    width, height: the image's own size in pixels.
    """

    def __init__(
        self, classes: Sequence[int], maps_Rhw: np.ndarray, width: int, height: int
    ) -> None:
        assert len(classes) == len(maps_Rhw)
        self.classes = list(classes)
        self.maps_Rhw = maps_Rhw
        self.width = width
        self.height = height
        self._resized: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.classes)

    def only(self, rank: int) -> RankedMaps:
        """The maps of one class alone, sharing what has been resized already."""
        alone = RankedMaps(
            self.classes[rank : rank + 1],
            self.maps_Rhw[rank : rank + 1],
            self.width,
            self.height,
        )
        if rank in self._resized:
            alone._resized[0] = self._resized[rank]
        return alone

    def first(self, count: int) -> RankedMaps:
        """The best ``count`` classes, sharing what has been resized already."""
        best = RankedMaps(self.classes[:count], self.maps_Rhw[:count], self.width, self.height)
        best._resized = self._resized
        return best

    def at_image_size(self, rank: int) -> np.ndarray:
        """The map of one class resized bilinearly to the image, float32 (height, width)."""
        if rank not in self._resized:
            self._resized[rank] = cv2.resize(
                np.ascontiguousarray(self.maps_Rhw[rank], np.float32),
                (self.width, self.height),
                interpolation=cv2.INTER_LINEAR,
            )
        return self._resized[rank]


class BoxStrategy(ABC):
    """A rule that turns the maps of an image's ranked classes into up to five guesses.

    Deterministic. A map that has nothing to box (constant 0, all negative, NaN) is answered by
    the box of the whole image, never by an exception: one odd map must not end a long run.
    """

    @abstractmethod
    def __call__(self, maps: RankedMaps) -> list[Guess]:
        """Guesses, best first, boxes in pixels of the original image."""
