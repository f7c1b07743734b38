"""Score cues against masks: the mean intersection over union of VOC's segmentation task.

Pixels without a cue count as background. The numbers are over the whole set: for each class, and
for the background, its pixels in cues and masks (intersection) are divided by those in cues or
masks (union); then the mean over these is taken. Pixels that masks ignore do not count.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from cam_repro.boxes.cues import share_of_maximum
from cam_repro.errors import UserError
from cam_repro.metrics.intervals import resampled_means
from cam_repro.metrics.protocol import FIXED, ORACLE, Needs, Protocol, Scored
from cam_repro.resample import resize
from cam_repro.runs.cues import Cues
from cam_repro.truth import BACKGROUND, IGNORED, Truth

THRESHOLDS = np.arange(100) / 100
"""Shares of the maximum of which the best is found: the oracle."""


def counts(predicted_HW: np.ndarray, mask_HW: np.ndarray, n_values: int) -> np.ndarray:
    """Count the pixels of each value: in both, in the prediction, in the mask; int64 (3, C + 1).

    Pixels that the mask ignores are left out. n_values: C + 1.
    """
    counts_HW = mask_HW != IGNORED
    predicted_P, mask_P = predicted_HW[counts_HW], mask_HW[counts_HW]
    parts = (predicted_P[predicted_P == mask_P], predicted_P, mask_P)
    return np.stack([np.bincount(part, minlength=n_values) for part in parts])


def ious(counts_X3C: np.ndarray) -> np.ndarray:
    """Compute intersection over union of each value (..., C) from counts (..., 3, C).

    NaN for a value that is in neither.
    """
    both, predicted, true = np.moveaxis(np.asarray(counts_X3C, np.float64), -2, 0)
    union = predicted + true - both
    return np.divide(both, union, out=np.full(union.shape, np.nan), where=union > 0)


def mean_ious(counts_X3C: np.ndarray) -> np.ndarray:
    """Compute the mean of ``ious`` over the values that are in either (...); NaN where none is."""
    iou_XC = ious(counts_X3C)
    n_X = (~np.isnan(iou_XC)).sum(axis=-1)
    sums_X = np.nansum(iou_XC, axis=-1)
    return np.divide(sums_X, n_X, out=np.full(n_X.shape, np.nan), where=n_X > 0)


class Sweep:
    """Count the pixels of all images at every threshold; memory does not grow with the images.

    A pixel is of the class whose share of its maximum is highest, if that is above the threshold;
    else it is background.
    """

    def __init__(self, n_values: int) -> None:
        self.n_values = n_values
        shape = (n_values, len(THRESHOLDS) + 1)
        self._both, self._predicted = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self._background = np.zeros(shape[1], np.int64)  # of the masks, by step
        self._true = np.zeros(n_values, np.int64)

    def add(self, cues: Cues, mask_HW: np.ndarray) -> None:
        """Count the pixels of one image."""
        height, width = mask_HW.shape
        resized = [resize(each, width, height, cues.interpolation) for each in cues.maps_Rhw]
        shares = [share_of_maximum(map_HW) for map_HW in resized]
        best_HW = cues.values_R.astype(np.int64)[np.argmax(shares, axis=0)]
        # At thresholds 0 to step - 1 the pixel is of that class, from there on background.
        # In single precision as the maps are, so that a share of 0.2 is not above 0.2.
        thresholds_T = THRESHOLDS.astype(np.float32)
        step_HW = np.searchsorted(thresholds_T, np.max(shares, axis=0), side="left")
        kept_HW = mask_HW != IGNORED
        best_P, step_P, mask_P = best_HW[kept_HW], step_HW[kept_HW], mask_HW[kept_HW]
        n_steps = len(THRESHOLDS) + 1
        cell_P = best_P * n_steps + step_P
        size = self._both.size
        self._predicted += np.bincount(cell_P, minlength=size).reshape(self._both.shape)
        right_P = cell_P[best_P == mask_P]
        self._both += np.bincount(right_P, minlength=size).reshape(self._both.shape)
        self._background += np.bincount(step_P[mask_P == BACKGROUND], minlength=n_steps)
        self._true += np.bincount(mask_P, minlength=self.n_values)

    def miou(self) -> np.ndarray:
        """Compute the mean IoU at each of ``THRESHOLDS``, float64 (T,)."""

        def over(steps: np.ndarray) -> np.ndarray:
            """Sum over the pixels whose step is over t: those of a class at threshold t."""
            return steps.sum(axis=-1, keepdims=True) - steps.cumsum(axis=-1)[..., :-1]

        both_CT, predicted_CT = over(self._both), over(self._predicted)
        both_CT[BACKGROUND] = self._background.cumsum()[:-1]
        predicted_CT[BACKGROUND] = self._predicted.sum(axis=0).cumsum()[:-1]
        true_CT = np.broadcast_to(self._true[:, None], both_CT.shape)
        counts_T3C = np.stack([both_CT, predicted_CT, true_CT]).transpose(2, 0, 1)
        return mean_ious(counts_T3C)


class MeanIou(Protocol):
    """Score cues by their mean IoU with masks, and their maps by that at the best threshold."""

    name: ClassVar[str] = "miou"
    needs: ClassVar[Needs] = Needs.CUES

    def score(self, truth: Truth, given: Iterable[Cues]) -> Scored:
        """Score the cues of each image. Raises UserError where the truth has no masks."""
        if truth.masks is None or truth.classes is None:
            raise UserError(
                "the ground truth has no masks, which miou needs: give a data set that has, as "
                "data=demo or data=voc data.images=segmentation"
            )
        n_values = len(truth.classes) + 1
        sweep, of_images, n_without = Sweep(n_values), [], 0
        for index, cues in enumerate(given):
            mask_HW = truth.masks.of(index)
            if mask_HW is None:
                n_without += 1
                continue
            _check(truth.ids[index], cues, mask_HW, n_values)
            cues_HW = np.where(cues.cues_HW == IGNORED, BACKGROUND, cues.cues_HW)
            of_images.append(counts(cues_HW, mask_HW, n_values))
            sweep.add(cues, mask_HW)
        if not of_images:
            raise UserError("no image to score: no image with cues has a mask")
        counts_N3C = np.stack(of_images)
        if not counts_N3C.any():
            raise UserError("no pixel to score: the masks ignore all")
        means_X = resampled_means(counts_N3C.reshape(len(of_images), -1).astype(np.float64))
        of_samples = mean_ious(means_X.reshape(-1, 3, n_values))
        iou_C = 100 * ious(counts_N3C.sum(axis=0))
        swept_T = 100 * sweep.miou()
        names = ["background", *truth.classes.names]
        numbers = {
            "n_images": len(of_images),
            "n_without_mask": n_without,
            "n_without_pixels": int(np.isnan(iou_C).sum()),
            "miou": float(100 * mean_ious(counts_N3C.sum(axis=0))),
            "miou_95": (100 * np.nanquantile(of_samples, [0.025, 0.975])).tolist(),
            "iou": {n: v for n, v in zip(names, iou_C.tolist(), strict=True) if not np.isnan(v)},
            "oracle": float(swept_T.max()),
            "oracle_threshold": float(THRESHOLDS[swept_T.argmax()]),
        }
        thresholds_are = {"miou": FIXED, "iou": FIXED, "oracle": ORACLE, "oracle_threshold": ORACLE}
        return Scored(numbers, _lines(numbers), thresholds_are)


def _check(name: str, cues: Cues, mask_HW: np.ndarray, n_values: int) -> None:
    """Raise UserError where cues and mask are not of one image, or have values of no class."""
    if cues.cues_HW.shape != mask_HW.shape:
        here, there = ("x".join(map(str, each.shape[::-1])) for each in (cues.cues_HW, mask_HW))
        raise UserError(f"{name}: its cues are {here}, its mask {there}: they are of other images")
    for what, values in (("cues", cues.cues_HW), ("mask", mask_HW), ("classes", cues.values_R)):
        odd = np.unique(values[(values >= n_values) & (values != IGNORED)])
        if len(odd):
            raise UserError(
                f"{name}: its {what} have the value {odd[0]}, and the data set has "
                f"{n_values - 1} classes"
            )


def _lines(numbers: dict[str, Any]) -> list[str]:
    """Write the table for the terminal."""
    low, high = numbers["miou_95"]
    return [
        f"{'mean IoU of the cues %':34}{numbers['miou']:8.2f}   95 %: {low:.2f} to {high:.2f}",
        f"{'of the maps, oracle threshold %':34}{numbers['oracle']:8.2f}   at "
        f"{numbers['oracle_threshold']:.2f}",
        "pixels without a cue are background; cues are at the run's own threshold (fixed)",
        "oracle: the threshold that is best on the scored images themselves, where each pixel is",
        "  of the class whose share of its maximum is highest",
        f"{numbers['n_without_pixels']} of the classes are in neither cues nor masks: left out",
        f"{numbers['n_without_mask']} images have no mask: left out",
    ]
