"""Compute PxAP as the program of Choe et al. does: how well maps tell an object's pixels.

Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020; of
OpenImages30k, whose objects have masks.

The true class is given. Each map is resized to 224 x 224 and brought to 0..1, its mask is resized
by nearest neighbours. The pixels of all images together are then ranked by the map's value: PxAP is
the area under the curve of precision over recall, where the pixels of objects are to be found.
Pixels that masks ignore do not count. The curve has 1,001 points: pixels are told apart only in
steps of 0.001, and those of exactly 1 besides.

So two counts of pixels by value, of objects and of all else, are all that has to be kept. They are
kept in ``GROUPS`` groups of images, from which the 95 % interval is drawn (a bootstrap over these
groups, which for at most so many images is one over images): memory does not grow with the images.

Array names: B values of the map in steps of 0.001, G groups of images.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import cv2
import numpy as np

from cam_repro.errors import UserError
from cam_repro.metrics.intervals import resampled_means
from cam_repro.metrics.max_box_acc import N_THRESHOLDS, SIZE, normalised, thresholds
from cam_repro.metrics.protocol import Needs, Protocol, Scored, measured
from cam_repro.truth import IGNORED, Truth

EDGES_B = np.append(thresholds(), 1.0)
"""The lowest value of each step: 0, 0.001, ... 0.999, and 1, which only a map's maximum has."""

_NEXT_B = np.append(EDGES_B[1:], np.inf)

GROUPS = 100
"""Into how many groups the images are divided, in turn."""

RESAMPLES = 1000


def steps(normal_HW: np.ndarray) -> np.ndarray:
    """Find the step of each value of a map, int (H, W): the last of ``EDGES_B`` that it reaches.

    normal_HW: float64, 0..1. Equals np.searchsorted(EDGES_B, ..., "right") - 1, in a fraction of
    its time: a product tells the step but for rounding.
    """
    step_HW: np.ndarray = (normal_HW * N_THRESHOLDS).astype(np.int64)
    step_HW -= normal_HW < EDGES_B[step_HW]
    step_HW += normal_HW >= _NEXT_B[step_HW]
    return step_HW


def counts_at_steps(
    map_hw: np.ndarray, mask_HW: np.ndarray | None, label: int
) -> np.ndarray | None:
    """Count the pixels of all else and of the object at each step of a map, int64 (B, 2).

    map_hw: the map of the class ``label``, any size and range; one that is constant or not
    finite is 0 everywhere, as in the authors' program (an infinite value stops that).
    mask_HW: as of ``truth.Masks``; the pixels of other classes count as background. None where
    there is no mask.
    """
    if mask_HW is None:
        return None
    if mask_HW.shape != (SIZE, SIZE):
        mask_HW = cv2.resize(mask_HW, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)
    is_object_HW, counts_HW = mask_HW == label + 1, mask_HW != IGNORED
    normal_HW = normalised(map_hw, SIZE)
    step_HW = np.zeros(mask_HW.shape, np.int64) if normal_HW is None else steps(normal_HW)
    place_X = (2 * step_HW + is_object_HW)[counts_HW]
    return np.bincount(place_X, minlength=2 * len(EDGES_B)).reshape(-1, 2)


class PxapAccumulator:
    """Count the pixels of objects and of all else at each step, in memory that does not grow.

    n_images: how many were counted. n_without_mask: how many were left out, as they have none.
    n_without_object: of those that were counted, how many have no pixel of the object in their
    mask, at 224 x 224.
    """

    def __init__(self) -> None:
        self.n_images = 0
        self.n_without_mask = 0
        self.n_without_object = 0
        # The last axis: pixels of all else, then of objects.
        self._counts_GB2 = np.zeros((GROUPS, len(EDGES_B), 2), np.int64)

    def add(self, counts_B2: np.ndarray | None) -> None:
        """Add what ``counts_at_steps`` counted in one image; None: it has no mask."""
        if counts_B2 is None:
            self.n_without_mask += 1
            return
        self._counts_GB2[self.n_images % GROUPS] += counts_B2
        self.n_images += 1
        self.n_without_object += not counts_B2[:, 1].any()

    def result(self) -> tuple[float, float]:
        """Give PxAP and the share of pixels that are of objects, in percent, over all images.

        Raises UserError where there is no image, or no pixel of an object.
        """
        if not self.n_images:
            raise UserError("no image to score: no map was given, or no image has a mask")
        counts_B2 = self._counts_GB2.sum(axis=0)
        if not counts_B2[:, 1].any():
            raise UserError("no pixel to find: no mask has a pixel of its image's class")
        return float(average_precision(counts_B2[None])[0]), 100 * float(
            counts_B2[:, 1].sum() / counts_B2.sum()
        )

    def interval(self) -> list[float]:
        """Give the 95 % interval of PxAP, ``[low, high]``: of draws of groups of images."""
        counts_GB2 = self._counts_GB2[: self.n_images].astype(np.float64)
        means_XK = resampled_means(counts_GB2.reshape(len(counts_GB2), -1), RESAMPLES)
        means_XB2 = means_XK.reshape(RESAMPLES, -1, 2)
        has_object_X = means_XB2[:, :, 1].any(axis=1)  # else there is nothing to find in a draw
        found: list[float] = np.quantile(
            average_precision(means_XB2[has_object_X]), [0.025, 0.975]
        ).tolist()
        return found


def average_precision(counts_XB2: np.ndarray) -> np.ndarray:
    """Compute the area under precision over recall, in percent (X,), from counts of pixels.

    counts_XB2: X times, by step from low to high, the pixels of all else and of objects; at least
    one of an object.
    """
    from_high_XB2 = counts_XB2[:, ::-1]
    above_XB2 = from_high_XB2.cumsum(axis=1)  # with the step itself
    n_XB = above_XB2.sum(axis=2)
    precision_XB = above_XB2[:, :, 1] / np.where(n_XB > 0, n_XB, 1)
    recalled_XB = from_high_XB2[:, :, 1] / above_XB2[:, -1:, 1]
    area_X: np.ndarray = 100 * (precision_XB * recalled_XB).sum(axis=1)
    return area_X


class Pxap(Protocol):
    """Score maps by PxAP, the average precision over the pixels of all images.

    No threshold is chosen: the number is over all of them.
    """

    name: ClassVar[str] = "pxap"
    needs: ClassVar[Needs] = Needs.MAPS
    takes_masks: ClassVar[bool] = True
    odd_maps: ClassVar[str] = "each is 0 everywhere, as in the program of Choe et al."
    flat_maps: ClassVar[str | None] = odd_maps

    def score(self, truth: Truth, given: Iterable[np.ndarray]) -> Scored:
        """Score the map of each image's true class. Raises UserError where there are no masks."""
        if truth.masks is None or not truth.has_labels:
            raise UserError(
                "the ground truth does not say which pixels are of the object, which pxap needs: "
                "give masks=DIR with the metadata of OpenImages30k, or data= with masks"
            )
        masks = truth.masks

        def counts(row: int, map_hw: np.ndarray) -> np.ndarray | None:
            return counts_at_steps(map_hw, masks.of(row), int(truth.labels_N[row]))

        accumulator = PxapAccumulator()
        for counts_B2 in measured(given, counts):
            accumulator.add(counts_B2)
        pxap, cover = accumulator.result()
        low, high = accumulator.interval()
        numbers = {
            "n_images": accumulator.n_images,
            "n_without_mask": accumulator.n_without_mask,
            "n_without_object": accumulator.n_without_object,
            "pxap": pxap,
            "pxap_95": [low, high],
            "objects_cover": cover,
        }
        lines = [
            f"{'PxAP %':26}{pxap:8.2f}   95 %: {low:.2f} to {high:.2f}",
            f"{'a constant map would get %':26}{cover:8.2f}",
            f"{accumulator.n_without_mask} images have no mask and are left out; "
            f"{accumulator.n_without_object} masks have no pixel of their image's class",
        ]
        return Scored(numbers, lines, thresholds_are={})
