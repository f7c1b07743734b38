"""Score maps by the pointing game (Zhang et al., ECCV 2016, arXiv 1608.00507, section 4.1).

A map hits where its maximum lies in a true box, widened by a few pixels on each side. The source
plays it once for each class of an image (``data=voc data.pairs=true`` has such pairs), on all and
on the difficult ones: the boxes of the class together cover less than a quarter of the image, which
also shows an object of another class. Where a truth names one class an image and nothing tells of
others, the first condition alone makes an image difficult.

The source takes the mean over classes. That is given beside the mean over images, which all other
numbers here are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from cam_repro.errors import UserError
from cam_repro.metrics.intervals import Number
from cam_repro.metrics.official import need_boxes, percent, warn_about_boxes
from cam_repro.metrics.protocol import (
    FIXED,
    Needs,
    Protocol,
    Scored,
    known_sizes,
    measured,
)
from cam_repro.truth import Truth

TOLERANCE = 15
"""By how many pixels the source widens a box on each side."""

DIFFICULT = 0.25
"""In difficult images the boxes cover less than this share of the image."""


def peak(map_HW: np.ndarray) -> tuple[int, int] | None:
    """Find the maximum of a map, ``(x, y)``; of equal ones the first in reading order.

    None where the map points nowhere: it is constant, or its maximum is NaN or infinite.
    """
    highest = map_HW.max()
    if not np.isfinite(highest) or highest == map_HW.min():
        return None
    y, x = np.unravel_index(int(map_HW.argmax()), map_HW.shape)
    return int(x), int(y)


def is_hit(point: tuple[int, int] | None, boxes_M4: np.ndarray, tolerance: int) -> bool:
    """Tell whether a point lies in any of the boxes, each widened by ``tolerance`` pixels.

    No point hits nothing, and without a box nothing is hit.
    """
    if point is None:
        return False
    low_M2, high_M2 = boxes_M4[:, :2] - tolerance, boxes_M4[:, 2:] + tolerance
    return bool(((low_M2 <= point) & (point <= high_M2)).all(axis=1).any())


def difficult(truth: Truth, sizes_N2: np.ndarray) -> np.ndarray:
    """Tell in which images the boxes cover less than ``DIFFICULT`` of the image, bool (N,).

    Their areas are summed, as the source says, also where boxes overlap. An image without a box is
    not difficult; nor is one that shows no other class, where all its classes are known.
    """
    x0, y0, x1, y1 = truth.boxes.values_T4.astype(np.int64).T
    areas_N = np.zeros(len(truth), np.int64)
    np.add.at(areas_N, truth.boxes.image_of_box(), (x1 - x0 + 1) * (y1 - y0 + 1))
    is_small_N = areas_N < DIFFICULT * sizes_N2.astype(np.int64).prod(axis=1)
    is_difficult_N = is_small_N & (truth.boxes.counts_N > 0)
    if truth.label_sets is not None:
        is_difficult_N &= truth.label_sets.counts_N > 1
    return np.asarray(is_difficult_N)


def mean_over_classes(hit_N: np.ndarray, labels_N: np.ndarray) -> float:
    """Give the mean, over the classes that there are, of the accuracy of each, in percent."""
    _, class_N = np.unique(labels_N, return_inverse=True)
    return float(100 * np.mean(np.bincount(class_N, hit_N) / np.bincount(class_N)))


class PointingGame(Protocol):
    """Score maps by how often their maximum lies in a true box.

    The middle of the image is scored beside them, as what a map must surpass.

    tolerance: by how many pixels boxes are widened on each side.
    """

    name: ClassVar[str] = "pointing_game"
    needs: ClassVar[Needs] = Needs.IMAGE_MAPS
    odd_maps: ClassVar[str] = "where the maximum is one of these, the map misses"
    flat_maps: ClassVar[str | None] = "each misses"

    def __init__(self, tolerance: int = TOLERANCE) -> None:
        if isinstance(tolerance, bool) or not isinstance(tolerance, int) or tolerance < 0:
            raise UserError(
                f"protocol.tolerance={tolerance}: must be a whole number of pixels, 0 or more"
            )
        self.tolerance = tolerance

    def score(self, truth: Truth, given: Iterable[np.ndarray]) -> Scored:
        """Score the map of each image's true class."""
        need_boxes(truth, self.name)
        sizes_N2 = known_sizes(truth, self.name)
        warn_about_boxes(truth)
        points = list(measured(given, lambda _, map_HW: peak(map_HW)))
        if not points:
            raise UserError("no image to score: no map was given")
        middles = [(x, y) for x, y in ((sizes_N2 - 1) // 2).tolist()]
        parts = {"all": np.ones(len(truth), bool), "difficult": difficult(truth, sizes_N2)}
        parts = {part: in_part_N for part, in_part_N in parts.items() if in_part_N.any()}
        hit_N, middle_hit_N = self._hits(truth, points), self._hits(truth, middles)
        numbers = {
            "n_images": len(truth),
            "n_difficult": int(parts.get("difficult", np.zeros(0)).sum()),
            "n_pointing_nowhere": points.count(None),
            "tolerance": self.tolerance,
            "pointing_game": {part: percent(hit_N[kept_N]) for part, kept_N in parts.items()},
            "pointing_game_95": {
                part: Number.of(hit_N[kept_N]).ends for part, kept_N in parts.items()
            },
            "mean_over_classes": {
                part: mean_over_classes(hit_N[kept_N], truth.labels_N[kept_N])
                for part, kept_N in parts.items()
            },
            "center": {part: percent(middle_hit_N[kept_N]) for part, kept_N in parts.items()},
        }
        lines = self._lines(numbers, tells_others=truth.label_sets is not None)
        return Scored(numbers, lines, {"tolerance": FIXED})

    def _hits(self, truth: Truth, points: Sequence[tuple[int, int] | None]) -> np.ndarray:
        """Tell which images' points hit, bool (N,)."""
        return np.array(
            [is_hit(point, truth.boxes.of(i), self.tolerance) for i, point in enumerate(points)]
        )

    def _lines(self, numbers: dict[str, Any], tells_others: bool) -> list[str]:
        """Write the table for the terminal. tells_others: whether all classes are known."""
        accuracy, ends = numbers["pointing_game"], numbers["pointing_game_95"]

        def row(name: str, values: Iterable[float]) -> str:
            return f"{name:22}" + "".join(f"{value:10.2f}" for value in values)

        return [
            " " * 22 + "".join(f"{part:>10}" for part in accuracy),
            row("pointing accuracy %", accuracy.values()),
            row("  95 % from", [low for low, _ in ends.values()]),
            row("  95 % to", [high for _, high in ends.values()]),
            row("mean over classes %", numbers["mean_over_classes"].values()),
            row("middle of the image %", numbers["center"].values()),
            f"boxes are widened by {self.tolerance} pixels (fixed)",
            f"difficult: {numbers['n_difficult']} images, whose boxes cover under a quarter"
            + (" and that show another class" if tells_others else ""),
            f"{numbers['n_pointing_nowhere']} maps are constant or no numbers: each misses",
        ]
