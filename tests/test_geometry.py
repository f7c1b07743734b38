import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cam_repro.geometry import (
    centred_boxes,
    clip,
    corners_of_xywh,
    iou,
    paired_iou,
    scale_boxes,
    whole_image,
)


@st.composite
def boxes(draw, low=0, high=60):
    x0, x1 = sorted(draw(st.tuples(st.integers(low, high), st.integers(low, high))))
    y0, y1 = sorted(draw(st.tuples(st.integers(low, high), st.integers(low, high))))
    return (x0, y0, x1, y1)


def test_iou_counts_pixels_inclusively():
    a = [(0, 0, 9, 9)]
    b = [(0, 0, 9, 9), (0, 0, 9, 4), (9, 9, 18, 18), (10, 0, 19, 9), (5, 0, 14, 9)]
    np.testing.assert_allclose(iou(a, b), [[1, 0.5, 1 / 199, 0, 50 / 150]], rtol=1e-12)


def test_iou_of_no_boxes_is_empty():
    assert iou(np.zeros((0, 4)), np.zeros((3, 4))).shape == (0, 3)


@pytest.mark.parametrize("inside_out", [(5, 0, 4, 9), (9, 9, 0, 0), (-1, -1, -1, -1)])
def test_a_box_without_pixels_overlaps_nothing(inside_out):
    assert paired_iou(inside_out, (0, 0, 9, 9)) == 0


@given(boxes(), boxes(), st.integers(-50, 50), st.integers(-50, 50))
def test_iou_is_symmetric_bounded_and_translation_invariant(a, b, dx, dy):
    shift = np.array([dx, dy, dx, dy])
    value = iou([a], [b]).item()
    assert 0 <= value <= 1
    assert value == iou([b], [a]).item()
    assert value == iou(np.array([a]) + shift, np.array([b]) + shift).item()
    assert (value == 1) == (a == b)


@given(boxes(high=20), boxes(high=20))
def test_iou_equals_counting_pixels(a, b):
    masks = np.zeros((2, 21, 21), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, (a, b), strict=True):
        mask[y0 : y1 + 1, x0 : x1 + 1] = True
    assert iou([a], [b]).item() == masks.all(0).sum() / masks.any(0).sum()


def test_whole_image_and_clip():
    assert whole_image(4, 3) == (0, 0, 3, 2)
    assert clip((-5, 1, 99, 2), 10, 8) == (0, 1, 9, 2)
    assert clip((20, 20, 30, 30), 10, 8) == (9, 7, 9, 7)


@given(boxes(low=-30, high=90), st.integers(1, 60), st.integers(1, 60))
def test_clip_gives_a_box_of_the_image_and_changes_no_such_box(box, width, height):
    x0, y0, x1, y1 = clipped = clip(box, width, height)
    assert 0 <= x0 <= x1 < width
    assert 0 <= y0 <= y1 < height
    assert clip(clipped, width, height) == clipped


def test_corners_of_boxes_given_by_width_and_height():
    boxes_24 = corners_of_xywh([[3, 4, 5, 6], [0, 0, 1, 1]])
    assert boxes_24.tolist() == [[3, 4, 7, 9], [0, 0, 0, 0]]
    assert corners_of_xywh([[-1, -1, -1, -1], [-1, -1, 2, 2]]).tolist() == [
        [-1] * 4,
        [-1, -1, 0, 0],
    ]


def test_centred_boxes_literal():
    # Three quarters of 100 x 40: 12.375 to 86.625 and 4.875 to 34.125; half of 5 x 5: 1 to 3.
    assert centred_boxes([[100, 40]], 0.75).tolist() == [[12, 5, 87, 35]]
    assert centred_boxes([[5, 5], [101, 1]], 0.5).tolist() == [[1, 1, 3, 3], [25, 0, 75, 0]]
    assert centred_boxes([[101, 11]], 0.1).tolist() == [[45, 4, 55, 6]]
    assert centred_boxes([[7, 9]], 1.0).tolist() == [[0, 0, 6, 8]]


def test_a_box_outside_the_image_is_scaled_to_its_border():
    assert scale_boxes([(-9, -9, 300, 300)], (60, 60), (30, 30)).tolist() == [[0, 0, 29, 29]]
    assert scale_boxes([(80, 80, 90, 90)], (60, 60), (30, 30)).tolist() == [[29, 29, 29, 29]]


def test_scale_boxes_literal():
    # x edges 10 and 20 of 100 become 5 and 10 of 50; y edges 0 and 3 of 30 become 0 and 10 of 100
    assert scale_boxes([(10, 0, 19, 2)], (100, 30), (50, 100)).tolist() == [[5, 0, 9, 9]]
    both = scale_boxes([(10, 0, 19, 2), (0, 0, 99, 29)], (100, 30), (50, 100))
    assert both.tolist() == [[5, 0, 9, 9], [0, 0, 49, 99]]
    assert scale_boxes([], (100, 30), (50, 100)).shape == (0, 4)
    # edges 1 and 2 of 2 become 0.5 and 1 of 1, rounded up to 1 and 1: one pixel is kept
    assert scale_boxes([(1, 0, 1, 0)], (2, 1), (1, 1)).tolist() == [[0, 0, 0, 0]]


@given(boxes(high=59), st.integers(1, 5), st.integers(1, 200), st.integers(1, 200))
def test_scale_boxes_keeps_whole_images_inverts_enlargement_and_stays_inside(box, times, w, h):
    big = (60 * times, 60 * times)
    assert tuple(scale_boxes(scale_boxes([box], (60, 60), big), big, (60, 60))[0]) == box
    assert tuple(scale_boxes([whole_image(60, 60)], (60, 60), (w, h))[0]) == whole_image(w, h)
    x0, y0, x1, y1 = scale_boxes([box], (60, 60), (w, h))[0]
    assert 0 <= x0 <= x1 < w
    assert 0 <= y0 <= y1 < h
