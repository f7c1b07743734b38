"""Draw one picture of a figure: its pixels, a map over it, boxes; and say what was guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from cam_repro.errors import UserError
from cam_repro.figures import style
from cam_repro.figures.grid import Line
from cam_repro.figures.shown import Shown
from cam_repro.geometry import whole_image
from cam_repro.types import NO_LABEL

GUESS_DASHES = (0, (3.5, 1.6))
WHOLE_DOTS = (0, (1, 1.4))
"""How a box of the whole image is drawn, further in: a line along the edges looks like a frame."""

ALMOST = 0.01
"""A box whose four edges are no further from the image's than this share of its sides counts as
one of the whole image."""

TRUE_LINE = Line2D([], [], color=style.TRUE, ls="-", lw=1.3, label="true box")
GUESS_LINE = Line2D([], [], color=style.GUESSED, ls=GUESS_DASHES, lw=1.3, label="first guess")
WHOLE_LINE = Line2D(
    *([], []), color=style.INK, ls=WHOLE_DOTS, lw=1.3, label="dots: (almost) the whole image"
)

WEIGHTS = (0.3, 0.75)
"""Share of the map's colour in an overlay, where the map is 0 and at its maximum; the rest is the
picture, in grey, which stays visible in this way."""


def check_colours(name: str, key: str = "figure.colours") -> str:
    """Give the name of a colour map; raises UserError where matplotlib has none of this name.

    key: the setting that names it, for the message.
    """
    if not isinstance(name, str) or name not in mpl.colormaps:
        raise UserError(
            f"{key}={name}: matplotlib has no colours of this name; inferno, viridis, turbo and "
            "jet are some"
        )
    return name


def overlay(picture_HW3: np.ndarray, heat_HW: np.ndarray, colours: str) -> np.ndarray:
    """Lay a map over a picture: uint8 (H, W, 3).

    heat_HW: 0 to 1. The picture is grey beneath, so that colour is the map's alone.
    """
    table = (255 * mpl.colormaps[colours](np.arange(256))[:, :3]).astype(np.float32)
    heat_HW = heat_HW.astype(np.float32)
    grey_HW = picture_HW3 @ np.array([0.299, 0.587, 0.114], np.float32)
    weight_HW1 = (WEIGHTS[0] + (WEIGHTS[1] - WEIGHTS[0]) * heat_HW)[..., None]
    mixed_HW3 = weight_HW1 * table[(255 * heat_HW).round().astype(np.uint8)]
    mixed_HW3 += (1 - weight_HW1) * grey_HW[..., None]
    return mixed_HW3.round().astype(np.uint8)


def draw_map(axes: Axes, one: Shown, rank: int, colours: str) -> None:
    """Draw the map of one of an example's classes over the image."""
    draw_picture(axes, one, overlay(one.picture_HW3, one.heat_HW(rank), colours))


def draw_picture(axes: Axes, one: Shown, pixels_HW3: np.ndarray | None = None) -> None:
    """Draw an image, in the coordinates of the original; or other pixels in its place."""
    pixels = one.picture_HW3 if pixels_HW3 is None else pixels_HW3
    # Matplotlib puts the centre of a pixel at its index, so its edges are half a pixel further out.
    width, height = one.size
    axes.imshow(pixels, extent=(-0.5, width - 0.5, height - 0.5, -0.5), aspect="equal")


def draw_boxes(axes: Axes, one: Shown) -> None:
    """Draw the true boxes as lines, and the first guess's box as dashes."""
    draw_true_boxes(axes, one)
    if one.guess is not None:
        draw_box(axes, one.guess[1], one.size, style.GUESSED, GUESS_DASHES)


def draw_true_boxes(axes: Axes, one: Shown) -> None:
    """Draw the true boxes as lines."""
    for true_box in one.true_boxes_M4.tolist():
        draw_box(axes, true_box, one.size, style.TRUE, "-")


def is_whole(box: Sequence[int], size: tuple[int, int]) -> bool:
    """Tell whether a box is that of the whole image, or almost. size: width and height."""
    width, height = size
    x0, y0, x1, y1 = box
    return max(x0, width - 1 - x1) <= ALMOST * width and max(y0, height - 1 - y1) <= ALMOST * height


@dataclass(frozen=True)
class Outline:
    """Say where the line of a box is drawn: its upper left corner, width and height, in pixels.

    The image's own upper left corner is at 0, 0. is_whole: whether the box is that of the whole
    image, or almost; it is then dotted, and set in.
    """

    x: float
    y: float
    width: float
    height: float
    is_whole: bool


def outline(box: Sequence[int], size: tuple[int, int], is_true: bool) -> Outline:
    """Find the outline of a true or a guessed box. size: width and height of the image, pixels."""
    inset, whole = 0.0, is_whole(box, size)
    if whole:
        box = whole_image(*size)
        inset = (0.03 if is_true else 0.06) * min(size)
    x0, y0, x1, y1 = box
    sides = x1 - x0 + 1 - 2 * inset, y1 - y0 + 1 - 2 * inset
    return Outline(x0 + inset, y0 + inset, *sides, whole)


def draw_box(
    axes: Axes,
    box: Sequence[int],
    size: tuple[int, int],
    colour: str,
    line: object,
    line_width: float = 1.3,
) -> None:
    """Draw a box in pixels of the original; one of the whole image dotted and set in.

    size: width and height of the original. line: matplotlib's kind of line. line_width: points.
    """
    drawn = outline(box, size, is_true=colour == style.TRUE)
    axes.add_patch(
        Rectangle(
            (drawn.x - 0.5, drawn.y - 0.5),
            *(drawn.width, drawn.height),
            fill=False,
            ec=colour,
            lw=line_width,
            ls=WHOLE_DOTS if drawn.is_whole else line,
            clip_on=False,
            path_effects=[withStroke(linewidth=1.7 * line_width, foreground="white", alpha=0.75)],
        )
    )


def name_of(one: Shown, class_index: int) -> str:
    """Give the first of a class's names: ``tabby`` of ``tabby, tabby cat``."""
    rank = one.example.rank_of(class_index)
    return f"class {class_index}" if rank is None else one.example.names[rank].split(",")[0]


def say_probability(probability: float, digits: int = 3) -> str:
    """Write a probability; one that is rounded to 0 without being 0, as ``under 0.001``."""
    said = f"{probability:.{digits}f}"
    is_lost = probability > 0 and float(said) == 0
    return f"under {10.0**-digits:.{digits}f}" if is_lost else said


def say_percent(probability: float, digits: int = 0) -> str:
    """Write a probability in percent; one that is rounded to 0 without being 0, as ``<1%``."""
    said = f"{probability:.{digits}%}"
    is_lost = probability > 0 and float(said.removesuffix("%")) == 0
    return f"<{10.0**-digits:.{digits}f}%" if is_lost else said


def say_guess(one: Shown) -> list[Line]:
    """Say in two lines which class was guessed, and whether class and box are right.

    ``✓ tabby 0.93`` and ``IoU 0.71``; of a wrong class also which it is. No IoU is said of an
    image without a true box, and nothing of right and wrong where the true class is not known.
    """
    example = one.example
    best = example.classes[0]
    name, probability = name_of(one, best), f" {say_probability(example.probabilities[0], 2)}"
    iou = one.iou
    of_box = [] if iou is None else [f"IoU {iou:.2f}"]
    if one.label == NO_LABEL:
        return [(name, probability), ", ".join(of_box)]
    if best == one.label:
        return [(f"✓ {name}", probability), ", ".join(of_box)]
    wrong = ", ".join([*of_box, f"is {name_of(one, one.label)}"])
    return [(f"✗ {name}", probability), wrong]


def note_of(rule: str, has_truth: bool = True) -> str:
    """Say what the marks of ``say_guess`` mean, and by which box rule boxes are.

    has_truth: whether any image has a true box.
    """
    iou = " · IoU: of the first guess with the nearest true box" if has_truth else ""
    return (
        f"boxes of box rule {rule} · ✓ ✗: whether the best class is right, and its probability{iou}"
    )
