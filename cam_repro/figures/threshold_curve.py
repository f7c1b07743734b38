"""Draw localization error over the threshold of the box rule."""

from __future__ import annotations

from typing import ClassVar

from matplotlib.figure import Figure

from cam_repro.engine.saved_maps import score_maps
from cam_repro.figures import style
from cam_repro.figures.base import RunFigure, Wanted
from cam_repro.metrics.protocol import Curves
from cam_repro.metrics.threshold_curve import EveryThreshold, check_thresholds
from cam_repro.runs.predictions import read_predictions
from cam_repro.runs.saved_maps import maps_folder


class ThresholdCurve(RunFigure):
    """Draw a run's localization error at every threshold; it needs ``save_maps=true``.

    thresholds: how many are tried.
    """

    uses: ClassVar[tuple[str, ...]] = ()

    def __init__(self, thresholds: int = 100) -> None:
        check_thresholds("figure.thresholds", thresholds)
        self.protocol = EveryThreshold(thresholds)

    def draw(self, wanted: Wanted) -> Figure:
        """Draw the curves of one run; raises UserError where it has no maps, labels or boxes."""
        folder = wanted.one_folder()
        run = read_predictions(folder)
        scored = score_maps(self.protocol, run, maps_folder(run, folder), run)
        assert isinstance(scored.curves, Curves), "this protocol draws errors"
        return draw_threshold_curve(scored.curves, f"{run.manifest.title} ({len(run):,} images)")


def draw_threshold_curve(curves: Curves, title: str) -> Figure:
    """Draw errors over the threshold, a mark at the lowest of each.

    The lowest is called oracle, as it was looked for on the images that it is scored on. The
    threshold of the run, where it has one, is a vertical line.
    """
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    (axes,) = style.plot_axes(figure)
    if curves.own is not None:
        label = f"the run's threshold, {100 * curves.own:g} %"
        axes.axvline(100 * curves.own, color="0.6", lw=1, ls="--", label=label)
    for number, (name, error_T) in enumerate(curves.errors.items()):
        look = style.ERRORS.get(name, style.Look(name, f"C{number}", "v"))
        best = curves.best[name]
        axes.plot(100 * curves.thresholds_T, error_T, color=look.colour, lw=1.5)
        axes.plot(
            100 * best["threshold"],
            best["error"],
            color=look.colour,
            marker=look.mark,
            ms=5,
            label=f"{look.label}: oracle {best['error']:.1f} % at {100 * best['threshold']:.3g} %",
        )
    axes.set(
        xlabel="threshold, % of the map's maximum",
        ylabel="localization error, %",
        xlim=(0, 100),
        ylim=(0, 100),
    )
    axes.set_title(title, fontsize=style.TITLE_SIZE, loc="left", parse_math=False)
    axes.legend(fontsize=style.TEXT_SIZE, loc="lower right")
    return figure
