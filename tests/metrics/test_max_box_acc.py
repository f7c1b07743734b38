import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cam_repro.errors import UserError
from cam_repro.formats.wsol_metadata import read_metadata
from cam_repro.metrics import max_box_acc
from cam_repro.metrics.max_box_acc import (
    BestThreshold,
    MaxBoxAcc,
    MaxBoxAccAccumulator,
    boxes_over_levels,
    boxes_over_thresholds,
    resized_boxes,
    threshold_levels,
    thresholds,
)

FIXTURE = Path(__file__).parents[1] / "fixtures" / "max_box_acc"


def one_by_one(map_hw, size, thresholds_T, multi_contour):
    """The protocol read literally: threshold, contours and boxes anew for each threshold."""
    score = cv2.resize(map_hw.astype(np.float64), (size, size), interpolation=cv2.INTER_CUBIC)
    if np.isnan(score).any() or score.min() == score.max():
        return [[(0, 0, 0, 0)] for _ in thresholds_T]
    score = score - score.min()
    grey = (score / score.max() * 255).astype(np.uint8)
    boxes_at = []
    for threshold in thresholds_T:
        above = (grey > int(threshold * grey.max())).astype(np.uint8)
        contours, _ = cv2.findContours(above, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        if not multi_contour:
            contours = [max(contours, key=cv2.contourArea)]
        rects = [cv2.boundingRect(contour) for contour in contours]
        boxes_at.append(
            sorted((x, y, min(x + w, size - 1), min(y + h, size - 1)) for x, y, w, h in rects)
        )
    return boxes_at


def boxes_of(arrays):
    return [sorted(map(tuple, array.tolist())) for array in arrays]


def assert_exact(map_hw, size):
    """Both modes, at each of the 255 levels."""
    at = (np.arange(255) + 0.5) / 255
    for multi_contour in (False, True):
        found = boxes_over_levels(map_hw, size, multi_contour)
        expected = one_by_one(map_hw, size, at, multi_contour)
        assert boxes_of(found.at(level) for level in range(255)) == expected


@pytest.fixture(scope="module")
def cams():
    return np.load(FIXTURE / "cams_14x14.npy")


# --- against the authors' program ----------------------------------------------------------------


@pytest.mark.parametrize("mode", ["largest_contour", "multi_contour"])
def test_equals_the_authors_program_on_150_maps(cams, mode):
    metadata = read_metadata(FIXTURE / "metadata")
    expected = json.loads((FIXTURE / "expected.json").read_text())[mode]
    accumulator = MaxBoxAccAccumulator(multi_contour=mode == "multi_contour")
    for i, cam in enumerate(cams):
        accumulator.add(accumulator.right_at(cam, metadata.boxes.of(i), *metadata.sizes_N2[i]))
    result = accumulator.result()
    got = result.as_json()
    assert got["max_box_acc"] == pytest.approx(expected["max_box_acc"], abs=1e-9)
    assert got["mean"] == pytest.approx(expected["mean"], abs=1e-9)
    assert got["best_threshold"] == pytest.approx(expected["best_threshold"], abs=1e-9)
    for at, curve in expected["acc_curve_every_0.05"].items():
        assert result.curve[float(at)][::50] == pytest.approx(curve, abs=1e-9)
        assert result.curve[float(at)].shape == (1000,)


def test_thresholds_and_levels_are_those_of_the_authors_program():
    authors = np.arange(0, 1, 0.001)
    assert thresholds().tolist() == authors.tolist()
    assert threshold_levels().tolist() == [int(threshold * 255) for threshold in authors]
    assert threshold_levels(4).tolist() == [0, 63, 127, 191]


# --- one pass against one by one -----------------------------------------------------------------


def test_exact_at_1000_thresholds_and_full_size(cams):
    for multi_contour in (False, True):
        found = boxes_over_thresholds(cams[0], multi_contour=multi_contour)
        assert boxes_of(found) == one_by_one(cams[0], 224, np.arange(0, 1, 0.001), multi_contour)


MAPS = {
    "white noise": lambda rng, h, w: rng.normal(size=(h, w)),
    "smooth": lambda rng, h, w: cv2.GaussianBlur(rng.normal(size=(h, w)), (0, 0), 1.5),
    "after a ReLU": lambda rng, h, w: np.maximum(rng.normal(size=(h, w)), rng.normal()),
    "plateaus": lambda rng, h, w: rng.integers(0, rng.integers(2, 9), (h, w)),
    "two values": lambda rng, h, w: rng.random((h, w)) < rng.random(),
    "spikes": lambda rng, h, w: rng.random((h, w)) ** 12,
    "negative": lambda rng, h, w: -(rng.random((h, w)) ** 12),
}


@pytest.mark.parametrize("kind", MAPS)
def test_exact_on_random_maps(kind):
    rng = np.random.default_rng(0)
    for size in [3, 5, 8, 8, 13, 13, 13, 24, 24, 40, 224]:
        as_it_is = size < 224 and rng.random() < 0.5
        h, w = (size, size) if as_it_is else rng.integers(1, 15, 2)
        map_hw = np.asarray(MAPS[kind](rng, h, w), np.float64)
        assert_exact(map_hw, size)


SIDE = st.integers(1, 9)
VALUES = st.one_of(
    st.integers(-3, 3).map(float), st.floats(-1e6, 1e6, width=32), st.sampled_from([0.0, 1.0])
)
RINGS = np.array(  # a ring, a diamond of the same polygon as its hole, and islands of no area
    [
        [9, 9, 9, 9, 9, 0, 0],
        [9, 0, 0, 0, 9, 0, 9],
        [9, 0, 9, 0, 9, 9, 0],
        [9, 0, 0, 0, 9, 0, 9],
        [9, 9, 9, 9, 9, 0, 0],
        [0, 0, 0, 0, 0, 0, 5],
        [5, 0, 5, 0, 5, 0, 5],
    ],
    float,
)


@settings(max_examples=150, deadline=None)
@given(
    hnp.arrays(np.float64, st.tuples(SIDE, SIDE), elements=VALUES),
    st.sampled_from([None, 7, 16, 21]),
)
@example(RINGS, None)
@example(RINGS, 21)
@example(np.eye(6), None)
@example(1 - np.eye(6), None)
@example(np.ones((3, 3)), None)
@example(np.zeros((1, 1)), 7)
def test_exact_with_ties_holes_and_plateaus(map_hw, size):
    """size None: pixels as they are, so that shapes of one pixel survive the resizing."""
    if size is None:
        size = max(map_hw.shape)
        square = np.zeros((size, size))
        square[: map_hw.shape[0], : map_hw.shape[1]] = map_hw
        map_hw = square
    assert_exact(map_hw, size)


def test_most_levels_are_settled_without_asking_cv2(cams, monkeypatch):
    asked = []
    monkeypatch.setattr(max_box_acc, "_contour_box", lambda grey, level: asked.append(level))
    for cam in cams:
        boxes_over_levels(cam)
    assert asked == []


# --- by hand -------------------------------------------------------------------------------------


def test_boxes_of_two_blobs_by_hand():
    """At grey level 0 the 2 x 4 blob is largest, from level 127 on only the 3 x 3 one is left."""
    map_HW = np.zeros((8, 8))
    map_HW[0:2, 0:4] = 5  # grey value 127; polygon of area 1 x 3
    map_HW[5:8, 5:8] = 10  # grey value 255; polygon of area 2 x 2, touches the far border
    map_HW[6, 6] = 0  # a hole, which cv2 fills
    boxes = boxes_over_levels(map_HW, size=8)
    assert boxes.at(0).tolist() == [[5, 5, 7, 7]]
    map_HW[0:2, 4] = 5  # now 1 x 4: as large as the other; of equals cv2 lists the lower first
    assert boxes_over_levels(map_HW, size=8).at(0).tolist() == [[5, 5, 7, 7]]
    map_HW[0:2, 5] = 5  # now 1 x 5
    boxes = boxes_over_levels(map_HW, size=8)
    assert boxes.at(126).tolist() == [[0, 0, 6, 2]]
    assert boxes.at(127).tolist() == boxes.at(254).tolist() == [[5, 5, 7, 7]]
    every = boxes_over_levels(map_HW, size=8, multi_contour=True)
    assert sorted(every.at(126).tolist()) == [[0, 0, 6, 2], [5, 5, 7, 7], [5, 5, 7, 7]]
    assert every.at(127).tolist() == [[5, 5, 7, 7], [5, 5, 7, 7]]


@pytest.mark.parametrize("multi_contour", [False, True])
@pytest.mark.parametrize(
    "map_hw",
    [
        np.zeros((14, 14)),
        np.full((7, 7), -3.5, np.float32),
        np.full((14, 14), np.nan),
        np.where(np.eye(14) > 0, np.nan, 1.0),
        np.where(np.eye(14) > 0, np.inf, 1.0),
        np.where(np.eye(14) > 0, -np.inf, 1.0),
        np.array([[-1.7e308, 1.7e308]]),
    ],
)
@pytest.mark.filterwarnings("ignore:(overflow|invalid value):RuntimeWarning")
def test_a_map_without_contour_has_the_box_of_the_first_pixel(map_hw, multi_contour):
    boxes = boxes_over_thresholds(map_hw, n_thresholds=10, multi_contour=multi_contour)
    assert [box.tolist() for box in boxes] == [[[0, 0, 0, 0]]] * 10


def test_the_map_given_is_not_changed(cams):
    given_hw = cams[0].astype(np.float64)
    boxes_over_levels(given_hw, size=14, multi_contour=True)
    assert np.array_equal(given_hw, cams[0])


def test_true_boxes_are_scaled_and_truncated():
    boxes_M4 = np.array([[0, 0, 499, 374], [100, 50, 100, 50], [3, 4, 5, 6]], np.int32)
    # 499 * 224 / 500 = 223.552, 374 * 224 / 375 = 223.4; 100 * .448 = 44.8, 50 * .5973 = 29.9
    assert resized_boxes(boxes_M4, 500, 375).tolist() == [
        [0, 0, 223, 223],
        [44, 29, 44, 29],
        [1, 2, 2, 3],
    ]
    assert resized_boxes(np.zeros((0, 4)), 5, 5).shape == (0, 4)


def block(rows, columns):
    """An 8 x 8 map with values on a block: its box is the block and one more pixel to the right
    and below."""
    map_HW = np.zeros((8, 8))
    map_HW[rows, columns] = 1
    return map_HW


def test_accuracy_by_hand():
    accumulator = MaxBoxAccAccumulator(n_thresholds=4, size=8)

    def add(*image):
        accumulator.add(accumulator.right_at(*image))

    box = np.array([[0, 0, 3, 3]])  # 4 x 4 pixels of an 8 x 8 image
    add(block(slice(0, 3), slice(0, 3)), box, 8, 8)  # box 0 0 3 3: IoU 1
    graded = block(slice(0, 7), slice(0, 7)) * 0.6  # box 0 0 7 7, IoU 16 / 64, below level 153
    graded[0:3, 0:3] = 1  # then IoU 1: at threshold 0.75, level 191
    add(graded, box, 8, 8)
    add(block(slice(0, 1), slice(0, 3)), box, 8, 8)  # box 0 0 3 1: IoU 8 / 16 = 0.5
    # A box of the original is scaled: 0 0 31 31 of 64 x 64 is 0 0 3 3 of 8 x 8.
    add(block(slice(0, 3), slice(0, 3)), np.array([[40, 40, 63, 63], [0, 0, 31, 31]]), 64, 64)
    add(block(slice(0, 3), slice(0, 3)), np.zeros((0, 4)), 8, 8)  # no box: wrong
    result = accumulator.result()
    assert result.n_images == 5
    assert result.thresholds_T.tolist() == [0, 0.25, 0.5, 0.75]
    assert result.curve[0.3].tolist() == [60, 60, 60, 80]
    assert result.curve[0.5].tolist() == [60, 60, 60, 80]  # IoU 0.5 reaches 0.5
    assert result.curve[0.7].tolist() == [40, 40, 40, 60]
    assert result.best == {0.3: 80, 0.5: 80, 0.7: 60}
    assert result.mean == pytest.approx(220 / 3)


def test_a_box_of_any_contour_counts_in_the_multi_contour_mode_only():
    map_HW = block(slice(0, 2), slice(0, 2)) + block(slice(4, 8), slice(4, 8))
    for multi_contour, accuracy in ((False, 0), (True, 100)):
        accumulator = MaxBoxAccAccumulator(multi_contour, n_thresholds=2, size=8)
        accumulator.add(accumulator.right_at(map_HW, np.array([[0, 0, 2, 2]]), 8, 8))
        assert accumulator.result().best == dict.fromkeys((0.3, 0.5, 0.7), accuracy)


def test_of_equally_good_thresholds_the_lowest_is_reported():
    curve = {
        0.3: np.array([1.0, 5, 5, 2]),
        0.5: np.array([0.0, 0, 0, 0]),
        0.7: np.array([1.0, 2, 3, 4]),
    }
    result = MaxBoxAcc(curve, thresholds(4), 10)
    assert result.best_threshold == {0.3: 0.25, 0.5: 0, 0.7: 0.75}
    assert result.as_json() == {
        "max_box_acc": {"0.3": 5.0, "0.5": 0.0, "0.7": 4.0},
        "mean": 3.0,
        "best_threshold": {"0.3": 0.25, "0.5": 0.0, "0.7": 0.75},
    }
    json.dumps(result.as_json())


def test_at_a_threshold_between_two_the_lower_one_counts():
    curve = {iou: np.array([1.0, 5, 4, 2]) + 10 * iou for iou in (0.3, 0.5, 0.7)}
    at = MaxBoxAcc(curve, thresholds(4), 10).at({"0.3": 0.25, "0.5": 0.74, "0.7": 0})
    assert at == {"0.3": 8, "0.5": 9, "0.7": 8}


@pytest.mark.parametrize(
    ("multi_contour", "are_of"),
    [(True, "the largest contour, not of all"), (False, "all contours, not of the largest")],
)
def test_thresholds_of_other_contours_are_refused(multi_contour, are_of):
    best = {"best_threshold": {"0.3": 0.1, "0.5": 0.2, "0.7": 0.3}}
    protocol = BestThreshold(multi_contour)
    with pytest.raises(UserError, match=f"of boxes of {are_of}: give the JSON of"):
        protocol.take_thresholds(best | {"multi_contour": not multi_contour}, "f.json")
    for numbers in (best, best | {"multi_contour": multi_contour}):
        protocol.take_thresholds(numbers, "f.json")
        assert protocol.chosen.thresholds == best["best_threshold"]


def test_no_image_is_refused():
    with pytest.raises(UserError, match="no image to score"):
        MaxBoxAccAccumulator().result()
