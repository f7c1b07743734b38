"""Draw the curves of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cam_repro.errors import UserError
from cam_repro.figures import style
from cam_repro.figures.base import RunFigure, Wanted
from cam_repro.runs.manifest import read_train_manifest

LOG = "log.csv"

VALIDATION = (
    "validation: the centre crop of the squashed image, as training sees it; cam-eval scores the "
    "whole squashed image, so its errors differ"
)


class TrainingCurves(RunFigure):
    """Draw loss and classification error of a training run over its epochs."""

    of_training: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = ()

    def draw(self, wanted: Wanted) -> Figure:
        """Draw the curves of one run; raises UserError where its log.csv cannot be read."""
        folder = wanted.one_folder()
        manifest = read_train_manifest(folder)
        path = folder / LOG
        try:
            records = pd.read_csv(path)
            row = (manifest.config.get("model") or {}).get("row", manifest.model)
            return draw_curves(records, f"{row} trained on {manifest.data.name}")
        except (OSError, ValueError, AttributeError, KeyError) as error:
            raise UserError(f"{path} cannot be read ({error}): train the network again") from error


def draw_curves(records: pd.DataFrame, title: str) -> Figure:
    """Draw loss and classification error over epochs, in training and in validation.

    records: the columns of a run's ``log.csv``.
    """
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    loss, error = style.plot_axes(figure, 2)
    _curve(loss, records, "train_loss", "training, augmented", (style.BLUE, "o"))
    _curve(loss, records, "val_loss", "validation, centre crop", (style.ORANGE, "s"))
    loss.set(xlabel="epoch", ylabel="cross-entropy", ylim=(0, None))
    top = "top-{}, {}"
    _curve(error, records, "train_top1_error", top.format(1, "training"), (style.BLUE, "o"))
    _curve(error, records, "val_top1_error", top.format(1, "validation"), (style.ORANGE, "s"))
    _curve(error, records, "val_top5_error", top.format(5, "validation"), (style.PURPLE, "D"))
    error.set(xlabel="epoch", ylabel="classification error, %", ylim=(0, 100))
    last = float(records.epoch.max())
    for axes in (loss, error):
        axes.set_xlim(0 if len(records) == 1 else min(1.0, float(records.epoch.min())) - 0.1 * last)
        axes.set_xlim(right=last + max(0.05 * last, 0.1))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
        axes.legend(fontsize=style.SMALL_SIZE, frameon=False)
    figure.suptitle(title, fontsize=style.TITLE_SIZE, x=0.01, ha="left", parse_math=False)
    figure.supxlabel(VALIDATION, fontsize=style.SMALL_SIZE, color=style.MUTED, x=0.01, ha="left")
    return figure


def _curve(
    axes: Axes, records: pd.DataFrame, column: str, label: str, look: tuple[str, str]
) -> None:
    """Draw a column over the epochs, and name it with its last value. look: colour and mark."""
    values = records[column].to_numpy(float)
    colour, mark = look
    last = values[np.isfinite(values)][-1:]
    label += f": {last[0]:.3g} at the end" if len(last) else ""
    axes.plot(records.epoch, values, color=colour, marker=mark, ms=3.5, lw=1.4, label=label)


def write_curves(path: Path, records: pd.DataFrame, title: str) -> None:
    """Write the curves of a training run; the format is that of the path's suffix."""
    style.save(draw_curves(records, title), path)
