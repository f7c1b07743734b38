"""Draw a contact sheet: images, where the network looked, and what it guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from PIL import Image

from cam_repro.boxes.base import RankedMaps
from cam_repro.files import atomic_path
from cam_repro.geometry import iou
from cam_repro.types import NO_LABEL, Prediction

TRUE, GUESSED = "#22c55e", "#ef4444"
COLUMNS = 4
NAME_LENGTH = 22


@dataclass(frozen=True, eq=False)
class Shown:
    """Hold an image of the sheet: its prediction, its pixels, and its best class's map (h, w)."""

    prediction: Prediction
    image: Image.Image
    map_hw: np.ndarray


def draw_contact_sheet(
    path: Path, shown: Sequence[Shown], class_names: Mapping[int, str], rule: str, title: str
) -> None:
    """Draw each image beside the map of its best class; true boxes green, the first guess red.

    rule: the box rule whose first guess is drawn. The line above an image is green where class and
    box (IoU >= 0.5) are right, amber where the class alone is, red where the class is wrong.
    """
    rows = -(-len(shown) // COLUMNS)
    layout = ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.04, wspace=0.02, hspace=0.02)
    figure = Figure(figsize=(4.4 * COLUMNS, 2.62 * rows + 0.5), layout=layout)
    cells = figure.subplots(rows, 2 * COLUMNS, squeeze=False).ravel()
    for axes in cells:
        axes.axis("off")
    for number, one in enumerate(shown):
        _draw_pair(cells[2 * number], cells[2 * number + 1], one, class_names, rule)
    figure.suptitle(
        f"{title}\npicture and map of the best class · green: true boxes · red: first guess "
        f"(box rule {rule})",
        fontsize=12,
    )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=80)


def _draw_pair(
    picture: Axes, overlay: Axes, one: Shown, class_names: Mapping[int, str], rule: str
) -> None:
    """Draw an image, and beside it its map over the image in grey."""
    prediction, image = one.prediction, one.image
    picture.imshow(image)
    overlay.imshow(image.convert("L"), cmap="gray")
    heat = RankedMaps([0], one.map_hw[None], *image.size).at_image_size(0)
    overlay.imshow(np.maximum(heat, 0), cmap="inferno", alpha=0.65)
    box = prediction.rules[rule].guesses[0][1]
    for axes in (picture, overlay):
        for true_box in prediction.true_boxes_M4:
            _draw_box(axes, true_box, TRUE)
        _draw_box(axes, box, GUESSED)
    _caption(picture, prediction, box, class_names)


def _draw_box(axes: Axes, box: Sequence[int], colour: str) -> None:
    x0, y0, x1, y1 = (int(value) for value in box)
    # Matplotlib puts the centre of a pixel at its index, so its edges are half a pixel further out.
    axes.add_patch(
        Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0 + 1, y1 - y0 + 1, fill=False, ec=colour, lw=1.8)
    )


def _caption(
    axes: Axes, prediction: Prediction, box: Sequence[int], class_names: Mapping[int, str]
) -> None:
    best = prediction.classes[0]
    guess = f"{class_names[best][:NAME_LENGTH]} {prediction.probabilities[0]:.2f}"
    if prediction.label == NO_LABEL:
        axes.set_title(guess, fontsize=8.5, loc="left")
        return
    overlap = float(iou(np.array([box]), prediction.true_boxes_M4).max(initial=0.0))
    right_class = best == prediction.label
    colour = "#15803d" if right_class and overlap >= 0.5 else "#b45309"
    if not right_class:
        colour = "#b91c1c"
        guess += f" (is {class_names[prediction.label][:NAME_LENGTH]})"
    axes.set_title(f"{guess}, IoU {overlap:.2f}", fontsize=8.5, loc="left", color=colour)
