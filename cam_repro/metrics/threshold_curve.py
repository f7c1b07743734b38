"""Compute the localization error of the paper's box rule at every threshold, in one pass a map.

The rule (``boxes/threshold.py``) boxes the largest component above a share of the map's maximum,
20 % in the paper. A guess can only be right where its class is the true one. So the map of an
image's true class and its five best classes suffice to tell whether the image is right at any
threshold: GT-known by the box alone, top-1 and top-5 by the box and by the place of the true class
among the best.

Array names: T thresholds, B components, N images, M true boxes of an image.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cam_repro.boxes.threshold import largest_component_box
from cam_repro.errors import UserError
from cam_repro.geometry import iou, whole_image
from cam_repro.metrics.intervals import Number
from cam_repro.metrics.level_sweep import (
    MAX_SIDE,
    Paths,
    components,
    corners,
    pad,
    rules_of,
    trace,
)
from cam_repro.metrics.official import IOU_THRESHOLD, need_boxes, warn_about_boxes
from cam_repro.metrics.protocol import (
    FIXED,
    ORACLE,
    Chosen,
    Curves,
    Needs,
    Protocol,
    RunMaps,
    Scored,
    measured,
)
from cam_repro.resample import resize
from cam_repro.truth import Truth

log = logging.getLogger(__name__)

MAX_THRESHOLDS = 10_000
"""Most thresholds that may be tried."""

ERRORS = ("top1", "top5", "gt_known")

_CELLS = 1 << 21
"""Most components times thresholds that a table may have. Only maps like white noise have more:
their thresholds are done in blocks.
"""


# --- boxes of one map ----------------------------------------------------------------------------


def boxes_over_thresholds(map_HW: np.ndarray, thresholds_T: np.ndarray) -> np.ndarray:
    """Find ``largest_component_box`` of a map at each of many thresholds, int32 (T, 4).

    map_HW: float, at the image's own size. thresholds_T: ascending, 0 <= threshold < 1.

    It takes one pass over the map instead of one a threshold (``level_sweep`` says what it costs).
    Where two largest components begin in the same row, and where threshold x maximum is rounded up
    to the maximum, which no pixel exceeds, the rule itself is called.
    """
    thresholds_T = np.asarray(thresholds_T, np.float64)
    assert map_HW.ndim == 2, "one map at a time"
    assert map_HW.dtype in (np.float32, np.float64), map_HW.dtype
    assert (np.diff(thresholds_T) >= 0).all(), "thresholds ascend"
    assert ((thresholds_T >= 0) & (thresholds_T < 1)).all(), "shares of the maximum"
    height, width = map_HW.shape
    peak = float(map_HW.max())
    if not (np.isfinite(peak) and peak > 0):
        return np.tile(np.array(whole_image(width, height), np.int32), (len(thresholds_T), 1))
    if max(width, height) > MAX_SIDE:
        boxes = [largest_component_box(map_HW, threshold) for threshold in thresholds_T.tolist()]
        return np.array(boxes, np.int32)
    cuts_T = (thresholds_T * peak).astype(map_HW.dtype)  # rounded, as the rule rounds them
    n_under_HW = _n_under(map_HW, cuts_T)
    paths = trace(pad(map_HW, -np.inf), rules_of(8))
    boxes_T4 = np.empty((len(cuts_T), 4), np.int32)
    block = max(_CELLS // paths.n_starts, 1)
    for first in range(0, len(cuts_T), block):
        last = min(first + block, len(cuts_T))
        found, is_certain_T = _boxes_of_block(paths, n_under_HW, first, last)
        boxes_T4[first:last] = found
        for index in first + np.flatnonzero(~is_certain_T):
            boxes_T4[index] = largest_component_box(map_HW, float(thresholds_T[index]))
    return boxes_T4


def _n_under(map_HW: np.ndarray, cuts_T: np.ndarray) -> np.ndarray:
    """Count for each pixel the cuts under its value: at so many thresholds it is in the mask.

    Equals np.searchsorted(cuts_T, map_HW), in a third to half of its time. Returns int32 (H, W).
    cuts_T: ascending, of the map's type, from 0 to its maximum, which is over 0.
    """
    peak = map_HW.max()

    def cell_of(values: np.ndarray) -> np.ndarray:
        """Sort values into 65,536 cells: despite rounding a greater one is never in a lower one."""
        cell = np.maximum(values, 0)
        cell /= peak
        cell *= 65535
        return cell.astype(np.uint16)

    n_cuts = np.bincount(cell_of(cuts_T), minlength=65536)
    n_under = (np.cumsum(n_cuts) - n_cuts).astype(np.int32)
    n_under[n_cuts > 0] = -1  # cells with a cut inside: compare their values one by one
    n_under_P = n_under.take(cell_of(map_HW.ravel()))
    undecided_X = np.flatnonzero(n_under_P < 0)
    n_under_P[undecided_X] = np.searchsorted(cuts_T, map_HW.ravel()[undecided_X])
    return n_under_P.reshape(map_HW.shape)


def _boxes_of_block(
    paths: Paths, n_under_HW: np.ndarray, first: int, last: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find the boxes at thresholds ``first`` to ``last`` - 1, (T, 4).

    Also tells which are certain, bool (T,): for the others the rule itself has to be called.
    """
    n = last - first
    # The highest threshold is step 0; pixels of step n never join.
    step_HW = (last - n_under_HW).clip(0, n).astype(np.uint16)
    found = components(paths, pad(step_HW, n), n, "pixels").reversed()
    # Of components of equal size the rule takes the first in reading order: the one that begins
    # higher. Where they begin in the same row, the rule itself has to be asked.
    rank_BT = found.sizes_XBT[0].astype(np.int64) * (MAX_SIDE + 1) - found.extents_4BT[1]
    rank_BT[~found.alive_BT] = 0
    first_T, highest_T = rank_BT.argmax(axis=0), rank_BT.max(axis=0)
    is_certain_T = (highest_T > 0) & ((rank_BT == highest_T).sum(axis=0) == 1)
    return corners(found.extents_4BT[:, first_T, np.arange(n)]), is_certain_T


def right_percents(map_HW: np.ndarray, true_boxes_M4: np.ndarray) -> list[int]:
    """List the thresholds, whole percent of the maximum, at which the map's box is right.

    map_HW: as for ``boxes_over_thresholds``. true_boxes_M4: true boxes; without one none is right.
    """
    if not len(true_boxes_M4):
        return []
    boxes_T4 = boxes_over_thresholds(map_HW, np.arange(100) / 100)
    is_right_T = iou(boxes_T4, true_boxes_M4).max(axis=1) >= IOU_THRESHOLD
    percents: list[int] = np.flatnonzero(is_right_T).tolist()
    return percents


# --- errors of many maps -------------------------------------------------------------------------


@dataclass
class ThresholdCurve:
    """Hold the localization error in percent over all thresholds.

    errors: by name (``ERRORS``) an array (T,) in [0, 100]. thresholds_T: shares of the maximum.
    n_images: all images; n_blacklisted of them are left out of top1 and top5, not of gt_known.
    """

    errors: dict[str, np.ndarray]
    thresholds_T: np.ndarray
    n_images: int
    n_blacklisted: int

    @property
    def best(self) -> dict[str, dict[str, float]]:
        """For each error its lowest value, and the lowest threshold that reaches it."""
        return Curves(self.thresholds_T, self.errors).best

    def at(self, threshold: float) -> dict[str, float]:
        """Give the errors at one of the thresholds, as scores.json has them for a rule."""
        index = self.thresholds_T.tolist().index(threshold)
        return {name: float(error_T[index]) for name, error_T in self.errors.items()}

    def intervals_at(self, threshold: float) -> dict[str, list[float]]:
        """Give the 95 % interval ``[low, high]`` of each error at one of the thresholds."""
        n_kept = self.n_images - self.n_blacklisted
        found = {}
        for name, error in self.at(threshold).items():
            n = self.n_images if name == "gt_known" else n_kept
            found[name] = Number.of_percent(error, n).ends
        return found

    def as_json(self) -> dict[str, Any]:
        """Give the JSON of the curve.

        ``{"n_images", "n_blacklisted", "best": {name: {"threshold", "error"}}, "thresholds": [..],
        "errors": {name: [..]}}``.
        """
        return {
            "n_images": self.n_images,
            "n_blacklisted": self.n_blacklisted,
            "best": self.best,
            "thresholds": self.thresholds_T.tolist(),
            "errors": {name: error_T.tolist() for name, error_T in self.errors.items()},
        }


class ThresholdCurveAccumulator:
    """Count the images that are wrong at each threshold, in memory that does not grow with them.

    thresholds_T: shares of the maximum, ascending; ``add`` is given the boxes at these.
    """

    def __init__(self, thresholds_T: np.ndarray) -> None:
        self.thresholds_T = thresholds_T
        self.n_images = 0
        self.n_blacklisted = 0
        self._wrong_T = {name: np.zeros(len(thresholds_T), np.int64) for name in ERRORS}

    def add(
        self,
        boxes_T4: np.ndarray,
        true_boxes_M4: np.ndarray,
        place: int | None,
        is_blacklisted: bool = False,
    ) -> None:
        """Count one image.

        boxes_T4: the box of its true class at each threshold (``boxes_over_thresholds``).
        true_boxes_M4: true boxes; an image without one is wrong at every threshold.
        place: of the true class among the five best, 0 to 4; None where it is not there.
        is_blacklisted: whether the official error (top1, top5) leaves it out.
        """
        self.n_images += 1
        self.n_blacklisted += is_blacklisted
        is_wrong_T = np.ones(len(boxes_T4), bool)
        if len(true_boxes_M4):
            is_wrong_T = iou(boxes_T4, true_boxes_M4).max(axis=1) < IOU_THRESHOLD
        self._wrong_T["gt_known"] += is_wrong_T
        if not is_blacklisted:
            self._wrong_T["top1"] += is_wrong_T | (place != 0)
            self._wrong_T["top5"] += is_wrong_T | (place is None)

    def result(self) -> ThresholdCurve:
        """Compute the errors over the images so far. Raises UserError where none counts."""
        n_kept = self.n_images - self.n_blacklisted
        if not n_kept:
            raise UserError("no image to score: there is none, or every image is blacklisted")
        n_of = {"top1": n_kept, "top5": n_kept, "gt_known": self.n_images}
        errors = {name: 100 * wrong_T / n_of[name] for name, wrong_T in self._wrong_T.items()}
        return ThresholdCurve(errors, self.thresholds_T, self.n_images, self.n_blacklisted)


# --- the protocol --------------------------------------------------------------------------------


def check_thresholds(key: str, n: int) -> None:
    """Raise UserError unless ``n`` thresholds can be tried. key: the setting that says how many."""
    is_number = isinstance(n, int) and not isinstance(n, bool)
    if not (is_number and 2 <= n <= MAX_THRESHOLDS):
        raise UserError(f"{key}={n}: must be a whole number from 2 to {MAX_THRESHOLDS}")


def _at_chosen(curve: ThresholdCurve, chosen: Chosen) -> dict[str, dict[str, Any]]:
    """Give each error at the threshold that was chosen for it, with its 95 % interval."""
    return {
        name: {
            "threshold": at,
            "error": curve.at(at)[name],
            "error_95": curve.intervals_at(at)[name],
        }
        for name, at in chosen.thresholds.items()
    }


class EveryThreshold(Protocol):
    """Score a run by its localization error at every threshold of ``box=threshold``.

    The lowest error is at a threshold chosen on the images that are scored (an oracle).
    thresholds: how many are tried: 0, 1/n, 2/n ...; the run's own is tried besides, and ``chosen``:
    those that were best on other images.
    """

    name: ClassVar[str] = "threshold_curve"
    needs: ClassVar[Needs] = Needs.RUN_MAPS
    chooses: ClassVar[bool] = True
    draws: ClassVar[bool] = True
    odd_maps: ClassVar[str] = "where the maximum is not a number, the box is the whole image"
    flat_maps: ClassVar[str | None] = "the box of each is the whole image"

    def __init__(self, thresholds: int = 100) -> None:
        check_thresholds("protocol.thresholds", thresholds)
        self.n_thresholds = thresholds
        self.chosen: Chosen | None = None

    def take_thresholds(self, numbers: Mapping[str, Any], where: str) -> None:
        """Score at the thresholds that were best on other images, one for each error, besides."""
        best = numbers.get("best")
        found = {
            name: each.get("threshold")
            for name, each in (best.items() if isinstance(best, dict) else ())
            if isinstance(each, dict)
        }
        self.chosen = Chosen.of(found, ERRORS, where)

    def score(self, truth: Truth, given: RunMaps) -> Scored:
        """Score the maps of a run; warn where its boxes did not come from these maps."""
        run, own = given.run, given.run.manifest.threshold
        sizes_N2 = truth.sizes_N2
        assert sizes_N2 is not None, "a run knows the size of its images"
        need_boxes(truth, self.name)
        warn_about_boxes(truth)
        thresholds_T = np.arange(self.n_thresholds) / self.n_thresholds
        thresholds_T = np.union1d(thresholds_T, [] if own is None else [own])
        if self.chosen is not None:
            thresholds_T = np.union1d(thresholds_T, list(self.chosen.thresholds.values()))
        accumulator = ThresholdCurveAccumulator(thresholds_T)
        differ = []  # ids of images

        def boxes_of(row: int, map_hw: np.ndarray) -> np.ndarray:
            width, height = sizes_N2[row].tolist()
            map_HW = resize(map_hw, width, height, run.manifest.interpolation)
            return boxes_over_thresholds(map_HW, thresholds_T)

        for i, boxes_T4 in enumerate(measured(given.maps, boxes_of)):
            places = np.flatnonzero(run.classes_N5[i] == truth.labels_N[i]).tolist()
            place = places[0] if places else None
            is_blacklisted = truth.blacklisted_N is not None and bool(truth.blacklisted_N[i])
            accumulator.add(boxes_T4, truth.boxes.of(i), place, is_blacklisted)
            if own is not None:
                recorded_4 = run.rules["threshold"].gt_known_N4[i]
                if (boxes_T4[thresholds_T == own] != recorded_4).any():
                    differ.append(truth.ids[i])
        if differ:
            log.warning(
                "%d of %d boxes at threshold %g are not those of the run (the first: %s): maps of "
                "another pass, or another version of OpenCV",
                len(differ),
                len(truth),
                own,
                differ[0],
            )
        curve = accumulator.result()
        numbers = curve.as_json()
        thresholds_are = {"iou": FIXED, "errors": FIXED, "best": ORACLE}
        if own is not None:
            numbers["run"] = {"threshold": own, **curve.at(own)}
            numbers["run_95"] = curve.intervals_at(own)
            thresholds_are["run"] = FIXED
        if self.chosen is not None:
            numbers["chosen"] = _at_chosen(curve, self.chosen)
            thresholds_are["chosen"] = self.chosen.word
        curves = Curves(curve.thresholds_T, curve.errors, own)
        return Scored(numbers, self._table(curve, own), thresholds_are, curves)

    def _table(self, curve: ThresholdCurve, own: float | None) -> list[str]:
        """Write some ten thresholds, the run's own, and the lowest of each error."""

        def row(name: str, values: Iterable[float], form: str = "{:.2f}") -> str:
            return f"{name:>20}" + "".join(f"{form.format(value):>10}" for value in values)

        n = self.n_thresholds
        tenths = np.arange(0, n, -(-n // 10)) / n
        lines = [
            "localization error, %, by the box's threshold",
            f"{'threshold':>20}     top-1     top-5  GT-known",
        ]
        lines += [row(f"{at:.3g}", curve.at(at).values()) for at in tenths.tolist()]
        if own is not None:
            lines.append(row(f"run's {own:g}, fixed", curve.at(own).values()))
            ends = curve.intervals_at(own).values()
            lines += [row("95 % from", [low for low, _ in ends])]
            lines += [row("95 % to", [high for _, high in ends])]
        if self.chosen is not None:
            found = _at_chosen(curve, self.chosen).values()
            lines.append(f"thresholds {self.chosen.word}:")
            lines.append(row("error", [each["error"] for each in found]))
            lines.append(row("95 % from", [each["error_95"][0] for each in found]))
            lines.append(row("95 % to", [each["error_95"][1] for each in found]))
            lines.append(
                row("at chosen threshold", [each["threshold"] for each in found], "{:.3g}")
            )
        best = curve.best.values()
        lines.append(row("lowest, oracle", [each["error"] for each in best]))
        lines.append(row("at oracle threshold", [each["threshold"] for each in best], "{:.3g}"))
        return lines
