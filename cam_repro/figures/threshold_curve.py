"""Draw localization error over the threshold of the box rule."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cam_repro.engine.saved_maps import score_maps
from cam_repro.errors import UserError, one_of
from cam_repro.figures import style
from cam_repro.figures.base import RunFigure, Wanted, check_same_images
from cam_repro.metrics.protocol import Curves
from cam_repro.metrics.threshold_curve import EveryThreshold, check_thresholds
from cam_repro.runs.folders import labels_of
from cam_repro.runs.predictions import Predictions, read_predictions
from cam_repro.runs.saved_maps import maps_folder

OF_RUNS = "gt_known"
"""The error that is drawn of several runs, if none is named."""

LEGEND_WIDTH, LINE_HEIGHT = 85, 0.14
"""Letters of a line of the legend of several runs, which fit the figure, and its height, inches."""


class ThresholdCurve(RunFigure):
    """Draw the localization error of runs at every threshold; they need ``save_maps=true``.

    thresholds: how many are tried. error: one of ``style.ERRORS``; None: of one run all of them, of
    several the GT-known error.
    """

    uses: ClassVar[tuple[str, ...]] = ()

    def __init__(self, thresholds: int = 100, error: str | None = None) -> None:
        check_thresholds("figure.thresholds", thresholds)
        if error is not None:
            one_of("figure.error", error, style.ERRORS)
        self.protocol = EveryThreshold(thresholds)
        self.error = error

    def draw(self, wanted: Wanted) -> Figure:
        """Draw the curves of runs; raises UserError where one has no maps, labels or boxes.

        Several runs must be over the same images.
        """
        runs = {folder: read_predictions(folder) for folder in wanted.folders}
        manifests = {folder: run.manifest for folder, run in runs.items()}
        check_same_images(manifests)
        (first_folder, first_run), *others = runs.items()
        for folder, run in others:
            if run.ids != first_run.ids:  # some could not be read
                raise UserError(f"{folder} and {first_folder} did not score the same images")
        curves = [self._curves_of(folder, run) for folder, run in runs.items()]
        first, n_images = first_run.manifest, len(first_run)
        if len(runs) == 1:
            return draw_threshold_curve(
                curves[0], f"{first.title} ({n_images:,} images)", self.error
            )
        labels = labels_of(list(manifests.values()), [str(folder) for folder in manifests])
        title = f"{first.data.name} {first.split} ({n_images:,} images)"
        error = self.error or OF_RUNS
        return draw_threshold_curves(dict(zip(labels, curves, strict=True)), error, title)

    def _curves_of(self, folder: Path, run: Predictions) -> Curves:
        scored = score_maps(self.protocol, run, maps_folder(run, folder), run)
        assert isinstance(scored.curves, Curves), "this protocol draws errors"
        return scored.curves


def draw_threshold_curve(curves: Curves, title: str, error: str | None = None) -> Figure:
    """Draw errors over the threshold, a mark at the lowest of each.

    The lowest is called oracle, as it was looked for on the images that it is scored on. The
    threshold of the run, where it has one, is a vertical line.

    error: the name of the only one that is drawn; None: all are.
    """
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    (axes,) = style.plot_axes(figure)
    if curves.own is not None:
        label = f"the run's threshold, {100 * curves.own:g} %"
        axes.axvline(100 * curves.own, color="0.6", lw=1, ls="--", label=label)
    for number, name in enumerate(curves.errors):
        if error in (None, name):
            _draw_curve(axes, curves, name, style.ERRORS.get(name, style.of_runs(number, name)))
    _describe(axes, "localization error, %", title)
    axes.legend(fontsize=style.TEXT_SIZE, loc="lower right")
    return figure


def draw_threshold_curves(curves: Mapping[str, Curves], error: str, title: str) -> Figure:
    """Draw one error of several runs over the threshold, as ``draw_threshold_curve`` does.

    curves: of each run, by the run's label. error: the name of the error.
    """
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    (axes,) = style.plot_axes(figure)
    lines = [
        _draw_curve(axes, of_run, error, style.of_runs(number, label))
        for number, (label, of_run) in enumerate(curves.items())
    ]
    _describe(axes, f"{style.ERRORS[error].label} localization error, %", title)
    # Below, as labels of runs may be as long as their folders.
    broken = [textwrap.fill(str(line.get_label()), LEGEND_WIDTH) for line in lines]
    legend = figure.legend(lines, broken, loc="outside lower left", fontsize=style.SMALL_SIZE)
    for text in legend.get_texts():
        text.set_parse_math(False)
    n_lines = sum(label.count("\n") + 1 for label in broken)
    figure.set_figheight(figure.get_figheight() + LINE_HEIGHT * n_lines)
    return figure


def _draw_curve(axes: Axes, curves: Curves, error: str, look: style.Look) -> Line2D:
    """Draw an error over the threshold, with a mark at its lowest; give the mark for a legend."""
    best = curves.best[error]
    axes.plot(
        *(100 * curves.thresholds_T, curves.errors[error], look.dashes), color=look.colour, lw=1.5
    )
    (mark,) = axes.plot(
        100 * best["threshold"],
        best["error"],
        color=look.colour,
        marker=look.mark,
        ms=5,
        label=f"{look.label}: oracle {best['error']:.1f} % at {100 * best['threshold']:.3g} %",
    )
    return mark


def _describe(axes: Axes, error: str, title: str) -> None:
    """Give axes their scales and names, and a title."""
    axes.set(xlabel="threshold, % of the map's maximum", ylabel=error, xlim=(0, 100), ylim=(0, 100))
    axes.set_title(title, fontsize=style.TITLE_SIZE, loc="left", parse_math=False)
