"""Box the largest component above 20 % of the maximum: the paper's rule (section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from cam_repro.boxes.base import BoxRule, RankedMaps
from cam_repro.errors import UserError
from cam_repro.geometry import whole_image
from cam_repro.types import MAX_GUESSES, Box, Guess


def largest_component_box(map_HW: np.ndarray, threshold: float) -> Box:
    """Find the box of the largest 8-connected component above ``threshold`` x maximum.

    map_HW: float, at the image's own size. threshold: share of the maximum, 0 to 1.
    Of components of equal size the first in reading order is taken. Where the maximum is not a
    positive finite number, nothing stands out and the box is the whole image's.
    """
    assert map_HW.dtype.kind == "f"
    height, width = map_HW.shape
    peak = float(map_HW.max())
    if not (np.isfinite(peak) and peak > 0):
        return whole_image(width, height)
    # Pixels at the peak are always in the mask, even where threshold x peak rounds up to the peak.
    cut = map_HW.dtype.type(threshold * peak)
    mask_HW = map_HW > cut if cut < peak else map_HW == peak
    contours, hierarchy_1M4 = cv2.findContours(
        mask_HW.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    parents_M = hierarchy_1M4[0, :, 3]  # of a hole: the contour around it; else -1
    components = np.flatnonzero(parents_M < 0).tolist()
    if len(components) > 1:
        pixels_M = _pixels(contours, parents_M)
        components = np.flatnonzero(pixels_M == pixels_M.max()).tolist()
    if len(components) > 1:
        components.sort(key=lambda i: _first_pixel(contours[i]))
    x, y, w, h = cv2.boundingRect(contours[components[0]])
    return x, y, x + w - 1, y + h - 1


def _pixels(contours: Sequence[np.ndarray], parents_M: np.ndarray) -> np.ndarray:
    """Count the pixels of each outer contour's component, without its holes; int64, 0 for a hole.

    By Pick's theorem a polygon of area A through B pixels has A - B/2 + 1 pixels inside.
    contours: closed walks from pixel to pixel, int32 (B, 1, 2); parents_M: as in the hierarchy.
    """
    areas_M = np.array([cv2.contourArea(contour) for contour in contours])
    lengths_M = np.array([len(contour) for contour in contours])
    # B + A - B/2 + 1 pixels, which is an integer, but 1.5 for one pixel alone: truncated to 1.
    within_M = (areas_M + lengths_M / 2).astype(np.int64) + 1
    is_hole_M = parents_M >= 0
    pixels_M = np.where(is_hole_M, 0, within_M)
    np.subtract.at(pixels_M, parents_M[is_hole_M], (within_M - lengths_M)[is_hole_M])
    return pixels_M


def _first_pixel(contour: np.ndarray) -> tuple[int, int]:
    """Find (y, x) of the first pixel of a contour in reading order."""
    return min((y, x) for x, y in contour[:, 0].tolist())


def box_at(maps: RankedMaps, rank: int, threshold: float) -> Box:
    """Find ``largest_component_box`` of one class's map at the image's size, once for all rules."""
    return maps.once(
        rank,
        ("largest_component_box", threshold),
        lambda: largest_component_box(maps.at_image_size(rank), threshold),
    )


def check_threshold(name: str, value: float) -> float:
    """Return ``value`` if it is a share of the maximum, 0 <= value < 1; raise UserError if not.

    name: the setting that the error names.
    """
    if not isinstance(value, int | float) or not 0 <= value < 1:
        raise UserError(
            f"{name}={value}: must be a share of the map's maximum, at least 0 and under 1"
        )
    return value


class ThresholdBox(BoxRule):
    """Guess one box for each of the five best classes, by ``largest_component_box``.

    threshold: share of the map's maximum, 0 <= threshold < 1.
    """

    def __init__(self, threshold: float = 0.2) -> None:
        self.threshold = check_threshold("threshold", threshold)

    def __call__(self, maps: RankedMaps) -> list[Guess]:
        return [
            (maps.classes[rank], box_at(maps, rank, self.threshold))
            for rank in range(min(len(maps), MAX_GUESSES))
        ]
