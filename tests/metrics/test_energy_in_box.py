import numpy as np
import pytest

from cam_repro.errors import UserError
from cam_repro.geometry import inside_boxes
from cam_repro.metrics.energy_in_box import EnergyInBox, energy_share


def test_literal(truth_of):
    """Of 3 + 1 + 4 one 3 lies in the box; -5 counts as 0."""
    map_HW = np.array([[3, 1, -5], [0, 4, 0]], np.float32)
    truth = truth_of([(3, 2)] * 2, [[[0, 0, 0, 1]], [[0, 0, 1, 0], [1, 0, 1, 1]]])
    scored = EnergyInBox().score(truth, [map_HW, map_HW])
    assert scored.numbers == {
        "n_images": 2,
        "n_without_energy": 0,
        "energy_in_box": pytest.approx(100 * (3 / 8 + 1) / 2),
        "energy_in_box_95": [pytest.approx(37.5), pytest.approx(100)],
        "boxes_cover": pytest.approx(100 * (2 / 6 + 3 / 6) / 2),
    }
    assert max(map(len, scored.lines)) < 80


def test_known_answers(truth_of):
    """The mask itself: all; its opposite: nothing; a constant map: what the box covers."""
    truth = truth_of([(8, 5)], [[[2, 1, 5, 3]]])
    mask_HW = inside_boxes(truth.boxes.of(0), 8, 5).astype(np.float32)
    for map_HW, expected in ((mask_HW, 100), (1 - mask_HW, 0), (0 * mask_HW + 7, 30)):
        numbers = EnergyInBox().score(truth, [map_HW]).numbers
        assert numbers["energy_in_box"] == pytest.approx(expected)
        assert numbers["boxes_cover"] == pytest.approx(30)


@pytest.mark.parametrize("value", [0, -1, np.nan, np.inf])
def test_maps_without_a_sum_count_as_nothing(truth_of, value):
    truth = truth_of([(4, 3)], [[[0, 0, 3, 2]]])
    numbers = EnergyInBox().score(truth, [np.full((3, 4), value, np.float32)]).numbers
    assert (numbers["energy_in_box"], numbers["n_without_energy"]) == (0, 1)


def test_an_image_without_a_box_gets_nothing(truth_of, caplog):
    truth = truth_of([(4, 3)] * 2, [[[0, 0, 3, 2]], []])
    ones = np.ones((3, 4), np.float32)
    assert EnergyInBox().score(truth, [ones, ones]).numbers["energy_in_box"] == 50
    assert "1 of 2 images have no true box" in caplog.text


def second_coding(boxes, rows):
    """The definition as it reads: pixel by pixel, each counted once."""
    within = total = 0
    for y, row in enumerate(rows):
        for x, value in enumerate(row):
            if value > 0:
                total += value
                within += value * any(x0 <= x <= x1 and y0 <= y <= y1 for x0, y0, x1, y1 in boxes)
    return within / total if total else None


def test_agrees_with_a_second_coding_on_thousands_of_maps():
    """Boxes overlap, leave the image, and some are inverted."""
    rng = np.random.default_rng(0)
    n_empty = 0
    for _ in range(5000):
        width, height = rng.integers(1, 8, 2).tolist()
        boxes = rng.integers(-2, 10, (rng.integers(0, 4), 4))
        map_HW = rng.integers(-3, 4, (height, width)).astype(np.float32)
        found = energy_share(map_HW, inside_boxes(boxes, width, height))
        expected = second_coding(boxes.tolist(), map_HW.tolist())
        n_empty += expected is None
        assert found == (None if expected is None else pytest.approx(expected))
    assert n_empty > 50


def test_no_map_is_refused(truth_of):
    with pytest.raises(UserError, match="no image to score"):
        EnergyInBox().score(truth_of([], []), [])
