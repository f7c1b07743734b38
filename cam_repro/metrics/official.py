"""The localization metric of the ILSVRC development kit (FACTS: "The official metric").

Ground truth of N images is ``labels_N`` and all T true boxes one after another in ``gt_boxes_T4``;
those of image i are ``gt_boxes_T4[gt_offsets[i]:gt_offsets[i + 1]]``. G guesses an image, best
first; a place without a guess has a negative label.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from cam_repro.errors import UserError
from cam_repro.geometry import paired_iou

log = logging.getLogger(__name__)

IOU_THRESHOLD = 0.5


@dataclass(frozen=True)
class GuessErrors:
    """Errors in percent when the first ``k`` guesses count."""

    k: int
    cls_error: float
    clsloc_error: float


def overlaps(
    boxes_NG4: np.ndarray,
    gt_boxes_T4: np.ndarray,
    gt_offsets: np.ndarray,
    threshold: float = IOU_THRESHOLD,
    asked_NG: np.ndarray | None = None,
) -> np.ndarray:
    """Whether each guessed box reaches the IoU with any true box of its image, bool (N, G).

    The threshold itself counts as reached. An image without a true box is never hit.

    asked_NG: the guesses that matter, bool; False is returned for the others. None: all matter.
    """
    boxes_NG4 = np.asarray(boxes_NG4)
    gt_boxes_T4 = np.asarray(gt_boxes_T4).reshape(-1, 4)
    assert len(gt_offsets) == len(boxes_NG4) + 1
    assert gt_offsets[-1] == len(gt_boxes_T4)
    if asked_NG is None:
        asked_NG = np.ones(boxes_NG4.shape[:2], bool)
    image_T = np.repeat(np.arange(len(boxes_NG4)), np.diff(gt_offsets))
    box_P, guess_P = np.nonzero(asked_NG[image_T])  # pairs of a true box and a guess of its image
    image_P = image_T[box_P]
    hit_P = paired_iou(boxes_NG4[image_P, guess_P], gt_boxes_T4[box_P]) >= threshold
    hit_NG = np.zeros(asked_NG.shape, bool)
    hit_NG[image_P[hit_P], guess_P[hit_P]] = True
    return hit_NG


def hits(
    guess_labels_NG: np.ndarray,
    guess_boxes_NG4: np.ndarray,
    labels_N: np.ndarray,
    gt_boxes_T4: np.ndarray,
    gt_offsets: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Which guesses are right: in label, and in label and box. Two bool arrays (N, G)."""
    guess_labels_NG, labels_N = np.asarray(guess_labels_NG), np.asarray(labels_N)
    cls_hit_NG = (guess_labels_NG == labels_N[:, None]) & (guess_labels_NG >= 0)
    # Only the boxes of guesses with the right label matter, and few have it.
    loc_hit_NG = overlaps(guess_boxes_NG4, gt_boxes_T4, gt_offsets, asked_NG=cls_hit_NG)
    return cls_hit_NG, loc_hit_NG


def warn_without_box(gt_offsets: np.ndarray) -> None:
    """Say once how many images have no true box, which no guess can hit."""
    counts_N = np.diff(gt_offsets)
    if not counts_N.all():
        log.warning(
            "%d of %d images have no true box: each counts as a localization error",
            np.count_nonzero(counts_N == 0),
            len(counts_N),
        )


def wrong(hit_NG: np.ndarray, k: int) -> np.ndarray:
    """Whether an image has no right guess among its first k, bool (N,)."""
    return np.logical_not(hit_NG[:, :k].any(axis=1))


def percent(wrong_N: np.ndarray) -> float:
    """Share of True in percent, as the quotient of two integers: 34 of 500 is 6.8 exactly."""
    return 100 * int(np.count_nonzero(wrong_N)) / len(wrong_N)


def errors(
    cls_hit_NG: np.ndarray, loc_hit_NG: np.ndarray, blacklisted_N: np.ndarray | None = None
) -> list[GuessErrors]:
    """Classification and localization error for k = 1 to G guesses, percent.

    blacklisted_N: mask of images left out of the localization error (and of the number it is
    divided by); the classification error is over all images, as in the development kit.
    """
    n_images, n_guesses = cls_hit_NG.shape
    kept_N = np.ones(n_images, bool) if blacklisted_N is None else ~np.asarray(blacklisted_N, bool)
    if not kept_N.any():
        raise UserError("no image to score: the files are empty or every image is blacklisted")
    return [
        GuessErrors(
            k=k,
            cls_error=percent(wrong(cls_hit_NG, k)),
            clsloc_error=percent(wrong(loc_hit_NG, k)[kept_N]),
        )
        for k in range(1, n_guesses + 1)
    ]
