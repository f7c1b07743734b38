import numpy as np
import pytest

from cam_repro.classes import ClassTable
from cam_repro.metrics.breakdown import by_class, by_instances, by_size, largest_box_share
from cam_repro.truth import RaggedBoxes, Truth


@pytest.fixture
def truth():
    """Six images of 10 x 20 pixels; the fourth has no box, the last no label."""
    boxes = [
        [(0, 0, 9, 19)],  # the whole image
        [(0, 0, 0, 0), (0, 0, 9, 3)],  # 40 of 200 pixels, which is a limit
        [(0, 0, 4, 0)] * 7,
        [],
        [(1, 1, 10, 1)],  # 10 pixels, a limit as well
        [(0, 0, 0, 0), (2, 2, 2, 2)],
    ]
    return Truth(
        ids=list("abcdef"),
        labels_N=np.array([2, 0, 2, 0, 0, -1]),
        boxes=RaggedBoxes.from_lists(boxes),
        classes=ClassTable(("n1", "n2", "n3"), ("cat", "dog", "hen"), None, "here"),
        sizes_N2=np.tile([10, 20], (6, 1)),
    )


def named(parts):
    return {part.name: part.rows_N.tolist() for part in parts}


def test_the_largest_box_counts(truth):
    assert largest_box_share(truth).tolist() == [1.0, 0.2, 0.025, 0.0, 0.05, 0.005]


def test_parts_by_size_have_their_lower_limit_and_leave_out_what_has_no_box(truth):
    assert named(by_size(truth)) == {
        "0–5 %": [2, 5],
        "5–10 %": [4],
        "10–20 %": [],
        "20–40 %": [1],
        "40–60 %": [],
        "60–80 %": [],
        "80–100 %": [0],
    }


def test_parts_by_the_number_of_boxes(truth):
    expected = {"1": [0, 4], "2": [1, 5], "3": [], "4": [], "5 or more": [2]}
    assert named(by_instances(truth)) == expected


def test_parts_by_class_leave_out_what_has_no_label(truth):
    parts = by_class(truth)
    assert named(parts) == {"cat": [1, 3, 4], "dog": [], "hen": [0, 2]}
    assert [len(part) for part in parts] == [3, 0, 2]


def test_a_box_of_a_huge_image_does_not_overflow():
    truth = Truth(
        ids=["a"],
        labels_N=np.array([0]),
        boxes=RaggedBoxes.from_lists([[(0, 0, 69_999, 69_999)]]),
        sizes_N2=np.array([[70_000, 70_000]], np.int32),
    )
    assert largest_box_share(truth).tolist() == [1.0]
