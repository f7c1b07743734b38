"""Find boxes as the authors' released program ``dt_box`` does, and guess as their scripts do.

The paper describes one box at 20 % of the maximum; the code released with it runs another rule,
on a map stored as a JPEG (docs/readings.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from cam_repro.boxes.base import BoxRule, RankedMaps
from cam_repro.errors import UserError
from cam_repro.geometry import clip, whole_image
from cam_repro.types import MAX_GUESSES, Box, Guess

THRESHOLDS = (20, 100, 110)
"""Grey values, of 255, that the authors' scripts give the program."""

BORDER = 5
"""Pixels at the right and lower border that the program keeps free of boxes."""

INSERTION_SORT = 16
"""Ranges of at most this length are left to the insertion sort that ends ``std::sort``."""

BLOCK = 3
"""Side in pixels of the blocks that ``_largest_square`` begins with; odd. 3 is the fastest."""

MOST_PAIRS = 1_000_000
"""Pairs of pixels from which on the distances of all pixels are computed sooner."""

CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
"""A pixel and the four that touch it."""

WIDE_DISC = 24
"""Radius in pixels of a disc from which on erosions take longer than all distances do."""


Rectangle = tuple[int, int, int, int]
"""x, y, width, height."""


def dt_boxes(
    heatmap_u8_HW: np.ndarray, thresholds: Sequence[int] = THRESHOLDS, count: int | None = None
) -> list[Rectangle]:
    """Find what the authors' program prints for a heat map: (x, y, width, height), in its order.

    For each threshold the program keeps the pixels above it, computes their Euclidean distance to
    the nearest pixel left out, rescales it to 0..255 by its maximum, rounds it, and keeps what
    exceeds 10. Every contour of that, also of a hole, gives its bounding rectangle, cut off at the
    right and lower border. All boxes are sorted, largest first, and then thinned (``_thin``). Even
    boxes of equal area come in the program's order.

    heatmap_u8_HW: uint8. thresholds: integers. count: boxes to return at most; None: all.

    A map of 0 gives no box. Where every pixel exceeds a threshold there is no distance to rescale,
    and the box is (0, 0, W - 5, H - 5); so a constant 255 gives that box twice. As in the program,
    a box that starts in the last five pixels has a width or height of 0 or less, and an image with
    a side under 5 gives negative coordinates.

    Distances up to 2,048 pixels are exact. Beyond, a pixel whose rescaled distance lies within 1e-6
    of 10.5 may be kept where the program leaves it out, or the other way round.
    """
    return Program(heatmap_u8_HW).boxes(thresholds, count)


class Program:
    """Run the program on one heat map; what it finds at a threshold is found once.

    heatmap_u8_HW: uint8.
    """

    def __init__(self, heatmap_u8_HW: np.ndarray) -> None:
        assert heatmap_u8_HW.dtype == np.uint8
        assert heatmap_u8_HW.ndim == 2
        assert heatmap_u8_HW.size > 0
        self.heatmap_u8_HW = heatmap_u8_HW
        self._found: dict[int, np.ndarray] = {}

    def boxes(self, thresholds: Sequence[int], count: int | None = None) -> list[Rectangle]:
        """Find what ``dt_boxes`` describes."""
        boxes_M4 = np.concatenate([self.at(threshold) for threshold in thresholds])
        boxes_M4 = _thin(boxes_M4[_sorted_by_area(boxes_M4)], count)
        return [(x, y, w, h) for x, y, w, h in boxes_M4[:count].tolist()]

    def first(self, thresholds: Sequence[int]) -> Rectangle | None:
        """Find the first of ``boxes``; None where there is none.

        That is the largest box. What exceeds a threshold lies within what exceeds a lower one, so
        mostly the box at the lowest threshold is larger than all of the others can be, and those
        are not looked for.
        """
        lowest, *others = sorted(set(thresholds))
        areas_M = _areas(self.at(lowest))
        bound = _largest_area(self.heatmap_u8_HW > others[0]) if others else 0
        if len(areas_M) and areas_M.max() > bound and (areas_M == areas_M.max()).sum() == 1:
            x, y, w, h = self.at(lowest)[areas_M.argmax()].tolist()
            return x, y, w, h
        return next(iter(self.boxes(thresholds, 1)), None)  # the sort decides between equal ones

    def at(self, threshold: int) -> np.ndarray:
        """Find the boxes at one threshold, in the order of the contours, int64 (M, 4)."""
        if threshold not in self._found:
            contours = _contours(self.heatmap_u8_HW > threshold)
            rectangles = [cv2.boundingRect(contour) for contour in contours]
            x, y, w, h = np.array(rectangles, np.int64).reshape(-1, 4).T
            height, width = self.heatmap_u8_HW.shape
            # np.minimum last: where the upper limit is negative the program takes that.
            self._found[threshold] = np.stack(
                [
                    np.minimum(x, width - BORDER),
                    np.minimum(y, height - BORDER),
                    np.minimum(w, width - x - BORDER),
                    np.minimum(h, height - y - BORDER),
                ],
                axis=1,
            )
        return self._found[threshold]


def _largest_area(mask_HW: np.ndarray) -> int:
    """Say which area no box in a mask exceeds: that of the mask, or of two negative sides."""
    x, y, w, h = cv2.boundingRect(mask_HW.view(np.uint8))
    height, width = mask_HW.shape
    within = max(0, min(w, width - x - BORDER)) * max(0, min(h, height - y - BORDER))
    return max(within, BORDER**2)


def _contours(mask_HW: np.ndarray) -> Sequence[np.ndarray]:
    """Find the contours of the core of a mask, those of holes too."""
    x, y, w, h = cv2.boundingRect(mask_HW.view(np.uint8))
    if w == 0:
        return ()
    # Cut the mask out with one row or column of 0 on each side, where there is one: a 0 further out
    # is the nearest to no pixel.
    left, top = max(x - 1, 0), max(y - 1, 0)
    core_HW = _core(mask_HW[top : y + h + 1, left : x + w + 1])
    contours: Sequence[np.ndarray] = cv2.findContours(
        core_HW, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(left, top)
    )[0]
    return contours


def _core(mask_HW: np.ndarray) -> np.ndarray:
    """Keep pixels whose distance to the nearest 0, scaled to a maximum of 255, rounds to over 10.

    A mask without a 0, or without a 1, is returned as it is. Returns uint8, 0 or 1.
    """
    inside_HW = mask_HW.view(np.uint8)
    if mask_HW.all() or not mask_HW.any():
        return inside_HW
    scale = 255 / math.sqrt(_largest_square(inside_HW))
    # The smallest squared distance that is kept, by the program's float64 arithmetic.
    square = max(1, int((10.5 / scale) ** 2) - 1)
    while math.sqrt(square) * scale + 0.5 < 11:
        square += 1
    if square > WIDE_DISC**2:
        # Squares of distances are integers, which this margin tells apart in OpenCV's float32.
        return (_distances(inside_HW) > math.sqrt(square - 0.5)).view(np.uint8)
    # A pixel is that far from any 0 where a disc around it holds none. A disc is made of
    # rectangles, one for each width; to erode by each takes less time than by a wide disc.
    core_HW: np.ndarray = inside_HW
    wider = None
    for y in range(math.isqrt(square - 1), -1, -1):
        x = math.isqrt(square - 1 - y**2)
        if x != wider:
            rectangle = np.ones((2 * y + 1, 2 * x + 1), np.uint8)
            core_HW = cv2.min(core_HW, cv2.erode(inside_HW, rectangle))
        wider = x
    return core_HW


def _largest_square(inside_HW: np.ndarray) -> int:
    """Compute the square of the largest distance of a pixel to the nearest 0; there must be a 0.

    Distances of all pixels take long. Those of blocks of pixels are quick, and differ from them by
    at most ``slack``: they tell in which blocks the farthest pixel can be. Then the middle pixels
    of these blocks, and at last all pixels around the best ones, are compared with every 0 that
    touches a 1: the nearest 0 is one of these.
    """
    slack = (BLOCK - 1) * math.sqrt(2) + 0.01
    blocks_hw = cv2.erode(inside_HW, np.ones((BLOCK, BLOCK), np.uint8), anchor=(0, 0))
    blocks_hw = BLOCK * _distances(blocks_hw[::BLOCK, ::BLOCK])
    least = float(blocks_hw.max()) - 2 * slack
    touching_HW = cv2.dilate(inside_HW, CROSS) != inside_HW
    zeros_Z2 = _places(touching_HW)
    far_F2 = BLOCK * _places(blocks_hw >= least)
    if least <= 0 or len(far_F2) * len(zeros_Z2) > MOST_PAIRS:
        # A square of a distance is an integer: rounding it removes the error of OpenCV's float32.
        return round(float(_distances(inside_HW).max()) ** 2)

    last_2 = np.array(inside_HW.shape) - 1  # blocks at the border may be cut off
    middle_F = _nearest(np.minimum(far_F2 + BLOCK // 2, last_2), zeros_Z2)
    reach = BLOCK // 2 * math.sqrt(2) + 0.01  # from a block's middle pixel to its corners
    best_B2 = far_F2[np.sqrt(middle_F) >= math.sqrt(middle_F.max()) - reach]
    around_B92 = best_B2[:, None] + np.argwhere(np.ones((BLOCK, BLOCK)))
    return int(_nearest(np.minimum(around_B92.reshape(-1, 2), last_2), zeros_Z2).max())


def _places(mask_HW: np.ndarray) -> np.ndarray:
    """List (y, x) of the pixels that are True, in reading order: ten times as fast as argwhere."""
    return np.stack(np.divmod(np.flatnonzero(mask_HW), mask_HW.shape[1]), 1)


def _nearest(from_F2: np.ndarray, to_T2: np.ndarray) -> np.ndarray:
    """Compute the square of the distance from each pixel to the nearest of others, float64 (F,)."""
    from_F2, to_T2 = from_F2.astype(np.float64), to_T2.astype(np.float64)
    # |f - t|^2 = |f|^2 + |t|^2 - 2 ft: integers, which float64 holds exactly
    products_FT = from_F2 @ (-2 * to_T2.T)
    products_FT += np.sum(to_T2**2, axis=1)
    nearest_F: np.ndarray = products_FT.min(1) + np.sum(from_F2**2, axis=1)
    return nearest_F


def _distances(inside_HW: np.ndarray) -> np.ndarray:
    """Compute the distance of each pixel to the nearest 0."""
    return cv2.distanceTransform(inside_HW, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _areas(boxes_M4: np.ndarray) -> np.ndarray:
    """Compute width x height, which is positive for a box with two negative sides."""
    return boxes_M4[:, 2] * boxes_M4[:, 3]


def _sorted_by_area(boxes_M4: np.ndarray) -> list[int]:
    """Sort boxes by area, largest first, as ``std::sort`` of GNU C++ does; give their indices.

    That sort is not stable above 16 elements, and the order of boxes of equal area decides which
    ones are erased. It is an introsort: it splits ranges longer than 16 by the median of their
    second, middle and last element, and ends with one insertion sort, which is stable.
    """
    area = _areas(boxes_M4).tolist()
    order = list(range(len(area)))

    def swap(i: int, j: int) -> None:
        order[i], order[j] = order[j], order[i]

    def before(i: int, j: int) -> bool:
        return area[order[i]] > area[order[j]]

    def part(first: int, last: int) -> int:
        """Move the pivot to ``first``, then larger boxes before smaller ones.

        Returns where the smaller ones begin.
        """
        low, middle, high = first + 1, first + (last - first) // 2, last - 1
        if not before(low, middle):
            low, middle = middle, low
        # Now low comes before middle or is equal to it, so the place of high tells the median. Of
        # equal elements the one that the C++ library takes is taken.
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
        # At depth 0 the library changes to a heap sort, which is left out here. No list of boxes
        # has been seen to get there; one that does is sorted by the stable sort below, and only
        # boxes of equal area may come in another order than the library's.
        while last - first > INSERTION_SORT and depth > 0:
            depth -= 1
            cut = part(first, last)
            sort(cut, last, depth)
            last = cut

    sort(0, len(order), 2 * (len(order).bit_length() - 1))
    return sorted(order, key=lambda index: -area[index])


def _thin(boxes_M4: np.ndarray, count: int | None = None) -> np.ndarray:
    """Erase boxes that an earlier box covers, but never two in a row; give those left.

    An earlier box covers a later one when they share more than half of the larger area (rounded
    towards 0). The program's iterator skips the box after each one it erases: of several covered
    boxes in a row the first, third, ... go and the second, fourth, ... stay.

    boxes_M4: sorted by area. count: how many boxes are wanted; which ones are left after those does
    not matter. None: all.
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
    """Make the grey image that the program reads: uint8 (H, W); None without a positive maximum.

    The map is divided by its maximum, negative values become 0, the rest is multiplied by 255 and
    rounded (halves up), stored as a grey JPEG of ``jpeg_quality`` and read back (None: not stored).
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
    """Do what the two rules below share: run the program on a map, and give its first two boxes.

    thresholds: integers from 0 to 255, at least one; the pixels above each are kept.
    jpeg_quality: 1 to 100, or None for a map that is not stored as a JPEG.
    """

    def __init__(
        self, thresholds: Sequence[int] = THRESHOLDS, jpeg_quality: int | None = 75
    ) -> None:
        listed = isinstance(thresholds, Sequence) and not isinstance(thresholds, str)
        if not (listed and thresholds and all(_is_int(t, 0, 255) for t in thresholds)):
            raise UserError(
                f"thresholds={thresholds}: must be a list of integers from 0 to "
                "255, as [20,100,110]"
            )
        if not (jpeg_quality is None or _is_int(jpeg_quality, 1, 100)):
            raise UserError(
                f"jpeg_quality={jpeg_quality}: must be an integer from 1 to 100, or null"
            )
        self.thresholds = tuple(thresholds)
        self.jpeg_quality = jpeg_quality

    def loose_and_tight(self, maps: RankedMaps, rank: int) -> tuple[Box, Box]:
        """Give the program's first two boxes; the first one twice where there is only one.

        Where the program finds none, both boxes are the whole image's.
        """
        program = self._program(maps, rank)
        found = program.boxes(self.thresholds, 2) if program else []
        boxes = [_as_drawn(box, maps) for box in found] or [whole_image(maps.width, maps.height)]
        return boxes[0], boxes[-1]

    def loose(self, maps: RankedMaps, rank: int) -> Box:
        """Give the first box of ``loose_and_tight``, in less time."""
        program = self._program(maps, rank)
        found = program.first(self.thresholds) if program else None
        return _as_drawn(found, maps) if found else whole_image(maps.width, maps.height)

    def _program(self, maps: RankedMaps, rank: int) -> Program | None:
        """Give the program with a class's map, once for all rules; None without a heat map."""

        def begin() -> Program | None:
            heatmap_HW = heatmap_image(maps.at_image_size(rank), self.jpeg_quality)
            return None if heatmap_HW is None else Program(heatmap_HW)

        return maps.once(rank, ("dt_box", self.jpeg_quality), begin)


def _as_drawn(rectangle: Rectangle, maps: RankedMaps) -> Box:
    """Make the box that the authors' script makes of what the program prints.

    The script writes (x, y, x + width, y + height), a box one pixel larger than the rectangle on
    the right and below, with each pair of coordinates in ascending order, so that no box is empty.
    Here the box is also clipped to the image, which changes only boxes of images with a side under
    9 pixels.
    """
    x, y, w, h = rectangle
    corners = (min(x, x + w), min(y, y + h), max(x, x + w), max(y, y + h))
    return clip(corners, maps.width, maps.height)


def _is_int(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


class DtBox(_ProgramBoxes):
    """Guess the program's first box, the loose one, for each of the five best classes."""

    def __call__(self, maps: RankedMaps) -> list[Guess]:
        return [
            (maps.classes[rank], self.loose(maps, rank))
            for rank in range(min(len(maps), MAX_GUESSES))
        ]


class DtBoxHeuristic(_ProgramBoxes):
    """Guess loose and tight box of classes 1 and 2, loose box of class 3: the paper's Table 3."""

    def __call__(self, maps: RankedMaps) -> list[Guess]:
        guesses = [
            (maps.classes[rank], box)
            for rank in range(min(len(maps), 2))
            for box in self.loose_and_tight(maps, rank)
        ]
        guesses += [(maps.classes[rank], self.loose(maps, rank)) for rank in range(len(maps))[2:3]]
        return guesses
