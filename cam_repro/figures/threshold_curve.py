"""Draw localization error over the threshold of the box rule."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from cam_repro.files import atomic_path
from cam_repro.metrics.protocol import Curves

# Colours of Okabe and Ito, which colour-blind readers can tell apart; the marks differ too.
_LINES = {
    "top1": ("top-1", "#D55E00", "o"),
    "top5": ("top-5", "#0072B2", "s"),
    "gt_known": ("GT-known", "#009E73", "D"),
}


def draw_threshold_curve(path: Path, curves: Curves, title: str) -> None:
    """Draw errors over the threshold as a PNG, a mark at the lowest of each.

    The lowest is called an oracle: its threshold is the best on these images themselves. The
    threshold of the run, where it has one, is a vertical line.
    """
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    if curves.own is not None:
        label = f"the run's threshold, {100 * curves.own:g} %"
        axes.axvline(100 * curves.own, color="0.6", lw=1, ls="--", label=label)
    for number, (name, error_T) in enumerate(curves.errors.items()):
        label, colour, mark = _LINES.get(name, (name, f"C{number}", "v"))
        best = curves.best[name]
        axes.plot(100 * curves.thresholds_T, error_T, color=colour, lw=1.5)
        axes.plot(
            100 * best["threshold"],
            best["error"],
            color=colour,
            marker=mark,
            ms=5,
            label=f"{label}: {best['error']:.1f} % at {100 * best['threshold']:.3g} %, oracle",
        )
    axes.set(
        xlabel="threshold, % of the map's maximum",
        ylabel="localization error, %",
        xlim=(0, 100),
        ylim=(0, 100),
    )
    axes.set_title(title, fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=200)
