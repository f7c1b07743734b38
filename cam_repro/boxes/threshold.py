"""The paper's rule (section 3.2): above 20 % of the maximum, largest connected component."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from cam_repro.boxes.base import BoxRule, RankedMaps
from cam_repro.errors import UserError
from cam_repro.geometry import whole_image
from cam_repro.types import MAX_GUESSES, Box, Guess


def largest_component_box(map_HW: np.ndarray, threshold: float) -> Box:
    """Box of the largest 8-connected component of what exceeds ``threshold`` x maximum.

    map_HW: float, at the image's own size. threshold: share of the maximum, 0 to 1.
    Of components of equal size the first in reading order wins. The box of the whole image is
    returned where the maximum is not a positive number: nothing stands out there.
    """
    assert map_HW.dtype.kind == "f"
    height, width = map_HW.shape
    peak = float(map_HW.max())
    if not (np.isfinite(peak) and peak > 0):
        return whole_image(width, height)
    # The peak always counts, also where threshold x peak rounds up to it.
    cut = map_HW.dtype.type(threshold * peak)
    mask_HW = map_HW > cut if cut < peak else map_HW == peak
    contours, hierarchy_1M4 = cv2.findContours(
        mask_HW.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    parents_M = hierarchy_1M4[0, :, 3]  # of a hole the contour of its component, else -1
    components = np.flatnonzero(parents_M < 0).tolist()
    if len(components) > 1:
        pixels_M = _pixels(contours, parents_M)
        components = np.flatnonzero(pixels_M == pixels_M.max()).tolist()
    if len(components) > 1:
        components.sort(key=lambda i: _first_pixel(contours[i]))
    x, y, w, h = cv2.boundingRect(contours[components[0]])
    return x, y, x + w - 1, y + h - 1


def _pixels(contours: Sequence[np.ndarray], parents_M: np.ndarray) -> np.ndarray:
    """Pixels of the component in each outer contour, its holes left out; int64, 0 for a hole.

    By Pick's theorem a polygon of area A through B pixels has A - B/2 + 1 others inside.
    contours: closed walks from pixel to pixel, int32 (B, 1, 2); parents_M: as in the hierarchy.
    """
    areas_M = np.array([cv2.contourArea(contour) for contour in contours])
    lengths_M = np.array([len(contour) for contour in contours])
    # A contour of one pixel has no step: the half that it counts too many is cut off.
    within_M = (areas_M + lengths_M / 2).astype(np.int64) + 1
    is_hole_M = parents_M >= 0
    pixels_M = np.where(is_hole_M, 0, within_M)
    np.subtract.at(pixels_M, parents_M[is_hole_M], (within_M - lengths_M)[is_hole_M])
    return pixels_M


def _first_pixel(contour: np.ndarray) -> tuple[int, int]:
    """(y, x) of the first pixel of a contour in reading order."""
    return min((y, x) for x, y in contour[:, 0].tolist())


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


class ThresholdBox(BoxRule):
    """One box for each of the five best classes.

    threshold: share of the map's maximum, 0 <= threshold < 1.
    """

    def __init__(self, threshold: float = 0.2) -> None:
        self.threshold = check_threshold("box.threshold.threshold", threshold)

    def __call__(self, maps: RankedMaps) -> list[Guess]:
        return [
            (maps.classes[rank], box_at(maps, rank, self.threshold))
            for rank in range(min(len(maps), MAX_GUESSES))
        ]
