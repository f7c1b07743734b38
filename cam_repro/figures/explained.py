"""Draw what a network says about a photograph: one map over it, or many side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from cam_repro.data.images import at_size
from cam_repro.figures import style
from cam_repro.figures.grid import Grid
from cam_repro.figures.pictures import (
    GUESS_DASHES,
    WHOLE_LINE,
    draw_box,
    is_whole,
    overlay,
    say_percent,
    say_probability,
)
from cam_repro.figures.shown import as_heat
from cam_repro.resample import resize
from cam_repro.types import Box

BOX_LINE = Line2D(*([], []), color=style.GUESSED, ls=GUESS_DASHES, lw=1.3, label="box of the class")

SMALLEST = 480
"""Pixels of the longer side that an overlay has at least; a smaller image is enlarged."""

LARGEST = 3000
"""Pixels of the longer side that an overlay has at most: a page in print. Drawing takes 100 bytes a
pixel and more, so that a large photograph would take gigabytes."""

WIDEST = 6
"""How many pictures stand side by side before a sheet begins a new row."""

BESIDE = 3
"""How many images, each with its map beside it, stand in a row."""

SLIMMEST = 1.1
"""Inches: the least width of a picture where methods stand side by side, however many."""


class Explained(Protocol):
    """What is drawn: ``cam_repro.api.Explanation`` has all of this."""

    image: Image.Image
    classes: list[int]
    names: list[str]
    scores: list[float]
    network: str
    saliency: str
    maps: np.ndarray
    interpolation: str

    def box(self, rank: int = 0, rule: str | None = None) -> Box | None:
        """Give the first box of a class; None if there is none."""


@dataclass(frozen=True)
class Look:
    """Hold how a map over an image is drawn.

    colours: a name of matplotlib's. line: width of a box's line, points. size: width and height at
    which image and map are drawn, pixels.
    """

    colours: str
    line: float
    size: tuple[int, int]


def draw_overlay(
    one: Explained, rank: int = 0, rule: str | None = None, colours: str = style.MAP_COLOURS
) -> Figure:
    """Draw the map of a class over the whole image, with its first box.

    The picture has the image's size, within ``SMALLEST`` and ``LARGEST``.

    rule: whose box; None: the first rule's. colours: of the map, a name of matplotlib's.
    """
    width, height = one.image.size
    scale = float(np.clip(1.0, SMALLEST / max(width, height), LARGEST / max(width, height)))
    inches = [max(1.0, scale * side) / style.DPI for side in (width, height)]  # a pixel at least
    figure = Figure(figsize=(inches[0], inches[1]))
    axes = figure.add_axes((0, 0, 1, 1))
    letters = max(6.0, 72 * 0.035 * min(inches))  # points: a share of the shorter side
    size = _scaled(one.image.size, min(1.0, scale))
    _draw(axes, one, rank, rule, Look(colours, letters / 6, size))
    axes.text(
        *(0.015, 0.985, f"{one.names[rank]} {say_percent(one.scores[rank])}"),
        transform=axes.transAxes,
        va="top",
        fontsize=letters,
        color="white",
        parse_math=False,
        bbox={"facecolor": "black", "alpha": 0.6, "lw": 0, "boxstyle": "round,pad=0.25"},
    )
    return figure


def draw_sheet(
    explained: Sequence[Explained], rule: str | None = None, colours: str = style.MAP_COLOURS
) -> Figure:
    """Draw an image, and beside it the map of each class: the paper's Figure 4.

    explained: the same image by one network and method, or by several. If these have the same
    classes, each class has a row and each method a column, as in Grad-CAM's Figure 1; if not, they
    stand one below the other. rule, colours: as for ``draw_overlay``.
    """
    if len(explained) > 1 and all(one.classes == explained[0].classes for one in explained):
        return _draw_columns(explained, rule, colours)
    width, height = explained[0].image.size
    cell = 1.75, float(np.clip(1.75 * height / width, 0.9, 2.4))
    columns = min(WIDEST, 1 + max(len(one.classes) for one in explained))
    rows_of = [-(-len(one.classes) // max(1, columns - 1)) for one in explained]
    firsts = np.cumsum([0, *rows_of[:-1]]).tolist()
    names = [f"{one.network}, {one.saliency}" for one in explained]
    headings = {(first, 0): name for first, name in zip(firsts, names, strict=True)}
    notes = ["above each map: its class and the probability of it"]
    grid = Grid(sum(rows_of), columns, "", above=2, headings=headings, notes=notes, cell=cell)
    look = Look(colours, 1.3, _shown_size((width, height), cell))
    for first, one in zip(firsts, explained, strict=True):
        picture = grid.axes(first, 0)
        picture.imshow(at_size(one.image, look.size))
        grid.caption(first, 0, ["", f"{width} x {height} pixels"])
        for rank, name in enumerate(one.names):
            row, column = first + rank // (columns - 1), 1 + rank % (columns - 1)
            _draw(grid.axes(row, column), one, rank, rule, look)
            grid.caption(row, column, [name, say_probability(one.scores[rank])])
    grid.legend(_lines(explained, rule), colours)
    return grid.figure


def draw_beside(
    explained: Sequence[Explained], captions: Sequence[str], title: str, notes: Sequence[str]
) -> Figure:
    """Draw each of several images beside the map of its first class, with the first rule's box.

    captions: one above each image. notes: below all, each a paragraph.
    """
    columns = min(BESIDE, len(explained))
    grid = Grid(-(-len(explained) // columns), 2 * columns, title, notes=notes)
    for number, (one, caption) in enumerate(zip(explained, captions, strict=True)):
        row, column = number // columns, 2 * (number % columns)
        look = Look(style.MAP_COLOURS, 1.3, _shown_size(one.image.size, grid.cell))
        grid.axes(row, column).imshow(at_size(one.image, look.size))
        _draw(grid.axes(row, column + 1), one, 0, None, look)
        grid.caption(row, column, [caption], span=2)
    grid.legend(_lines(explained, None), style.MAP_COLOURS)
    return grid.figure


def _draw_columns(explained: Sequence[Explained], rule: str | None, colours: str) -> Figure:
    """Draw a row for each class, with the image and then its map by each network and method."""
    first, columns = explained[0], 1 + len(explained)
    width, height = first.image.size
    wide = max(SLIMMEST, min(1.75, 1.75 * WIDEST / columns))
    cell = wide, wide * float(np.clip(height / width, 0.5, 1.4))
    networks, methods = (
        {getattr(one, key) for one in explained} for key in ("network", "saliency")
    )
    parts = [
        [name for name, many in ((one.network, networks), (one.saliency, methods)) if len(many) > 1]
        for one in explained
    ]
    title = ", ".join(name for names in (networks, methods) if len(names) == 1 for name in names)
    grid = Grid(
        len(first.classes),
        columns,
        title,
        above=2,
        over_columns=["", *(", ".join(part).replace("_", " ") for part in parts)],
        notes=["above each image: the class of its row, and the probability of it"],
        cell=cell,
    )
    look = Look(colours, 1.3, _shown_size((width, height), cell))
    for row, name in enumerate(first.names):
        grid.axes(row, 0).imshow(at_size(first.image, look.size))
        grid.caption(row, 0, [name, say_probability(first.scores[row])])
        for column, one in enumerate(explained, start=1):
            _draw(grid.axes(row, column), one, row, rule, look)
            if len(networks) > 1:
                grid.caption(row, column, ["", say_probability(one.scores[row])])
    grid.legend(_lines(explained, rule), colours)
    return grid.figure


def _shown_size(size: tuple[int, int], cell: tuple[float, float]) -> tuple[int, int]:
    """Give the width and height at which an image is drawn in a cell, pixels.

    A large photograph is shrunk first: a cell shows no more of it.
    size: of the image. cell: width and height, inches.
    """
    return _scaled(size, min(1.0, 2 * style.DPI * max(cell) / max(size)))


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Scale a width and a height, pixels; of a thin image a side is one pixel at least."""
    return max(1, round(scale * size[0])), max(1, round(scale * size[1]))


def _lines(explained: Sequence[Explained], rule: str | None) -> list[Line2D]:
    """List the kinds of lines that boxes are drawn by, for the legend."""
    ranks = [(one, rank) for one in explained for rank in range(len(one.classes))]
    boxes = [(box, one) for one, rank in ranks if (box := one.box(rank, rule)) is not None]
    whole = [is_whole(box, one.image.size) for box, one in boxes]
    return [BOX_LINE] * (not all(whole)) + [WHOLE_LINE] * any(whole)


def png_of(figure: Figure) -> bytes:
    """Draw a figure as a PNG in memory, for notebooks and terminals."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=style.DPI)
    return buffer.getvalue()


def _draw(axes: Axes, one: Explained, rank: int, rule: str | None, look: Look) -> None:
    """Draw a class's map over the image, and its box, in coordinates of the image."""
    axes.axis("off")
    width, height = one.image.size
    heat_HW = as_heat(resize(one.maps[rank], *look.size, one.interpolation))
    pixels = overlay(np.asarray(at_size(one.image, look.size)), heat_HW, look.colours)
    edges = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(pixels, extent=edges, interpolation="none")
    box = one.box(rank, rule)
    if box is not None:
        draw_box(axes, box, one.image.size, style.GUESSED, GUESS_DASHES, look.line)
