import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cam_repro.data.ground_truth.read import read_truth
from cam_repro.errors import UserError
from cam_repro.formats.devkit import read_blacklist
from cam_repro.formats.submissions import read_submission
from cam_repro.metrics.official import errors, hits, overlaps, warn_about_boxes, wrong
from cam_repro.truth import RaggedBoxes, Truth

FIXTURE = Path(__file__).parents[1] / "fixtures" / "devkit_scoring"


@pytest.mark.parametrize("with_blacklist", [False, True])
def test_equals_the_development_kit(with_blacklist):
    truth = read_truth(FIXTURE / "ground_truth.csv")
    guesses = read_submission(FIXTURE / "submission.txt")[:2]
    blacklisted = read_blacklist(FIXTURE / "blacklist.txt", 1500) if with_blacklist else None
    right = hits(truth, *guesses)
    expected = [
        row
        for row in json.loads((FIXTURE / "expected.json").read_text())
        if row["blacklist"] == with_blacklist
    ]
    found = errors(*right, blacklisted)
    assert [row.k for row in found] == [row["guesses"] for row in expected] == [1, 2, 3, 4, 5]
    for row, wanted in zip(found, expected, strict=True):
        assert row.cls_error == pytest.approx(wanted["cls_error"], abs=1e-6)
        assert row.clsloc_error == pytest.approx(wanted["clsloc_error"], abs=1e-6)


def test_one_right_guess_among_the_first_is_enough():
    hit_NG = np.array([[0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]]) > 0
    assert wrong(hit_NG, 2).tolist() == [False, True, False, True]
    assert wrong(hit_NG, 3).tolist() == [False, False, False, True]


def test_half_overlap_counts_and_a_pixel_less_does_not():
    truth = RaggedBoxes.from_lists([[[0, 0, 9, 9]], [[0, 0, 9, 9]]])
    boxes = np.array([[[0, 0, 9, 4]], [[0, 0, 9, 3]]])
    assert overlaps(boxes, truth).tolist() == [[True], [False]]


def test_guesses_not_asked_for_are_no_hits():
    truth = RaggedBoxes.from_lists([[[0, 0, 9, 9], [5, 5, 9, 9]], []])
    boxes = np.array([[[0, 0, 9, 9], [5, 5, 9, 9], [0, 0, 1, 1]], [[0, 0, 9, 9]] * 3])
    asked = np.array([[False, True, True], [True, True, True]])
    assert overlaps(boxes, truth)[0].tolist() == [True, True, False]
    found = overlaps(boxes, truth, asked_NG=asked)
    assert found.tolist() == [[False, True, False], [False, False, False]]


def test_padding_and_unknown_labels_are_never_right():
    nothing = [-1, -1, -1, -1]
    truth = Truth(ids=["a"], labels_N=np.array([-1]), boxes=RaggedBoxes.from_lists([[nothing]]))
    cls, loc = hits(truth, np.array([[-1]]), np.array([[nothing]]))
    assert not cls.any()
    assert not loc.any()


def test_blacklist_leaves_classification_alone():
    cls = np.array([[True], [False], [True], [False]])
    loc = np.array([[True], [False], [False], [False]])
    (row,) = errors(cls, loc, np.array([False, True, True, False]))
    assert (row.cls_error, row.clsloc_error) == (50, 50)
    with pytest.raises(UserError, match="no image to score"):
        errors(cls, loc, np.ones(4, bool))


# --- the official program's terms, one image at a time, worked out by hand from eval_clsloc.m and
# compute_overlap.m of the development kit. The true box is 10 x 10 pixels.

RIGHT, WRONG = [0, 0, 9, 9], [10, 10, 19, 19]


def errors_of(guesses, label=7, true_boxes=(RIGHT,)):
    """(cls_error, clsloc_error) for k = 1, 2, ... of one image with guesses (label, box)."""
    labels = np.array([[guess for guess, _ in guesses]])
    boxes = np.array([[box for _, box in guesses]])
    truth = Truth(ids=["a"], labels_N=np.array([label]), boxes=RaggedBoxes.from_lists([true_boxes]))
    right = hits(truth, labels, boxes)
    return [(row.cls_error, row.clsloc_error) for row in errors(*right)]


def test_any_of_several_true_boxes_will_do():
    assert errors_of([(7, RIGHT)], true_boxes=[WRONG, RIGHT]) == [(0, 0)]
    assert errors_of([(7, RIGHT)], true_boxes=[WRONG, WRONG]) == [(0, 100)]


def test_the_same_label_may_be_guessed_twice():
    assert errors_of([(7, WRONG), (7, RIGHT)]) == [(0, 100), (0, 0)]


def test_label_and_box_must_be_right_in_the_same_guess():
    assert errors_of([(7, WRONG), (8, RIGHT)]) == [(0, 100), (0, 100)]


def test_an_image_without_a_true_box_is_never_right():
    assert errors_of([(7, RIGHT), (7, WRONG)], true_boxes=[]) == [(0, 100), (0, 100)]


@pytest.mark.parametrize(
    "box", [[9, 0, 0, 9], [0, 9, 9, 0], [9, 9, 0, 0], [5, 0, 4, 9], [-1, -1, -1, -1]]
)
def test_a_box_with_its_corners_exchanged_has_no_pixel(box):
    assert errors_of([(7, box)]) == [(0, 100)]


def test_a_true_box_with_its_corners_exchanged_is_never_reached():
    assert errors_of([(7, RIGHT)], true_boxes=[[9, 9, 0, 0]]) == [(0, 100)]


def test_coordinates_are_inclusive():
    # 50 of 100 pixels are 0.50, which is enough; not inclusive it would be 36/81.
    assert errors_of([(7, [0, 0, 4, 9])]) == [(0, 0)]
    assert errors_of([(7, [0, 0, 3, 9])]) == [(0, 100)]
    # One pixel is a box of area 1.
    assert errors_of([(7, [3, 3, 3, 3])], true_boxes=[[3, 3, 3, 3]]) == [(0, 0)]


def test_labels_that_no_class_has_are_wrong_and_otherwise_harmless():
    assert errors_of([(1001, RIGHT), (0, RIGHT), (7, RIGHT)]) == [(100, 100), (100, 100), (0, 0)]


def test_guesses_after_the_fifth_and_empty_lines(tmp_path):
    path = tmp_path / "s.txt"
    wrong, right = "8 0 0 9 9 " * 5, "7 0 0 9 9\n"
    path.write_text(f"{wrong}{right}{wrong[:-10]}{right}\n")
    labels, boxes, _ = read_submission(path)
    truth = Truth(
        ids=["a", "b", "c"],
        labels_N=np.array([7, 7, 7]),
        boxes=RaggedBoxes.from_lists([[RIGHT]] * 3),
    )
    right = hits(truth, labels, boxes)
    assert [row.clsloc_error for row in errors(*right)] == [100, 100, 100, 100, 100 * 2 / 3]


def test_the_blacklist_divides_by_the_images_kept():
    cls = np.array([[True], [True], [True], [False], [False]])
    loc = np.array([[True], [True], [False], [False], [False]])
    # The first and the last are left out: 2 of 3 wrong; classification is over all five.
    (row,) = errors(cls, loc, np.array([True, False, False, False, True]))
    assert (row.cls_error, row.clsloc_error) == (40, 100 * 2 / 3)


def by_loops(labels, boxes, truth_labels, truth_boxes, k):
    """The definition, one pixel-inclusive box at a time."""
    cls_wrong = loc_wrong = 0
    for i in range(len(truth_labels)):
        cls_ok = loc_ok = False
        for g in range(k):
            if labels[i][g] != truth_labels[i]:
                continue
            cls_ok = True
            for t in truth_boxes[i]:
                b = boxes[i][g]
                w = min(b[2], t[2]) - max(b[0], t[0]) + 1
                h = min(b[3], t[3]) - max(b[1], t[1]) + 1
                if w > 0 and h > 0:
                    area_b = (b[2] - b[0] + 1) * (b[3] - b[1] + 1)
                    area_t = (t[2] - t[0] + 1) * (t[3] - t[1] + 1)
                    loc_ok |= 2 * w * h >= area_b + area_t - w * h
        cls_wrong += not cls_ok
        loc_wrong += not loc_ok
    return 100 * cls_wrong / len(truth_labels), 100 * loc_wrong / len(truth_labels)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_equals_the_definition_with_repeated_labels_and_images_without_boxes(n, n_guesses, seed):
    rng = np.random.default_rng(seed)

    def random_boxes(*shape):
        corners = np.sort(rng.integers(0, 6, (*shape, 2, 2)), axis=-1)  # (..., x or y, low or high)
        return corners.swapaxes(-1, -2).reshape(*shape, 4)

    labels, boxes = rng.integers(0, 3, (n, n_guesses)), random_boxes(n, n_guesses)
    truth_labels, counts = rng.integers(0, 3, n), rng.integers(0, 4, n)
    true_boxes = RaggedBoxes.from_counts(random_boxes(counts.sum()), counts)
    truth = Truth(ids=list(map(str, range(n))), labels_N=truth_labels, boxes=true_boxes)
    cls, loc = hits(truth, labels, boxes)
    assert np.array_equal(loc, cls & overlaps(boxes, true_boxes))
    found = errors(cls, loc)
    per_image = [true_boxes.of(i) for i in range(n)]
    for row in found:
        wanted = by_loops(labels, boxes, truth_labels, per_image, row.k)
        assert (row.cls_error, row.clsloc_error) == pytest.approx(wanted, abs=1e-9)


def test_boxes_that_no_guess_can_hit_are_counted(caplog):
    truth = Truth(
        ids=["a", "b", "c"],
        labels_N=np.zeros(3, int),
        boxes=RaggedBoxes.from_lists([[[0, 0, 3, 3]], [[2, 0, 10, 4], [4, 4, 3, 3]], []]),
        sizes_N2=np.array([[10, 5]] * 3),
    )
    warn_about_boxes(truth)
    assert caplog.messages == [
        "1 of 3 images have no true box: each counts as a localization error",
        "2 of 3 true boxes are empty or reach beyond their image (the first: [2, 0, 10, 4] of b): "
        "errors count them as they are",
    ]
