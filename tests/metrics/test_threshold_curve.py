import json

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cam_repro.boxes.threshold import largest_component_box
from cam_repro.errors import UserError
from cam_repro.metrics import threshold_curve
from cam_repro.metrics.threshold_curve import (
    ThresholdCurve,
    ThresholdCurveAccumulator,
    boxes_over_thresholds,
    right_percents,
)
from cam_repro.resample import resize

TENTHS = np.arange(10) / 10
UNEVEN = np.array([0, 0, 1e-30, 0.001, 0.01, 0.1, 0.2, 0.2, 0.25, 0.5, 0.75, 0.9, 0.99, 1 - 1e-16])


def one_by_one(map_HW, thresholds_T):
    return [largest_component_box(map_HW, threshold) for threshold in thresholds_T.tolist()]


def assert_exact(map_HW, thresholds_T):
    found = boxes_over_thresholds(map_HW, thresholds_T)
    assert found.dtype == np.int32
    assert list(map(tuple, found.tolist())) == one_by_one(map_HW, thresholds_T)


# --- one pass against one by one -----------------------------------------------------------------


def cam(rng, width, height, interpolation="linear"):
    """A smooth map of 14 x 14 cells, some of them negative, at the image's size."""
    cells = cv2.GaussianBlur(rng.normal(size=(14, 14)), (0, 0), rng.uniform(0.5, 2))
    return resize(cells, width, height, interpolation)


MAPS = {
    "cam": cam,
    "cam, cubic": lambda rng, w, h: cam(rng, w, h, "cubic"),
    "cam of few cells": lambda rng, w, h: resize(rng.normal(size=(3, 4)), w, h, "linear"),
    "white noise": lambda rng, w, h: rng.normal(size=(h, w)),
    "smooth noise": lambda rng, w, h: cv2.GaussianBlur(rng.normal(size=(h, w)), (0, 0), 1.5),
    "after a ReLU": lambda rng, w, h: np.maximum(rng.normal(size=(h, w)), rng.normal()),
    "plateaus": lambda rng, w, h: rng.integers(-1, rng.integers(2, 9), (h, w)),
    "two values": lambda rng, w, h: rng.random((h, w)) < rng.random(),
    "spikes": lambda rng, w, h: rng.random((h, w)) ** 12,
    "all negative": lambda rng, w, h: -rng.random((h, w)) - 1e-3,
    "constant": lambda rng, w, h: np.full((h, w), rng.integers(-1, 2)),
    "one NaN": lambda rng, w, h: np.where(np.arange(h * w).reshape(h, w) == 1, np.nan, 1.0),
    "some infinity": lambda rng, w, h: np.where(rng.random((h, w)) < 0.1, np.inf, 1.0),
    "some minus infinity": lambda rng, w, h: np.where(rng.random((h, w)) < 0.3, -np.inf, 2.0),
    "one pixel": lambda rng, w, h: rng.normal(size=(1, 1)),
    "one row": lambda rng, w, h: rng.normal(size=(1, w)),
    "tiny values": lambda rng, w, h: rng.integers(0, 9, (h, w)) * 1e-45,
    "huge values": lambda rng, w, h: rng.normal(size=(h, w)) * 1e38,
}


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("kind", MAPS)
def test_exact_on_2300_maps(kind):
    rng = np.random.default_rng(0)
    for number in range(130):
        width, height = rng.integers(1, 40 if number else 200, 2).tolist()
        thresholds_T = [UNEVEN, np.sort(rng.random(rng.integers(1, 12)))][number % 2]
        map_HW = np.asarray(MAPS[kind](rng, width, height))
        assert_exact(map_HW.astype(np.float64 if number % 5 == 0 else np.float32), thresholds_T)


SIDE = st.integers(1, 9)
VALUES = st.one_of(
    st.integers(-3, 3).map(float), st.floats(-1e6, 1e6, width=32), st.sampled_from([0.0, 1.0])
)
THRESHOLDS = st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=9).map(
    lambda values: np.array(sorted(values))
)


@settings(max_examples=300, deadline=None)
@given(hnp.arrays(np.float32, st.tuples(SIDE, SIDE), elements=VALUES), THRESHOLDS)
@example(np.eye(6, dtype=np.float32), TENTHS)
@example(1 - np.eye(6, dtype=np.float32), TENTHS)
@example(np.full((1, 1), 1e-45, np.float32), TENTHS)
def test_exact_with_ties_and_plateaus(map_HW, thresholds_T):
    assert_exact(map_HW, thresholds_T)


def test_exact_at_1000_thresholds_and_full_size():
    rng = np.random.default_rng(1)
    assert_exact(cam(rng, 500, 375), np.arange(1000) / 1000)
    assert_exact(cam(rng, 300, 451, "cubic"), np.arange(997) / 997)


@pytest.mark.parametrize(("name", "value"), [("_CELLS", 1), ("_CELLS", 300), ("MAX_SIDE", 19)])
def test_large_maps_and_tables_that_are_filled_in_parts(monkeypatch, name, value):
    monkeypatch.setattr(threshold_curve, name, value)
    rng = np.random.default_rng(2)
    for kind in ("cam", "white noise", "plateaus"):
        assert_exact(MAPS[kind](rng, 20, 15).astype(np.float32), np.arange(30) / 30)


def test_the_rule_itself_is_hardly_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(threshold_curve, "largest_component_box", lambda *what: asked.append(what))
    rng = np.random.default_rng(3)
    for _ in range(20):
        boxes_over_thresholds(cam(rng, 120, 90), np.arange(100) / 100)
    assert asked == []


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([np.float32, np.float64]),
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=30),
    st.sampled_from([1e-44, 1e-30, 0.3, 1.0, 77.0, 3e38]),
    THRESHOLDS,
)
def test_cuts_under_a_value(kind, values, peak, thresholds_T):
    """Values among which are the cuts themselves and their neighbours."""
    cuts_T = (thresholds_T * peak).astype(kind)
    near = [np.nextafter(cuts_T, kind(side)) for side in (-np.inf, np.inf)]
    map_X = np.concatenate([np.array(values, kind) * kind(peak), cuts_T, *near, [kind(peak)]])
    map_1X = np.minimum(map_X, kind(peak)).astype(kind)[None]
    found = threshold_curve._n_under(map_1X, cuts_T)
    assert np.array_equal(found, np.searchsorted(cuts_T, map_1X))


# --- by hand -------------------------------------------------------------------------------------


def test_boxes_by_hand():
    map_HW = np.zeros((6, 8), np.float32)
    map_HW[0, 0:7] = 3  # 7 pixels, and 6 and 4 below
    map_HW[2:5, 0:2] = 6
    map_HW[4:6, 6:8] = 10
    thresholds_T = np.array([0, 0.25, 0.3, 0.59, 0.6, 0.99])
    # At 0.3 x 10 = 3 the row is out: a threshold itself does not exceed.
    expected = [[0, 0, 6, 0]] * 2 + [[0, 2, 1, 4]] * 2 + [[6, 4, 7, 5]] * 2
    assert boxes_over_thresholds(map_HW, thresholds_T).tolist() == expected


def test_percents_at_which_the_box_is_right():
    map_HW = np.zeros((6, 8), np.float32)
    map_HW[2:5, 0:2] = 6  # the largest, 6 pixels, below 60 %
    map_HW[4:6, 6:8] = 10
    two = np.array([[0, 2, 1, 4], [5, 4, 7, 5]], np.int32)
    assert right_percents(map_HW, two[:1]) == list(range(60))
    assert right_percents(map_HW, two[1:]) == list(range(60, 100))  # 4 of 6 pixels
    assert right_percents(map_HW, two) == list(range(100))
    assert right_percents(map_HW, two[:0]) == []


def test_of_equal_components_the_first_in_reading_order():
    map_HW = np.zeros((5, 7), np.float32)
    map_HW[1:3, 5] = 1  # its first pixel is in row 1, column 5
    map_HW[1, 2] = map_HW[2, 1] = 1  # row 1, column 2, though its box begins at column 1
    map_HW[3:5, 3] = 1
    assert boxes_over_thresholds(map_HW, TENTHS).tolist() == [[1, 1, 2, 2]] * 10
    map_HW[1, 2] = 0
    assert boxes_over_thresholds(map_HW, TENTHS).tolist() == [[5, 1, 5, 2]] * 10


@pytest.mark.parametrize("number_of_thresholds", [1, 3])
def test_the_peak_counts_where_the_threshold_is_rounded_up_to_it(number_of_thresholds):
    map_HW = np.array([[1, 7, 3], [7, 1, 1], [3, 3, 7]], np.float32)
    almost_1 = np.full(number_of_thresholds, 1 - 1e-16)
    assert boxes_over_thresholds(map_HW, almost_1).tolist() == [[0, 0, 1, 1]] * number_of_thresholds


def test_the_map_given_is_not_changed():
    given_HW = cam(np.random.default_rng(4), 30, 20)
    before = given_HW.copy()
    boxes_over_thresholds(given_HW, TENTHS)
    assert np.array_equal(given_HW, before)


# --- errors --------------------------------------------------------------------------------------

RIGHT, HALF, WRONG = (0, 0, 9, 9), (0, 0, 9, 4), (10, 10, 19, 19)


def boxes(*of_thresholds):
    return np.array(of_thresholds, np.int32)


def test_errors_by_hand():
    accumulator = ThresholdCurveAccumulator(np.array([0.1, 0.5, 0.9]))
    one, none = boxes(RIGHT), np.zeros((0, 4), np.int32)
    accumulator.add(boxes(RIGHT, RIGHT, WRONG), one, place=0)
    accumulator.add(boxes(WRONG, HALF, WRONG), one, place=4)  # IoU 0.5 reaches 0.5
    accumulator.add(boxes(RIGHT, RIGHT, RIGHT), boxes(WRONG, RIGHT), place=None)
    accumulator.add(boxes(RIGHT, RIGHT, RIGHT), none, place=0)
    accumulator.add(boxes(RIGHT, WRONG, RIGHT), one, place=0, is_blacklisted=True)
    curve = accumulator.result()
    assert (curve.n_images, curve.n_blacklisted) == (5, 1)
    assert curve.errors["top1"].tolist() == [75, 75, 100]
    assert curve.errors["top5"].tolist() == [75, 50, 100]
    assert curve.errors["gt_known"].tolist() == [40, 40, 60]
    assert curve.at(0.5) == {"top1": 75, "top5": 50, "gt_known": 40}


def test_of_equally_good_thresholds_the_lowest_is_reported():
    errors = {"top1": [70.0, 60, 60], "top5": [50.0, 50, 50], "gt_known": [30.0, 20, 10]}
    curve = ThresholdCurve({name: np.array(e) for name, e in errors.items()}, TENTHS[:3], 10, 2)
    assert curve.best == {
        "top1": {"threshold": 0.1, "error": 60},
        "top5": {"threshold": 0, "error": 50},
        "gt_known": {"threshold": 0.2, "error": 10},
    }
    assert json.loads(json.dumps(curve.as_json())) == {
        "n_images": 10,
        "n_blacklisted": 2,
        "best": curve.best,
        "thresholds": [0, 0.1, 0.2],
        "errors": errors,
    }


def test_no_image_is_refused():
    accumulator = ThresholdCurveAccumulator(TENTHS)
    with pytest.raises(UserError, match="no image to score"):
        accumulator.result()
    accumulator.add(boxes(*[RIGHT] * 10), boxes(RIGHT), place=0, is_blacklisted=True)
    with pytest.raises(UserError, match="every image is blacklisted"):
        accumulator.result()
