"""Score GT-known localization: the true class is given, and only the box can be wrong.

An image counts as right when its one box reaches the IoU threshold with any of its true boxes.
Neither labels nor a blacklist are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from cam_repro.errors import UserError
from cam_repro.geometry import centred_boxes, paired_iou
from cam_repro.metrics.official import need_boxes, warn_about_boxes
from cam_repro.metrics.protocol import (
    FIXED,
    Needs,
    Protocol,
    Scored,
    accuracy_intervals,
    row_of_ious,
    rows_of_intervals,
)
from cam_repro.truth import RaggedBoxes, Truth

IOU_THRESHOLDS = (0.3, 0.5, 0.7)
CENTRED_SCALES = tuple(step / 20 for step in range(1, 21))
"""Shares of an image's sides to try: 0.05, 0.10 ... 1.00, which is the whole image."""


def best_iou(boxes_N4: np.ndarray, true_boxes: RaggedBoxes) -> np.ndarray:
    """Compute the IoU of each image's box with the true box that it overlaps most.

    boxes_N4: inclusive; a row of -1 is no box. Returns float64 (N,) in [0, 1]; 0 for an image
    without a true box or without a guessed one.
    """
    boxes_N4 = np.asarray(boxes_N4, np.int64)
    assert len(true_boxes) == len(boxes_N4)
    image_T = true_boxes.image_of_box()
    best_N = np.zeros(len(boxes_N4))
    np.maximum.at(best_N, image_T, paired_iou(boxes_N4[image_T], true_boxes.values_T4))
    best_N[(boxes_N4 == -1).all(axis=1)] = 0
    return best_N


def gt_known_accuracy(
    boxes_N4: np.ndarray,
    true_boxes: RaggedBoxes,
    thresholds: Sequence[float] = IOU_THRESHOLDS,
) -> dict[str, float]:
    """Compute the percentage of images whose one box is right, by IoU threshold.

    Returns ``{"0.3": 62.82, ...}``. boxes_N4: inclusive; a row of -1 is no box.
    Raises UserError where there is no image.
    """
    return _accuracy(best_iou(boxes_N4, true_boxes), thresholds)


def centred_box_sweep(
    sizes_N2: np.ndarray,
    true_boxes: RaggedBoxes,
    scales: Sequence[float] = CENTRED_SCALES,
    thresholds: Sequence[float] = IOU_THRESHOLDS,
) -> dict[str, dict[str, float]]:
    """Find the size of centred box that is right for most images, by IoU threshold.

    Tries a centred box of ``scale`` times each image's width and height, for each of ``scales``;
    the first of equally accurate ones wins. Choe et al. (CVPR 2020) call it the centre baseline.
    Returns ``{"0.3": {"scale", "accuracy"}, ..}``, accuracy in percent.

    sizes_N2: width and height. Raises UserError where there is no image.
    """
    accuracies = [
        gt_known_accuracy(centred_boxes(sizes_N2, scale), true_boxes, thresholds)
        for scale in scales
    ]
    best = {}
    for key in accuracies[0]:
        index = int(np.argmax([accuracy[key] for accuracy in accuracies]))
        best[key] = {"scale": scales[index], "accuracy": accuracies[index][key]}
    return best


def _accuracy(iou_N: np.ndarray, thresholds: Sequence[float]) -> dict[str, float]:
    if not len(iou_N):
        raise UserError("no image to score: the files are empty")
    return {
        f"{threshold:g}": 100 * int(np.count_nonzero(iou_N >= threshold)) / len(iou_N)
        for threshold in thresholds
    }


def _is_iou(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1


class GtKnown(Protocol):
    """Score one box an image, its true class given.

    ious: the IoU thresholds, each over 0 and at most 1; the accuracy is given at each of them.
    """

    name: ClassVar[str] = "gt_known"
    needs: ClassVar[Needs] = Needs.KNOWN_BOXES

    def __init__(self, ious: Sequence[float] = IOU_THRESHOLDS) -> None:
        is_list = isinstance(ious, Sequence) and not isinstance(ious, str) and len(ious) > 0
        if not is_list or not all(_is_iou(each) for each in ious):
            raise UserError(
                f"protocol.ious={ious}: must be numbers over 0 and at most 1, as [0.3,0.5,0.7]"
            )
        self.ious = tuple(ious)

    def score(self, truth: Truth, given: np.ndarray) -> Scored:
        """Score the box of each image, int (N, 4)."""
        need_boxes(truth, self.name)
        warn_about_boxes(truth)
        accuracy = gt_known_accuracy(given, truth.boxes, self.ious)
        intervals = accuracy_intervals(accuracy, len(truth))
        numbers = {"n_images": len(truth), "gt_known": accuracy, "gt_known_95": intervals}
        lines = [
            row_of_ious("", accuracy, "IoU {0}"),
            row_of_ious("GT-known accuracy %", accuracy, "{1:.2f}"),
            *rows_of_intervals(intervals),
        ]
        return Scored(numbers, lines, {"iou": FIXED})
