"""MaxBoxAcc and MaxBoxAccV2 (Choe et al., "Evaluating Weakly Supervised Object Localization
Methods Right", CVPR 2020), equal to the authors' program and found in one pass over a map.

The protocol: the true class is given; the box of a map depends on a score-map threshold; the
accuracy (share of images whose box reaches an IoU with any true box) is computed at every
threshold, and the best one counts. MaxBoxAcc is the accuracy at IoU 0.5, V2 the mean over IoU
0.3, 0.5 and 0.7. Their program also has a multi-contour mode, where an image is right when the
box of any contour is.

What their program does with a map (FACTS, ``fixtures/max_box_acc``): resized to 224 x 224 (cubic,
float64), minus its minimum, divided by its maximum, times 255 and truncated to uint8; for each
threshold t the pixels above ``int(t * 255)``; cv2's contours of them; the contour of largest
``cv2.contourArea``, the first of equals; its box x, y, x + w, y + h, the far corner clipped to
223. True boxes are scaled to 224 and truncated. Overlap is inclusive.

How it is done here. A uint8 map has 255 masks worth looking at, whatever the number of thresholds.
Let its pixels join the mask one by one, from the highest value down (of equal ones the later in
raster order first). What a pixel does when it joins depends only on which of its eight neighbours
are in already, so a table of 256 rows tells: it starts a component, or extends one, or connects
several. Every pixel that does not start one points to a neighbour that came before; the pointers,
followed to their end, lead to the pixel that started the component. From there each component gets
a row over the levels, of

* its box: the extreme pixel on a side has no earlier neighbour on that side or level with it, and
  few pixels are like that;
* its area, as cv2 measures it (the polygon through the centres of the outermost pixels): a block of
  2 x 2 pixels counts 1/2 when three are in and 1 when all are, a sum over joining pixels;
* its Euler number (1 minus the number of holes), which is such a sum too.

Where a pixel connects two components, the row of the younger is added to that of the elder from
there on. cv2 fills holes; of a component with holes the area above is a lower bound only, and its
box an upper one. Where the bounds do not tell which contour is largest, and where areas are equal,
cv2 is asked, for this one level. Holes count as contours in the multi-contour mode; they are the
components of what is not in the mask: the same pass over the map turned over, with four neighbours
instead of eight.

Array names: T thresholds, L the 255 levels, B components (or their rows), P all pixels of the map
with a border of one pixel around it, S and K some of these, M boxes, I IoU thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np

from cam_repro.errors import UserError
from cam_repro.geometry import iou

IOU_THRESHOLDS = (0.3, 0.5, 0.7)
N_THRESHOLDS = 1000
SIZE = 224
N_LEVELS = 255
"""A threshold t in [0, 1) cuts at grey level ``int(t * 255)``: 0 to 254."""

NO_BOX = (0, 0, 0, 0)
"""The box of a map without a contour."""


# --- boxes of one map ----------------------------------------------------------------------------


@dataclass(frozen=True)
class LevelBoxes:
    """Boxes of one map at every grey level, in pixels of the resized map, int32.

    Those of level l, where the mask is "value > l", are
    ``boxes_M4[offsets_L1[l]:offsets_L1[l + 1]]``: at least one at each level.
    """

    boxes_M4: np.ndarray
    offsets_L1: np.ndarray

    def at(self, level: int) -> np.ndarray:
        """Boxes of one level, (M, 4)."""
        return self.boxes_M4[self.offsets_L1[level] : self.offsets_L1[level + 1]]


def thresholds(n_thresholds: int = N_THRESHOLDS) -> np.ndarray:
    """The score-map thresholds 0, 1/n, 2/n, ..., as the authors' ``np.arange(0, 1, 1 / n)``."""
    return np.arange(n_thresholds) * (1 / n_thresholds)


def threshold_levels(n_thresholds: int = N_THRESHOLDS) -> np.ndarray:
    """The grey level at which each threshold cuts, int64 (T,)."""
    return (thresholds(n_thresholds) * 255).astype(np.int64)


def boxes_over_thresholds(
    map_hw: np.ndarray,
    size: int = SIZE,
    n_thresholds: int = N_THRESHOLDS,
    multi_contour: bool = False,
) -> list[np.ndarray]:
    """Boxes of a map at every threshold: T arrays (M, 4) int32, in pixels of the resized map.

    Convention of the authors' program: x0, y0 inclusive, x1, y1 one further than the last pixel
    and then clipped to ``size - 1``. One box each, or the boxes of all contours (in any order)
    with ``multi_contour``.
    """
    boxes = boxes_over_levels(map_hw, size, multi_contour)
    by_level = [boxes.at(level) for level in range(N_LEVELS)]
    return [by_level[level] for level in threshold_levels(n_thresholds)]


def boxes_over_levels(
    map_hw: np.ndarray, size: int = SIZE, multi_contour: bool = False
) -> LevelBoxes:
    """Boxes of a map at grey levels 0 to 254, in the convention of ``boxes_over_thresholds``.

    map_hw: real numbers of any range, at least one pixel. A constant map has no contour: its box is
    ``NO_BOX`` at every level, as in the authors' program. So is that of a map with NaN. An infinite
    value stops their program; here it counts as NaN.
    """
    normal_HW = _normalised(map_hw, size)
    if normal_HW is None:
        return LevelBoxes(np.full((N_LEVELS, 4), NO_BOX, np.int32), np.arange(N_LEVELS + 1))
    # The high byte is their uint8 map (multiplying by 256 rounds nothing). The low byte orders
    # pixels of equal grey value by what is truncated: far fewer components to carry along.
    fine_HW = np.multiply(normal_HW, 255 * 256, out=normal_HW).astype(np.uint16)
    grey_HW = (fine_HW >> 8).astype(np.uint8)
    # Step s of this sweep lets grey values from 255 - s up in, which is level 254 - s.
    mask = _sweep(_pad(fine_HW, 0), _pad(~grey_HW, 255), _rules(8), want_area=not multi_contour)
    mask = mask.reversed()
    if not multi_contour:
        boxes_M4, level_M = _largest(mask, grey_HW), np.arange(N_LEVELS)
    else:
        # What is not in the mask, from grey value 0 up: step s is level s. The border comes first
        # of all, so component 0 is the outside and the others are holes.
        rest = _sweep(
            _pad(255 * 256 - fine_HW, 65535), _pad(grey_HW, 255), _rules(4), want_area=False
        )
        rest.extents_4BL[:, 0] = _ABSENT
        boxes_M4, level_M = mask.boxes()
        holes_M4, hole_level_M = rest.boxes()
        # The contour of a hole runs through the pixels around it.
        boxes_M4 = np.concatenate([boxes_M4, holes_M4 + np.array([-1, -1, 1, 1], np.int32)])
        level_M = np.concatenate([level_M, hole_level_M])
        order_M = np.argsort(level_M, kind="stable")
        boxes_M4, level_M = boxes_M4[order_M], level_M[order_M]
    boxes_M4 = np.minimum(boxes_M4 + np.array([0, 0, 1, 1], np.int32), np.int32(size - 1))
    return LevelBoxes(boxes_M4, np.searchsorted(level_M, np.arange(N_LEVELS + 1)))


def _normalised(map_hw: np.ndarray, size: int) -> np.ndarray | None:
    """The map resized and brought to [0, 1], float64; None where it is constant or not finite."""
    map_hw = np.asarray(map_hw, np.float64)
    assert map_hw.ndim == 2, "one map at a time"
    assert map_hw.size, "a map has pixels"
    map_HW: np.ndarray = cv2.resize(map_hw, (size, size), interpolation=cv2.INTER_CUBIC)
    low, high = map_HW.min(), map_HW.max()  # NaN where any value is
    if not (np.isfinite(high - low) and low < high):
        return None
    map_HW -= low
    map_HW /= map_HW.max()
    return map_HW


# --- the neighbourhood tables --------------------------------------------------------------------

# The eight neighbours in a circle, from the right-hand one clockwise: bit i of a code is
# neighbour i. The even ones share an edge with the pixel.
_DX = np.array([1, 1, 0, -1, -1, -1, 0, 1], np.int64)
_DY = np.array([0, 1, 1, 1, 0, -1, -1, -1], np.int64)
_EDGES = 0b01010101
_LATER = 0b00001111
"""Neighbours that come later in raster order."""


@dataclass(frozen=True)
class _Rules:
    """What a pixel does when it joins, for each code of neighbours that are in already.

    step: the neighbour to point to, -1 where the pixel starts a component.
    parts: one neighbour of each part that the pixel connects, (256, 4), the first one repeated.
    n_parts: how many parts these are.
    extreme: bit i is set where the pixel may be the extreme one of its component towards x0, y0,
        x1, y1: all neighbours it is connected with lie strictly to the other side.
    euler: change of the Euler number. twice_area: change of twice the polygon's area.
    is_special: whether any table but twice_area has something to say: few pixels.
    """

    step: np.ndarray
    parts: np.ndarray
    n_parts: np.ndarray
    extreme: np.ndarray
    euler: np.ndarray
    twice_area: np.ndarray
    is_special: np.ndarray


@cache
def _rules(connectivity: int) -> _Rules:
    """The tables for components of 8 or of 4 neighbours.

    ``euler`` and ``twice_area`` are for 8 neighbours only.
    """
    step, extreme, euler, twice_area = (np.zeros(256, np.int64) for _ in range(4))
    parts, n_parts = np.zeros((256, 4), np.int64), np.zeros(256, np.int64)
    length = np.hypot(_DX, _DY)
    for code in range(256):
        present = [i for i in range(8) if code >> i & 1]
        joined = [i for i in present if connectivity == 8 or i % 2 == 0]
        found = _parts(present, connectivity)
        reached = [next(i for i in part if i in joined) for part in found if set(part) & {*joined}]
        n_parts[code] = len(reached)
        parts[code] = (reached + reached[:1] * 4)[:4] if reached else 0
        # Towards the middle of the neighbours that are in: paths are short where they run uphill.
        pull_x, pull_y = (_DX / length)[joined].sum(), (_DY / length)[joined].sum()
        towards = (_DX * pull_x + _DY * pull_y) / length
        step[code] = max(joined, key=towards.__getitem__) if joined else -1
        sides = (_DX[joined] > 0, _DY[joined] > 0, _DX[joined] < 0, _DY[joined] < 0)
        extreme[code] = sum(bool(side.all()) << i for i, side in enumerate(sides))
        # The pixel adds 1, each part it connects takes 1 off; four edge neighbours make a ring
        # around it, whose hole it fills.
        euler[code] = 1 - len(reached) + (code & _EDGES == _EDGES)
        for corner in (0, 2, 4, 6):
            in_block = sum(code >> (corner + i) % 8 & 1 for i in range(3))
            twice_area[code] += in_block >= 2
    is_special = (extreme > 0) | (n_parts != 1) | (euler != 0)
    return _Rules(step, parts, n_parts, extreme, euler, twice_area, is_special)


def _parts(present: list[int], connectivity: int) -> list[list[int]]:
    """The connected parts among these of the eight neighbours, the pixel itself left out."""
    parts: list[list[int]] = []
    for i in present:
        dx, dy = abs(_DX - _DX[i]), abs(_DY - _DY[i])
        near = np.maximum(dx, dy) <= 1 if connectivity == 8 else dx + dy <= 1
        touching = [part for part in parts if near[part].any()]
        parts = [part for part in parts if part not in touching]
        parts.append([*(j for part in touching for j in part), i])
    return parts


# --- the pass over a map -------------------------------------------------------------------------

_ABSENT = np.iinfo(np.int16).max

# The C library of Linux gives the memory of freed arrays of half a megabyte back to the system, and
# to fetch it again page by page takes longer than half of the pass. Once a larger block was freed
# (as in any program that has read its data) it keeps such memory: mallopt(3), M_MMAP_THRESHOLD.
np.empty(16 << 20, np.uint8)


@dataclass
class _Components:
    """Components over levels; a component that another took in is absent from there on.

    extents_4BL: x0, y0, -x1, -y1 in pixels of the map, ``_ABSENT`` where there is no component.
    sums_2BL: twice the area of the polygon, holes left out, and the Euler number: 1 minus the
        number of holes. Of shape (0, B, L) where not wanted.
    """

    extents_4BL: np.ndarray
    sums_2BL: np.ndarray

    def reversed(self) -> _Components:
        """The same with the levels in opposite order."""
        return _Components(self.extents_4BL[:, :, ::-1], self.sums_2BL[:, :, ::-1])

    def boxes(self) -> tuple[np.ndarray, np.ndarray]:
        """All boxes, int32 (M, 4), far corner inclusive, and their levels (M,), ascending."""
        level_M, component_M = np.nonzero((self.extents_4BL[0] < _ABSENT).T)
        boxes_M4 = self.extents_4BL[:, component_M, level_M].T
        return boxes_M4 * np.array([1, 1, -1, -1], np.int32), level_M


def _pad(map_HW: np.ndarray, value: int) -> np.ndarray:
    """The map with a border of one pixel of ``value``."""
    return cv2.copyMakeBorder(map_HW, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=value)


def _codes(order_P: np.ndarray, width: int) -> np.ndarray:
    """For each pixel, which neighbours join before it: of higher order or, where equal, later in
    raster order. uint8 (P,); without meaning on the border.
    """
    n = len(order_P)
    inner = slice(width + 1, n - width - 1)
    code_P = np.zeros(n, np.uint8)
    code_P[inner] = 255 - _LATER
    for i in range(4):
        offset = int(_DX[i] + _DY[i] * width)
        is_later_first = (order_P[offset:] >= order_P[:-offset]).view(np.uint8)
        # Seen from the later pixel it is the other way round: neighbour i + 4, and not in.
        code_P[inner] ^= is_later_first[inner] * np.uint8(1 << i)
        back = slice(inner.start - offset, inner.stop - offset)
        code_P[inner] ^= is_later_first[back] * np.uint8(16 << i)
    return code_P


def _look_up(table: np.ndarray, code_P: np.ndarray) -> np.ndarray:
    """``table[code_P]`` for 8-byte tables of 256 rows: cv2 is ten times as fast as numpy here."""
    return cv2.LUT(code_P, table.view(np.float64)).view(table.dtype).ravel()


def _sweep(
    order_HW: np.ndarray, step_HW: np.ndarray, rules: _Rules, want_area: bool
) -> _Components:
    """Components of the pixels that are in, after each of the steps 0 to 254.

    Both maps have a border of one pixel. Pixels join in descending order, ``step_HW`` (uint8) tells
    by which step; never where it is 255. A border of higher order than all else is component 0; a
    border of lower order is of no effect, and component 0 is empty.
    """
    width = order_HW.shape[1]
    step_P = step_HW.ravel()
    code_P = _codes(order_HW.ravel(), width)
    neighbour = _DX + _DY * width
    start_P = _starts(code_P, order_HW.shape, np.where(rules.step < 0, 0, neighbour[rules.step]))

    # From here on S special pixels: starts, connections and extremes.
    at_S = np.flatnonzero(cv2.LUT(code_P, rules.is_special.view(np.uint8)).ravel().view(bool))
    at_S = at_S[step_P[at_S] < 255]
    code_S, step_S = code_P[at_S], step_P[at_S]
    n_parts_S = rules.n_parts[code_S]
    at_B = at_S[n_parts_S == 0]
    at_B = at_B[np.argsort(step_P[at_B], kind="stable")]  # the elder component, the lower number
    number_P = np.zeros(len(step_P), np.int64)
    number_P[at_B] = np.arange(1, len(at_B) + 1)
    is_link_S = n_parts_S > 1
    linked_P4 = at_S[is_link_S, None] + neighbour[rules.parts[code_S[is_link_S]]]
    born = [-1, *step_P[at_B].tolist()]
    row_B, merges = _merges(number_P[start_P[linked_P4]], step_S[is_link_S], born)

    n_rows = int(row_B.max()) + 1
    number_P[at_B] = row_B[1:] * 256
    cell_P = number_P.take(start_P)  # cell of a flattened table (row, step): row * 256 + step
    cell_P += step_P
    cell_S = cell_P[at_S]
    extents_4BL: np.ndarray = np.full((4, n_rows, 256), _ABSENT, np.int16)
    y_S, x_S = np.divmod(at_S, width)
    for side, place_S in enumerate((x_S - 1, y_S - 1, 1 - x_S, 1 - y_S)):
        is_extreme_S = (rules.extreme[code_S] >> side & 1).astype(bool)
        extreme_X = place_S[is_extreme_S].astype(np.int16)
        np.minimum.at(extents_4BL[side].reshape(-1), cell_S[is_extreme_S], extreme_X)
    np.minimum.accumulate(extents_4BL, axis=2, out=extents_4BL)
    sums_2BL = np.zeros((2 if want_area else 0, n_rows, 256), np.int32)
    if want_area:
        twice_area_P = _look_up(rules.twice_area.astype(np.float64), code_P)
        sums_2BL[0] = np.bincount(cell_P, twice_area_P, n_rows * 256).reshape(-1, 256)
        sums_2BL[1] = np.bincount(cell_S, rules.euler[code_S], n_rows * 256).reshape(-1, 256)
        np.cumsum(sums_2BL, axis=2, out=sums_2BL)

    for step, kept, gone in merges:
        into, out_of = extents_4BL[:, kept, step:], extents_4BL[:, gone, step:]
        np.minimum(into, out_of, out=into)
        out_of.fill(_ABSENT)
        if want_area:
            sums_2BL[:, kept, step:] += sums_2BL[:, gone, step:]
    return _Components(extents_4BL[:, :, :N_LEVELS], sums_2BL[:, :, :N_LEVELS])


def _starts(code_P: np.ndarray, shape: tuple[int, ...], uphill: np.ndarray) -> np.ndarray:
    """The pixel that started the component each pixel belongs to when it joins, int64 (P,).

    uphill: offset of the neighbour to follow, by code; 0 where the pixel is a start itself. All of
    the border has pixel 0 as its start.
    """
    start_P = _look_up(uphill, code_P)
    start_P += np.arange(len(start_P))
    start_HW = start_P.reshape(shape)
    start_HW[[0, -1]] = 0
    start_HW[:, [0, -1]] = 0
    # Each round doubles the length of the steps; hardly a map has no path longer than 32.
    for _ in range(5):
        start_P = start_P.take(start_P)
    while not np.array_equal(further_P := start_P.take(start_P), start_P):
        start_P = further_P
    return start_P


def _merges(
    linked_K4: np.ndarray, step_K: np.ndarray, born: list[int]
) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """Which components become one, and when: the union-find part.

    linked_K4: components that a pixel connects, numbered by age; step_K: the step of this pixel.
    born: the step at which each component starts.

    Returns the row of the tables in which each component is to be counted: a component that ends
    at the step at which it starts is there after no step and goes to the row of its elder. Then
    (step, row kept, row gone) in the order of steps.
    """
    differ_K = (linked_K4 != linked_K4[:, :1]).any(axis=1)
    linked_K4, step_K = linked_K4[differ_K], step_K[differ_K]
    order_K = np.argsort(step_K, kind="stable")
    parent = list(range(len(born)))

    def root(component: int) -> int:
        while parent[component] != component:
            parent[component] = parent[parent[component]]
            component = parent[component]
        return component

    counted_in = list(range(len(born)))
    merges = []
    for step, linked in zip(step_K[order_K].tolist(), linked_K4[order_K].tolist(), strict=True):
        kept = root(linked[0])
        for other in linked[1:]:
            gone = root(other)
            if gone == kept:
                continue
            kept, gone = min(kept, gone), max(kept, gone)
            parent[gone] = kept
            if born[gone] == step:
                counted_in[gone] = kept
            else:
                merges.append((step, kept, gone))
    row: list[int] = []
    n_rows = 0
    for component, elder in enumerate(counted_in):
        row.append(n_rows if elder == component else row[elder])
        n_rows += elder == component
    return np.array(row), [(step, row[kept], row[gone]) for step, kept, gone in merges]


def _largest(mask: _Components, grey_HW: np.ndarray) -> np.ndarray:
    """Box of the largest contour at each level, int32 (L, 4), far corner inclusive."""
    alive_BL = mask.extents_4BL[0] < _ABSENT
    boxes_4L = mask.extents_4BL.min(axis=1).astype(np.int32)  # right where there is one component
    several = np.flatnonzero(alive_BL.sum(axis=0) > 1)
    if len(several):
        alive_BL = alive_BL[:, several]
        extents_4BL = mask.extents_4BL[:, :, several].astype(np.int32)
        # Filling holes adds to the area, but never beyond the box through the outermost centres.
        twice_area_BL, euler_BL = mask.sums_2BL[:, :, several]
        at_least_BL = np.where(alive_BL, twice_area_BL, -1)
        box_BL = 2 * (extents_4BL[0] + extents_4BL[2]) * (extents_4BL[1] + extents_4BL[3])
        at_most_BL = np.where(euler_BL == 1, at_least_BL, box_BL)
        best_L, column_L = at_least_BL.argmax(axis=0), np.arange(len(several))
        boxes_4L[:, several] = extents_4BL[:, best_L, column_L]
        at_most_BL[~alive_BL] = -1
        at_most_BL[best_L, column_L] = -1
        is_open_L = at_most_BL.max(axis=0) >= at_least_BL[best_L, column_L]
    boxes_L4 = boxes_4L.T * np.array([1, 1, -1, -1], np.int32)
    if len(several):
        for level in several[is_open_L].tolist():
            boxes_L4[level] = _contour_box(grey_HW, level)
    return boxes_L4


def _contour_box(grey_HW: np.ndarray, level: int) -> tuple[int, int, int, int]:
    """Box of the largest contour, far corner inclusive, as the authors' program finds it."""
    _, mask_HW = cv2.threshold(grey_HW, level, 255, cv2.THRESH_BINARY)
    # The tree mode, though holes are never larger than what is around them: the order of the
    # contours decides between equal areas.
    contours, _ = cv2.findContours(mask_HW, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    x, y, width, height = cv2.boundingRect(max(contours, key=cv2.contourArea))
    return x, y, x + width - 1, y + height - 1


# --- accuracy of many maps -----------------------------------------------------------------------


@dataclass
class MaxBoxAcc:
    """Accuracy in percent over all score-map thresholds.

    curve: for each IoU threshold (as in ``IOU_THRESHOLDS``) an array (T,) in [0, 100].
    thresholds_T: the score-map thresholds. n_images: over how many images.
    """

    curve: dict[float, np.ndarray]
    thresholds_T: np.ndarray
    n_images: int

    @property
    def best(self) -> dict[float, float]:
        """MaxBoxAcc at each IoU threshold, percent."""
        return {at: float(curve_T.max()) for at, curve_T in self.curve.items()}

    @property
    def best_threshold(self) -> dict[float, float]:
        """The lowest score-map threshold that reaches the best accuracy."""
        best = {at: curve_T.argmax() for at, curve_T in self.curve.items()}
        return {at: float(self.thresholds_T[index]) for at, index in best.items()}

    @property
    def mean(self) -> float:
        """MaxBoxAccV2: mean over the IoU thresholds, each with its own best threshold."""
        return float(np.mean(list(self.best.values())))

    def as_json(self) -> dict[str, Any]:
        """``{"max_box_acc": {"0.3": ..}, "mean": .., "best_threshold": {"0.3": ..}}``."""
        return {
            "max_box_acc": {f"{at:g}": value for at, value in self.best.items()},
            "mean": self.mean,
            "best_threshold": {f"{at:g}": value for at, value in self.best_threshold.items()},
        }


class MaxBoxAccAccumulator:
    """Counts images that are right at each threshold; holds a few numbers however many images.

    multi_contour: all contours' boxes are tried, and not only that of the largest.
    """

    def __init__(
        self,
        multi_contour: bool = False,
        n_thresholds: int = N_THRESHOLDS,
        iou_thresholds: tuple[float, ...] = IOU_THRESHOLDS,
        size: int = SIZE,
    ) -> None:
        self.multi_contour = multi_contour
        self.n_thresholds = n_thresholds
        self.iou_thresholds = iou_thresholds
        self.size = size
        self.n_images = 0
        self._right_IL = np.zeros((len(iou_thresholds), N_LEVELS), np.int64)

    def add(self, map_hw: np.ndarray, gt_boxes_M4: np.ndarray, width: int, height: int) -> None:
        """Counts one image.

        map_hw: the map of its true class, any size and range (see ``boxes_over_levels`` for
        constant maps and NaN). gt_boxes_M4: true boxes, pixels of the original image of ``width``
        and ``height``. An image without a true box is wrong at every threshold (the authors'
        program stops there).
        """
        self.n_images += 1
        gt_boxes_M4 = resized_boxes(gt_boxes_M4, width, height, self.size)
        if not len(gt_boxes_M4):
            return
        boxes = boxes_over_levels(map_hw, self.size, self.multi_contour)
        iou_M = iou(boxes.boxes_M4, gt_boxes_M4).max(axis=1)
        iou_L = np.maximum.reduceat(iou_M, boxes.offsets_L1[:-1])
        self._right_IL += iou_L >= np.array(self.iou_thresholds)[:, None]

    def result(self) -> MaxBoxAcc:
        """Accuracy of the images so far. UserError where there are none."""
        if not self.n_images:
            raise UserError("no image to score: no map was given")
        right_IT = self._right_IL[:, threshold_levels(self.n_thresholds)]
        accuracy_IT = right_IT * 100.0 / self.n_images
        curve = dict(zip(self.iou_thresholds, accuracy_IT, strict=True))
        return MaxBoxAcc(curve, thresholds(self.n_thresholds), self.n_images)


def resized_boxes(boxes_M4: np.ndarray, width: int, height: int, size: int = SIZE) -> np.ndarray:
    """True boxes in an image resized to ``size`` squared, each corner truncated, int64 (M, 4).

    This is the rule of the authors' program; ``geometry.scale_boxes`` scales edges instead.
    """
    boxes_M4 = np.asarray(boxes_M4, np.float64).reshape(-1, 4)
    return (boxes_M4 * float(size) / np.array([width, height] * 2, np.float64)).astype(np.int64)
