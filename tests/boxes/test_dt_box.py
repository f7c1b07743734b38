"""The authors' program: its own output, hand-worked maps, and what their scripts make of it."""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hydra.utils import instantiate
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from scipy.ndimage import distance_transform_edt

from cam_repro.boxes import dt_box
from cam_repro.boxes.base import RankedMaps
from cam_repro.boxes.dt_box import (
    DtBox,
    DtBoxHeuristic,
    Program,
    _core,
    _largest_square,
    _sorted_by_area,
    _thin,
    dt_boxes,
    heatmap_image,
)
from cam_repro.config import validate
from cam_repro.engine.settings import EvalSettings
from cam_repro.errors import UserError

FIXTURES = Path(__file__).parents[1] / "fixtures" / "dt_box"
PRINTED = json.loads((FIXTURES / "expected.json").read_text())


def block(x: int, y: int, w: int, h: int, width: int, height: int, value: int = 255) -> np.ndarray:
    """A grey map of 0 with one block of ``value``."""
    heatmap_HW = np.zeros((height, width), np.uint8)
    heatmap_HW[y : y + h, x : x + w] = value
    return heatmap_HW


# --- the program's own output --------------------------------------------------------------------


@pytest.mark.parametrize("printed", PRINTED, ids=[entry["heatmap"] for entry in PRINTED])
def test_boxes_are_those_that_the_program_prints(printed):
    heatmap_HW = np.asarray(Image.open(FIXTURES / printed["heatmap"]))
    boxes = dt_boxes(heatmap_HW, printed["thresholds"])
    expected = [tuple(box) for box in printed["boxes_xywh"]]
    assert boxes[:2] == expected[:2]
    assert Counter(boxes) == Counter(expected)
    assert boxes == expected  # in its order too, that of equal areas included
    assert Program(heatmap_HW).first(printed["thresholds"]) == (boxes or [None])[0]


def test_the_programs_output_covers_what_it_should():
    assert len(PRINTED) == 36
    assert {tuple(entry["thresholds"]) for entry in PRINTED} == {(20, 100, 110), (30, 90, 150)}
    assert sum(len(entry["boxes_xywh"]) > 16 for entry in PRINTED) > 10


# --- hand-worked maps ----------------------------------------------------------------------------


def test_a_block_is_boxed():
    # Largest distance 4 of 7 rows: the outermost pixels come to 255/4 = 64 and stay.
    assert dt_boxes(block(6, 5, 18, 7, 40, 30), [100]) == [(6, 5, 18, 7)]


def test_a_value_at_the_threshold_does_not_count():
    heatmap_HW = block(6, 5, 18, 7, 40, 30, value=100)
    assert dt_boxes(heatmap_HW, [100]) == []
    assert dt_boxes(heatmap_HW, [99]) == [(6, 5, 18, 7)]


@pytest.mark.parametrize(
    ("side", "lost"),
    [
        (48, 0),  # distance 1 of 24 is 10.6 of 255, rounded to 11: kept
        (50, 1),  # 1 of 25 is 10.2, rounded to 10: dropped
        (340, 6),  # 7 of 170 is 10.5, rounded to 11: kept; 6 of 170 is 9
    ],
)
def test_what_is_thin_beside_the_largest_distance_is_dropped(side, lost):
    heatmap_HW = block(9, 8, side, side, side + 40, side + 20)
    heatmap_HW[4, side + 20] = 255  # a dot, at distance 1
    kept = (9 + lost, 8 + lost, side - 2 * lost, side - 2 * lost)
    assert dt_boxes(heatmap_HW, [20]) == ([kept] if lost else [kept, (side + 20, 4, 1, 1)])


def test_the_contour_of_a_hole_gives_a_box_too():
    heatmap_HW = block(3, 3, 20, 14, 40, 30)
    heatmap_HW[8:12, 10:13] = 0
    # The frame, and around the hole of 3 x 4 pixels those that border on it.
    assert dt_boxes(heatmap_HW, [20]) == [(3, 3, 20, 14), (9, 7, 5, 6)]


def test_boxes_keep_away_from_the_right_and_lower_border():
    assert dt_boxes(block(10, 5, 30, 10, 40, 30), [20]) == [(10, 5, 25, 10)]
    assert dt_boxes(block(10, 5, 4, 25, 40, 30), [20]) == [(10, 5, 4, 20)]
    # One that starts in the last five pixels has nothing left: x is 35 at most, w 40 - 38 - 5.
    assert dt_boxes(block(38, 5, 2, 10, 40, 30), [20]) == [(35, 5, -3, 10)]


def test_three_thresholds_give_three_boxes_largest_first():
    heatmap_HW = block(4, 4, 20, 20, 40, 40, value=90)
    heatmap_HW[6:16, 6:16] = 105
    heatmap_HW[8:12, 8:12] = 255
    assert dt_boxes(heatmap_HW) == [(4, 4, 20, 20), (6, 6, 10, 10), (8, 8, 4, 4)]


def test_a_map_of_one_value():
    assert dt_boxes(np.zeros((12, 20), np.uint8)) == []
    # Nothing to measure a distance from: the mask stays. The second of three boxes is erased.
    assert dt_boxes(np.full((12, 20), 255, np.uint8)) == [(0, 0, 15, 7)] * 2
    assert dt_boxes(np.full((12, 20), 105, np.uint8)) == [(0, 0, 15, 7)]  # one of two
    assert dt_boxes(np.full((12, 20), 105, np.uint8), count=2) == [(0, 0, 15, 7)]
    assert dt_boxes(np.full((12, 20), 60, np.uint8)) == [(0, 0, 15, 7)]
    # Five pixels from the right and lower border of a smaller image lie outside it.
    assert dt_boxes(np.full((3, 6), 255, np.uint8), [20]) == [(0, -2, 1, -2)]
    assert dt_boxes(np.full((1, 1), 255, np.uint8), [20]) == [(-4, -4, -4, -4)]


def test_a_map_must_be_grey_bytes():
    for wrong in (np.zeros((4, 4)), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4), np.uint8)):
        with pytest.raises(AssertionError):
            dt_boxes(wrong)


# --- the steps, each against something else ------------------------------------------------------


@pytest.fixture(params=["erosion", "all distances"])
def way(request):
    """How pixels near a 0 are found, whatever the size of the disc."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dt_box, "WIDE_DISC", math.inf if request.param == "erosion" else 0)
        yield


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mask_HW=hnp.arrays(bool, st.tuples(st.integers(1, 70), st.integers(1, 70))),
    zoom=st.integers(1, 6),
)
def test_distances_are_exact(way, mask_HW, zoom):
    mask_HW = mask_HW.repeat(zoom, 0).repeat(zoom, 1)
    core_HW = _core(mask_HW)
    if mask_HW.all():
        assert core_HW.all()
        return
    distance_HW = distance_transform_edt(mask_HW)
    scale = 255 / max(distance_HW.max(), 1)
    assert np.array_equal(core_HW, np.floor(distance_HW * scale + 0.5) > 10)


@settings(deadline=None)
@given(st.integers(1, 120), st.integers(1, 120), st.floats(0.5, 3.5), st.integers(0, 2**32 - 1))
def test_the_largest_distance_is_found_without_all_others(height, width, sparse, seed):
    # Single pixels left out: many places are almost as far from one as the farthest.
    mask_HW = np.random.default_rng(seed).random((height, width)) > 10**-sparse
    mask_HW[-1, -1] = False
    largest = distance_transform_edt(mask_HW).max()
    assert _largest_square(mask_HW.view(np.uint8)) == round(largest**2)


RECTANGLES = st.lists(st.tuples(*[st.integers(0, 119)] * 4), min_size=1, max_size=6)


@settings(deadline=None)
@given(RECTANGLES, st.floats(0, 0.3), st.integers(0, 2**32 - 1))
def test_contours_of_a_part_of_the_map_are_those_of_the_whole(rectangles, noise, seed):
    heatmap_HW = np.zeros((121, 120), np.uint8)
    for x0, y0, x1, y1 in rectangles:
        heatmap_HW[min(y0, y1) : max(y0, y1) + 1, min(x0, x1) : max(x0, x1) + 1] ^= 255
    heatmap_HW[np.random.default_rng(seed).random(heatmap_HW.shape) < noise**2] = 0
    distance_HW = distance_transform_edt(heatmap_HW)
    kept_HW = np.floor(distance_HW * (255 / max(distance_HW.max(), 1)) + 0.5) > 10
    contours, _ = cv2.findContours(kept_HW.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    boxes_M4 = np.array([cv2.boundingRect(c) for c in contours], np.int64).reshape(-1, 4)
    if len(boxes_M4):
        size = np.array([120, 121])
        boxes_M4[:, 2:] = np.minimum(boxes_M4[:, 2:], size - boxes_M4[:, :2] - 5)
        boxes_M4[:, :2] = np.minimum(boxes_M4[:, :2], size - 5)
        boxes_M4 = _thin(boxes_M4[_sorted_by_area(boxes_M4)])
    boxes = dt_boxes(heatmap_HW, [100])
    assert boxes == [tuple(box) for box in boxes_M4.tolist()]
    assert dt_boxes(heatmap_HW, [100], count=2) == boxes[:2]


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.lists(st.tuples(*[st.integers(0, 39)] * 4, st.sampled_from([60, 105, 255])), max_size=25),
)
def test_the_first_box_alone_is_the_first_of_all(size, blocks):
    heatmap_HW = np.zeros(size, np.uint8)
    for y, x, h, w, value in blocks:
        heatmap_HW[y : y + h % 9 + 1, x : x + w % 9 + 1] = value
    for thresholds in ([20, 100, 110], [110, 20], [100], [20, 20]):
        first = Program(heatmap_HW).first(thresholds)
        assert first == next(iter(dt_boxes(heatmap_HW, thresholds)), None)


def test_the_first_box_may_be_that_of_a_higher_threshold():
    heatmap_HW = block(20, 20, 220, 220, 260, 260)  # a frame, three pixels thick
    heatmap_HW[23:237, 23:237] = 0
    heatmap_HW[80:180, 80:180] = 50
    # Above 20 the frame is too thin beside the block: 2/50 of the largest distance, 10.2 of 255.
    program = Program(heatmap_HW)
    assert program.first([20]) == (82, 82, 96, 96)
    assert program.first([20, 100]) == (20, 20, 220, 220)


def test_distances_are_exact_in_a_large_image():
    mask_HW = np.ones((1500, 1300), bool)
    mask_HW[700, 20] = mask_HW[3, 1200] = mask_HW[1490, 700] = False
    distance_HW = distance_transform_edt(mask_HW)
    assert distance_HW.max() > 700
    scaled_HW = distance_HW * (255 / distance_HW.max())
    assert np.array_equal(_core(mask_HW), np.floor(scaled_HW + 0.5) > 10)


@pytest.mark.parametrize("a", range(1, 6))
@pytest.mark.parametrize("b", range(1, 6))
@pytest.mark.usefixtures("way")
def test_distances_that_round_from_a_half_are_exact(a, b):
    # From the corner (7b, 7a) is 7/170 of the farthest pixel's distance: 10.5 of 255, but for
    # the rounding of float64, which decides. OpenCV's float32 would decide otherwise.
    mask_HW = np.ones((170 * a + 1, 170 * b + 1), bool)
    mask_HW[0, 0] = False
    scale = 255 / math.sqrt((170 * a) ** 2 + (170 * b) ** 2)
    kept = math.floor(math.sqrt((7 * a) ** 2 + (7 * b) ** 2) * scale + 0.5) > 10
    assert _core(mask_HW)[7 * a, 7 * b] == kept


def one_pixel_high(areas: list[int]) -> np.ndarray:
    """Boxes of these areas."""
    return np.array([[0, 0, area, 1] for area in areas], np.int64).reshape(-1, 4)


def test_equal_areas_are_in_the_order_of_the_c_library():
    areas = [4, 1, 3, 2, 4, 3, 1, 2, 2, 4, 1, 3, 3, 2, 1, 4, 2, 3, 4, 1]
    # Printed by a C++ program that sorts these with std::sort (GNU libstdc++).
    order = [15, 4, 18, 9, 0, 2, 5, 17, 11, 12, 8, 16, 13, 7, 3, 10, 19, 14, 6, 1]
    assert _sorted_by_area(one_pixel_high(areas)) == order
    # Up to 16 elements it is stable.
    assert _sorted_by_area(one_pixel_high(areas[:16])) == [
        *(0, 4, 9, 15, 2, 5, 11, 12, 3, 7, 8, 13, 1, 6, 10, 14)
    ]


@given(st.lists(st.integers(-5, 30), max_size=200))
@example([1] * 200)
@example(list(range(200)))
@example(list(range(200, 0, -1)))
def test_boxes_are_sorted_by_area(areas):
    order = _sorted_by_area(one_pixel_high(areas))
    assert sorted(order) == list(range(len(areas)))
    assert [areas[i] for i in order] == sorted(areas, reverse=True)


def test_the_walk_steps_over_the_box_after_an_erased_one():
    def left(*boxes):
        return _thin(np.array(boxes)).tolist()

    a, b, c = (0, 0, 10, 10), (1, 0, 9, 10), (2, 0, 8, 10)
    assert left(a, b) == [[0, 0, 10, 10]]
    assert left(a, b, c) == [[0, 0, 10, 10], [2, 0, 8, 10]]
    # The first a erases the second and the fourth of five; the third, next in turn, the last.
    assert left(a, a, a, a, a) == [[0, 0, 10, 10]] * 2
    far = (20, 20, 5, 5)
    assert left(a, b, far, c) == [[0, 0, 10, 10], [20, 20, 5, 5]]


def test_half_of_the_larger_area_is_not_yet_too_much():
    def both_stay(*boxes):
        return len(_thin(np.array(boxes))) == 2

    assert both_stay((0, 0, 10, 10), (0, 0, 10, 5))
    assert not both_stay((0, 0, 10, 10), (0, 0, 10, 6))
    assert both_stay((0, 0, 10, 10), (5, 0, 10, 10))
    assert not both_stay((0, 0, 10, 10), (4, 0, 10, 10))
    assert both_stay((0, 0, 15, 1), (0, 0, 7, 1))
    assert not both_stay((0, 0, 15, 1), (0, 0, 8, 1))
    # Both have a negative area: they share nothing, which is more than half of that.
    assert not both_stay((0, 0, 2, -3), (50, 50, 4, -2))


BOXES = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(-4, 9), st.integers(-4, 9))


@given(st.lists(BOXES, min_size=1, max_size=40))
def test_thinning_is_that_of_a_walk_with_erasure(boxes):
    expected = list(boxes)
    i = 0
    while i < len(expected):
        j = i + 1
        while j < len(expected):
            (ax, ay, aw, ah), (bx, by, bw, bh) = expected[i], expected[j]
            wide = max(0, min(ax + aw, bx + bw) - max(ax, bx))
            high = max(0, min(ay + ah, by + bh) - max(ay, by))
            if wide * high > int(max(aw * ah, bw * bh) * 0.5):
                del expected[j]
            j += 1
        i += 1
    assert _thin(np.array(boxes)).tolist() == [list(box) for box in expected]


# --- from a map to what the program reads --------------------------------------------------------


def test_a_map_becomes_bytes_as_matlab_writes_them():
    m = np.array([[-7, 0, 1, 2, 3, 5, 254, 510]], np.float32)  # halves of 255: up
    assert heatmap_image(m, None).tolist() == [[0, 0, 1, 1, 2, 3, 127, 255]]
    assert heatmap_image(m * np.float32(2.0**-100), None).tolist() == [[0, 0, 1, 1, 2, 3, 127, 255]]


def test_the_map_goes_through_a_jpeg():
    m = cv2.resize(np.random.default_rng(0).random((7, 9), np.float32), (90, 70))
    plain_HW = heatmap_image(m, None)
    for quality in (75, 20):
        file = io.BytesIO()
        Image.fromarray(plain_HW).save(file, "JPEG", quality=quality)
        stored_HW = heatmap_image(m, quality)
        difference_HW = np.abs(np.asarray(Image.open(file)).astype(int) - stored_HW)
        assert difference_HW.max() <= 1  # another decoder's rounding
    assert not np.array_equal(heatmap_image(m, 75), plain_HW)
    assert not np.array_equal(heatmap_image(m, 75), heatmap_image(m, 20))


# --- the rules ------------------------------------------------------------------------------


def nested(dx: int = 0) -> np.ndarray:
    """Of 255: a block of 51 with one of 102 in it and a peak in that, float32 (30, 40)."""
    m = np.zeros((30, 40), np.float32)
    m[4:24, 4 + dx : 24 + dx] = 0.2
    m[6:16, 6 + dx : 16 + dx] = 0.4
    m[8:12, 8 + dx : 12 + dx] = 1
    return m


def at_size(*maps_HW: np.ndarray, classes: list[int]) -> RankedMaps:
    height, width = maps_HW[0].shape
    return RankedMaps(classes, np.stack(maps_HW), width, height)


def test_the_box_is_one_pixel_more_than_the_rectangle():
    # The program prints (4, 4, 20, 20); the authors' script adds width and height to x and y.
    assert DtBox(jpeg_quality=None)(at_size(nested(), classes=[9])) == [(9, (4, 4, 24, 24))]


def test_one_loose_box_for_each_of_five_classes():
    maps = at_size(*(nested(dx) for dx in range(6)), classes=[5, 4, 3, 2, 1, 0])
    rule = DtBox(jpeg_quality=None)
    guesses = [(5 - dx, (4 + dx, 4, 24 + dx, 24)) for dx in range(5)]
    assert rule(maps) == guesses
    assert rule(maps.first(2)) == guesses[:2]
    assert rule(maps.only(5)) == [(0, (9, 4, 29, 24))]


def test_heuristic_is_loose_and_tight_of_two_classes_and_loose_of_the_third():
    maps = at_size(*(nested(dx) for dx in range(5)), classes=[5, 4, 3, 2, 1])
    rule = DtBoxHeuristic(jpeg_quality=None)
    guesses = [
        (5, (4, 4, 24, 24)),
        (5, (6, 6, 16, 16)),
        (4, (5, 4, 25, 24)),
        (4, (7, 6, 17, 16)),
        (3, (6, 4, 26, 24)),
    ]
    assert rule(maps) == guesses
    assert rule(maps.first(2)) == guesses[:4]
    assert rule(maps.first(1)) == guesses[:2]


def test_where_there_is_one_box_it_is_loose_and_tight():
    rule = DtBoxHeuristic(thresholds=[20], jpeg_quality=None)
    assert rule(at_size(nested(), classes=[9])) == [(9, (4, 4, 24, 24))] * 2


def test_a_map_is_stored_as_a_jpeg_unless_told_otherwise():
    m = cv2.resize(np.random.default_rng(2).random((7, 9), np.float32) ** 4, (90, 70))
    maps = at_size(m, classes=[9])
    for quality in (75, None):
        x, y, w, h = dt_boxes(heatmap_image(m, quality))[0]
        assert DtBox(jpeg_quality=quality)(maps) == [(9, (x, y, x + w, y + h))]
    assert DtBox()(maps) == DtBox(jpeg_quality=75)(maps) != DtBox(jpeg_quality=None)(maps)


NOTHING = {
    "zeros": np.zeros((3, 4), np.float32),
    "negative": np.arange(-12, 0, dtype=np.float32).reshape(3, 4),
    "nan": np.full((3, 4), np.nan, np.float32),
    "one nan": np.where(np.eye(3, 4, dtype=bool), np.float32(np.nan), np.float32(1)),
    "inf": np.where(np.eye(3, 4, dtype=bool), np.float32(np.inf), np.float32(1)),
}


@pytest.mark.parametrize("m", NOTHING.values(), ids=NOTHING.keys())
@pytest.mark.parametrize("rule", [DtBox(), DtBoxHeuristic()])
def test_nothing_to_box_is_answered_by_the_whole_image(rule, m):
    assert set(rule(RankedMaps([4], m[None], 40, 30))) == {(4, (0, 0, 39, 29))}
    # Nor is there a box where nothing exceeds a threshold.
    none = DtBox(thresholds=[255])
    assert none(at_size(nested(), classes=[4])) == [(4, (0, 0, 39, 29))]


@settings(deadline=None)
@given(
    maps_Rhw=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
        elements=st.floats(width=32) | st.sampled_from([0.0, 1e-45, 1.0, 2.0, 3.0]),
    ),
    width=st.integers(1, 30),
    height=st.integers(1, 30),
    quality=st.none() | st.integers(1, 100),
)
@example(np.ones((1, 1, 1), np.float32), 1, 1, 75)
@example(np.ones((1, 1, 1), np.float32), 3, 3, None)
def test_any_map_gives_boxes_inside_the_image(maps_Rhw, width, height, quality):
    maps = RankedMaps(list(range(len(maps_Rhw))), maps_Rhw, width, height)
    for rule in (DtBox((0, 100), quality), DtBoxHeuristic(jpeg_quality=quality)):
        guesses = rule(maps)
        assert len(guesses) >= len(maps)
        for _, (x0, y0, x1, y1) in guesses:
            assert 0 <= x0 <= x1 < width
            assert 0 <= y0 <= y1 < height


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [[], [-1], [256], [20.0], [True], ["20"], "20", 20, None], ids=repr
)
@pytest.mark.parametrize("rule", [DtBox, DtBoxHeuristic])
def test_thresholds_are_bytes(rule, value):
    with pytest.raises(UserError, match=r"^thresholds=.*: must be a list of integers"):
        rule(thresholds=value)


@pytest.mark.parametrize("value", [0, 101, 75.0, True, "75"])
def test_jpeg_quality_is_a_percentage_or_nothing(value):
    with pytest.raises(UserError, match=rf"^jpeg_quality={value}: must be an integer from 1"):
        DtBox(jpeg_quality=value)


def test_settings_reach_each_rule(compose_config):
    def built(*words):
        words = ("box=[dt_box,dt_box_heuristic]", *words)
        both = instantiate(validate(compose_config("eval", *words), EvalSettings).box)
        assert list(both) == ["dt_box", "dt_box_heuristic"]
        return [(s.thresholds, s.jpeg_quality) for s in both.values()]

    assert built() == [((20, 100, 110), 75)] * 2
    changed = built("box.dt_box.thresholds=[30,90,150]", "box.dt_box_heuristic.jpeg_quality=null")
    assert changed == [((30, 90, 150), 75), ((20, 100, 110), None)]
