"""Draw the curves of a training run."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import ClassVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cam_repro.figures import style
from cam_repro.figures.base import RunFigure, Wanted
from cam_repro.runs.manifest import read_train_manifest
from cam_repro.runs.training_log import TrainingLog, last_finite, read_log

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
        return draw_curves(read_log(folder), f"{manifest.row} trained on {manifest.data.name}")


def draw_curves(log: TrainingLog, title: str) -> Figure:
    """Draw loss and classification error over epochs, in training and in validation."""
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    loss, error = style.plot_axes(figure, 2)
    for column, look in style.TRAINING.items():
        _curve(loss if column.endswith("loss") else error, log, log.columns[column], look)
    for (name, values), look in zip(log.terms.items(), cycle(style.TERMS), strict=False):
        _curve(loss, log, values, replace(look, label=f"{name}, training"))
    loss.set(xlabel="epoch", ylabel="loss" if log.terms else "cross-entropy")
    if not any(value < 0 for values in log.terms.values() for value in values):
        loss.set_ylim(bottom=0)
    error.set(xlabel="epoch", ylabel="classification error, %", ylim=(0, 100))
    last = max(log.epochs)
    for axes in (loss, error):
        axes.set_xlim(0 if len(log.epochs) == 1 else min(1.0, *log.epochs) - 0.1 * last)
        axes.set_xlim(right=last + max(0.05 * last, 0.1))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
        axes.legend(fontsize=style.SMALL_SIZE, frameon=False)
    figure.suptitle(title, fontsize=style.TITLE_SIZE, x=0.01, ha="left", parse_math=False)
    figure.supxlabel(VALIDATION, fontsize=style.SMALL_SIZE, color=style.MUTED, x=0.01, ha="left")
    return figure


def _curve(axes: Axes, log: TrainingLog, values: list[float], look: style.Look) -> None:
    """Draw values over the epochs, and name them with the last finite one."""
    last = last_finite(values)
    label = look.label if last is None else f"{look.label}: {last:.3g} at the end"
    axes.plot(
        *(log.epochs, values, look.dashes),
        color=look.colour,
        marker=look.mark,
        ms=3.5,
        lw=1.4,
        label=label,
        clip_on=False,  # a mark at 0 or 100 % is drawn whole
    )


def write_curves(path: Path, log: TrainingLog, title: str) -> None:
    """Write the curves of a training run; the format is that of the path's suffix."""
    style.save(draw_curves(log, title), path)
