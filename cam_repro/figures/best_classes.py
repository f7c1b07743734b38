"""Draw an image with the maps of its five best classes: the paper's Figure 4."""

from __future__ import annotations

from matplotlib.figure import Figure

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
from cam_repro.types import MAX_GUESSES, NO_LABEL


class BestClasses(RunFigure):
    """Draw an image and beside it the map of each of its best classes, with name and probability.

    colours: of maps, a name of matplotlib's.
    """

    def __init__(self, colours: str = style.MAP_COLOURS) -> None:
        self.colours = check_colours(colours)

    def draw(self, wanted: Wanted) -> Figure:
        """Draw images of one run, one unless more are wanted."""
        run = wanted.one_run()
        images = wanted.images_of(run, default=1)
        columns = 1 + max(_n_best(one) for one in images)
        title = f"{run.manifest.title}: maps of the best classes"
        notes = [
            "above each map: the class, its probability, ✓ if it is the true one",
            wanted.chosen,
        ]
        grid = Grid(len(images), columns, title, above=2, notes=notes)
        for row, one in enumerate(images):
            draw_picture(grid.axes(row, 0), one)
            is_known = one.label != NO_LABEL
            grid.caption(row, 0, [name_of(one, one.label) if is_known else "", one.example.id])
            for rank in range(_n_best(one)):
                draw_map(grid.axes(row, 1 + rank), one, rank, self.colours)
                mark = "✓ " if one.example.classes[rank] == one.label else ""
                name = mark + name_of(one, one.example.classes[rank])
                grid.caption(
                    row, 1 + rank, [name, say_probability(one.example.probabilities[rank])]
                )
        grid.legend([], self.colours)
        return grid.figure


def _n_best(one: Shown) -> int:
    """Count the best classes of an image, which come before the true one."""
    return min(MAX_GUESSES, len(one.example.classes))
