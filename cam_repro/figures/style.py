"""Give all figures one look, and write them as PNG, PDF or SVG.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart, or differ in
lightness and in the kind of line too.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from cam_repro.errors import UserError
from cam_repro.files import atomic_path, check_file_writable, is_figure

DPI = 200

TRUE, GUESSED = "#12d18e", "#e03a0c"
"""Colours of true boxes (solid lines) and of guessed ones (dashed lines)."""

INK, MUTED, GRID = "#1a1a1a", "#5c5c5c", "#d9d9d9"
ORANGE, BLUE, GREEN, PURPLE, SKY = "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9"

OURS, PAPERS = BLUE, ORANGE
"""Colours of our numbers and of those that the paper prints."""


@dataclass(frozen=True)
class Look:
    """Say how a curve looks and what it is called; dashes, mark: in matplotlib's signs."""

    label: str
    colour: str
    mark: str
    dashes: str = "-"


ERRORS = {
    "top1": Look("top-1", ORANGE, "o"),
    "top5": Look("top-5", BLUE, "s"),
    "gt_known": Look("GT-known", GREEN, "D"),
}
"""Of localization errors, in the order in which they are shown."""

TRAINING = {
    "train_loss": Look("training, augmented", BLUE, "o", "--"),
    "val_loss": Look("validation, centre crop", ORANGE, "s"),
    "train_top1_error": Look("top-1, training", BLUE, "o", "--"),
    "val_top1_error": Look("top-1, validation", ORANGE, "s"),
    "val_top5_error": Look("top-5, validation", PURPLE, "D"),
}
"""Of the columns of a training run's log (``runs.training_log.COLUMNS``)."""

TERMS = (
    Look("first term", GREEN, "^", ":"),
    Look("second term", PURPLE, "D", ":"),
    Look("third term", SKY, "v", ":"),
)
"""Of the terms of a training loss, in their order, and then again."""

_RUN_COLOURS, _RUN_MARKS = (BLUE, ORANGE, GREEN, PURPLE, SKY), "osDv^"
_RUN_DASHES = ("-", "--", ":", "-.")

TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 9, 7.5, 6.5
"""Sizes of letters in points, for figures that are printed as large as they are."""

MAP_COLOURS = "inferno"
"""How maps are coloured: lightness grows with the map, also in grey print and for the
colour-blind. ``jet`` is the paper's, which has edges where the map has none."""


def of_runs(number: int, label: str) -> Look:
    """Say how the curve of a run looks among those of several, counted from 0."""
    turn, place = divmod(number, len(_RUN_COLOURS))
    dashes = _RUN_DASHES[turn % len(_RUN_DASHES)]
    return Look(label, _RUN_COLOURS[place], _RUN_MARKS[place], dashes)


WHEN_SAVED: Any = {
    "svg.fonttype": "none",  # text stays text, which can be searched and edited
    "svg.hashsalt": "cam_repro",  # names within the file are the same each time
    "pdf.fonttype": 42,  # TrueType, which publishers ask for
}
"""Matplotlib's settings while a figure is written."""

_NO_DATE: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".svg": {"Date": None, "Creator": None},
}
"""Leaves dates and versions out, so that the same figure gives the same file."""


def check_figure_path(path: Path | str) -> None:
    """Raise UserError where ``save`` could not write ``path``, for its suffix or its place."""
    if not is_figure(path):
        raise UserError(f"{path}: a figure is written as .png, .pdf or .svg: end its name so")
    check_file_writable(path)


def save(figure: Figure, path: Path | str) -> None:
    """Write a figure in the format of the path's suffix, whole or not at all.

    Raises UserError for another suffix than .png, .pdf and .svg.
    """
    path = Path(path)
    check_figure_path(path)
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # a PDF's fonts: a line a table
    with atomic_path(path) as temporary, mpl.rc_context(WHEN_SAVED):
        figure.savefig(temporary, dpi=DPI, metadata=_NO_DATE[path.suffix.lower()])


def plot_axes(figure: Figure, columns: int = 1) -> list[Any]:
    """Make axes for curves side by side: light grid, no frame above and on the right."""
    plots = list(figure.subplots(1, columns, squeeze=False)[0])
    for axes in plots:
        axes.grid(color=GRID, lw=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=TEXT_SIZE, colors=INK)
        axes.xaxis.label.set_size(TEXT_SIZE + 0.5)
        axes.yaxis.label.set_size(TEXT_SIZE + 0.5)
    return plots
