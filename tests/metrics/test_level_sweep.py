import cv2
import numpy as np
import pytest

from cam_repro.metrics.level_sweep import ABSENT, components, pad, rules_of, trace

NEVER = 3
"""The steps of the maps below are 0, 1 and 2."""


def sweep(order_HW, step_HW, connectivity=8, measure=None):
    order_HW, step_HW = np.array(order_HW, np.float32), np.array(step_HW, np.uint8)
    paths = trace(pad(order_HW, -np.inf), rules_of(connectivity))
    return components(paths, pad(step_HW, NEVER), NEVER, measure)


# Two pixels at the left and one at the top, then a bridge and a leg, then the leg grows.
ORDER = [[8, 5, 7, 4], [9, 0, 2, 3], [1, 0, 2, 3], [1, 2, 2, 3]]
STEP = [[0, 1, 0, 1], [0, 3, 2, 1], [3, 3, 2, 1], [3, 2, 2, 1]]


def boxes_at(found, step):
    boxes_M4, step_M = found.boxes()
    return sorted(boxes_M4[step_M == step].tolist())


@pytest.mark.parametrize("connectivity", [4, 8])
def test_boxes_by_hand(connectivity):
    found = sweep(ORDER, STEP, connectivity)
    assert boxes_at(found, 0) == [[0, 0, 0, 1], [2, 0, 2, 0]]
    assert boxes_at(found, 1) == boxes_at(found, 2) == [[0, 0, 3, 3]]


def test_a_corner_connects_eight_neighbours_only():
    order, step = [[0, 9], [8, 0]], [[3, 1], [1, 3]]
    assert boxes_at(sweep(order, step, 4), 0) == []
    assert boxes_at(sweep(order, step, 4), 1) == [[0, 1, 0, 1], [1, 0, 1, 0]]
    assert boxes_at(sweep(order, step, 8), 2) == [[0, 0, 1, 1]]


def test_sizes_by_hand():
    found = sweep(ORDER, STEP, measure="pixels")
    pixels_T = np.where(found.alive_BT, found.sizes_XBT[0], 0).max(axis=0)
    assert pixels_T.tolist() == [2, 8, 12]
    ring = np.array([[9, 8, 7], [8, 0, 7], [8, 7, 7]])
    found = sweep(ring, np.where(ring > 0, 1, 2), measure="polygon")
    twice_area_BT, euler_BT = found.sizes_XBT
    (row,) = np.flatnonzero(found.alive_BT[:, 1])
    # Four corners of three pixels each, half a pixel twice; one hole until its pixel joins.
    assert twice_area_BT[row].tolist() == [0, 4, 8]
    assert euler_BT[row].tolist() == [0, 0, 1]


def test_components_are_those_of_opencv():
    rng = np.random.default_rng(0)
    for _ in range(20):
        map_HW = cv2.GaussianBlur(rng.normal(size=(17, 23)), (0, 0), rng.uniform(0.3, 2))
        levels = np.sort(rng.normal(size=3) * map_HW.std())
        step_HW = NEVER - np.searchsorted(levels, map_HW)
        found = sweep(map_HW, step_HW, measure="pixels")
        for step, level in enumerate(levels[::-1]):
            mask_HW = (map_HW > level).astype(np.uint8)
            _, _, stats, _ = cv2.connectedComponentsWithStats(mask_HW, connectivity=8)
            alive_B = found.alive_BT[:, step]
            x0, y0, x1, y1 = found.extents_4BT[:, alive_B, step].astype(int)
            sizes = found.sizes_XBT[0, alive_B, step]
            got = zip(x0, y0, 1 - x1 - x0, 1 - y1 - y0, sizes, strict=True)
            assert sorted(got) == sorted(map(tuple, stats[1:].tolist()))


def test_a_component_can_be_taken_out():
    found = sweep(ORDER, STEP)
    (row,) = np.flatnonzero(found.alive_BT[:, 2])
    found.clear(row)
    assert (found.extents_4BT[:, row] == ABSENT).all()
    assert found.boxes()[1].tolist() == [0]


def test_starts_are_counted():
    paths = trace(pad(np.array([[3, 0, 2, 1, 5]], np.float32), -np.inf), rules_of(8))
    assert paths.n_starts == 3
