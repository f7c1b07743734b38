import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cam_repro.devkit import read_blacklist, read_ground_truth, read_submission
from cam_repro.errors import UserError
from cam_repro.metrics.official import errors, hits, overlaps

FIXTURE = Path(__file__).parents[1] / "fixtures" / "devkit_scoring"


@pytest.mark.parametrize("with_blacklist", [False, True])
def test_equals_the_development_kit(with_blacklist):
    truth = read_ground_truth(FIXTURE / "ground_truth.csv")
    guesses = read_submission(FIXTURE / "submission.txt")
    blacklisted = read_blacklist(FIXTURE / "blacklist.txt", 1500) if with_blacklist else None
    right = hits(*guesses, truth.labels_N, truth.gt_boxes_T4, truth.gt_offsets)
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


def test_half_overlap_counts_and_a_pixel_less_does_not():
    truth = np.array([[0, 0, 9, 9], [0, 0, 9, 9]])
    boxes = np.array([[[0, 0, 9, 4]], [[0, 0, 9, 3]]])
    assert overlaps(boxes, truth, np.array([0, 1, 2])).tolist() == [[True], [False]]


def test_padding_and_unknown_labels_are_never_right():
    cls, loc = hits(
        np.array([[-1]]),
        np.array([[[-1, -1, -1, -1]]]),
        np.array([-1]),
        np.array([[-1, -1, -1, -1]]),
        np.array([0, 1]),
    )
    assert not cls.any()
    assert not loc.any()


def test_blacklist_leaves_classification_alone():
    cls = np.array([[True], [False], [True], [False]])
    loc = np.array([[True], [False], [False], [False]])
    (row,) = errors(cls, loc, np.array([False, True, True, False]))
    assert (row.cls_error, row.clsloc_error) == (50, 50)
    with pytest.raises(UserError, match="no image to score"):
        errors(cls, loc, np.ones(4, bool))


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
    flat = random_boxes(counts.sum())
    offsets = np.concatenate([[0], np.cumsum(counts)])
    found = errors(*hits(labels, boxes, truth_labels, flat, offsets))
    per_image = [flat[offsets[i] : offsets[i + 1]] for i in range(n)]
    for row in found:
        wanted = by_loops(labels, boxes, truth_labels, per_image, row.k)
        assert (row.cls_error, row.clsloc_error) == pytest.approx(wanted, abs=1e-9)
