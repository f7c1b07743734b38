from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from cam_repro.errors import UserError
from cam_repro.metrics.pointing_game import PointingGame, difficult, peak
from cam_repro.truth import LabelSets


def at(x, y, width=100, height=80):
    map_HW = np.zeros((height, width), np.float32)
    map_HW[y, x] = 1
    return map_HW


def test_literal(truth_of):
    """Boxes of 20 x 20 of an image of 100 x 80; one that covers half of it; none."""
    truth = truth_of([(100, 80)] * 6, [[[40, 30, 59, 49]]] * 4 + [[[0, 0, 49, 79]], []])
    maps = [at(74, 64), at(75, 64), at(25, 15), at(25, 14), at(64, 0), at(50, 40)]
    scored = PointingGame().score(truth, maps)
    assert scored.numbers == {
        "n_images": 6,
        "n_difficult": 4,
        "n_pointing_nowhere": 0,
        "tolerance": 15,
        "pointing_game": {"all": 50, "difficult": 50},
        "pointing_game_95": {"all": [pytest.approx(100 / 6), pytest.approx(500 / 6)]}
        | {"difficult": [0, 100]},
        "mean_over_classes": {"all": 50, "difficult": 50},
        "center": {"all": pytest.approx(500 / 6), "difficult": 100},
    }
    assert scored.thresholds_are == {"tolerance": "fixed"}
    assert PointingGame(0).score(truth, maps).numbers["pointing_game"] == {
        **{"all": 0, "difficult": 0}
    }
    assert max(map(len, scored.lines)) < 80


@pytest.mark.parametrize(("size", "middle"), [((5, 3), (2, 1)), ((6, 4), (2, 1)), ((1, 1), (0, 0))])
def test_the_middle_of_an_image_is_a_pixel(truth_of, size, middle):
    """Of an even side it is the former of the two pixels in the middle."""
    hit = set()
    for x, y in product(range(size[0]), range(size[1])):
        truth = truth_of([size], [[[x, y, x, y]]])
        if PointingGame(0).score(truth, [at(0, 0, *size)]).numbers["center"]["all"]:
            hit.add((x, y))
    assert hit == {middle}


def test_a_map_that_is_the_mask_hits_everything(truth_of):
    boxes = [[[40, 30, 59, 49]], [[0, 0, 99, 79]]]
    truth = truth_of([(100, 80)] * 2, boxes)
    maps = [np.zeros((80, 100), np.float32) for _ in boxes]
    for map_HW, [[x0, y0, x1, y1]] in zip(maps, boxes, strict=True):
        map_HW[y0 : y1 + 1, x0 : x1 + 1] = 1
    maps[1][0, 0] = 0  # not constant
    assert PointingGame(0).score(truth, maps).numbers["pointing_game"]["all"] == 100


@pytest.mark.parametrize("value", [0, 3, -2, np.nan, np.inf, -np.inf])
def test_a_constant_map_and_one_of_no_numbers_point_nowhere(truth_of, value):
    truth = truth_of([(4, 3)], [[[0, 0, 3, 2]]])
    numbers = PointingGame().score(truth, [np.full((3, 4), value, np.float32)]).numbers
    assert (numbers["n_pointing_nowhere"], numbers["pointing_game"]["all"]) == (1, 0)


def test_one_value_that_is_no_number():
    map_HW = at(2, 1, 4, 3)
    map_HW[0, 0] = -np.inf
    assert peak(map_HW) == (2, 1)
    map_HW[0, 0] = np.nan
    assert peak(map_HW) is None


def test_of_equal_maxima_the_first_in_reading_order():
    map_HW = np.zeros((3, 4), np.float32)
    map_HW[1, 3] = map_HW[2, 0] = 5
    assert peak(map_HW) == (3, 1)


def test_difficult_images_literal(truth_of):
    """A quarter of 10 x 10 is 25 pixels: 24 are under it; two boxes of 16 count as 32."""
    boxes = [[[0, 0, 4, 4]], [[0, 0, 5, 3]], [[0, 0, 3, 3]] * 2, []]
    truth = truth_of([(10, 10)] * 4, boxes)
    assert difficult(truth, truth.sizes_N2).tolist() == [False, True, False, False]


def second_coding(width, height, boxes, rows, tolerance):
    """The definition as it reads: pixel by pixel, without arrays."""
    best = None
    for y in range(height):
        for x in range(width):
            if best is None or rows[y][x] > rows[best[1]][best[0]]:
                best = (x, y)
    if all(value == rows[0][0] for row in rows for value in row):
        return False
    return any(
        x0 - tolerance <= best[0] <= x1 + tolerance and y0 - tolerance <= best[1] <= y1 + tolerance
        for x0, y0, x1, y1 in boxes
    )


def test_agrees_with_a_second_coding_on_thousands_of_maps(truth_of):
    """Few levels, so that maxima are equal and maps constant; images of few pixels."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 7, (5000, 2))
    boxes, maps = [], []
    for width, height in sizes.tolist():
        corners = rng.integers(0, [width, height], (rng.integers(0, 3), 2, 2))
        boxes.append(np.concatenate([corners.min(1), corners.max(1)], axis=1).tolist())
        maps.append(rng.integers(0, 4, (height, width)).astype(np.float32))
    truth = truth_of(sizes, boxes)
    for tolerance in (0, 1):
        expected = [
            second_coding(*size, of_image, map_HW.tolist(), tolerance)
            for size, of_image, map_HW in zip(sizes.tolist(), boxes, maps, strict=True)
        ]
        numbers = PointingGame(tolerance).score(truth, maps).numbers
        assert numbers["pointing_game"]["all"] == 100 * sum(expected) / 5000
        is_small = [
            0 < 4 * sum((x1 - x0 + 1) * (y1 - y0 + 1) for x0, y0, x1, y1 in of_image) < w * h
            for (w, h), of_image in zip(sizes.tolist(), boxes, strict=True)
        ]
        hits = [hit for hit, small in zip(expected, is_small, strict=True) if small]
        assert numbers["n_difficult"] == len(hits) > 400
        assert numbers["pointing_game"]["difficult"] == 100 * sum(hits) / len(hits)


@pytest.mark.parametrize("value", [-1, 1.5, True, "15"])
def test_a_tolerance_that_cannot_be_is_refused(value):
    with pytest.raises(UserError, match=rf"protocol.tolerance={value}: must be a whole number"):
        PointingGame(value)


def test_no_map_is_refused(truth_of):
    with pytest.raises(UserError, match="no image to score"):
        PointingGame().score(truth_of([], []), [])


def test_with_all_classes_known_difficult_images_show_another(truth_of):
    """And the mean over classes is beside that over images: 1 of 3 of one, 1 of 1 of the other."""
    boxes = [[[40, 30, 59, 49]]] * 4
    truth = truth_of([(100, 80)] * 4, boxes)
    sets = LabelSets.from_lists([[0, 1], [0], [0, 5], [1]])
    truth = replace(truth, labels_N=np.array([0, 0, 0, 1]), label_sets=sets)
    assert difficult(truth, truth.sizes_N2).tolist() == [True, False, True, False]
    maps = [at(50, 40), at(0, 0), at(0, 0), at(50, 40)]
    scored = PointingGame().score(truth, maps)
    assert scored.numbers["n_difficult"] == 2
    assert scored.numbers["pointing_game"] == {"all": 50, "difficult": 50}
    assert scored.numbers["mean_over_classes"] == {
        "all": pytest.approx(100 * (1 / 3 + 1) / 2),
        "difficult": 50,
    }
    assert any("and that show another class" in line for line in scored.lines)
