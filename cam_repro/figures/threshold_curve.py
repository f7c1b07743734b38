"""Localization error over the threshold of the box rule."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from cam_repro.files import atomic_path
from cam_repro.metrics.threshold_curve import ThresholdCurve

# Of Okabe and Ito's palette, which the colour-blind can tell apart; marks differ besides.
_LINES = {
    "top1": ("top-1", "#D55E00", "o"),
    "top5": ("top-5", "#0072B2", "s"),
    "gt_known": ("GT-known", "#009E73", "D"),
}


def draw_threshold_curve(
    path: Path, curve: ThresholdCurve, title: str, own: float | None = None
) -> None:
    """The three errors over the threshold as a PNG, a mark at the lowest of each.

    own: threshold of the run, drawn as a vertical line; None draws none.
    """
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    if own is not None:
        axes.axvline(
            100 * own, color="0.6", lw=1, ls="--", label=f"the run's threshold, {100 * own:g} %"
        )
    for name, (label, colour, mark) in _LINES.items():
        best = curve.best[name]
        axes.plot(100 * curve.thresholds_T, curve.errors[name], color=colour, lw=1.5)
        axes.plot(
            100 * best["threshold"],
            best["error"],
            color=colour,
            marker=mark,
            ms=5,
            label=f"{label}: lowest {best['error']:.1f} % at {100 * best['threshold']:.3g} %",
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
