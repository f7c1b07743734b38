"""Draw the same images with the maps of several runs side by side: the paper's Figure 5."""

from __future__ import annotations

from matplotlib.figure import Figure

from cam_repro.figures import style
from cam_repro.figures.base import RunFigure, Wanted, labels_of_runs
from cam_repro.figures.grid import Grid
from cam_repro.figures.pictures import (
    TRUE_LINE,
    check_colours,
    draw_map,
    draw_picture,
    draw_true_boxes,
    name_of,
    say_probability,
)
from cam_repro.types import NO_LABEL


class SideBySide(RunFigure):
    """Draw each image in a row, and beside it its map by each run: of the true class, if known.

    colours: of maps, a name of matplotlib's.
    """

    def __init__(self, colours: str = style.MAP_COLOURS) -> None:
        self.colours = check_colours(colours)

    def draw(self, wanted: Wanted) -> Figure:
        """Draw the same images of one or more runs."""
        runs = wanted.runs()
        images = wanted.images_of_all(runs, default=4)
        data = runs[0].manifest.data.name
        which = "true" if runs[0].manifest.data.has_labels else "best"
        title = f"Maps of the {which} class, {data}, {runs[0].manifest.split}"
        notes = ["above each map: the probability of its class by this network", wanted.chosen]
        columns = ["image", *labels_of_runs(runs)]
        grid = Grid(len(images[0]), len(columns), title, 1, over_columns=columns, notes=notes)
        for row, same in enumerate(zip(*images, strict=True)):
            first = same[0]
            axes = grid.axes(row, 0)
            draw_picture(axes, first)
            draw_true_boxes(axes, first)
            known = first.label != NO_LABEL
            grid.caption(row, 0, [name_of(first, first.label) if known else first.example.id])
            for column, one in enumerate(same, start=1):
                rank = one.true_rank or 0
                axes = grid.axes(row, column)
                draw_map(axes, one, rank, self.colours)
                draw_true_boxes(axes, one)
                shown = name_of(one, one.example.classes[rank])
                said = say_probability(one.example.probabilities[rank], 2)
                grid.caption(row, column, [said if known else f"{shown} {said}"])
        grid.legend([TRUE_LINE], self.colours)
        return grid.figure
