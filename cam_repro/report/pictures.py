"""Make the report's pictures of the examples that runs keep: an image under its map, and boxes."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from cam_repro.figures.pictures import Outline, outline, overlay
from cam_repro.figures.shown import Shown
from cam_repro.figures.style import MAP_COLOURS
from cam_repro.metrics.official import IOU_THRESHOLD
from cam_repro.report.comparisons import what_is_compared
from cam_repro.tables import Run
from cam_repro.types import NO_LABEL, Box

SIDE = 360
"""Longer side of a picture, pixels."""

QUALITY = 80
"""JPEG quality of a picture."""

KINDS = {"best": "Best", "typical": "Typical", "worst": "Worst"}

MOST_OF_A_KIND = 3
MOST_IN_GALLERIES = 150
"""Pictures in all galleries together, about, so that the page stays small."""

MOST_COMPARED = 4
"""Images in each comparison."""


@dataclass(frozen=True, eq=False)
class Pictured:
    """Hold a run with its examples, which have the guesses of its first box rule.

    label, anchor: what the page calls the run, and where it describes it.
    """

    label: str
    anchor: str
    run: Run
    images: list[Shown]


@dataclass(frozen=True)
class Picture:
    """Hold an image under the map of a class, and the boxes to draw over it.

    source: the JPEG as a data URI. width, height: of the image, in whose pixels the boxes are.
    name: of the map's class. probability: which the network gives it. guess: the box of that
    class, None where there is none. is_right: whether that class is the true one; None where that
    is not known. true_name: of the true class; two classes of ILSVRC may have the same name.
    overlap: the IoU of the guess with the true box that it overlaps most; None without either.
    """

    id: str
    source: str
    width: int
    height: int
    name: str
    probability: float
    guess: Box | None
    is_right: bool | None
    true_name: str | None
    true_boxes: list[Box]
    overlap: float | None

    @property
    def outlines(self) -> list[tuple[str, Outline]]:
        """List the lines of the boxes, each with its kind, ``true`` or ``guess``."""
        size = self.width, self.height
        drawn = [("true", outline(box, size, is_true=True)) for box in self.true_boxes]
        guessed = [] if self.guess is None else [self.guess]
        return drawn + [("guess", outline(box, size, is_true=False)) for box in guessed]

    @property
    def verdict(self) -> str:
        """Say what is right: ``right``, ``wrong box``, ``wrong class``; empty if not known."""
        if self.is_right is None or self.overlap is None:
            return ""
        if not self.is_right:
            return "wrong class"
        return "right" if self.overlap >= IOU_THRESHOLD else "wrong box"


@dataclass(frozen=True)
class Gallery:
    """Hold the best, typical and worst images of a run, by kind."""

    label: str
    anchor: str
    rule: str
    kinds: dict[str, list[Picture]]


@dataclass(frozen=True)
class Comparison:
    """Hold the same images in two runs: pairs of pictures of the true class."""

    title: str
    labels: tuple[str, str]
    anchors: tuple[str, str]
    pairs: list[tuple[Picture, Picture]]


def galleries(pictured: list[Pictured]) -> list[Gallery]:
    """Show the best, typical and worst examples of each run that has some (Figure 6)."""
    having = [each for each in pictured if each.images]
    of_a_kind = MOST_IN_GALLERIES // (len(KINDS) * max(1, len(having)))
    of_a_kind = min(MOST_OF_A_KIND, max(1, of_a_kind))
    galleries = []
    for each in having:
        kinds = {
            title: [_picture(one, 0) for one in _pick(each.images, kind)[:of_a_kind]]
            for kind, title in KINDS.items()
        }
        kinds = {title: pictures for title, pictures in kinds.items() if pictures}
        if kinds:
            rule = next(iter(each.run.table.rules))
            galleries.append(Gallery(each.label, each.anchor, rule, kinds))
    return galleries


def _pick(shown: list[Shown], kind: str) -> list[Shown]:
    """Give the examples of a kind, by their IoU: the best first, the worst first."""
    of_kind = [one for one in shown if kind in one.example.why]
    return sorted(of_kind, key=lambda one: one.iou or 0, reverse=kind == "best")


def compare_runs(pictured: list[Pictured]) -> list[Comparison]:
    """Show the runs that the paper compares on the same images (Figure 5).

    Images are examples of the kind ``even``, which runs over the same split have in common.
    """
    having = [each for each in pictured if any("even" in one.example.why for one in each.images)]
    comparisons = []
    for left in having:
        for right in having:
            title = what_is_compared(left.run, right.run)
            pairs = [] if title is None else _pairs(left.images, right.images)
            if title is not None and pairs:
                labels, anchors = (left.label, right.label), (left.anchor, right.anchor)
                comparisons.append(Comparison(title, labels, anchors, pairs))
    return comparisons


def _pairs(left: list[Shown], right: list[Shown]) -> list[tuple[Picture, Picture]]:
    theirs = {one.example.id: one for one in right}
    shared = [one for one in left if "even" in one.example.why and one.example.id in theirs]
    return [
        (_true_class(one), _true_class(theirs[one.example.id])) for one in shared[:MOST_COMPARED]
    ]


def _true_class(shown: Shown) -> Picture:
    """Draw the map of the true class and the box made of it; of the best class if it is unknown."""
    if shown.true_rank is None:
        return _picture(shown, 0)
    guess = None if shown.known is None else (shown.label, shown.known)
    return _picture(replace(shown, guess=guess), shown.true_rank)


def _picture(shown: Shown, rank: int) -> Picture:
    """Draw an example under the map of one of its classes, by its rank in the example."""
    example = shown.example
    pixels_HW3 = overlay(shown.picture_HW3, shown.heat_HW(rank), MAP_COLOURS)
    true_rank = shown.true_rank
    return Picture(
        id=example.id,
        source=_data_uri(pixels_HW3),
        width=example.width,
        height=example.height,
        name=example.names[rank],
        probability=example.probabilities[rank],
        guess=None if shown.guess is None else shown.guess[1],
        is_right=None if shown.label == NO_LABEL else example.classes[rank] == shown.label,
        true_name=None if true_rank is None else example.names[true_rank],
        true_boxes=[tuple(box) for box in shown.true_boxes_M4.tolist()],
        overlap=shown.iou,
    )


def _data_uri(pixels_HW3: np.ndarray) -> str:
    """Encode a picture of at most ``SIDE`` pixels, to stand in the page itself."""
    image = Image.fromarray(pixels_HW3)
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
