"""Compute the localization metric of the ILSVRC development kit.

A guess is right when its label is right and its box reaches an IoU of 0.5 with any true box of its
image. Each image has up to G guesses, best first; an unused place has a negative label.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from cam_repro.errors import UserError
from cam_repro.geometry import paired_iou
from cam_repro.truth import RaggedBoxes, Truth

log = logging.getLogger(__name__)

IOU_THRESHOLD = 0.5


@dataclass(frozen=True)
class GuessErrors:
    """Hold the errors in percent when the first ``k`` guesses count."""

    k: int
    cls_error: float
    clsloc_error: float


def overlaps(
    boxes_NG4: np.ndarray,
    true_boxes: RaggedBoxes,
    threshold: float = IOU_THRESHOLD,
    asked_NG: np.ndarray | None = None,
) -> np.ndarray:
    """Tell whether each guessed box reaches the IoU with any true box of its image, bool (N, G).

    The threshold itself counts as reached. In an image without a true box no guess reaches it.

    asked_NG: the guesses that matter, bool; False is returned for the others. None: all matter.
    """
    boxes_NG4 = np.asarray(boxes_NG4)
    assert len(true_boxes) == len(boxes_NG4)
    if asked_NG is None:
        asked_NG = np.ones(boxes_NG4.shape[:2], bool)
    image_T = true_boxes.image_of_box()
    box_P, guess_P = np.nonzero(asked_NG[image_T])  # pairs of a true box and a guess of its image
    image_P = image_T[box_P]
    hit_P = paired_iou(boxes_NG4[image_P, guess_P], true_boxes.values_T4[box_P]) >= threshold
    hit_NG = np.zeros(asked_NG.shape, bool)
    hit_NG[image_P[hit_P], guess_P[hit_P]] = True
    return hit_NG


def hits(
    truth: Truth, labels_NG: np.ndarray, boxes_NG4: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Tell which guesses have the right label, and which also the right box: bool arrays (N, G).

    labels_NG: numbers of the same kind as the truth's labels.
    """
    labels_NG = np.asarray(labels_NG)
    cls_hit_NG = (labels_NG == np.asarray(truth.labels_N)[:, None]) & (labels_NG >= 0)
    # Only the boxes of guesses with the right label matter, and few have it.
    loc_hit_NG = overlaps(boxes_NG4, truth.boxes, asked_NG=cls_hit_NG)
    return cls_hit_NG, loc_hit_NG


def need_boxes(truth: Truth, name: str) -> None:
    """Raise UserError where no image has a true box, which would make each one wrong.

    name: of the protocol that needs some, for the message.
    """
    if len(truth) and not truth.has_boxes:
        raise UserError(
            f"no image of the ground truth has a true box, which {name} needs: give one with "
            "boxes, or masks to protocol=pxap"
        )


def warn_about_boxes(truth: Truth) -> None:
    """Warn of images without a true box, which no guess can hit, and of boxes that cannot be."""
    counts_N = truth.boxes.counts_N
    if not counts_N.all():
        log.warning(
            "%d of %d images have no true box: each counts as a localization error",
            np.count_nonzero(counts_N == 0),
            len(counts_N),
        )
    warn_of_impossible_boxes(truth, "errors count them as they are")


def warn_of_impossible_boxes(truth: Truth, use: str) -> None:
    """Warn of true boxes that are empty or reach beyond their image. use: what becomes of them."""
    impossible = np.flatnonzero(truth.boxes.impossible(truth.sizes_N2))
    if len(impossible):
        log.warning(
            "%d of %d true boxes are empty or reach beyond their image (the first: %s of %s): %s",
            len(impossible),
            len(truth.boxes.values_T4),
            truth.boxes.values_T4[impossible[0]].tolist(),
            truth.ids[int(truth.boxes.image_of_box()[impossible[0]])],
            use,
        )


def wrong(hit_NG: np.ndarray, k: int) -> np.ndarray:
    """Tell which images have no right guess among their first k, bool (N,)."""
    return np.logical_not(hit_NG[:, :k].any(axis=1))


def percent(wrong_N: np.ndarray) -> float:
    """Give the share of True in percent, by one division of integers: 34 of 500 is exactly 6.8."""
    return 100 * int(np.count_nonzero(wrong_N)) / len(wrong_N)


def errors(
    cls_hit_NG: np.ndarray, loc_hit_NG: np.ndarray, blacklisted_N: np.ndarray | None = None
) -> list[GuessErrors]:
    """Compute classification and localization error for k = 1 to G guesses, percent.

    blacklisted_N: bool; these images do not count in the localization error. The classification
    error is over all images, as in the development kit. Raises UserError where no image is left.
    """
    n_images, n_guesses = cls_hit_NG.shape
    kept_N = np.ones(n_images, bool) if blacklisted_N is None else ~np.asarray(blacklisted_N, bool)
    if not kept_N.any():
        raise UserError("no image to score: the files are empty or every image is blacklisted")
    cls_wrong_NG, loc_wrong_NG = (
        ~np.logical_or.accumulate(hit_NG, axis=1) for hit_NG in (cls_hit_NG, loc_hit_NG[kept_N])
    )
    return [
        GuessErrors(
            k=k + 1,
            cls_error=percent(cls_wrong_NG[:, k]),
            clsloc_error=percent(loc_wrong_NG[:, k]),
        )
        for k in range(n_guesses)
    ]
