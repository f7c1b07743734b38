"""Find the components of a map above each of many thresholds, in one pass over the map.

Let the pixels of a map join a mask one by one, highest value first (of equal values, the pixel that
is later in raster order first). What a pixel does when it joins depends only on which of its eight
neighbours have joined before. There are 256 such combinations, and a table has a row for each: the
pixel starts a component, extends one, or connects several. Every pixel that does not start a
component points to a neighbour that joined before it. Following these pointers to their end leads
to the pixel that started the component (``trace``).

The thresholds cut this order into steps: all pixels that join between one threshold and the next
are one step. ``components`` finds the components after each step. It fills tables with a row for
each component and a column for each step:

* Its box. When the first pixel of a component's outermost row or column joins, those of its
  neighbours that are in already all lie further inside. Few pixels are like that, and only they are
  looked at.
* Its size, a sum over the pixels that join: either their number, or what they add to the area of
  the polygon through the centres of the outermost pixels (cv2's ``contourArea``: a block of 2 x 2
  pixels counts 1/2 when three are in and 1 when all are) and to the Euler number (1 minus the
  number of holes).

Where a pixel connects two components, the row of the younger is added to that of the elder from
that step on (union by age). This is the only part that is a Python loop.

For P pixels, T steps, B components that are there after at least one step, and K mergers of them,
time is O(P log D + B T + K T), where D is the length of the longest path of pointers; memory is
O(P + B T). On a smooth map B and K are a few dozen at most, and the first term dominates;
on white noise B is a tenth of P.

Array names: T steps, B components (or their rows), P all pixels of the map with a border of one
pixel around it, S those of them that do more than extend a component, K those that connect
components, M boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import cv2
import numpy as np

Measure = Literal["pixels", "polygon"]
"""How the size of a component is measured."""

ABSENT = np.iinfo(np.int16).max
"""The value that stands for the extents of a component that is not there."""

MAX_SIDE = ABSENT - 1
"""Largest width and height of a map, pixels: extents are int16."""

# --- the neighbourhood tables --------------------------------------------------------------------

# The eight neighbours in a circle, from the right-hand one clockwise: bit i of a code is
# neighbour i. The even ones share an edge with the pixel.
DX = np.array([1, 1, 0, -1, -1, -1, 0, 1], np.int64)
DY = np.array([0, 1, 1, 1, 0, -1, -1, -1], np.int64)
_EDGES = 0b01010101
_LATER = 0b00001111
"""The neighbours that come later in raster order."""


@dataclass(frozen=True)
class Rules:
    """Tell what a pixel does when it joins, by the code of the neighbours that are in already.

    Bit i of a code is set where neighbour i is in; tables have one entry for each of 256 codes.

    step: the neighbour to point to, -1 where the pixel starts a component.
    parts: one neighbour from each separate part of the mask that the pixel connects, (256, 4);
        unused places repeat the first one.
    n_parts: the number of these parts.
    extreme: whether the pixel may be the outermost of its component towards x0, y0, x1, y1, bool
        (4, 256): all neighbours that it is connected with lie strictly further inside.
    euler: what the pixel adds to the Euler number. twice_area: what it adds to twice the polygon's
        area.
    is_special: whether the pixel starts or connects components, may be the outermost one, or
        changes the Euler number. Few pixels do.
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
    """Build the tables for components of 8-connected or of 4-connected pixels.

    ``euler`` and ``twice_area`` hold for 8 only.
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
        # Point in the mean direction of the neighbours that are in, which is roughly uphill. That
        # keeps paths short.
        pull_x, pull_y = (DX / length)[joined].sum(), (DY / length)[joined].sum()
        towards = (DX * pull_x + DY * pull_y) / length
        step[code] = max(joined, key=towards.__getitem__) if joined else -1
        sides = (DX[joined] > 0, DY[joined] > 0, DX[joined] < 0, DY[joined] < 0)
        extreme[:, code] = [side.all() for side in sides]
        # A pixel alone counts 1. Each part that it touches takes 1 off: with one part nothing
        # changes, with two either components merge or a hole is closed off. Where all four edge
        # neighbours are in, the pixel itself was a hole, which it fills.
        euler[code] = 1 - len(reached) + (code & _EDGES == _EDGES)
        for corner in (0, 2, 4, 6):
            in_block = sum(code >> (corner + i) % 8 & 1 for i in range(3))
            twice_area[code] += in_block >= 2
    is_special = extreme.any(axis=0) | (n_parts != 1) | (euler != 0)
    return Rules(step, parts, n_parts, extreme, euler, twice_area, is_special)


def _parts(present: list[int], connectivity: int) -> list[list[int]]:
    """Find the connected parts among the neighbours ``present``, the pixel itself left out."""
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
    """Hold which neighbours join before each pixel of a map, and where its component starts.

    This is the same for all thresholds. code_P: the neighbours that join before the pixel, uint8;
    start_P: the index of the pixel that started the component which it joins, int64.
    shape: of the map with its border.
    """

    rules: Rules
    shape: tuple[int, ...]
    code_P: np.ndarray
    start_P: np.ndarray

    @property
    def n_starts(self) -> int:
        """Number of pixels that start a component, each pixel joining in a step of its own."""
        code_HW = self.code_P.reshape(self.shape)[1:-1, 1:-1]
        return int(np.count_nonzero(code_HW == 0))


@dataclass
class Components:
    """Hold the boxes and sizes of components after each step.

    A component that was merged into another is absent from that step on.

    extents_4BT: int16. x0, y0, -x1, -y1 in pixels of the map without its border, ``ABSENT`` where
        there is no component.
    sizes_XBT: int32. Measured by "pixels", (1, B, T): their number. By "polygon", (2, B, T): twice
        the area of the polygon, holes left out, and the Euler number, 1 minus the number of holes.
        (0, B, T) where not asked for. Values where there is no component mean nothing.
    """

    extents_4BT: np.ndarray
    sizes_XBT: np.ndarray

    @property
    def alive_BT(self) -> np.ndarray:  # noqa: N802
        """Whether a component is there after a step, bool."""
        alive_BT: np.ndarray = self.extents_4BT[0] < ABSENT
        return alive_BT

    def reversed(self) -> Components:
        """Give the same components with the steps in opposite order."""
        return Components(self.extents_4BT[:, :, ::-1], self.sizes_XBT[:, :, ::-1])

    def clear(self, component: int) -> None:
        """Remove a component from all steps."""
        self.extents_4BT[:, component] = ABSENT

    def boxes(self) -> tuple[np.ndarray, np.ndarray]:
        """Give all boxes, int32 (M, 4), far corner inclusive, and their steps (M,), ascending."""
        step_M, component_M = np.nonzero(self.alive_BT.T)
        return corners(self.extents_4BT[:, component_M, step_M]), step_M


def corners(extents_4M: np.ndarray) -> np.ndarray:
    """Turn extents x0, y0, -x1, -y1 into boxes x0, y0, x1, y1, int32 (M, 4)."""
    return extents_4M.T * np.array([1, 1, -1, -1], np.int32)


def pad(map_HW: np.ndarray, value: float) -> np.ndarray:
    """Put a border of one pixel of ``value`` around a map."""
    return cv2.copyMakeBorder(map_HW, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=value)


def trace(order_HW: np.ndarray, rules: Rules) -> Paths:
    """Find for every pixel the one that started its component.

    order_HW: real numbers without NaN, a border of one pixel included; the map within it has sides
    of at most ``MAX_SIDE``. Pixels join in descending order.
    A border that is higher than every pixel is a component of its own. A border that is as low as
    the lowest pixel has no effect, as long as ``components`` lets no pixel in that is as low.
    """
    assert max(order_HW.shape) <= MAX_SIDE + 2, "map too large"
    width = order_HW.shape[1]
    code_P = _codes(order_HW.ravel(), width)
    uphill = np.where(rules.step < 0, 0, (DX + DY * width)[rules.step])
    return Paths(rules, order_HW.shape, code_P, _starts(code_P, order_HW.shape, uphill))


def components(
    paths: Paths, step_HW: np.ndarray, n_steps: int, measure: Measure | None = None
) -> Components:
    """Find the components of the mask after each of the steps 0 to T - 1.

    step_HW: unsigned, with the border: the step in which each pixel joins, ``n_steps`` for never.
        Pixels must join in the order of ``trace``, though many may share a step.
    n_steps: T. measure: which sizes to compute; None: none.

    The border is component 0. Where the border has no effect, that component is absent throughout.
    """
    rules, code_P = paths.rules, paths.code_P
    width = paths.shape[1]
    step_P = step_HW.ravel()
    neighbour = DX + DY * width

    # From here on arrays S hold the special pixels (``Rules.is_special``).
    at_S = np.flatnonzero(cv2.LUT(code_P, rules.is_special.view(np.uint8)).ravel().view(bool))
    at_S = at_S[step_P[at_S] < n_steps]
    code_S, step_S = code_P[at_S], step_P[at_S]
    n_parts_S = rules.n_parts[code_S]
    at_B = at_S[n_parts_S == 0]
    at_B = at_B[np.argsort(step_P[at_B], kind="stable")]  # elder components get lower numbers
    number_P = np.zeros(len(step_P), np.int64)
    number_P[at_B] = np.arange(1, len(at_B) + 1)
    is_link_S = n_parts_S > 1
    linked_P4 = at_S[is_link_S, None] + neighbour[rules.parts[code_S[is_link_S]]]
    born = [-1, *step_P[at_B].tolist()]
    row_B, merges = _merges(number_P[paths.start_P[linked_P4]], step_S[is_link_S], born)

    n_rows, n_columns = int(row_B.max()) + 1, n_steps + 1
    number_P[at_B] = row_B[1:] * n_columns
    cell_P = number_P.take(paths.start_P)  # in a flattened table: row * n_columns + step
    cell_P += step_P
    cell_S = cell_P[at_S]
    n_cells, shape = n_rows * n_columns, (n_rows, n_columns)
    extents_4BT = _own_extents(paths, at_S, cell_S, shape)

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


def _own_extents(
    paths: Paths, at_S: np.ndarray, cell_S: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Find how far each component reaches on the four sides after each step, before it is merged.

    at_S: special pixels. cell_S: row * columns + step of each in a table of ``shape``. Returns
    int16 (4, B, T).
    """
    extents_4BT: np.ndarray = np.full((4, *shape), ABSENT, np.int16)
    code_S = paths.code_P[at_S]
    y_S, x_S = np.divmod(at_S, paths.shape[1])
    for side, place_S in enumerate((x_S - 1, y_S - 1, 1 - x_S, 1 - y_S)):
        is_extreme_S = paths.rules.extreme[side, code_S]
        extreme_X = place_S[is_extreme_S].astype(np.int16)
        np.minimum.at(extents_4BT[side].reshape(-1), cell_S[is_extreme_S], extreme_X)
    np.minimum.accumulate(extents_4BT, axis=2, out=extents_4BT)
    return extents_4BT


def _codes(order_P: np.ndarray, width: int) -> np.ndarray:
    """Compute the code of the neighbours that join before each pixel, uint8 (P,).

    Those are higher or, where equal, later in raster order. Codes on the border mean nothing.
    """
    n = len(order_P)
    inner = slice(width + 1, n - width - 1)
    code_P = np.zeros(n, np.uint8)
    code_P[inner] = 255 - _LATER
    for i in range(4):
        offset = int(DX[i] + DY[i] * width)
        is_later_first = (order_P[offset:] >= order_P[:-offset]).view(np.uint8)
        # For the later pixel of this pair the earlier one is neighbour i + 4, and not in then.
        code_P[inner] ^= is_later_first[inner] * np.uint8(1 << i)
        back = slice(inner.start - offset, inner.stop - offset)
        code_P[inner] ^= is_later_first[back] * np.uint8(16 << i)
    return code_P


def _look_up(table: np.ndarray, code_P: np.ndarray) -> np.ndarray:
    """Give ``table[code_P]`` for 256 values of 8 bytes, ten times as fast as numpy does."""
    return cv2.LUT(code_P, table.view(np.float64)).view(table.dtype).ravel()


def _starts(code_P: np.ndarray, shape: tuple[int, ...], uphill: np.ndarray) -> np.ndarray:
    """Find the pixel that started the component which each pixel joins, int64 (P,).

    uphill: the offset of the neighbour that a pixel points to, by code; 0 where it starts a
    component. Pixels of the border get pixel 0.
    """
    start_P = _look_up(uphill, code_P)
    start_P += np.arange(len(start_P))
    start_HW = start_P.reshape(shape)
    start_HW[[0, -1]] = 0
    start_HW[:, [0, -1]] = 0
    # Each round doubles how many pointers are followed. Almost every map has a path longer than
    # 32, so five rounds are made before it is asked whether more are needed.
    for _ in range(5):
        start_P = start_P.take(start_P)
    while not np.array_equal(further_P := start_P.take(start_P), start_P):
        start_P = further_P
    return start_P


def _merges(
    linked_K4: np.ndarray, step_K: np.ndarray, born: list[int]
) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """Find which components merge, and in which step, by union-find.

    linked_K4: the components that each pixel connects, numbered by age; step_K: the step of this
    pixel. born: the step in which each component starts.

    Returns first the table row that each component is counted in. One that merges in the step in
    which it starts is never seen on its own, so it is counted in the row of the elder component.
    Returns then (step, row kept, row gone) of the other mergers, in the order of steps.
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
