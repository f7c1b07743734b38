"""Guess a box in the middle of the image for every class, without looking at the image.

Choe et al. (CVPR 2020) call this the centre baseline. It is hard to beat, because photographers
mostly put the object in the middle.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cam_repro.boxes.base import BoxRule, RankedMaps
from cam_repro.errors import UserError
from cam_repro.geometry import centred_boxes
from cam_repro.types import MAX_GUESSES, Guess


class Center(BoxRule):
    """Guess one centred box for each of the five best classes.

    scale: share of the image's width and height, over 0 and at most 1. On ILSVRC validation 0.75 is
    the best of 0.05, 0.10 ... at IoU 0.5 (0.60 at 0.3, 0.85 at 0.7).
    """

    needs_maps: ClassVar[bool] = False

    def __init__(self, scale: float = 0.75) -> None:
        if not isinstance(scale, int | float) or not 0 < scale <= 1:
            raise UserError(f"scale={scale}: must be a share of the image's sides, over 0 up to 1")
        self.scale = scale

    def __call__(self, maps: RankedMaps) -> list[Guess]:
        x0, y0, x1, y1 = centred_boxes(np.array([[maps.width, maps.height]]), self.scale)[
            0
        ].tolist()
        return [(class_index, (x0, y0, x1, y1)) for class_index in maps.classes[:MAX_GUESSES]]
