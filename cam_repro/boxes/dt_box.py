"""The boxes of the authors' released program ``dt_box``, and what their scripts make of them.

The paper describes one box at 20 % of the maximum; the code released with it runs another rule,
on a map stored as a JPEG (FACTS, "What the authors' released code does").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import cv2
import numpy as np

from cam_repro.boxes.base import BoxRule, RankedMaps
from cam_repro.errors import UserError
from cam_repro.geometry import clip, whole_image
from cam_repro.types import MAX_GUESSES, Box, Guess

THRESHOLDS = (20, 100, 110)
"""Of 255: what the authors' scripts give the program."""

BORDER = 5
"""Pixels at the right and lower border into which the program lets no box reach."""

INSERTION_SORT = 16
"""Ranges of at most this length are left to the last step of C++'s ``std::sort``."""

BLOCK = 3
"""Side in pixels of the blocks that ``_largest_square`` looks at first: of 2 to 12 the quickest."""


def dt_boxes(
    heatmap_u8_HW: np.ndarray, thresholds: Sequence[int] = THRESHOLDS, count: int | None = None
) -> list[tuple[int, int, int, int]]:
    """What the authors' program prints for a grey heat map: (x, y, width, height), in its order.

    For each threshold: keep value > threshold; Euclidean distance to the nearest pixel left out,
    rescaled to 0..255 by its maximum and rounded; keep > 10; every contour, of holes too, gives its
    bounding rectangle, clamped away from the right and lower border. All boxes, largest first,
    then thinned (``_thin``). Equal to the program to the order of equal boxes.

    heatmap_u8_HW: uint8. thresholds: integers. count: boxes to return at most; None: all.
    A map of 0 gives no box; one that exceeds a threshold everywhere has no distance to rescale and
    gives (0, 0, W - 5, H - 5), so a constant 255 gives that box twice. As in the program, a box
    that starts in the last five pixels has a width or height of 0 or less, and an image with a side
    under 5 gives negative coordinates.
    Distances are exact to 2,048 pixels; above, a pixel may be kept or not whose rescaled distance
    lies within 1e-6 of 10.5.
    """
    assert heatmap_u8_HW.dtype == np.uint8
    assert heatmap_u8_HW.ndim == 2
    assert heatmap_u8_HW.size > 0
    height, width = heatmap_u8_HW.shape
    rectangles = [
        cv2.boundingRect(contour)
        for threshold in thresholds
        for contour in _contours(heatmap_u8_HW > threshold)
    ]
    if not rectangles:
        return []
    x, y, w, h = np.array(rectangles, np.int64).T
    # np.minimum last: where the upper limit is negative the program takes that.
    boxes_M4 = np.stack(
        [
            np.minimum(x, width - BORDER),
            np.minimum(y, height - BORDER),
            np.minimum(w, width - x - BORDER),
            np.minimum(h, height - y - BORDER),
        ],
        axis=1,
    )
    boxes_M4 = _thin(boxes_M4[_sorted_by_area(boxes_M4)], count)
    return [(x, y, w, h) for x, y, w, h in boxes_M4[:count].tolist()]


def _contours(mask_HW: np.ndarray) -> Sequence[np.ndarray]:
    """Contours of the core of a mask, of holes too."""
    x, y, w, h = cv2.boundingRect(mask_HW.view(np.uint8))
    if w == 0:
        return ()
    # One more row or column on each side, where there is one: no pixel is nearer to a 0 beyond it.
    left, top = max(x - 1, 0), max(y - 1, 0)
    core_HW = _core(mask_HW[top : y + h + 1, left : x + w + 1])
    contours: Sequence[np.ndarray] = cv2.findContours(
        core_HW, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(left, top)
    )[0]
    return contours


def _core(mask_HW: np.ndarray) -> np.ndarray:
    """Pixels whose distance to the nearest 0, scaled so that the largest is 255, rounds to > 10.

    A mask without a 0, or without a 1, is returned as it is. Returns uint8, 0 or 1.
    """
    inside_HW = mask_HW.view(np.uint8)
    if mask_HW.all() or not mask_HW.any():
        return inside_HW
    scale = 255 / math.sqrt(_largest_square(inside_HW))
    # The smallest square of a distance that is kept, by the program's float64 arithmetic.
    square = max(1, int((10.5 / scale) ** 2) - 1)
    while math.sqrt(square) * scale + 0.5 < 11:
        square += 1
    # Kept is what has no 0 in a disc around it.
    squares_S = np.arange(-math.isqrt(square), math.isqrt(square) + 1) ** 2
    disc_SS = np.add.outer(squares_S, squares_S) < square
    return cv2.erode(inside_HW, disc_SS.view(np.uint8))


def _largest_square(inside_HW: np.ndarray) -> int:
    """Square of the largest distance of a pixel to the nearest 0, of which there is one.

    Two pixels are as far apart as their blocks are, to within ``slack``. So the distances between
    blocks say where the farthest pixel can be, and in which part its nearest 0 lies; the distances
    between pixels, which take far longer, are needed there only.
    """
    slack = (BLOCK - 1) * math.sqrt(2) + 0.01
    blocks_HW = cv2.erode(inside_HW, np.ones((BLOCK, BLOCK), np.uint8), anchor=(0, 0))
    blocks_HW = BLOCK * _distances(blocks_HW[::BLOCK, ::BLOCK])
    radius = float(blocks_HW.max()) + slack
    far_HW = blocks_HW >= radius - 3 * slack
    x, y, w, h = (BLOCK * value for value in cv2.boundingRect(far_HW.view(np.uint8)))
    left, top = max(0, x - math.ceil(radius)), max(0, y - math.ceil(radius))
    part = np.s_[top : y + h + math.ceil(radius), left : x + w + math.ceil(radius)]
    far = np.s_[y - top : y - top + h, x - left : x - left + w]
    # A square of a distance is an integer: rounding it removes the error of OpenCV's float32.
    return round(float(_distances(inside_HW[part])[far].max()) ** 2)


def _distances(inside_HW: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the nearest 0."""
    return cv2.distanceTransform(inside_HW, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _areas(boxes_M4: np.ndarray) -> np.ndarray:
    """Width x height, which is positive for a box with two negative sides."""
    return boxes_M4[:, 2] * boxes_M4[:, 3]


def _sorted_by_area(boxes_M4: np.ndarray) -> list[int]:
    """Indices of the boxes by area, largest first, equal areas as ``std::sort`` of GNU C++ has it.

    That sort is not stable above 16 elements, and what a box erases depends on the order of equal
    ones. It is an introsort: ranges longer than 16 are parted by the median of their second,
    middle and last element, and one insertion sort, which is stable, ends it.
    """
    area = _areas(boxes_M4).tolist()
    order = list(range(len(area)))

    def swap(i: int, j: int) -> None:
        order[i], order[j] = order[j], order[i]

    def before(i: int, j: int) -> bool:
        return area[order[i]] > area[order[j]]

    def part(first: int, last: int) -> int:
        """Moves the pivot to ``first``, larger boxes to its right, then smaller; where they meet"""
        low, middle, high = first + 1, first + (last - first) // 2, last - 1
        if not before(low, middle):
            low, middle = middle, low
        # Now low is before middle or equal to it: the median by where high belongs. Of equal
        # elements the choice is that of the C++ library.
        if before(middle, high):
            swap(first, middle)
        elif before(low, high):
            swap(first, high)
        else:
            swap(first, low)
        left, right = first + 1, last
        while True:
            while before(left, first):
                left += 1
            right -= 1
            while before(first, right):
                right -= 1
            if left >= right:
                return left
            swap(left, right)
            left += 1

    def sort(first: int, last: int, depth: int) -> None:
        # At depth 0 the library changes to a heap sort; no list of boxes has been seen to get
        # there, and the stable sort at the end gives it another order of equal boxes at most.
        while last - first > INSERTION_SORT and depth > 0:
            depth -= 1
            cut = part(first, last)
            sort(cut, last, depth)
            last = cut

    sort(0, len(order), 2 * (len(order).bit_length() - 1))
    return sorted(order, key=lambda index: -area[index])


def _thin(boxes_M4: np.ndarray, count: int | None = None) -> np.ndarray:
    """Boxes left when each has erased later ones, but never two in a row.

    A box is erased by an earlier one when they share more than half of the larger area (rounded
    towards 0). The program's iterator then steps over the box that follows: of a run of boxes to be
    erased the first, third, ... go and the second, fourth, ... stay.

    count: so many boxes are wanted, and of those after them it does not matter which are left.
    """
    at = 0
    while at + 1 < len(boxes_M4) and (count is None or at + 1 < count):
        box_4, later_M4 = boxes_M4[at], boxes_M4[at + 1 :]
        low_M2 = np.maximum(box_4[:2], later_M4[:, :2])
        high_M2 = np.minimum(box_4[:2] + box_4[2:], later_M4[:, :2] + later_M4[:, 2:])
        shared_M = np.prod(np.maximum(high_M2 - low_M2, 0), axis=1)
        larger_M = np.maximum(box_4[2] * box_4[3], _areas(later_M4))
        covered_M = shared_M > np.trunc(larger_M * 0.5)
        place_M = np.arange(len(later_M4))
        run_starts_M = np.maximum.accumulate(np.where(covered_M, -1, place_M)) + 1
        erased_M = covered_M & ((place_M - run_starts_M) % 2 == 0)
        boxes_M4 = np.concatenate([boxes_M4[: at + 1], later_M4[~erased_M]])
        at += 1
    return boxes_M4


def heatmap_image(map_HW: np.ndarray, jpeg_quality: int | None) -> np.ndarray | None:
    """The map as the program reads it: uint8 (H, W); None where the maximum is not positive.

    Divided by its maximum, negative values to 0, times 255, halves rounded up, stored as a grey
    JPEG of ``jpeg_quality`` and read back (None: not stored).
    """
    peak = float(map_HW.max())
    if not (np.isfinite(peak) and peak > 0):
        return None
    grey_HW = np.maximum(map_HW, 0).astype(np.float64)
    grey_HW /= peak
    grey_HW *= 255
    grey_HW += 0.5
    grey_HW = grey_HW.astype(np.uint8)
    if jpeg_quality is None:
        return grey_HW
    _, file = cv2.imencode(".jpg", grey_HW, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
    return np.asarray(cv2.imdecode(file, cv2.IMREAD_GRAYSCALE))


class _ProgramBoxes(BoxRule):
    """What the two rules below share.

    thresholds: integers from 0 to 255, at least one; a pixel counts above them.
    jpeg_quality: 1 to 100, or None for a map that is not stored as a JPEG.
    """

    name: ClassVar[str]
    """What ``box=NAME`` calls the rule."""

    def __init__(
        self, thresholds: Sequence[int] = THRESHOLDS, jpeg_quality: int | None = 75
    ) -> None:
        listed = isinstance(thresholds, Sequence) and not isinstance(thresholds, str)
        if not (listed and thresholds and all(_is_int(t, 0, 255) for t in thresholds)):
            raise UserError(
                f"box.{self.name}.thresholds={thresholds}: is a list of integers from 0 to 255, as "
                "[20,100,110]"
            )
        if not (jpeg_quality is None or _is_int(jpeg_quality, 1, 100)):
            raise UserError(
                f"box.{self.name}.jpeg_quality={jpeg_quality}: is an integer from 1 to 100, or null"
            )
        self.thresholds = tuple(thresholds)
        self.jpeg_quality = jpeg_quality

    def loose_and_tight(self, maps: RankedMaps, rank: int) -> tuple[Box, Box]:
        """The program's first two boxes; the first one twice where there is but one.

        The authors' script writes (x, y, x + width, y + height), one pixel more than the rectangle
        has, sorted so that the box is not empty; here it is also clipped to the image, which
        changes boxes of images with a side under 9 pixels alone. The box of the whole image where
        the program finds none.
        """
        found = maps.once(
            rank,
            ("dt_boxes", self.thresholds, self.jpeg_quality),
            lambda: self._printed(maps.at_image_size(rank)),
        )
        if not found:
            whole = whole_image(maps.width, maps.height)
            return whole, whole
        boxes = []
        for x, y, w, h in (found * 2)[:2]:
            corners = (min(x, x + w), min(y, y + h), max(x, x + w), max(y, y + h))
            boxes.append(clip(corners, maps.width, maps.height))
        return boxes[0], boxes[1]

    def _printed(self, map_HW: np.ndarray) -> list[tuple[int, int, int, int]]:
        heatmap_HW = heatmap_image(map_HW, self.jpeg_quality)
        return [] if heatmap_HW is None else dt_boxes(heatmap_HW, self.thresholds, count=2)


def _is_int(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


class DtBox(_ProgramBoxes):
    """The program's first box, the loose one, for each of the five best classes."""

    name: ClassVar[str] = "dt_box"

    def __call__(self, maps: RankedMaps) -> list[Guess]:
        return [
            (maps.classes[rank], self.loose_and_tight(maps, rank)[0])
            for rank in range(min(len(maps), MAX_GUESSES))
        ]


class DtBoxHeuristic(_ProgramBoxes):
    """Loose and tight box of class 1, of class 2, loose box of class 3: the paper's Table 3."""

    name: ClassVar[str] = "dt_box_heuristic"

    def __call__(self, maps: RankedMaps) -> list[Guess]:
        guesses = [
            (maps.classes[rank], box)
            for rank in range(min(len(maps), 3))
            for box in self.loose_and_tight(maps, rank)
        ]
        return guesses[:MAX_GUESSES]
