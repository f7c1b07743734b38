"""Tell what a submission would score if it were read in another way.

A wrong numbering of the classes, lines in another order, or boxes as ``x y width height`` give
wrong errors in silence. So those readings are tried, and the ones that help are named. Where
classes are few, a wrong numbering leaves some guesses right: numberings are tried at any error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cam_repro.classes import ilsvrc_classes
from cam_repro.geometry import corners_of_xywh
from cam_repro.metrics.official import GuessErrors, hits, percent, wrong
from cam_repro.runs.guesses import NUMBERINGS, Guesses
from cam_repro.truth import Truth
from cam_repro.types import NO_LABEL

NEAR_100 = 95.0
"""Percent: from this localization error of five guesses on, other readings of boxes are tried."""

MANY_INVERTED = 0.05
"""Share of the five guesses of all images: if more are inverted, ``x y width height`` is tried."""

WORTH = 5.0
"""Points by which another reading must lower the error to be named."""


@dataclass(frozen=True)
class Hint:
    """Hold what another reading gives.

    reading: what is read otherwise. of: ``classification`` or ``localization``. error: of five
    guesses, percent. remedy: what to do, a setting where there is one.
    """

    reading: str
    of: str
    error: float
    remedy: str

    def as_json(self) -> dict[str, Any]:
        """Give it by name."""
        return {"reading": self.reading, f"{self.of}_error": self.error, "remedy": self.remedy}

    @property
    def line(self) -> str:
        """Say it in one line."""
        return f"{self.reading}, the {self.of} error would be {self.error:.1f} %: {self.remedy}"


def find_hints(truth: Truth, guesses: Guesses, errors: GuessErrors, n_inverted: int) -> list[Hint]:
    """Try other readings of a submission; give those that lower its error, the best first.

    errors: of five guesses. n_inverted: how many boxes are inverted.
    A run is not read otherwise: its guesses cannot be misunderstood.
    """
    if not guesses.is_of_file:
        return []
    found = []
    if errors.cls_error >= WORTH:
        found = [hint for hint in _labels(truth, guesses) if hint.error <= errors.cls_error - WORTH]
    is_of_boxes = errors.cls_error < NEAR_100 <= errors.clsloc_error
    if is_of_boxes or n_inverted > MANY_INVERTED * guesses.labels_N5.size:
        hint = _corners(truth, guesses)
        if guesses.form.boxes != "xywh" and hint.error <= errors.clsloc_error - WORTH:
            found.append(hint)
    return sorted(found, key=lambda hint: hint.error)


def _labels(truth: Truth, guesses: Guesses) -> Iterator[Hint]:
    """Yield what other numberings of the labels give, and other lines."""

    def hint(reading: str, labels_N5: np.ndarray, remedy: str) -> Hint:
        right_N5 = (labels_N5 == np.asarray(truth.labels_N)[:, None]) & (labels_N5 >= 0)
        return Hint(reading, "classification", percent(wrong(right_N5, 5)), remedy)

    given_N5 = guesses.given_N5
    if given_N5 is None:  # matched by names, of images and of classes
        return
    yield hint("with its lines in reverse order", guesses.labels_N5[::-1], "turn them round")
    if truth.classes is not None:
        for name, numbering in NUMBERINGS.items():
            if name == "kit" and truth.classes.devkit_ids_C is None:
                continue
            labels_N5 = numbering.indices(given_N5, truth.classes)
            yield hint(f"with labels read as {numbering.what}", labels_N5, f"give labels={name}")
        return
    classes = ilsvrc_classes()
    indices_C = np.arange(len(classes))
    numbers = {"kit": classes.submission_labels_C, "index": indices_C, "index+1": indices_C + 1}
    for name, numbering in NUMBERINGS.items():
        indices_N5 = numbering.indices(given_N5, classes)
        for other, numbers_C in numbers.items():
            labels_N5 = np.where(indices_N5 >= 0, numbers_C[indices_N5], NO_LABEL)
            reading = (
                f"with labels read as {numbering.what} and the ground truth's as "
                f"{NUMBERINGS[other].what}"
            )
            remedy = f"call the ground truth's column class_index and give labels={name}"
            if other != "index":
                remedy = "write both in one numbering"
            if name != other:
                yield hint(reading, labels_N5, remedy)


def _corners(truth: Truth, guesses: Guesses) -> Hint:
    """Read boxes as ``x y width height``."""
    _, right_N5 = hits(truth, guesses.labels_N5, corners_of_xywh(guesses.boxes_N54))
    wrong_N = wrong(right_N5, 5)
    if truth.blacklisted_N is not None:
        wrong_N = wrong_N[~truth.blacklisted_N]
    reading = "with boxes read as x y width height"
    return Hint(reading, "localization", percent(wrong_N), "give boxes=xywh")
