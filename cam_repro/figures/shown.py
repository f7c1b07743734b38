"""Read what figures show of a run: examples, each with its truth and the guesses of a box rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from cam_repro.errors import UserError, one_of
from cam_repro.geometry import iou
from cam_repro.resample import resize
from cam_repro.runs.examples import KINDS, Example, read_examples
from cam_repro.runs.manifest import EvalManifest, read_eval_manifest
from cam_repro.runs.predictions import Predictions, read_predictions
from cam_repro.types import NO_LABEL, PAD, Box


def as_heat(map_HW: np.ndarray) -> np.ndarray:
    """Scale a map for drawing to 0 to 1: values below 0 become 0, and the largest becomes 1.

    NaN becomes 0; a map without any value above 0 is 0 everywhere.
    """
    heat_HW = np.maximum(np.nan_to_num(map_HW), 0)
    peak = heat_HW.max()
    return heat_HW / peak if peak > 0 else heat_HW


@dataclass(frozen=True, eq=False)
class Shown:
    """Hold one image of a run, with what a box rule guesses for it.

    label: class index, ``NO_LABEL`` if unknown. true_boxes_M4: in pixels of the original.
    guess: the first guess's class and box; None if the rule guessed nothing. known: the rule's box
    for the true class; None without one. interpolation: how the run's view resizes maps.
    """

    example: Example
    label: int
    true_boxes_M4: np.ndarray
    guess: tuple[int, Box] | None
    known: Box | None
    interpolation: str

    @cached_property
    def picture_HW3(self) -> np.ndarray:  # noqa: N802
        """The picture's pixels, uint8 RGB."""
        return np.asarray(self.example.picture())

    @property
    def size(self) -> tuple[int, int]:
        """The original's width and height, pixels."""
        return self.example.width, self.example.height

    @property
    def iou(self) -> float | None:
        """The IoU of the first guess with the true box that it overlaps most; None without."""
        if self.guess is None or not len(self.true_boxes_M4):
            return None
        return float(iou(np.array([self.guess[1]]), self.true_boxes_M4).max())

    @property
    def true_rank(self) -> int | None:
        """The place of the true class among the example's classes; None if it is not known."""
        return None if self.label == NO_LABEL else self.example.rank_of(self.label)

    def heat_HW(self, rank: int) -> np.ndarray:  # noqa: N802
        """Give the map of one of the example's classes at the picture's size, as ``as_heat``."""
        height, width = self.picture_HW3.shape[:2]
        return as_heat(resize(self.example.maps_Rhw[rank], width, height, self.interpolation))


@dataclass(frozen=True, eq=False)
class ShownRun:
    """Hold the examples of a run, in the order of the split, with the guesses of one box rule."""

    folder: Path
    manifest: EvalManifest
    rule: str
    images: list[Shown]

    def pick(self, sort: str, count: int) -> list[Shown]:
        """Give up to ``count`` examples of a kind (``runs.examples.KINDS``).

        ``even`` ones come spread over the split, the others by their IoU: best first, worst first.
        Raises UserError where there are none.
        """
        one_of("sort", sort, KINDS)
        of_kind = [one for one in self.images if sort in one.example.why]
        if not of_kind:
            none = "" if sort == "even" else ": none of its images has a true box to compare with"
            raise UserError(f"sort={sort}: {self.folder} has no such examples{none}")
        if sort != "even":
            sign = 1 if sort == "worst" else -1
            return sorted(of_kind, key=lambda one: sign * (one.iou or 0))[:count]
        count = min(count, len(of_kind))
        return [of_kind[number * len(of_kind) // count] for number in range(count)]

    def named(self, ids: Sequence[str]) -> list[Shown]:
        """Give the examples of these ids; raises UserError for one that is not among them."""
        by_id = {one.example.id: one for one in self.images}
        for wanted in ids:
            if wanted not in by_id:
                raise UserError(
                    f"{wanted}: not among the {len(by_id)} examples of {self.folder} (such as "
                    f"{', '.join(list(by_id)[:3])}): to keep every image, score the run again with "
                    f"cam-eval examples={self.manifest.counts.images}"
                )
        return [by_id[wanted] for wanted in ids]


def read_run(folder: Path | str, rule: str | None = None) -> ShownRun:
    """Read the examples of a run.

    rule: the box rule whose guesses are shown; None: the run's first.
    Raises UserError where the run has no examples, or not this box rule.
    """
    folder = Path(folder)
    manifest = read_eval_manifest(folder)
    if not manifest.classifies:
        raise UserError(f"{folder}: made without a network, it has no maps to show")
    rule = rule or manifest.rules[0]
    manifest.check_rule(rule, folder)
    predictions = read_predictions(folder, manifest)
    images = show_examples(read_examples(folder, predictions.ids), predictions, rule)
    return ShownRun(folder, manifest, rule, images)


def show_examples(examples: Sequence[Example], predictions: Predictions, rule: str) -> list[Shown]:
    """Put examples beside their truth and the guesses of a box rule; all must be of the run."""
    row_of = {image_id: row for row, image_id in enumerate(predictions.ids)}
    return [_shown(example, predictions, row_of[example.id], rule) for example in examples]


def _shown(example: Example, predictions: Predictions, row: int, rule: str) -> Shown:
    table = predictions.rules[rule]
    class_index = int(table.classes_N5[row, 0])
    box, known = _box(table.boxes_N54[row, 0]), _box(table.gt_known_N4[row])
    return Shown(
        example,
        label=int(predictions.labels_N[row]),
        true_boxes_M4=predictions.boxes.of(row),
        guess=None if class_index == PAD or box is None else (class_index, box),
        known=known,
        interpolation=predictions.manifest.interpolation,
    )


def _box(box_4: np.ndarray) -> Box | None:
    """Give a box of a run's tables; None where there is none."""
    x0, y0, x1, y1 = box_4.tolist()
    return None if (box_4 == PAD).all() else (x0, y0, x1, y1)
