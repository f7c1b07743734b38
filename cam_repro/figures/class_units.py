"""Draw the units of classes by the regions of images where they are most active: Figure 13."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from cam_repro.figures import style
from cam_repro.figures.grid import EDGE, GAP, HEADING, Grid
from cam_repro.types import Box

OUTSIDE = 0.35
"""By what pixels around a region are multiplied, so that the region stands out."""

MARGIN = 0.25
"""How much of the image is shown on each side of a region, as a share of its longer side."""

PAGE = 7.5, 10.0
"""Width and height of a figure, inches, that fits on a page."""

TEXTS = 1.0
"""Inches of that height for title and notes."""

CELL, SMALLEST = 0.9, 0.3
"""Width and height of a picture, inches: at most, and so that something can be seen of it."""

MAX_SIDE = 400
"""Pixels of the longer side that a cut-out has at most: a cell shows no more."""


@dataclass(frozen=True, eq=False)
class ShownUnit:
    """Hold a unit of a class: its number, and its weight for the class.

    patches: cut-outs of the images in which it is most active (``cut_out``), in their order.
    """

    unit: int
    weight: float
    patches: Sequence[np.ndarray]


@dataclass(frozen=True, eq=False)
class ShownClass:
    """Hold a class: its name, and its units in the order in which they are drawn."""

    name: str
    units: Sequence[ShownUnit]


def cut_out(picture_HW3: np.ndarray, mask_HW: np.ndarray, box: Box) -> np.ndarray:
    """Cut a region out of its image with a margin, darker around it: uint8 (h, w, 3).

    It is a square, but no side is longer than the image's. A large one is shrunk to ``MAX_SIDE``.
    picture_HW3: the image's pixels, uint8. mask_HW: bool, the pixels of the region. box: theirs.
    """
    x0, y0, x1, y1 = box
    side = round((1 + 2 * MARGIN) * max(x1 - x0 + 1, y1 - y0 + 1))
    height, width = mask_HW.shape
    part = _around(y0, y1, side, height), _around(x0, x1, side, width)
    light_HW1 = np.where(mask_HW[part], 1.0, OUTSIDE)[..., None]
    cut = Image.fromarray((picture_HW3[part] * light_HW1).round().astype(np.uint8))
    cut.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(cut)


def _around(first: int, last: int, side: int, length: int) -> slice:
    """Give ``side`` pixels around those from ``first`` to ``last``, moved to lie in the image.

    length: of the image in this direction, which is also the most that is given.
    """
    side = min(side, length)
    start = min(max(0, (first + last + 1 - side) // 2), length - side)
    return slice(start, start + side)


def draw_units(classes: Sequence[ShownClass], title: str, notes: Sequence[str]) -> Figure:
    """Draw a row for each unit, its patches side by side, below the name of its class.

    Classes stand in as many columns as make pictures the largest with which the figure fits on a
    page; where these would be tiny, it is larger than a page. Before the patches of a unit stand
    its number and its weight. notes: below all, each a paragraph.
    """
    n_units = max(len(of_class.units) for of_class in classes)
    n_patches = max(1, *(len(unit.patches) for each in classes for unit in each.units))
    cells = {n: _cell(len(classes), n_units, n_patches, n) for n in range(1, len(classes) + 1)}
    columns = max(cells, key=lambda n: (round(cells[n], 1), n))  # of like ones the lowest figure
    cell = max(SMALLEST, cells[columns])
    places = {
        (number // columns * n_units, number % columns * (1 + n_patches)): of_class
        for number, of_class in enumerate(classes)
    }
    grid = Grid(
        *(-(-len(classes) // columns) * n_units, columns * (1 + n_patches), title),
        above=0,
        headings={place: of_class.name for place, of_class in places.items()},
        notes=notes,
        cell=(cell, cell),
    )
    for (first, column), of_class in places.items():
        for row, unit in enumerate(of_class.units, start=first):
            _say(grid.axes(row, column), unit)
            for rank, patch_HW3 in enumerate(unit.patches, start=1):
                grid.axes(row, column + rank).imshow(patch_HW3)
            if not unit.patches:
                axes = grid.axes(row, column + 1)
                axes.text(0, 0.5, "nowhere active", va="center", size=style.SMALL_SIZE)
    grid.legend([])
    return grid.figure


def _cell(n_classes: int, n_units: int, n_patches: int, columns: int) -> float:
    """Give the width and height of a picture, inches, with which the figure fits on a page.

    columns: of classes, which have ``n_units`` of ``n_patches`` each.
    """
    blocks = -(-n_classes // columns)
    width, height = PAGE[0] - 2 * EDGE + GAP, PAGE[1] - 2 * EDGE - TEXTS - blocks * HEADING
    return min(CELL, width / (columns * (1 + n_patches)) - GAP, height / (blocks * n_units) - GAP)


def _say(axes: Axes, unit: ShownUnit) -> None:
    """Write a unit's number and weight before its patches."""
    number, weight = str(unit.unit), f"{unit.weight:.3g}"
    axes.text(1, 0.5, number, ha="right", va="bottom", size=style.TEXT_SIZE, color=style.INK)
    axes.text(1, 0.5, weight, ha="right", va="top", size=style.SMALL_SIZE, color=style.MUTED)
