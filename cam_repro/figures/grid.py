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

EDGE, GAP, LINE, HEADING = 0.1, 0.08, 0.135, 0.19
"""Inches: around the figure, between cells, for a line of text, for a heading."""

_NARROWEST = 3.3
"""Inches: what the legend needs."""


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Measure a line of text, inches. size: of its letters, points. weight: ``bold`` or normal."""
    font = FontProperties(size=size, weight=weight)
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


def wrapped(text: str, width: float, size: float, weight: str = "normal") -> list[str]:
    """Break a text between words into lines of a width in inches; size, weight: of its letters."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size, weight) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


@dataclass
class Grid:
    """Make a figure of equal cells, each for a picture with lines of text above it.

    rows, columns: how many. title: above all, on as many lines as it takes. above: how many lines
    of text stand above each picture. headings: lines above rows, by the row and the column where
    they begin; over_columns: a heading above each column, or none. notes: below the legend, each a
    paragraph. cell: width and height of a picture, inches; a picture of another shape is centred in
    it.
    """

    rows: int
    columns: int
    title: str
    above: int = 1
    headings: Mapping[tuple[int, int], str] = field(default_factory=dict)
    over_columns: Sequence[str] = ()
    notes: Sequence[str] = ()
    cell: tuple[float, float] = (1.32, 1.0)
    figure: Figure = field(init=False)

    def __post_init__(self) -> None:
        self._width = 2 * EDGE + max(self.columns * self._step_x - GAP, _NARROWEST)
        self._note_lines = [
            line for note in self.notes for line in wrapped(note, self._inner, style.SMALL_SIZE)
        ]
        title = wrapped(self.title, self._inner, style.TITLE_SIZE)
        over = [wrapped(h, self.cell[0], style.TEXT_SIZE, "bold") for h in self.over_columns]
        under_title = EDGE + len(title) * HEADING + 0.05
        top = under_title + (max(map(len, over)) * LINE + 0.04 if over else 0)
        headed = {row for row, _ in self.headings}
        self._tops = []  # of the lines above each row
        for row in range(self.rows):
            top += HEADING if row in headed else 0
            self._tops.append(top)
            top += self.above * LINE + self.cell[1] + GAP
        self._legend_top = top + 0.02
        self._height = self._legend_top + (1 + len(self._note_lines)) * LINE + EDGE
        self.figure = Figure(figsize=(self._width, self._height))
        self._lines(EDGE, EDGE, title, HEADING, style.TITLE_SIZE)
        for column, lines in enumerate(over):
            x = EDGE + column * self._step_x
            self._lines(x, under_title, lines, LINE, style.TEXT_SIZE, weight="bold")
        for (row, column), heading in self.headings.items():
            others = [other for of_row, other in self.headings if of_row == row and other > column]
            x, ends = column * self._step_x, [other * self._step_x - GAP for other in others]
            line = fitted(heading, min(ends, default=self._inner) - x, style.TEXT_SIZE)
            y = self._tops[row] - HEADING
            self._lines(EDGE + x, y, [line], LINE, style.TEXT_SIZE, weight="bold")

    @property
    def _step_x(self) -> float:
        """The distance from one column to the next, inches."""
        return self.cell[0] + GAP

    @property
    def _inner(self) -> float:
        """The figure's width without its edges, inches."""
        return self._width - 2 * EDGE

    def axes(self, row: int, column: int) -> Axes:
        """Make the axes of a cell."""
        x, y = EDGE + column * self._step_x, self._tops[row] + self.above * LINE
        axes = self.figure.add_axes(self._place(x, y, *self.cell))
        axes.axis("off")
        return axes

    def caption(self, row: int, column: int, lines: Sequence[Line], span: int = 1) -> None:
        """Write up to ``above`` lines above a cell, cut to its width.

        span: over how many cells they go.
        """
        x = EDGE + column * self._step_x
        y = self._tops[row] + (self.above - len(lines)) * LINE
        width = span * self._step_x - GAP
        first = fitted(lines[0], width, style.TEXT_SIZE)
        others = [fitted(line, width, style.SMALL_SIZE) for line in lines[1:]]
        self._lines(x, y, [first], LINE, style.TEXT_SIZE)
        self._lines(x, y + LINE, others, LINE, style.SMALL_SIZE, color=style.MUTED)

    def legend(self, lines: Sequence[Line2D], colours: str | None = None) -> None:
        """Explain lines, and the colours of maps if they are given, and write the notes below."""
        x, y, size = EDGE, self._legend_top, style.SMALL_SIZE
        for line in lines:
            axes = self.figure.add_axes(self._place(x, y, 0.3, 0.11))
            axes.axis("off")
            axes.set(xlim=(0, 1), ylim=(0, 1))
            sample = Line2D([0, 1], [0.5, 0.5])
            sample.update_from(line)
            axes.add_line(sample)
            label = str(line.get_label())
            self._lines(x + 0.35, y, [label], LINE, size)
            x += 0.35 + text_width(label, size) + 0.16
        if colours is not None:
            self._lines(x, y, ["map: 0"], LINE, size)
            x += text_width("map: 0", size) + 0.06
            axes = self.figure.add_axes(self._place(x, y + 0.01, 0.6, 0.09))
            axes.imshow(np.linspace(0, 1, 256)[None], aspect="auto", cmap=colours)
            axes.axis("off")
            self._lines(x + 0.65, y, ["its maximum"], LINE, size)
        self._lines(EDGE, y + LINE, self._note_lines, LINE, size, color=style.MUTED)

    def _lines(
        self, x: float, y: float, lines: Sequence[str], step: float, size: float, **more: Any
    ) -> None:
        """Write lines below each other, the first at x and y inches from the upper left corner.

        step: from line to line, inches. size: of letters, points. more: of matplotlib's texts.
        """
        settings: dict[str, Any] = {"va": "top", "color": style.INK, "parse_math": False, **more}
        for number, line in enumerate(lines):
            place = x / self._width, 1 - (y + number * step) / self._height
            self.figure.text(*place, line, fontsize=size, **settings)

    def _place(self, x: float, y: float, width: float, height: float) -> Place:
        """Give matplotlib's rectangle of a place in inches from the upper left corner."""
        bottom = 1 - (y + height) / self._height
        return x / self._width, bottom, width / self._width, height / self._height
