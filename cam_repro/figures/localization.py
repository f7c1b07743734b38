"""Draw true boxes and first guesses of one run, or of several: the paper's Figure 6."""

from __future__ import annotations

from matplotlib.figure import Figure

from cam_repro.figures.base import RunFigure, Wanted, labels_of_runs
from cam_repro.figures.grid import Grid
from cam_repro.figures.pictures import (
    GUESS_LINE,
    TRUE_LINE,
    WHOLE_LINE,
    draw_boxes,
    draw_picture,
    note_of,
    say_guess,
)


class Localization(RunFigure):
    """Draw images with their true boxes and the first guess; of several runs the same images.

    columns: images in a row.
    """

    def __init__(self, columns: int = 5) -> None:
        self.columns = self.at_least_one("columns", columns)

    def draw(self, wanted: Wanted) -> Figure:
        """Draw the runs one below the other."""
        runs = wanted.runs()
        images = wanted.images_of_all(runs, default=2 * self.columns if len(runs) == 1 else 5)
        columns = min(self.columns, len(images[0]))
        rows = -(-len(images[0]) // columns)
        data = runs[0].manifest.data.name
        headings = {(number * rows, 0): label for number, label in enumerate(labels_of_runs(runs))}
        rules = ", ".join(dict.fromkeys(run.rule for run in runs))
        grid = Grid(
            *(rows * len(runs), columns, f"Localization on {data}, {runs[0].manifest.split}"),
            above=2,
            headings=headings,
            notes=[note_of(rules), wanted.chosen],
        )
        for number, of_run in enumerate(images):
            for place, one in enumerate(of_run):
                row, column = number * rows + place // columns, place % columns
                axes = grid.axes(row, column)
                draw_picture(axes, one)
                draw_boxes(axes, one)
                grid.caption(row, column, say_guess(one))
        grid.legend([TRUE_LINE, GUESS_LINE, WHOLE_LINE])
        return grid.figure
