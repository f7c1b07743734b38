"""Score guesses by the official metric, and say what is odd about them."""

from __future__ import annotations

import logging
import textwrap
from dataclasses import asdict
from typing import ClassVar

from cam_repro.errors import UserError
from cam_repro.metrics.hints import Hint, find_hints
from cam_repro.metrics.intervals import Number
from cam_repro.metrics.oddities import Oddities, count_oddities
from cam_repro.metrics.official import GuessErrors, errors, hits, warn_about_boxes
from cam_repro.metrics.protocol import FIXED, Needs, Protocol, Scored
from cam_repro.runs.guesses import Guesses
from cam_repro.truth import Truth
from cam_repro.types import NO_LABEL, PAD

log = logging.getLogger(__name__)


class ClsLoc(Protocol):
    """Score by the official metric: errors of the first 1 to 5 guesses, class and box."""

    name: ClassVar[str] = "clsloc"
    needs: ClassVar[Needs] = Needs.GUESSES
    heeds_blacklist: ClassVar[bool] = True

    def score(self, truth: Truth, given: Guesses) -> Scored:
        """Score guesses; an image without a label, or without a true box, counts as an error."""
        n_images = len(truth)
        unknown = int((truth.labels_N == NO_LABEL).sum())
        if n_images and unknown == n_images:
            raise UserError("the ground truth has no labels, so there is nothing to score")
        if unknown:
            log.warning("%d of %d images have no label: each counts as an error", unknown, n_images)
        warn_about_boxes(truth)
        right = hits(truth, given.labels_N5, given.boxes_N54)
        rows = errors(*right, truth.blacklisted_N)
        oddities = count_oddities(truth, given)
        hints = find_hints(truth, given, rows[-1], oddities.inverted)
        intervals = [_intervals(row, n_images, n_images - truth.n_blacklisted) for row in rows]
        numbers = {
            "n_images": n_images,
            "n_blacklisted": truth.n_blacklisted,
            "n_without_guess": int((given.labels_N5 == PAD).all(1).sum()),
            "n_without_box": int((truth.boxes.counts_N == 0).sum()),
            "guesses": [{**asdict(row), **ends} for row, ends in zip(rows, intervals, strict=True)],
            "odd_guesses": oddities.as_json(),
            "hints": [hint.as_json() for hint in hints],
        }
        return Scored(numbers, _lines(rows, intervals, oddities, hints), {"iou": FIXED})


def _intervals(row: GuessErrors, n_images: int, n_kept: int) -> dict[str, list[float]]:
    """Give the 95 % intervals of both errors, in percent. n_kept: images not blacklisted."""
    found = {}
    for name, error, n in (("cls", row.cls_error, n_images), ("clsloc", row.clsloc_error, n_kept)):
        found[f"{name}_error_95"] = Number.of_percent(error, n).ends
    return found


def _lines(
    rows: list[GuessErrors],
    intervals: list[dict[str, list[float]]],
    oddities: Oddities,
    hints: list[Hint],
) -> list[str]:
    """Write the table for the terminal, what is odd, and what might help."""

    def ends(interval: list[float]) -> str:
        return f"{interval[0]:.2f}-{interval[1]:.2f}"

    lines = [f"guesses  cls error %  {'95 %':>13}  cls-loc error %  {'95 %':>13}"]
    for row, both in zip(rows, intervals, strict=True):
        cls, clsloc = (ends(interval) for interval in both.values())
        lines.append(
            f"{row.k:7d}  {row.cls_error:11.2f}  {cls:>13}  {row.clsloc_error:15.2f}  {clsloc:>13}"
        )
    for text in (oddities.line, *(f"hint: {hint.line}" for hint in hints)):
        lines += textwrap.wrap(text, 79, subsequent_indent="  ")
    return lines
