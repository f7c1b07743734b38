"""Draw a contact sheet: images, where the network looked, and what it guessed."""

from __future__ import annotations

from matplotlib.figure import Figure

from cam_repro.figures import style
from cam_repro.figures.base import RunFigure, Wanted
from cam_repro.figures.grid import Grid
from cam_repro.figures.pictures import (
    GUESS_LINE,
    TRUE_LINE,
    WHOLE_LINE,
    check_colours,
    draw_boxes,
    draw_map,
    draw_picture,
    note_of,
    say_guess,
)
from cam_repro.figures.shown import Shown, ShownRun
from cam_repro.runs.examples import CONTACT_SHEET

COLUMNS, IMAGES = 3, 24


class ContactSheet(RunFigure):
    """Draw each image beside the map of its best class; true boxes and the first guess on both.

    columns: images in a row. colours: of maps, a name of matplotlib's.
    """

    def __init__(self, columns: int = COLUMNS, colours: str = style.MAP_COLOURS) -> None:
        self.columns = self.at_least_one("columns", columns)
        self.colours = check_colours(colours)

    def draw(self, wanted: Wanted) -> Figure:
        """Draw the sheet of one run; raises UserError for several."""
        run = wanted.one_run()
        images = wanted.images_of(run, default=IMAGES)
        return draw_sheet(run, images, wanted.chosen, self.columns, self.colours)


def draw_sheet(
    run: ShownRun,
    images: list[Shown],
    chosen: str,
    columns: int = COLUMNS,
    colours: str = style.MAP_COLOURS,
) -> Figure:
    """Draw images of a run beside the maps of their best classes. chosen: how they were."""
    columns = min(columns, len(images))
    has_truth = any(len(one.true_boxes_M4) for one in images)
    rows = -(-len(images) // columns)
    title = f"{run.manifest.title}: pictures, and maps of the best class"
    grid = Grid(rows, 2 * columns, title, above=3, notes=[note_of(run.rule, has_truth), chosen])
    for number, one in enumerate(images):
        row, column = number // columns, 2 * (number % columns)
        picture, mapped = grid.axes(row, column), grid.axes(row, column + 1)
        draw_picture(picture, one)
        draw_map(mapped, one, 0, colours)
        for axes in (picture, mapped):
            draw_boxes(axes, one)
        grid.caption(row, column, [*say_guess(one), one.example.id], span=2)
    grid.legend([*([TRUE_LINE] if has_truth else []), GUESS_LINE, WHOLE_LINE], colours)
    return grid.figure


def write_sheet(run: ShownRun) -> None:
    """Write ``contact_sheet.png`` of a run's even examples into its folder."""
    wanted = Wanted(names=str(run.folder), folders=[run.folder])
    sheet = draw_sheet(run, wanted.images_of(run, default=IMAGES), wanted.chosen)
    style.save(sheet, run.folder / CONTACT_SHEET)
