"""Draw several images of some classes with the maps of their class: the paper's Figure 3."""

from __future__ import annotations

from collections import defaultdict

from matplotlib.figure import Figure

from cam_repro.errors import UserError
from cam_repro.figures import style
from cam_repro.figures.base import RunFigure, Wanted
from cam_repro.figures.grid import Grid
from cam_repro.figures.pictures import (
    check_colours,
    draw_map,
    draw_picture,
    name_of,
    say_probability,
)
from cam_repro.figures.shown import Shown


class ClassMaps(RunFigure):
    """Draw each image above the map of its true class, images of one class side by side.

    columns: images in a row. colours: of maps, a name of matplotlib's.
    """

    def __init__(self, columns: int = 5, colours: str = style.MAP_COLOURS) -> None:
        self.columns = self.at_least_one("columns", columns)
        self.colours = check_colours(colours)

    def draw(self, wanted: Wanted) -> Figure:
        """Draw images of one run; raises UserError where their true classes are not known."""
        run = wanted.one_run()
        groups = _by_class(wanted.images_of(run, default=4 * self.columns))
        if not groups:
            raise UserError(
                f"{run.folder}: no true class is known: name a run over labelled images"
            )
        rows = _in_rows(groups, self.columns)
        columns = max(map(len, rows))
        title = f"{run.manifest.title}: maps of the true class"
        grid = Grid(2 * len(rows), columns, title, above=1, notes=[wanted.chosen])
        for number, row in enumerate(rows):
            for column, one in enumerate(row):
                rank = one.true_rank
                assert rank is not None, "only images of known class are drawn"
                draw_picture(grid.axes(2 * number, column), one)
                draw_map(grid.axes(2 * number + 1, column), one, rank, self.colours)
                grid.caption(2 * number, column, [name_of(one, one.label)])
                said = f"probability {say_probability(one.example.probabilities[rank], 2)}"
                grid.caption(2 * number + 1, column, [said])
        grid.legend([], self.colours)
        return grid.figure


def _by_class(images: list[Shown]) -> list[list[Shown]]:
    """Group images by their true class, the largest groups first; leave out those without one."""
    groups: dict[int, list[Shown]] = defaultdict(list)
    for one in images:
        if one.true_rank is not None:
            groups[one.label].append(one)
    return sorted(groups.values(), key=len, reverse=True)


def _in_rows(groups: list[list[Shown]], columns: int) -> list[list[Shown]]:
    """Put groups one after another into rows; one that does not fit begins a new row."""
    rows: list[list[Shown]] = []
    for group in groups:
        part = group[:columns]
        if not rows or len(rows[-1]) + len(part) > columns:
            rows.append([])
        rows[-1].extend(part)
    return rows
