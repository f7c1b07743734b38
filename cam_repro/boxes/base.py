"""Define what a box rule is, and the maps that it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

from cam_repro.resample import resize
from cam_repro.types import Guess

Found = TypeVar("Found")


class RankedMaps:
    """Hold the maps of one image's classes, best class first.

    classes: class indices, R of them.
    maps_Rhw: float32, each covering the whole image, at the resolution that the view gave.
    width, height: the image's own size in pixels.
    interpolation: how the maps are resized to that size.
    image_HW3: the image's pixels, uint8 RGB; None unless a rule asks for them (``needs_image``).
    """

    def __init__(
        self,
        classes: Sequence[int],
        maps_Rhw: np.ndarray,
        width: int,
        height: int,
        image_HW3: np.ndarray | None = None,
        interpolation: str = "linear",
    ) -> None:
        assert len(classes) == len(maps_Rhw)
        self.classes = list(classes)
        self.maps_Rhw = maps_Rhw
        self.width = width
        self.height = height
        self.image_HW3 = image_HW3
        self.interpolation = interpolation
        self._found: list[dict[Hashable, Any]] = [{} for _ in self.classes]

    def __len__(self) -> int:
        return len(self.classes)

    def only(self, rank: int) -> RankedMaps:
        """Give the maps of one class alone; what ``once`` has found is shared."""
        return self._part(slice(rank, rank + 1))

    def first(self, count: int) -> RankedMaps:
        """Give the maps of the best ``count`` classes; what ``once`` has found is shared."""
        return self._part(slice(count))

    def _part(self, ranks: slice) -> RankedMaps:
        part = RankedMaps(
            self.classes[ranks],
            self.maps_Rhw[ranks],
            self.width,
            self.height,
            self.image_HW3,
            self.interpolation,
        )
        part._found = self._found[ranks]
        return part

    def once(self, rank: int, key: Hashable, find: Callable[[], Found]) -> Found:
        """Give what ``find`` returns for this class's map, calling it at the first request only.

        Rules that pass the same ``key`` share the result.
        """
        found = self._found[rank]
        if key not in found:
            found[key] = find()
        value: Found = found[key]
        return value

    def at_image_size(self, rank: int) -> np.ndarray:
        """Give the map of one class resized to the image, float32 (height, width)."""
        return self.once(
            rank,
            "at_image_size",
            lambda: resize(self.maps_Rhw[rank], self.width, self.height, self.interpolation),
        )


class BoxRule(ABC):
    """Turn the maps of an image's ranked classes into up to five guesses.

    A rule is deterministic. For a map that has nothing to box (constant 0, all negative, NaN) it
    guesses the box of the whole image and raises no exception: one odd map must not end a long run.

    needs_maps: False for a rule that looks at the image's size alone; ``model=none`` can use it.
    needs_image: True for a rule that looks at the pixels too; each image is then kept until its
        boxes are found.
    """

    needs_maps: ClassVar[bool] = True
    needs_image: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, maps: RankedMaps) -> list[Guess]:
        """Give the guesses, best first, boxes in pixels of the original image."""
