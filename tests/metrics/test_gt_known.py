import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cam_repro.data.ground_truth.read import read_truth
from cam_repro.errors import UserError
from cam_repro.geometry import centred_boxes
from cam_repro.metrics.gt_known import (
    CENTRED_SCALES,
    GtKnown,
    best_iou,
    centred_box_sweep,
    gt_known_accuracy,
)
from cam_repro.metrics.official import overlaps
from cam_repro.truth import RaggedBoxes


def test_accuracy_literal():
    # IoU of 10 x 10 with its left 3, 5 and 7 columns, with all of it, and with nothing of it.
    boxes = np.array([[0, 0, x, 9] for x in (2, 4, 6, 9)] + [[20, 20, 29, 29]])
    truth = RaggedBoxes.from_lists([[[0, 0, 9, 9]]] * 5)
    assert best_iou(boxes, truth).tolist() == [0.3, 0.5, 0.7, 1, 0]
    assert gt_known_accuracy(boxes, truth) == {"0.3": 80, "0.5": 60, "0.7": 40}
    assert gt_known_accuracy(boxes, truth, [0.75]) == {"0.75": 20}


def test_the_best_of_several_true_boxes_counts_and_none_is_never_reached():
    boxes = np.array([[0, 0, 9, 9]] * 2)
    truth = RaggedBoxes.from_lists([[[0, 0, 2, 9], [0, 0, 6, 9], [5, 5, 5, 5]], []])
    assert best_iou(boxes, truth).tolist() == [0.7, 0]
    assert gt_known_accuracy(boxes, truth) == {"0.3": 50, "0.5": 50, "0.7": 50}


def test_no_box_is_wrong_even_where_the_true_box_is_odd():
    nothing = np.array([[-1, -1, -1, -1]])
    assert best_iou(nothing, RaggedBoxes.from_lists([nothing])).tolist() == [0]


def test_a_box_that_has_only_some_sides_of_minus_one_is_a_box():
    assert best_iou(np.array([[-1, 0, 8, 9]]), RaggedBoxes.from_lists([[[0, 0, 9, 9]]])) > 0


def test_the_scales_of_a_centred_box():
    assert list(CENTRED_SCALES) == pytest.approx([percent / 100 for percent in range(5, 101, 5)])


@pytest.mark.parametrize(
    "ious", [[], "half", 0.5, None, [0], [-0.1], [1.01], [True], ["0.5"], [0.5, 0], [0.5, None]]
)
def test_ious_that_cannot_be_are_refused(ious):
    with pytest.raises(UserError, match=r"protocol\.ious=.*: must be numbers over 0 and at most 1"):
        GtKnown(ious)


def test_an_iou_of_one_may_be_asked_for():
    assert GtKnown([1, 0.01]).ious == (1, 0.01)


def test_no_image_is_refused():
    with pytest.raises(UserError, match="no image to score"):
        gt_known_accuracy(np.zeros((0, 4)), RaggedBoxes.none(0))


@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_agrees_with_the_official_overlap(seed, n):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, n)
    boxes = rng.integers(0, 8, (n, 4))
    truth = RaggedBoxes.from_counts(rng.integers(0, 8, (counts.sum(), 4)), counts)
    for threshold in (0.3, 0.5, 0.7):
        reached = best_iou(boxes, truth) >= threshold
        official = overlaps(boxes[:, None], truth, threshold)[:, 0]
        assert reached.tolist() == official.tolist()


def test_sweep_literal():
    # The true box is 21 x 21 pixels in the middle of 101 x 101. The boxes about it: 44 to 57 at
    # scale 1/8 (IoU 196/441 = 0.44), 38 to 63 at 1/4 (441/676 = 0.65), 25 to 75 at 1/2 (0.17).
    truth = RaggedBoxes.from_lists([[[40, 40, 60, 60]]])
    assert centred_boxes([[101, 101]], 1 / 8).tolist() == [[44, 44, 57, 57]]
    assert centred_box_sweep(np.array([[101, 101]]), truth, scales=(1 / 8, 1 / 4, 1 / 2)) == {
        "0.3": {"scale": 1 / 8, "accuracy": 100},  # of equals the smallest
        "0.5": {"scale": 1 / 4, "accuracy": 100},
        "0.7": {"scale": 1 / 8, "accuracy": 0},
    }


def test_baselines_of_ilsvrc(shared_file):
    truth = read_truth(shared_file("ilsvrc2012_val_groundtruth.csv.gz"))
    assert truth.sizes_N2 is not None
    whole = gt_known_accuracy(centred_boxes(truth.sizes_N2, 1), truth.boxes)
    assert {iou: round(value, 2) for iou, value in whole.items()} == {
        "0.3": 62.82,
        "0.5": 40.70,
        "0.7": 22.27,
    }
    best = centred_box_sweep(truth.sizes_N2, truth.boxes)
    assert {iou: (at["scale"], round(at["accuracy"], 2)) for iou, at in best.items()} == {
        "0.3": (0.60, 76.52),
        "0.5": (0.75, 53.42),
        "0.7": (0.85, 29.05),
    }
