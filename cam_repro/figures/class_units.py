"""Draw the units of classes by the regions of images where they are most active: Figure 13."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from cam_repro.figures.grid import Grid
from cam_repro.types import Box

OUTSIDE = 0.35
"""By what pixels around a region are multiplied, so that the region stands out."""

MARGIN = 0.25
"""How much of the image is shown on each side of a region, as a share of its longer side."""

CELL = 0.9, 0.9
"""Width and height of a picture, inches."""

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
    """Draw a row for each unit, with its patches side by side, below the name of its class.

    notes: below all, each a paragraph.
    """
    rows = [unit for of_class in classes for unit in of_class.units]
    firsts = np.cumsum([0, *(len(of_class.units) for of_class in classes)]).tolist()
    headings = {first: each.name for first, each in zip(firsts[:-1], classes, strict=True)}
    columns = max(1, *(len(unit.patches) for unit in rows))
    grid = Grid(len(rows), columns, title, headings=headings, notes=notes, cell=CELL)
    for row, unit in enumerate(rows):
        nowhere = "" if unit.patches else ": nowhere active"
        said = f"unit {unit.unit}, weight {unit.weight:.3g}{nowhere}"
        grid.caption(row, 0, [said], span=max(columns, 3))  # the figure is as wide in any case
        for column, patch_HW3 in enumerate(unit.patches):
            grid.axes(row, column).imshow(patch_HW3)
    grid.legend([])
    return grid.figure
