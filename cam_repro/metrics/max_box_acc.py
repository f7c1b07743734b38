"""Compute MaxBoxAcc and MaxBoxAccV2 as the program of Choe et al. does, in one pass over each map.

Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020.

The protocol: the true class is given, and the box of its map depends on a score-map threshold. The
accuracy (share of images whose box reaches an IoU with any true box) is computed at every
threshold, and the best one counts. MaxBoxAcc takes the box of the largest contour, and is the
accuracy at IoU 0.5. MaxBoxAccV2 is the mean over IoU 0.3, 0.5 and 0.7, and an image is right when
the box of any contour is (their program's multi-contour mode).

What their program does with a map (tests/fixtures/max_box_acc has its output): resize it to 224 x
224 (cubic, float64), subtract the minimum, divide by the maximum, multiply by 255 and truncate to
uint8. Then, for each threshold t, take the pixels above ``int(t * 255)`` and find cv2's contours of
them. The contour of largest ``cv2.contourArea``, of equal ones the first, gives the box x, y,
x + w, y + h, with the far corner clipped to 223. True boxes are scaled to 224 and truncated. The
IoU takes both corners as inside the box.

How it is done here. A uint8 map has only 255 masks worth looking at, whatever the number of
thresholds. They are the steps of one pass over the map (``level_sweep``), which gives each
component's box and the area of its polygon, holes left out. cv2's area includes the holes; so for a
component with holes this area is a lower bound of cv2's, and the area of its box an upper bound.
Where these bounds do not tell which contour is largest, and where areas are equal, cv2 is asked,
for that level only. In the multi-contour mode the contours of holes count too. Holes are components
of the pixels outside the mask: the same pass finds them in the inverted map, with four neighbours
instead of eight.

Array names: T thresholds, L the 255 levels, B components, M boxes, I IoU thresholds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np

from cam_repro.errors import UserError
from cam_repro.geometry import iou
from cam_repro.metrics.level_sweep import (
    Components,
    Measure,
    components,
    corners,
    pad,
    rules_of,
    trace,
)
from cam_repro.metrics.official import need_boxes, warn_about_boxes
from cam_repro.metrics.protocol import (
    FIXED,
    ORACLE,
    Chosen,
    Needs,
    Protocol,
    Scored,
    accuracy_intervals,
    known_sizes,
    measured,
    row_of_ious,
    rows_of_intervals,
)
from cam_repro.truth import Truth

IOU_THRESHOLDS = (0.3, 0.5, 0.7)
N_THRESHOLDS = 1000
SIZE = 224
N_LEVELS = 255
"""A threshold t in [0, 1) cuts at grey level ``int(t * 255)``: 0 to 254."""

NO_BOX = (0, 0, 0, 0)
"""The box of a map without a contour, as in the authors' program."""


# --- boxes of one map ----------------------------------------------------------------------------


@dataclass(frozen=True)
class LevelBoxes:
    """Hold the boxes of one map at every grey level, int32, in pixels of the resized map.

    The mask of level l is "value > l". Its boxes, at least one, are
    ``boxes_M4[offsets_L1[l]:offsets_L1[l + 1]]``.
    """

    boxes_M4: np.ndarray
    offsets_L1: np.ndarray

    def at(self, level: int) -> np.ndarray:
        """Give the boxes of one level, (M, 4)."""
        return self.boxes_M4[self.offsets_L1[level] : self.offsets_L1[level + 1]]


def thresholds(n_thresholds: int = N_THRESHOLDS) -> np.ndarray:
    """Give the score-map thresholds 0, 1/n, 2/n, ...: the authors' ``np.arange(0, 1, 1 / n)``."""
    return np.arange(n_thresholds) * (1 / n_thresholds)


def threshold_levels(n_thresholds: int = N_THRESHOLDS) -> np.ndarray:
    """Give the grey level at which each threshold cuts, int64 (T,)."""
    return (thresholds(n_thresholds) * 255).astype(np.int64)


def boxes_over_thresholds(
    map_hw: np.ndarray,
    size: int = SIZE,
    n_thresholds: int = N_THRESHOLDS,
    multi_contour: bool = False,
) -> list[np.ndarray]:
    """Find the boxes of a map at every threshold: T arrays (M, 4) int32, pixels of the resized map.

    As in the authors' program x0, y0 are inclusive; x1, y1 are one further than the last pixel and
    then clipped to ``size - 1``. One box each, or with ``multi_contour`` the boxes of all contours,
    in any order.
    """
    boxes = boxes_over_levels(map_hw, size, multi_contour)
    by_level = [boxes.at(level) for level in range(N_LEVELS)]
    return [by_level[level] for level in threshold_levels(n_thresholds)]


def boxes_over_levels(
    map_hw: np.ndarray, size: int = SIZE, multi_contour: bool = False
) -> LevelBoxes:
    """Find the boxes of a map at grey levels 0 to 254, as ``boxes_over_thresholds`` gives them.

    map_hw: real numbers of any range, at least one pixel. A constant map has no contour: its box is
    ``NO_BOX`` at every level, as in the authors' program, and so is that of a map with NaN. An
    infinite value counts as NaN here; it stops their program.
    """
    normal_HW = normalised(map_hw, size)
    if normal_HW is None:
        return LevelBoxes(np.full((N_LEVELS, 4), NO_BOX, np.int32), np.arange(N_LEVELS + 1))
    # The high byte is their uint8 map (multiplying by 256 rounds nothing). The low byte is what
    # they truncate: ordering pixels of equal grey value by it leaves far fewer components.
    fine_HW = np.multiply(normal_HW, 255 * 256, out=normal_HW).astype(np.uint16)
    grey_HW = (fine_HW >> 8).astype(np.uint8)
    # After step s of this sweep grey values of 255 - s and more are in: the mask of level 254 - s.
    measure: Measure | None = None if multi_contour else "polygon"
    mask = components(trace(pad(fine_HW, 0), rules_of(8)), pad(~grey_HW, 255), N_LEVELS, measure)
    mask = mask.reversed()
    if not multi_contour:
        boxes_M4, level_M = _largest(mask, grey_HW), np.arange(N_LEVELS)
    else:
        # The pixels outside the mask join from grey value 0 up: step s is level s. The border
        # joins first, so component 0 is what surrounds the mask, and all others are holes.
        turned_over = trace(pad(255 * 256 - fine_HW, 65535), rules_of(4))
        rest = components(turned_over, pad(grey_HW, 255), N_LEVELS)
        rest.clear(0)
        boxes_M4, level_M = mask.boxes()
        holes_M4, hole_level_M = rest.boxes()
        # The contour of a hole runs through the pixels around it.
        boxes_M4 = np.concatenate([boxes_M4, holes_M4 + np.array([-1, -1, 1, 1], np.int32)])
        level_M = np.concatenate([level_M, hole_level_M])
        order_M = np.argsort(level_M, kind="stable")
        boxes_M4, level_M = boxes_M4[order_M], level_M[order_M]
    boxes_M4 = np.minimum(boxes_M4 + np.array([0, 0, 1, 1], np.int32), np.int32(size - 1))
    return LevelBoxes(boxes_M4, np.searchsorted(level_M, np.arange(N_LEVELS + 1)))


def normalised(map_hw: np.ndarray, size: int) -> np.ndarray | None:
    """Resize a map as their program does and bring it to 0..1, float64 (size, size).

    None where it is constant or not finite.
    """
    map_hw = np.asarray(map_hw, np.float64)
    assert map_hw.ndim == 2, "one map at a time"
    assert map_hw.size, "a map has pixels"
    map_HW: np.ndarray = cv2.resize(map_hw, (size, size), interpolation=cv2.INTER_CUBIC)
    low, high = map_HW.min(), map_HW.max()  # NaN where any value is
    if not (np.isfinite(high - low) and low < high):
        return None
    map_HW -= low
    map_HW /= map_HW.max()
    return map_HW


def _largest(mask: Components, grey_HW: np.ndarray) -> np.ndarray:
    """Find the box of the largest contour at each level, int32 (L, 4), far corner inclusive."""
    alive_BL = mask.alive_BT
    boxes_4L = mask.extents_4BT.min(axis=1).astype(np.int32)  # right where it is alone
    several = np.flatnonzero(alive_BL.sum(axis=0) > 1)
    if len(several):
        alive_BL = alive_BL[:, several]
        extents_4BL = mask.extents_4BT[:, :, several].astype(np.int32)
        # With its holes filled a polygon is larger, but never more than the box around it.
        twice_area_BL, euler_BL = mask.sizes_XBT[:, :, several]
        at_least_BL = np.where(alive_BL, twice_area_BL, -1)
        box_BL = 2 * (extents_4BL[0] + extents_4BL[2]) * (extents_4BL[1] + extents_4BL[3])
        at_most_BL = np.where(euler_BL == 1, at_least_BL, box_BL)
        best_L, column_L = at_least_BL.argmax(axis=0), np.arange(len(several))
        boxes_4L[:, several] = extents_4BL[:, best_L, column_L]
        at_most_BL[~alive_BL] = -1
        at_most_BL[best_L, column_L] = -1
        is_undecided_L = at_most_BL.max(axis=0) >= at_least_BL[best_L, column_L]
    boxes_L4 = corners(boxes_4L)
    if len(several):
        for level in several[is_undecided_L].tolist():
            boxes_L4[level] = _contour_box(grey_HW, level)
    return boxes_L4


def _contour_box(grey_HW: np.ndarray, level: int) -> tuple[int, int, int, int]:
    """Find the box of the largest contour as the authors' program does, far corner inclusive."""
    _, mask_HW = cv2.threshold(grey_HW, level, 255, cv2.THRESH_BINARY)
    # The tree mode, as in their program: no hole can be the largest contour, but the mode sets the
    # order of the contours, which decides between equal areas.
    contours, _ = cv2.findContours(mask_HW, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    x, y, width, height = cv2.boundingRect(max(contours, key=cv2.contourArea))
    return x, y, x + width - 1, y + height - 1


# --- accuracy of many maps -----------------------------------------------------------------------


@dataclass
class MaxBoxAcc:
    """Hold the accuracy in percent over all score-map thresholds.

    curve: for each IoU threshold (as in ``IOU_THRESHOLDS``) an array (T,) in [0, 100].
    thresholds_T: the score-map thresholds. n_images: over how many images.
    """

    curve: dict[float, np.ndarray]
    thresholds_T: np.ndarray
    n_images: int

    @property
    def best(self) -> dict[float, float]:
        """MaxBoxAcc at each IoU threshold, percent."""
        return {at: float(curve_T.max()) for at, curve_T in self.curve.items()}

    @property
    def best_threshold(self) -> dict[float, float]:
        """By IoU threshold, the lowest score-map threshold that reaches the best accuracy."""
        best = {at: curve_T.argmax() for at, curve_T in self.curve.items()}
        return {at: float(self.thresholds_T[index]) for at, index in best.items()}

    def at(self, thresholds: Mapping[str, float]) -> dict[str, float]:
        """Give the accuracy at a threshold for each IoU threshold; both by ``0.3`` and so on.

        thresholds: of ``thresholds_T``; of any other, the last that is not over it.
        """
        return {
            f"{iou:g}": float(
                curve_T[np.searchsorted(self.thresholds_T, thresholds[f"{iou:g}"], "right") - 1]
            )
            for iou, curve_T in self.curve.items()
        }

    @property
    def mean(self) -> float:
        """Mean over the IoU thresholds, each with its own best threshold: V2 if of all contours."""
        return float(np.mean(list(self.best.values())))

    def as_json(self) -> dict[str, Any]:
        """Give ``{"max_box_acc": {"0.3": ..}, "mean": .., "best_threshold": {"0.3": ..}}``."""
        return {
            "max_box_acc": {f"{at:g}": value for at, value in self.best.items()},
            "mean": self.mean,
            "best_threshold": {f"{at:g}": value for at, value in self.best_threshold.items()},
        }


class MaxBoxAccAccumulator:
    """Count the images that are right at each threshold, in memory that does not grow with them.

    multi_contour: whether the boxes of all contours are tried, not only that of the largest.
    """

    def __init__(
        self,
        multi_contour: bool = False,
        n_thresholds: int = N_THRESHOLDS,
        iou_thresholds: tuple[float, ...] = IOU_THRESHOLDS,
        size: int = SIZE,
    ) -> None:
        self.multi_contour = multi_contour
        self.n_thresholds = n_thresholds
        self.iou_thresholds = iou_thresholds
        self.size = size
        self.n_images = 0
        self._right_IL = np.zeros((len(iou_thresholds), N_LEVELS), np.int64)

    def right_at(
        self, map_hw: np.ndarray, true_boxes_M4: np.ndarray, width: int, height: int
    ) -> np.ndarray:
        """Tell at which IoU thresholds and grey levels an image is right, bool (I, L).

        map_hw: the map of its true class, any size and range (see ``boxes_over_levels`` for
        constant maps and NaN). true_boxes_M4: true boxes, pixels of the original image of ``width``
        and ``height``. An image without a true box is wrong at every threshold; the authors'
        program stops at one.
        """
        true_boxes_M4 = resized_boxes(true_boxes_M4, width, height, self.size)
        if not len(true_boxes_M4):
            return np.zeros(self._right_IL.shape, bool)
        boxes = boxes_over_levels(map_hw, self.size, self.multi_contour)
        iou_M = iou(boxes.boxes_M4, true_boxes_M4).max(axis=1)
        iou_L: np.ndarray = np.maximum.reduceat(iou_M, boxes.offsets_L1[:-1])
        return iou_L >= np.array(self.iou_thresholds)[:, None]

    def add(self, right_IL: np.ndarray) -> None:
        """Count an image by what ``right_at`` tells of it."""
        self.n_images += 1
        self._right_IL += right_IL

    def result(self) -> MaxBoxAcc:
        """Compute the accuracy over the images so far. Raises UserError where there are none."""
        if not self.n_images:
            raise UserError("no image to score: no map was given")
        right_IT = self._right_IL[:, threshold_levels(self.n_thresholds)]
        accuracy_IT = right_IT * 100.0 / self.n_images
        curve = dict(zip(self.iou_thresholds, accuracy_IT, strict=True))
        return MaxBoxAcc(curve, thresholds(self.n_thresholds), self.n_images)


def resized_boxes(boxes_M4: np.ndarray, width: int, height: int, size: int = SIZE) -> np.ndarray:
    """Scale true boxes to an image resized to ``size`` squared, int64 (M, 4).

    Each corner is scaled and truncated, as in the authors' program. ``geometry.scale_boxes`` scales
    the edges of pixels instead.
    """
    boxes_M4 = np.asarray(boxes_M4, np.float64).reshape(-1, 4)
    return (boxes_M4 * float(size) / np.array([width, height] * 2, np.float64)).astype(np.int64)


# --- the protocol --------------------------------------------------------------------------------


class BestThreshold(Protocol):
    """Score maps by MaxBoxAcc: the accuracy of their boxes at the best threshold.

    That threshold is chosen on the images that are scored (an oracle), as in Choe et al.
    multi_contour: whether the boxes of all contours of a map are tried, not only the largest's.
    chosen: thresholds that were best on other images, at which the accuracy is given besides.
    """

    name: ClassVar[str] = "max_box_acc"
    needs: ClassVar[Needs] = Needs.MAPS
    chooses: ClassVar[bool] = True
    odd_maps: ClassVar[str] = "each has one box, the first pixel, as in the program of Choe et al."
    flat_maps: ClassVar[str | None] = odd_maps

    def __init__(self, multi_contour: bool = False) -> None:
        if not isinstance(multi_contour, bool):
            raise UserError(f"protocol.multi_contour={multi_contour}: must be true or false")
        self.multi_contour = multi_contour
        self.mean_is = "MaxBoxAccV2 %" if multi_contour else "mean accuracy %"
        self.chosen: Chosen | None = None

    def take_thresholds(self, numbers: Mapping[str, Any], where: str) -> None:
        """Score at the thresholds that were best on other images, one for each IoU, besides.

        Raises UserError where they were best for boxes of other contours.
        """
        if numbers.get("multi_contour", self.multi_contour) != self.multi_contour:
            of = ("the largest contour, not of all", "all contours, not of the largest")
            raise UserError(
                f"threshold_from is of boxes of {of[not self.multi_contour]}: "
                f"give the JSON of protocol={self.name}"
            )
        best = numbers.get("best_threshold")
        ious = [f"{iou:g}" for iou in IOU_THRESHOLDS]
        self.chosen = Chosen.of(best if isinstance(best, dict) else {}, ious, where)

    def score(self, truth: Truth, given: Iterable[np.ndarray]) -> Scored:
        """Score the map of each image's true class. Raises UserError where a size is not known."""
        need_boxes(truth, self.name)
        sizes_N2 = known_sizes(truth, self.name)
        warn_about_boxes(truth)
        accumulator = MaxBoxAccAccumulator(self.multi_contour)

        def right_at(row: int, map_hw: np.ndarray) -> np.ndarray:
            return accumulator.right_at(map_hw, truth.boxes.of(row), *sizes_N2[row].tolist())

        for right_IL in measured(given, right_at):
            accumulator.add(right_IL)
        found = accumulator.result()
        numbers = found.as_json()
        intervals = accuracy_intervals(numbers["max_box_acc"], found.n_images)
        lines = [
            row_of_ious("", numbers["max_box_acc"], "IoU {0}"),
            row_of_ious("MaxBoxAcc accuracy %", numbers["max_box_acc"], "{1:.2f}"),
            *rows_of_intervals(intervals),
            row_of_ious("at oracle threshold", numbers["best_threshold"], "{1:.3f}"),
            f"{self.mean_is:22}{found.mean:9.2f}",
            "oracle: the threshold that is best on the scored images themselves; intervals are at "
            "that",
        ]
        thresholds_are = {"iou": FIXED, "max_box_acc": ORACLE, "mean": ORACLE}
        thresholds_are["best_threshold"] = ORACLE
        numbers |= {"max_box_acc_95": intervals, "multi_contour": self.multi_contour}
        if self.chosen is not None:
            numbers["chosen"] = self._at_chosen(found, self.chosen)
            lines += self._chosen_lines(numbers["chosen"], self.chosen)
            thresholds_are["chosen"] = self.chosen.word
        return Scored(numbers, lines, thresholds_are)

    def _at_chosen(self, found: MaxBoxAcc, chosen: Chosen) -> dict[str, Any]:
        """Give the accuracies at the chosen thresholds, with their intervals and mean."""
        accuracy = found.at(chosen.thresholds)
        return {
            "max_box_acc": accuracy,
            "mean": float(np.mean(list(accuracy.values()))),
            "max_box_acc_95": accuracy_intervals(accuracy, found.n_images),
            "threshold": chosen.thresholds,
        }

    def _chosen_lines(self, numbers: dict[str, Any], chosen: Chosen) -> list[str]:
        """Write the accuracies at the chosen thresholds for the terminal."""
        return [
            f"thresholds {chosen.word}:",
            row_of_ious("accuracy %", numbers["max_box_acc"], "{1:.2f}"),
            *rows_of_intervals(numbers["max_box_acc_95"]),
            row_of_ious("at chosen threshold", numbers["threshold"], "{1:.3f}"),
            f"{'mean accuracy %':22}{numbers['mean']:9.2f}",
        ]


class BestThresholdOfAnyContour(BestThreshold):
    """Score maps by MaxBoxAccV2: an image is right when the box of any contour is.

    The number is the mean of the accuracies at IoU 0.3, 0.5 and 0.7, each at the threshold that is
    best on the images that are scored (an oracle), as in Choe et al.
    """

    name: ClassVar[str] = "max_box_acc_v2"

    def __init__(self) -> None:
        super().__init__(multi_contour=True)
