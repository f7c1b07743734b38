"""Make the report's pictures of the examples that runs keep: an image under its map, and boxes."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from PIL import Image

from cam_repro.geometry import iou
from cam_repro.metrics.official import IOU_THRESHOLD
from cam_repro.report.comparisons import what_is_compared
from cam_repro.resample import resize
from cam_repro.runs.examples import Example
from cam_repro.tables import Run
from cam_repro.types import NO_LABEL, PAD, Box

Pictured = tuple[str, str, Run, list[Example]]
"""A run's label, its anchor in the page, the run, and its examples."""

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


@dataclass(frozen=True)
class Picture:
    """Hold an image under the map of a class, and the boxes to draw over it.

    source: the JPEG as a data URI. width, height: of the image, in whose pixels the boxes are.
    name: of the map's class. probability: which the network gives it. guess: the box of that
    class, None where there is none. true_name: None where the class is not known.
    overlap: the IoU of the guess with the true box that it overlaps most; None without a true box.
    """

    id: str
    source: str
    width: int
    height: int
    name: str
    probability: float
    guess: Box | None
    true_name: str | None
    true_boxes: list[Box]
    overlap: float | None

    @property
    def verdict(self) -> str:
        """Say what is right: ``right``, ``wrong box``, ``wrong class``; empty if not known."""
        if self.true_name is None or self.overlap is None:
            return ""
        if self.true_name != self.name:
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
    having = [each for each in pictured if each[3]]
    of_a_kind = MOST_IN_GALLERIES // (len(KINDS) * max(1, len(having)))
    of_a_kind = min(MOST_OF_A_KIND, max(1, of_a_kind))
    shown = []
    for label, anchor, run, found in having:
        rule = next(iter(run.table.rules))
        kinds = {
            title: [_first_guess(e, run, rule) for e in found if kind in e.why][:of_a_kind]
            for kind, title in KINDS.items()
        }
        kinds = {title: pictures for title, pictures in kinds.items() if pictures}
        if kinds:
            shown.append(Gallery(label, anchor, rule, kinds))
    return shown


def compare_runs(pictured: list[Pictured]) -> list[Comparison]:
    """Show the runs that the paper compares on the same images (Figure 5).

    Images are examples of the kind ``even``, which runs over the same split have in common.
    """
    having = [each for each in pictured if any("even" in e.why for e in each[3])]
    comparisons = []
    for left in having:
        for right in having:
            title = what_is_compared(left[2], right[2])
            if title is not None:
                pairs = _pairs(left, right)
                if pairs:
                    labels, anchors = (left[0], right[0]), (left[1], right[1])
                    comparisons.append(Comparison(title, labels, anchors, pairs))
    return comparisons


def _pairs(left: Pictured, right: Pictured) -> list[tuple[Picture, Picture]]:
    theirs = {e.id: e for e in right[3]}
    shared = [e for e in left[3] if "even" in e.why and e.id in theirs][:MOST_COMPARED]
    return [(_true_class(e, left[2]), _true_class(theirs[e.id], right[2])) for e in shared]


def _first_guess(example: Example, run: Run, rule: str) -> Picture:
    """Show the map of the best class and the first guess's box."""
    row = run.table.ids.index(example.id)
    guess = run.table.rules[rule].boxes_N54[row, 0]
    return _picture(example, run, row, 0, guess)


def _true_class(example: Example, run: Run) -> Picture:
    """Show the map of the true class and the box made of it; of the best class if it is unknown."""
    row = run.table.ids.index(example.id)
    found = next(iter(run.table.rules.values()))
    rank = example.rank_of(int(run.table.labels_N[row]))
    if rank is None:
        return _picture(example, run, row, 0, found.boxes_N54[row, 0])
    return _picture(example, run, row, rank, found.gt_known_N4[row])


def _picture(example: Example, run: Run, row: int, rank: int, guess_4: np.ndarray) -> Picture:
    """Make the picture of an example under the map of one of its classes.

    row: of the image in the run. rank: of the class in the example. guess_4: PAD for no box.
    """
    true_boxes_M4 = run.table.boxes.of(row)
    label = int(run.table.labels_N[row])
    true_rank = None if label == NO_LABEL else example.rank_of(label)
    has_guess = not (guess_4 == PAD).all()
    overlap = None
    if len(true_boxes_M4):
        overlap = float(iou(guess_4[None], true_boxes_M4).max()) if has_guess else 0.0
    return Picture(
        id=example.id,
        source=_data_uri(overlay(example.picture(), example.maps_Rhw[rank])),
        width=example.width,
        height=example.height,
        name=example.names[rank],
        probability=example.probabilities[rank],
        guess=tuple(guess_4.tolist()) if has_guess else None,
        true_name=None if true_rank is None else example.names[true_rank],
        true_boxes=[tuple(box) for box in true_boxes_M4.tolist()],
        overlap=overlap,
    )


def overlay(image: Image.Image, map_hw: np.ndarray) -> Image.Image:
    """Lay a map over a grey image; what is not above 0 shows the image alone."""
    image = image.copy()
    image.thumbnail((SIDE, SIDE))
    heat_HW = np.maximum(resize(map_hw, *image.size, "linear"), 0)
    peak = float(heat_HW.max())
    if peak > 0:
        heat_HW /= peak
    colours_HW3 = mpl.colormaps["inferno"](heat_HW)[..., :3]
    grey_HW1 = np.asarray(image.convert("L"), np.float32)[..., None] / 255
    weight_HW1 = 0.75 * np.sqrt(heat_HW)[..., None]
    mixed_HW3 = (1 - weight_HW1) * grey_HW1 + weight_HW1 * colours_HW3
    return Image.fromarray((255 * mixed_HW3).round().astype(np.uint8))


def _data_uri(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
