import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cam_repro.truth import LabelSets, Masks, Names, RaggedBoxes, Truth

BOXES = [[(0, 0, 1, 1)], [], [(1, 1, 2, 2), (3, 3, 4, 4)]]


def lists_of(boxes):
    """The boxes of each image as tuples."""
    return [[tuple(box) for box in boxes.of(i).tolist()] for i in range(len(boxes))]


def test_boxes_of_images_literal():
    boxes = RaggedBoxes.from_lists(BOXES)
    assert boxes.values_T4.tolist() == [[0, 0, 1, 1], [1, 1, 2, 2], [3, 3, 4, 4]]
    assert boxes.offsets.tolist() == [0, 1, 1, 3]
    assert boxes.counts_N.tolist() == [1, 0, 2]
    assert boxes.image_of_box().tolist() == [0, 2, 2]
    assert lists_of(boxes) == BOXES
    assert (len(boxes), boxes.values_T4.dtype, boxes.offsets.dtype) == (3, np.int32, np.int64)
    assert lists_of(RaggedBoxes.none(2)) == [[], []]
    kept = boxes.keep(np.array([True, False, True]))
    assert lists_of(kept) == [[(0, 0, 1, 1)], [], [(3, 3, 4, 4)]]


def test_offsets_that_do_not_fit_the_boxes_are_our_own_mistake():
    with pytest.raises(AssertionError):
        RaggedBoxes(np.zeros((2, 4), np.int32), np.array([0, 1]))


box = st.tuples(*[st.integers(-5, 2**31 - 1)] * 4)


@given(st.lists(st.lists(box, max_size=3), max_size=5), st.data())
def test_any_selection_is_that_of_lists(boxes, data):
    rows = data.draw(st.lists(st.integers(-1, len(boxes) - 1), max_size=6))
    ragged = RaggedBoxes.from_lists(boxes)
    assert lists_of(ragged) == boxes
    chosen = ragged.select(np.array(rows, np.int64))
    assert lists_of(chosen) == [boxes[row] if row >= 0 else [] for row in rows]
    places = ragged.places_of(np.array(rows, np.int64))
    assert chosen.values_T4.tolist() == ragged.values_T4[places].tolist()


def test_boxes_that_cannot_be():
    boxes = RaggedBoxes.from_lists(
        [
            [[0, 0, 9, 4], [0, 0, 10, 4], [0, 0, 9, 5], [-1, 0, 9, 4], [3, 3, 3, 3]],
            [],
            [[5, 0, 4, 0], [0, 5, 0, 4], [0, 0, 999, 999]],
        ]
    )
    sizes_N2 = np.array([[10, 5], [10, 5], [0, 0]])  # nobody knows how large the last image is
    expected = [False, True, True, True, False, True, True, False]
    assert boxes.impossible(sizes_N2).tolist() == expected
    assert boxes.impossible(None).tolist() == [False] * 3 + [True, False] + [True] * 2 + [False]


def test_names_are_a_sequence_of_text():
    names = Names(["a", "b\u00e9", "c/d"])
    assert list(names) == ["a", "b\u00e9", "c/d"]
    assert (names[1], len(names), names[-1]) == ("b\u00e9", 3, "c/d")
    assert names == ["a", "b\u00e9", "c/d"]
    assert names[1:] == ["b\u00e9", "c/d"]
    with pytest.raises(UnicodeEncodeError):
        Names(["\udc80"])


def test_what_is_known_of_images():
    truth = Truth(
        ids=["a", "b", "c"],
        labels_N=np.array([0, -1, 2]),
        boxes=RaggedBoxes.from_lists(BOXES),
        blacklisted_N=np.array([False, True, True]),
    )
    assert (len(truth), truth.n_blacklisted) == (3, 2)
    assert (truth.has_labels, truth.has_boxes) == (False, True)
    bare = Truth(ids=["a"], labels_N=np.array([0]), boxes=RaggedBoxes.none(1))
    assert (bare.has_labels, bare.has_boxes, bare.n_blacklisted) == (True, False, 0)


def test_all_classes_of_images_literal():
    sets = LabelSets.from_lists([[2, 0, 2], [], [1]])
    assert (sets.values_T.tolist(), sets.offsets.tolist()) == ([0, 2, 1], [0, 2, 2, 3])
    assert (len(sets), sets.values_T.dtype, sets.offsets.dtype) == (3, np.int32, np.int64)
    assert [sets.of(i).tolist() for i in range(3)] == [[0, 2], [], [1]]
    assert sets.multi_hot([2, 0, 1], 3).tolist() == [
        [False, True, False],
        [True, False, True],
        [False, False, False],
    ]
    with pytest.raises(AssertionError):
        LabelSets(np.array([1]), np.array([0, 0]))


def test_a_part_of_the_images_has_what_is_known_of_them():
    class Numbers(Masks):
        of_image_size = False

        def of(self, index):
            return None if index == 1 else np.full((1, 2), index, np.uint8)

    truth = Truth(
        ids=["a", "b", "c"],
        labels_N=np.array([4, 5, 6]),
        boxes=RaggedBoxes.from_lists([[(0, 0, 1, 1)], [], [(2, 2, 3, 3), (4, 4, 5, 5)]]),
        sizes_N2=np.array([[1, 2], [3, 4], [5, 6]], np.int32),
        blacklisted_N=np.array([True, False, False]),
        label_sets=LabelSets.from_lists([[4], [5, 7], [6, 0]]),
        masks=Numbers(),
    )
    part = truth.select([2, 1])
    assert part.ids == ["c", "b"]
    assert part.labels_N.tolist() == [6, 5]
    assert [part.boxes.of(i).tolist() for i in range(2)] == [[[2, 2, 3, 3], [4, 4, 5, 5]], []]
    assert part.sizes_N2.tolist() == [[5, 6], [3, 4]]
    assert part.n_blacklisted == 0
    assert [part.label_sets.of(i).tolist() for i in range(2)] == [[0, 6], [5, 7]]
    assert part.masks.of(0).tolist() == [[2, 2]]
    assert part.masks.of(1) is None
    assert not part.masks.of_image_size
