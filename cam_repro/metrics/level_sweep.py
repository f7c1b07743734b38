"""The components of a map above every one of many thresholds, in one pass over the map.

Let the pixels of a map join a mask one by one, from the highest value down (of equal ones the later
in raster order first). What a pixel does when it joins depends only on which of its eight
neighbours are in already, so a table of 256 rows tells: it starts a component, or extends one, or
connects several. Every pixel that does not start one points to a neighbour that came before; the
pointers, followed to their end, lead to the pixel that started the component (``trace``).

Thresholds cut this order into steps, after each of which somebody wants to know the components
(``components``). Each gets a row over the steps, of

* its box: the extreme pixel on a side has no earlier neighbour on that side or level with it, and
  few pixels are like that;
* its size, a sum over the pixels that join: how many they are, or what they add to the polygon
  through the centres of the outermost pixels (cv2's ``contourArea``: a block of 2 x 2 pixels counts
  1/2 when three are in and 1 when all are) and to the Euler number (1 minus the number of holes).

Where a pixel connects two components, the row of the younger is added to that of the elder from
there on: union by age, the one part that is a Python loop.

For P pixels, T steps and B components that live through at least one step, with K connections of
them, time is O(P log D + B T + K T), where D is the longest uphill path in pixels, memory O(P +
B T). On a smooth map B and K are a few dozen at most and the first term is all; on white noise B is
a tenth of P.

Array names: T steps, B components (or their rows), P all pixels of the map with a border of one
pixel around it, S and K some of these, M boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import cv2
import numpy as np

Measure = Literal["pixels", "polygon"]
"""What the size of a component is."""

ABSENT = np.iinfo(np.int16).max
"""Extent of a component that is not there."""

MAX_SIDE = ABSENT - 1
"""Width and height that a map may have, pixels."""

# --- the neighbourhood tables --------------------------------------------------------------------

# The eight neighbours in a circle, from the right-hand one clockwise: bit i of a code is
# neighbour i. The even ones share an edge with the pixel.
DX = np.array([1, 1, 0, -1, -1, -1, 0, 1], np.int64)
DY = np.array([0, 1, 1, 1, 0, -1, -1, -1], np.int64)
_EDGES = 0b01010101
_LATER = 0b00001111
"""Neighbours that come later in raster order."""


@dataclass(frozen=True)
class Rules:
    """What a pixel does when it joins, for each code of neighbours that are in already.

    step: the neighbour to point to, -1 where the pixel starts a component.
    parts: one neighbour of each part that the pixel connects, (256, 4), the first one repeated.
    n_parts: how many parts these are.
    extreme: whether the pixel may be the extreme one of its component towards x0, y0, x1, y1, bool
        (4, 256): all neighbours it is connected with lie strictly to the other side.
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
def rules_of(connectivity: int) -> Rules:
    """The tables for components of 8 or of 4 neighbours.

    ``euler`` and ``twice_area`` are for 8 neighbours only.
    """
    step, euler, twice_area = (np.zeros(256, np.int64) for _ in range(3))
    extreme = np.zeros((4, 256), bool)
    parts, n_parts = np.zeros((256, 4), np.int64), np.zeros(256, np.int64)
    length = np.hypot(DX, DY)
    for code in range(256):
        present = [i for i in range(8) if code >> i & 1]
        joined = [i for i in present if connectivity == 8 or i % 2 == 0]
        found = _parts(present, connectivity)
        reached = [next(i for i in part if i in joined) for part in found if set(part) & {*joined}]
        n_parts[code] = len(reached)
        parts[code] = (reached + reached[:1] * 4)[:4] if reached else 0
        # Towards the middle of the neighbours that are in: paths are short where they run uphill.
        pull_x, pull_y = (DX / length)[joined].sum(), (DY / length)[joined].sum()
        towards = (DX * pull_x + DY * pull_y) / length
        step[code] = max(joined, key=towards.__getitem__) if joined else -1
        sides = (DX[joined] > 0, DY[joined] > 0, DX[joined] < 0, DY[joined] < 0)
        extreme[:, code] = [side.all() for side in sides]
        # The pixel adds 1, each part it connects takes 1 off; four edge neighbours make a ring
        # around it, whose hole it fills.
        euler[code] = 1 - len(reached) + (code & _EDGES == _EDGES)
        for corner in (0, 2, 4, 6):
            in_block = sum(code >> (corner + i) % 8 & 1 for i in range(3))
            twice_area[code] += in_block >= 2
    is_special = extreme.any(axis=0) | (n_parts != 1) | (euler != 0)
    return Rules(step, parts, n_parts, extreme, euler, twice_area, is_special)


def _parts(present: list[int], connectivity: int) -> list[list[int]]:
    """The connected parts among these of the eight neighbours, the pixel itself left out."""
    parts: list[list[int]] = []
    for i in present:
        dx, dy = abs(DX - DX[i]), abs(DY - DY[i])
        near = np.maximum(dx, dy) <= 1 if connectivity == 8 else dx + dy <= 1
        touching = [part for part in parts if near[part].any()]
        parts = [part for part in parts if part not in touching]
        parts.append([*(j for part in touching for j in part), i])
    return parts


# --- the pass over a map -------------------------------------------------------------------------


@dataclass(frozen=True)
class Paths:
    """From where each pixel of a map comes, whatever the thresholds.

    code_P: which neighbours join before it, uint8; start_P: the pixel that started the component
    which it joins, int64. shape: of the map with its border.
    """

    rules: Rules
    shape: tuple[int, ...]
    code_P: np.ndarray
    start_P: np.ndarray

    @property
    def n_starts(self) -> int:
        """How many components start on the map, were each pixel to join by a step of its own."""
        code_HW = self.code_P.reshape(self.shape)[1:-1, 1:-1]
        return int(np.count_nonzero(code_HW == 0))


@dataclass
class Components:
    """Components over steps; a component that another took in is absent from there on.

    extents_4BT: int16. x0, y0, -x1, -y1 in pixels of the map without its border, ``ABSENT`` where
        there is no component.
    sizes_XBT: int32. By "pixels", (1, B, T), how many. By "polygon", (2, B, T): twice the area of
        the polygon, holes left out, and the Euler number, 1 minus the number of holes. (0, B, T)
        where not asked for. Without meaning where there is no component.
    """

    extents_4BT: np.ndarray
    sizes_XBT: np.ndarray

    @property
    def alive_BT(self) -> np.ndarray:  # noqa: N802
        """Whether a component is there, bool."""
        alive_BT: np.ndarray = self.extents_4BT[0] < ABSENT
        return alive_BT

    def reversed(self) -> Components:
        """The same with the steps in opposite order."""
        return Components(self.extents_4BT[:, :, ::-1], self.sizes_XBT[:, :, ::-1])

    def clear(self, component: int) -> None:
        """Take a component out of all steps."""
        self.extents_4BT[:, component] = ABSENT

    def boxes(self) -> tuple[np.ndarray, np.ndarray]:
        """All boxes, int32 (M, 4), far corner inclusive, and their steps (M,), ascending."""
        step_M, component_M = np.nonzero(self.alive_BT.T)
        return corners(self.extents_4BT[:, component_M, step_M]), step_M


def corners(extents_4M: np.ndarray) -> np.ndarray:
    """Boxes, int32 (M, 4), of extents x0, y0, -x1, -y1."""
    return extents_4M.T * np.array([1, 1, -1, -1], np.int32)


def pad(map_HW: np.ndarray, value: float) -> np.ndarray:
    """The map with a border of one pixel of ``value``."""
    return cv2.copyMakeBorder(map_HW, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=value)


def trace(order_HW: np.ndarray, rules: Rules) -> Paths:
    """Follow every pixel to the one that started its component.

    order_HW: real numbers without NaN, sides up to ``MAX_SIDE``, and a border of one pixel; pixels
    join in descending order.
    A border that is higher than all else is a component; one as low as the lowest is of no effect,
    as long as ``components`` lets no pixel in that is as low.
    """
    assert max(order_HW.shape) <= MAX_SIDE + 2, "map too large"
    width = order_HW.shape[1]
    code_P = _codes(order_HW.ravel(), width)
    uphill = np.where(rules.step < 0, 0, (DX + DY * width)[rules.step])
    return Paths(rules, order_HW.shape, code_P, _starts(code_P, order_HW.shape, uphill))


def components(
    paths: Paths, step_HW: np.ndarray, n_steps: int, measure: Measure | None = None
) -> Components:
    """Components of the pixels that are in, after each of the steps 0 to T - 1.

    step_HW: unsigned, with the border: by which step a pixel joins, never where it is ``n_steps``;
        in the order of ``trace``, though many pixels may share a step.
    n_steps: T. measure: which sizes are wanted.

    The border is component 0: where it is of no effect, that component is absent throughout.
    """
    rules, code_P = paths.rules, paths.code_P
    width = paths.shape[1]
    step_P = step_HW.ravel()
    neighbour = DX + DY * width

    # From here on S special pixels: starts, connections and extremes.
    at_S = np.flatnonzero(cv2.LUT(code_P, rules.is_special.view(np.uint8)).ravel().view(bool))
    at_S = at_S[step_P[at_S] < n_steps]
    code_S, step_S = code_P[at_S], step_P[at_S]
    n_parts_S = rules.n_parts[code_S]
    at_B = at_S[n_parts_S == 0]
    at_B = at_B[np.argsort(step_P[at_B], kind="stable")]  # the elder component, the lower number
    number_P = np.zeros(len(step_P), np.int64)
    number_P[at_B] = np.arange(1, len(at_B) + 1)
    is_link_S = n_parts_S > 1
    linked_P4 = at_S[is_link_S, None] + neighbour[rules.parts[code_S[is_link_S]]]
    born = [-1, *step_P[at_B].tolist()]
    row_B, merges = _merges(number_P[paths.start_P[linked_P4]], step_S[is_link_S], born)

    n_rows, n_columns = int(row_B.max()) + 1, n_steps + 1
    number_P[at_B] = row_B[1:] * n_columns
    cell_P = number_P.take(paths.start_P)  # of a flattened table: row * n_columns + step
    cell_P += step_P
    cell_S = cell_P[at_S]
    extents_4BT: np.ndarray = np.full((4, n_rows, n_columns), ABSENT, np.int16)
    y_S, x_S = np.divmod(at_S, width)
    for side, place_S in enumerate((x_S - 1, y_S - 1, 1 - x_S, 1 - y_S)):
        is_extreme_S = rules.extreme[side, code_S]
        extreme_X = place_S[is_extreme_S].astype(np.int16)
        np.minimum.at(extents_4BT[side].reshape(-1), cell_S[is_extreme_S], extreme_X)
    np.minimum.accumulate(extents_4BT, axis=2, out=extents_4BT)

    n_cells, shape = n_rows * n_columns, (n_rows, n_columns)
    n_sizes = {None: 0, "pixels": 1, "polygon": 2}[measure]
    sizes_XBT = np.zeros((n_sizes, *shape), np.int32)
    if measure == "pixels":
        sizes_XBT[0] = np.bincount(cell_P, minlength=n_cells).reshape(shape)
    elif measure == "polygon":
        twice_area_P = _look_up(rules.twice_area.astype(np.float64), code_P)
        sizes_XBT[0] = np.bincount(cell_P, twice_area_P, n_cells).reshape(shape)
        sizes_XBT[1] = np.bincount(cell_S, rules.euler[code_S], n_cells).reshape(shape)
    if n_sizes:
        np.cumsum(sizes_XBT, axis=2, out=sizes_XBT)

    for step, kept, gone in merges:
        into, out_of = extents_4BT[:, kept, step:], extents_4BT[:, gone, step:]
        np.minimum(into, out_of, out=into)
        out_of.fill(ABSENT)
        if n_sizes:
            sizes_XBT[:, kept, step:] += sizes_XBT[:, gone, step:]
    return Components(extents_4BT[:, :, :n_steps], sizes_XBT[:, :, :n_steps])


def _codes(order_P: np.ndarray, width: int) -> np.ndarray:
    """For each pixel, which neighbours join before it: of higher order or, where equal, later in
    raster order. uint8 (P,); without meaning on the border.
    """
    n = len(order_P)
    inner = slice(width + 1, n - width - 1)
    code_P = np.zeros(n, np.uint8)
    code_P[inner] = 255 - _LATER
    for i in range(4):
        offset = int(DX[i] + DY[i] * width)
        is_later_first = (order_P[offset:] >= order_P[:-offset]).view(np.uint8)
        # Seen from the later pixel it is the other way round: neighbour i + 4, and not in.
        code_P[inner] ^= is_later_first[inner] * np.uint8(1 << i)
        back = slice(inner.start - offset, inner.stop - offset)
        code_P[inner] ^= is_later_first[back] * np.uint8(16 << i)
    return code_P


def _look_up(table: np.ndarray, code_P: np.ndarray) -> np.ndarray:
    """``table[code_P]`` for 8-byte tables of 256 rows: cv2 is ten times as fast as numpy here."""
    return cv2.LUT(code_P, table.view(np.float64)).view(table.dtype).ravel()


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
