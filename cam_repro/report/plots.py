"""Draw the report's charts as SVG, to stand in the page itself.

What is black in a chart takes the colour of the page's text, so that charts are readable on light
and on dark paper; text takes the page's fonts. All charts are of one width, that of a phone.
"""

from __future__ import annotations

import io
import re
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from cam_repro.figures import style
from cam_repro.report.curves import ErrorCurves
from cam_repro.report.training import Training
from cam_repro.tables import Table

WIDTH = 5.0
"""Width of every chart, inches: 360 points, which a phone shows in about their true size."""

_STYLE: dict[Any, Any] = {
    **style.WHEN_SAVED,
    "font.size": 11,
    "axes.edgecolor": "#000000",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "grid.color": "#000000",
    "grid.alpha": 0.15,
    "path.simplify": True,
}
_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"
_REFERENCE = re.compile(r"#([\w-]+)")


def draw_table(table: Table, column: int, name: str) -> Markup:
    """Draw one column of a table: our errors with their intervals, and the paper's.

    column: of the table's numbers. name: a word that no other chart of the page has.
    """
    lines = table.lines
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, 0.28 * len(lines) + 0.75), layout="constrained")
        axes = figure.subplots()
        for y, line in enumerate(lines):
            if line.numbers:
                number = line.numbers[column]
                axes.plot([number.low, number.high], [y, y], color=style.OURS, lw=2.2)
                axes.plot(number.error, y, "o", color=style.OURS, ms=6)
            axes.plot(line.row.paper[column], y, "D", ms=6, mfc="none", mec=style.PAPERS, mew=1.5)
        axes.set_yticks(range(len(lines)), [line.row.name for line in lines])
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.set_xlabel("error, %")
        axes.set_xlim(left=0)
        axes.tick_params(left=False)
        axes.spines["left"].set_visible(False)
        axes.grid(True, axis="x")
        ours = ", ".join(
            f"{line.row.name} {line.numbers[column].error:.1f} %" for line in lines if line.numbers
        )
        which = {"top1": "top-1", "top5": "top-5"}[table.paper.columns[column]]
        alt = f"{table.paper.title}, {which}. Ours: {ours or 'no run yet'}."
        return _as_svg(figure, name, alt)


def draw_threshold_curves(curves: ErrorCurves, title: str, name: str) -> Markup:
    """Draw localization errors over the threshold, with their intervals.

    The threshold of the run is a dashed line; a ring marks the lowest error of each curve.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
        axes = figure.subplots()
        at = [100 * threshold for threshold in curves.thresholds]
        for error, numbers in curves.numbers.items():
            colour = style.ERRORS[error].colour
            low, high = [n.low for n in numbers], [n.high for n in numbers]
            axes.fill_between(at, low, high, color=colour, alpha=0.18, lw=0)
            axes.plot(at, [n.error for n in numbers], color=colour, lw=1.8)
            best = curves.lowest[error]
            axes.plot(at[best], numbers[best].error, "o", ms=7, mfc="none", mec=colour, mew=1.8)
        if curves.own is not None:
            axes.axvline(100 * curves.own, color="#000000", lw=1.2, ls="--")
        axes.set(xlabel="threshold, % of the map's maximum", ylabel="localization error, %")
        axes.set(xlim=(0, 100), ylim=(0, 100))
        axes.grid(True)
        return _as_svg(figure, name, f"Localization error over the threshold: {title}.")


def draw_training(training: Training, name: str) -> Markup:
    """Draw loss and classification error of a training run over its epochs."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
        loss, error = figure.subplots(2, 1, sharex=True)
        log = training.log
        for column, look in style.TRAINING.items():
            axes = loss if column.endswith("loss") else error
            marks = {"marker": look.mark, "ms": 3} if len(log.epochs) < 30 else {}
            values = log.columns[column]
            axes.plot(log.epochs, values, color=look.colour, ls=look.dashes, lw=1.6, **marks)
        loss.set(ylabel="cross-entropy", ylim=(0, None))
        error.set(ylabel="classification error, %", ylim=(0, 100), xlabel="epoch")
        error.xaxis.get_major_locator().set_params(integer=True)
        for axes in (loss, error):
            axes.grid(True)
        alt = f"Training of {training.model}: loss and error over {len(log.epochs)} epochs"
        last = log.last("val_top1_error")
        end = "" if last is None else f"; validation top-1 error {last:.1f} % at the end"
        return _as_svg(figure, name, f"{alt}{end}.")


def _as_svg(figure: Figure, name: str, alt: str) -> Markup:
    """Write a figure as an SVG element whose ids begin with ``name``, described by ``alt``."""
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(file.getvalue())
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    _share_the_page(root, name)
    del root.attrib["width"], root.attrib["height"]
    root.attrib |= {"class": "chart", "role": "img", "aria-label": alt, "fill": "currentColor"}
    ElementTree.register_namespace("", _SVG)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _share_the_page(root: ElementTree.Element, name: str) -> None:
    """Make ids unique in the page, drop those that nothing refers to, and let black be its ink."""
    used: set[str] = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == _LINK or "url(#" in value:
                used |= set(_REFERENCE.findall(value)) if "#" in value else set()
    for element in root.iter():
        attributes = element.attrib
        if attributes.get("id") not in used:
            attributes.pop("id", None)
        for key, value in list(attributes.items()):
            if key == "id":
                attributes["id"] = f"{name}-{value}"
            elif key == _LINK:
                attributes["href"] = attributes.pop(key).replace("#", f"#{name}-")
            elif "url(#" in value:
                attributes[key] = value.replace("url(#", f"url(#{name}-")
            elif key == "style":
                attributes[key] = value.replace("#000000", "currentColor")
