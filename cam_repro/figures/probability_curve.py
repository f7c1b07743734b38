"""Draw the probability of a class over the share of an image's pixels that are changed."""

from __future__ import annotations

from matplotlib.figure import Figure

from cam_repro.figures import style
from cam_repro.metrics.protocol import ProbabilityCurve


def draw_probability_curve(curve: ProbabilityCurve, title: str) -> Figure:
    """Draw the mean with its 95 % interval as a band; the area below is in the legend."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    (axes,) = style.plot_axes(figure)
    shares_K = 100 * curve.shares_K
    label = f"mean over images; area under it {curve.area:.1f} %"
    axes.plot(shares_K, curve.mean_K, color=style.BLUE, lw=1.5, label=label)
    axes.fill_between(
        *(shares_K, curve.low_K, curve.high_K),
        color=style.BLUE,
        alpha=0.25,
        lw=0,
        label="its 95 % interval",
    )
    axes.set(
        xlabel=f"pixels {curve.changed}, most important first, %",
        ylabel="probability of the class guessed first, %",
        xlim=(0, 100),
        ylim=(0, 100),
    )
    axes.set_title(title, fontsize=style.TITLE_SIZE, loc="left", parse_math=False)
    axes.legend(fontsize=style.TEXT_SIZE, loc="best")
    return figure
