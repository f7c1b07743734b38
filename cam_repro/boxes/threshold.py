"""The paper's rule (section 3.2): above 20 % of the maximum, largest connected component."""

from __future__ import annotations

import cv2
import numpy as np

from cam_repro.boxes.base import BoxStrategy, RankedMaps
from cam_repro.errors import UserError
from cam_repro.geometry import whole_image
from cam_repro.types import MAX_GUESSES, Box, Guess


def largest_component_box(map_HW: np.ndarray, threshold: float) -> Box:
    """Box of the largest 8-connected component of what exceeds ``threshold`` x maximum.

    map_HW: float, at the image's own size. threshold: share of the maximum, 0 to 1.
    Of components of equal size the first in reading order wins. The box of the whole image is
    returned where the maximum is not a positive number: nothing stands out there.
    """
    height, width = map_HW.shape
    peak = float(map_HW.max())
    if not (np.isfinite(peak) and peak > 0):
        return whole_image(width, height)
    # The peak always counts, also where threshold x peak rounds up to it.
    mask_HW = ((map_HW > threshold * peak) | (map_HW == peak)).astype(np.uint8)
    _, labels_HW, stats, _ = cv2.connectedComponentsWithStats(mask_HW, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    largest = 1 + np.flatnonzero(areas == areas.max())
    if len(largest) > 1:  # OpenCV numbers components by blocks of pixels, not in reading order
        largest = labels_HW[np.isin(labels_HW, largest)]
    x, y, w, h = (int(value) for value in stats[largest[0], :4])
    return x, y, x + w - 1, y + h - 1


def box_at(maps: RankedMaps, rank: int, threshold: float) -> Box:
    """``largest_component_box`` of one class's map at the image's size."""
    return maps.once(
        rank,
        ("largest_component_box", threshold),
        lambda: largest_component_box(maps.at_image_size(rank), threshold),
    )


def check_threshold(name: str, value: float) -> float:
    """``value`` if it is a share of the maximum, 0 <= value < 1; else a UserError."""
    if not isinstance(value, int | float) or not 0 <= value < 1:
        raise UserError(
            f"{name}={value}: is a share of the map's maximum, from 0 up to but not including 1"
        )
    return value


class ThresholdBox(BoxStrategy):
    """One box for each of the five best classes.

    threshold: share of the map's maximum, 0 <= threshold < 1.
    """

    def __init__(self, threshold: float = 0.2) -> None:
        self.threshold = check_threshold("box.threshold", threshold)

    def __call__(self, maps: RankedMaps) -> list[Guess]:
        return [
            (maps.classes[rank], box_at(maps, rank, self.threshold))
            for rank in range(min(len(maps), MAX_GUESSES))
        ]
