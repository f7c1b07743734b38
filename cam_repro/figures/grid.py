"""Lay pictures out in equal cells, with captions and one legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path

from cam_repro.figures import style

Line = str | tuple[str, str]
"""A line of text; or of two parts, of which the second is never cut."""

Place = tuple[float, float, float, float]
"""Matplotlib's rectangle: left, bottom, width and height as shares of the figure."""

_EDGE, _GAP, _LINE, _HEADING = 0.1, 0.08, 0.135, 0.19
"""Inches: around the figure, between cells, for a line of text, for a heading."""


def text_width(text: str, size: float) -> float:
    """Measure a line of text, inches. size: of its letters, points."""
    font = FontProperties(size=size)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72


def fitted(line: Line, width: float, size: float) -> str:
    """Cut a line of text to a width in inches, with an ellipsis for what is cut.

    size: of its letters, points.
    """
    text, tail = (line, "") if isinstance(line, str) else line
    if text_width(text + tail, size) <= width:
        return text + tail
    end = len(text)
    while end > 1 and text_width(text[:end].rstrip(" ,") + "…" + tail, size) > width:
        end -= 1
    return text[:end].rstrip(" ,") + "…" + tail


@dataclass
class Grid:
    """Make a figure of equal cells, each for a picture with lines of text above it.

    rows, columns: how many. title: a line above all; empty: none. above: how many lines of text
    stand above each picture. headings: lines above rows, by the number of the row; over_columns: a
    heading above each column, or none. notes: lines below the legend.
    cell: width and height of a picture, inches; a picture of another shape is centred in it.
    """

    rows: int
    columns: int
    title: str = ""
    above: int = 1
    headings: Mapping[int, str] = field(default_factory=dict)
    over_columns: Sequence[str] = ()
    notes: Sequence[str] = ()
    cell: tuple[float, float] = (1.32, 1.0)
    figure: Figure = field(init=False)

    def __post_init__(self) -> None:
        self._step_x = self.cell[0] + _GAP
        title = [self.title] if self.title else []
        top = _EDGE + len(title) * (_HEADING + 0.03) + (_HEADING if self.over_columns else 0)
        self._tops = []  # of the lines above each row
        for row in range(self.rows):
            top += _HEADING if row in self.headings else 0
            self._tops.append(top)
            top += self.above * _LINE + self.cell[1] + _GAP
        self._legend_top = top + 0.02
        self._height = self._legend_top + (1 + len(self.notes)) * _LINE + _EDGE
        lines = [*title, *self.headings.values(), *self.notes]
        widest = max((text_width(line, style.SMALL_SIZE) for line in lines), default=0)
        cells = self.columns * self._step_x - _GAP
        self._width = 2 * _EDGE + max(cells, min(widest, 5.0))
        self.figure = Figure(figsize=(self._width, self._height))
        for line in title:
            self._line(_EDGE, _EDGE, line, style.TITLE_SIZE, self._inner)
        for row, heading in self.headings.items():
            y = self._tops[row] - _HEADING
            self._line(_EDGE, y, heading, style.TEXT_SIZE, self._inner, weight="bold")
        for column, heading in enumerate(self.over_columns):
            x, y = _EDGE + column * self._step_x, self._tops[0] - _HEADING
            self._line(x, y, heading, style.TEXT_SIZE, self.cell[0], weight="bold")

    @property
    def _inner(self) -> float:
        """The figure's width without its edges, inches."""
        return self._width - 2 * _EDGE

    def axes(self, row: int, column: int) -> Axes:
        """Make the axes of a cell."""
        x, y = _EDGE + column * self._step_x, self._tops[row] + self.above * _LINE
        axes = self.figure.add_axes(self._place(x, y, *self.cell))
        axes.axis("off")
        return axes

    def caption(self, row: int, column: int, lines: Sequence[Line], span: int = 1) -> None:
        """Write up to ``above`` lines above a cell, cut to its width.

        span: over how many cells they go.
        """
        x = _EDGE + column * self._step_x
        y = self._tops[row] + (self.above - len(lines)) * _LINE
        width = span * self._step_x - _GAP
        for number, line in enumerate(lines):
            size = style.SMALL_SIZE if number else style.TEXT_SIZE
            colour = style.MUTED if number else style.INK
            self._line(x, y + number * _LINE, line, size, width, color=colour)

    def legend(self, lines: Sequence[Line2D], colours: str | None = None) -> None:
        """Explain lines, and the colours of maps if they are given, and write the notes below."""
        x, y, size = _EDGE, self._legend_top, style.SMALL_SIZE
        for line in lines:
            axes = self.figure.add_axes(self._place(x, y, 0.3, 0.11))
            axes.axis("off")
            axes.set(xlim=(0, 1), ylim=(0, 1))
            sample = Line2D([0, 1], [0.5, 0.5])
            sample.update_from(line)
            axes.add_line(sample)
            label = str(line.get_label())
            self._line(x + 0.35, y, label, size)
            x += 0.35 + text_width(label, size) + 0.16
        if colours is not None:
            self._line(x, y, "map: 0", size)
            x += text_width("map: 0", size) + 0.06
            axes = self.figure.add_axes(self._place(x, y + 0.01, 0.6, 0.09))
            axes.imshow(np.linspace(0, 1, 256)[None], aspect="auto", cmap=colours)
            axes.axis("off")
            self._line(x + 0.65, y, "its maximum", size)
        for number, note in enumerate(self.notes, start=1):
            y = self._legend_top + number * _LINE
            self._line(_EDGE, y, note, size, self._inner, color=style.MUTED)

    def _line(
        self, x: float, y: float, line: Line, size: float, width: float = np.inf, **more: Any
    ) -> None:
        """Write a line with its upper left corner x and y inches from that of the figure.

        size: of its letters, points. width: to which it is cut, inches.
        """
        settings: dict[str, Any] = {"va": "top", "color": style.INK, "parse_math": False, **more}
        text = fitted(line, width, size)
        self.figure.text(x / self._width, 1 - y / self._height, text, fontsize=size, **settings)

    def _place(self, x: float, y: float, width: float, height: float) -> Place:
        """Give matplotlib's rectangle of a place in inches from the upper left corner."""
        bottom = 1 - (y + height) / self._height
        return x / self._width, bottom, width / self._width, height / self._height
