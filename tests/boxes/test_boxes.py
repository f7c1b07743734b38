"""Boxes from maps: literal maps, an independent search, and maps with nothing to box."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import label

from cam_repro.boxes.base import BoxRule, RankedMaps
from cam_repro.boxes.center import Center
from cam_repro.boxes.heuristic import HeuristicBoxes
from cam_repro.boxes.threshold import ThresholdBox, largest_component_box
from cam_repro.boxes.whole_image import WholeImage
from cam_repro.errors import UserError


def drawn(*rows: str) -> np.ndarray:
    """A map of digits, ``.`` for 0."""
    return np.array([[int(c) for c in row.replace(".", "0")] for row in rows], np.float32)


def at_size(*maps_HW: np.ndarray, classes: list[int] | None = None) -> RankedMaps:
    """Maps that have their image's size already."""
    height, width = maps_HW[0].shape
    return RankedMaps(classes or list(range(len(maps_HW))), np.stack(maps_HW), width, height)


# --- the largest component -----------------------------------------------------------------------


def test_the_largest_component_wins_not_the_one_with_the_peak():
    m = drawn(
        "........",
        ".9..333.",
        ".9..3...",
        "....3...",
        "........",
    )
    assert largest_component_box(m, 0.2) == (4, 1, 6, 3)
    assert largest_component_box(m, 0.5) == (1, 1, 1, 2)


def test_size_is_counted_in_pixels_not_by_the_box():
    m = drawn(
        "5.....",
        ".5....",
        "..5...",
        "...5..",
        "....55",
        "......",
        "555...",
        "555...",
        "5.....",
    )
    # Six pixels on the diagonal in a box of 30; seven below in a box of 9.
    assert largest_component_box(m, 0.2) == (0, 6, 2, 8)


def test_diagonal_neighbours_are_connected():
    assert largest_component_box(drawn("5....", ".5...", "..5..", "....5", "....5"), 0) == (
        0,
        0,
        2,
        2,
    )
    assert largest_component_box(drawn("..5", ".5.", "5.."), 0) == (0, 0, 2, 2)


def test_a_value_at_the_threshold_does_not_count():
    m = drawn("2345", "....")
    assert largest_component_box(m, 0.4) == (1, 0, 3, 0)  # 0.4 x 5 = 2
    assert largest_component_box(m, 0.39) == (0, 0, 3, 0)
    assert largest_component_box(m, 0.8) == (3, 0, 3, 0)
    assert largest_component_box(drawn("10", "00"), 0) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("rows", "box"),
    [
        (("11..", "....", "..11"), (0, 0, 1, 0)),
        (("..11", "....", "11.."), (2, 0, 3, 0)),
        # The first pixel decides, also where blocks of 2 x 2 pixels would be met otherwise.
        (("....1...", "1......."), (4, 0, 4, 0)),
        (("......11", ".11....."), (6, 0, 7, 0)),
    ],
)
def test_of_equal_components_the_first_in_reading_order_wins(rows, box):
    assert largest_component_box(drawn(*rows), 0.2) == box


def reference_box(values: np.ndarray, threshold: Fraction) -> tuple[int, int, int, int]:
    """The same rule by flood fill, in exact arithmetic."""
    height, width = values.shape
    peak = int(values.max())
    if peak <= 0:
        return (0, 0, width - 1, height - 1)
    left = {
        (y, x)
        for y in range(height)
        for x in range(width)
        if int(values[y, x]) * threshold.denominator > threshold.numerator * peak
    }
    best: list[tuple[int, int]] = []
    for start in sorted(left):
        if start not in left:
            continue
        left.remove(start)
        component = [start]
        for y, x in component:
            for neighbour in [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
                if neighbour in left:
                    left.remove(neighbour)
                    component.append(neighbour)
        if len(component) > len(best):
            best = component
    ys, xs = [y for y, _ in best], [x for _, x in best]
    return (min(xs), min(ys), max(xs), max(ys))


def test_pixels_are_those_of_the_component_without_its_holes():
    ring = drawn(
        "5555555........",
        "5.....5.55555..",
        "5.333.5.55555..",
        "5.333.5.55555..",
        "5.333.5.55555..",
        "5.....5.5555...",
        "5555555........",
    )
    # The ring has 24 pixels around 25 others, of which nine are a component; the block has 24,
    # and of equal ones the ring is met first.
    assert largest_component_box(ring, 0.5) == (0, 0, 6, 6)
    ring[5, 12] = 5
    assert largest_component_box(ring, 0.5) == (8, 1, 12, 5)
    # Two holes that touch at a corner are two holes: 23 pixels are left of 25, of the block 24.
    pair = drawn(
        "55555......",
        "5.555.55555",
        "55.55.55555",
        "55555.55555",
        "55555.55555",
        "......5555.",
    )
    assert largest_component_box(pair, 0.5) == (6, 1, 10, 5)
    pair[5, 6:8] = 0
    assert largest_component_box(pair, 0.5) == (0, 0, 4, 4)


@pytest.mark.parametrize("mirrored", list(product([1, -1], repeat=2)))
def test_a_hole_is_left_out_wherever_its_component_lies(mirrored):
    m = drawn(
        "5555........",
        "5..5........",
        "5..5.55555..",
        "5555.555555.",
        "............",
    )  # a ring of 12 pixels around four, and a block of 11
    rows, columns = mirrored
    ring = largest_component_box(m[::rows, ::columns].copy(), 0.5)
    assert ring == ((0, 8)[columns < 0], (0, 1)[rows < 0], (3, 11)[columns < 0], (3, 4)[rows < 0])
    m[2, 10] = m[1, 5] = 5  # now of 13
    block = largest_component_box(m[::rows, ::columns].copy(), 0.5)
    assert block == ((5, 1)[columns < 0], (1, 1)[rows < 0], (10, 6)[columns < 0], (3, 3)[rows < 0])


def labelled_box(mask_HW: np.ndarray) -> tuple[int, int, int, int]:
    """The same rule for what counts, by SciPy's labels."""
    labels_HW, _ = label(mask_HW, np.ones((3, 3)))
    counts = np.bincount(labels_HW[mask_HW])
    met = labels_HW[mask_HW]  # in reading order
    largest = met[counts[met] == counts.max()][0]
    ys, xs = np.nonzero(labels_HW == largest)
    return (xs.min(), ys.min(), xs.max(), ys.max())


def test_every_mask_of_three_rows_and_four_columns():
    bits = np.arange(12).reshape(3, 4)
    for number in range(1, 2**12):
        mask_HW = (number >> bits & 1) > 0
        assert largest_component_box(mask_HW.astype(np.float32), 0.5) == labelled_box(mask_HW)


@settings(deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(0, 30)] * 4), min_size=1, max_size=12),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_nested_and_noisy_components_are_those_that_scipy_labels(rectangles, noise, seed):
    mask_HW = np.zeros((32, 33), bool)
    for x0, y0, x1, y1 in rectangles:  # one within another makes a hole, a third an island
        mask_HW[min(y0, y1) : max(y0, y1) + 1, min(x0, x1) : max(x0, x1) + 1] ^= True
    mask_HW ^= np.random.default_rng(seed).random(mask_HW.shape) < noise**3
    if mask_HW.any():
        assert largest_component_box(mask_HW.astype(np.float32), 0.5) == labelled_box(mask_HW)


THRESHOLDS = st.sampled_from([Fraction(0), Fraction(1, 5), Fraction(1, 2), Fraction(9, 10)])
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(hnp.arrays(np.int16, SHAPES, elements=st.integers(-3, 10)), THRESHOLDS)
def test_box_is_that_of_an_independent_search(values, threshold):
    box = largest_component_box(values.astype(np.float32), float(threshold))
    assert box == reference_box(values, threshold)


@given(
    hnp.arrays(np.int16, SHAPES, elements=st.integers(-50, 50)),
    st.floats(0, 0.99),
    st.integers(-40, 40),
)
def test_scaling_a_map_leaves_its_box(values, threshold, exponent):
    m = values.astype(np.float32)
    scaled = m * np.float32(2.0**exponent)
    assert largest_component_box(scaled, threshold) == largest_component_box(m, threshold)


# --- maps with nothing to box --------------------------------------------------------------------

NOTHING = {
    "zeros": drawn("...", "..."),
    "negative": drawn("123", "456") - 7,
    "at most zero": drawn("123", "456") - 6,
    "nan": np.full((2, 3), np.nan, np.float32),
    "one nan": np.where(np.eye(2, 3, dtype=bool), np.float32(np.nan), np.float32(1)),
    "inf": np.where(np.eye(2, 3, dtype=bool), np.float32(np.inf), np.float32(1)),
    "-inf": np.full((2, 3), -np.inf, np.float32),
    "constant": np.full((2, 3), 0.3, np.float32),
}


@pytest.mark.parametrize("m", NOTHING.values(), ids=NOTHING.keys())
@pytest.mark.parametrize("rule", [ThresholdBox(), HeuristicBoxes()])
@pytest.mark.parametrize(("width", "height"), [(3, 2), (40, 30)])
def test_nothing_to_box_is_answered_by_the_whole_image(rule, m, width, height):
    guesses = rule(RankedMaps([4], m[None], width, height))
    assert set(guesses) == {(4, (0, 0, width - 1, height - 1))}


FLOATS = st.floats(width=32) | st.sampled_from([1e-45, 3e-45, 1e-38, 3.4e38])


@given(
    maps_Rhw=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 5)),
        elements=FLOATS.map(np.float32),
    ),
    threshold=st.floats(0, 1, exclude_max=True),
    width=st.integers(1, 12),
    height=st.integers(1, 12),
)
@example(np.full((1, 1, 1), 1.4e-45, np.float32), 0.6, 1, 1)
@example(np.ones((1, 2, 2), np.float32), 1 - 1e-12, 2, 2)
def test_any_map_gives_boxes_inside_the_image(maps_Rhw, threshold, width, height):
    maps = RankedMaps(list(range(len(maps_Rhw))), maps_Rhw, width, height)
    rules: list[BoxRule] = [ThresholdBox(threshold), HeuristicBoxes()]
    if threshold > 0:
        rules.append(HeuristicBoxes(loose=threshold / 2, tight=threshold))
    for rule in rules:
        for _, (x0, y0, x1, y1) in rule(maps):
            assert 0 <= x0 <= x1 < width
            assert 0 <= y0 <= y1 < height


@pytest.mark.parametrize("threshold", [1 - 1e-12, float(np.nextafter(1, 0))])
def test_just_under_the_maximum_its_pixel_is_left(threshold):
    assert largest_component_box(drawn("123", "494"), threshold) == (1, 1, 1, 1)


def test_the_smallest_number_is_still_something():
    m = np.zeros((2, 3), np.float32)
    m[1, 2] = 1.4e-45  # threshold x maximum rounds up to it
    assert largest_component_box(m, 0.6) == (2, 1, 2, 1)


# --- thresholds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-0.01, 1.0, 1.5, 20, float("nan")])
def test_a_threshold_is_a_share_under_one(value):
    with pytest.raises(UserError, match=rf"^threshold={value}: "):
        ThresholdBox(value)
    with pytest.raises(UserError, match=rf"^loose={value}: "):
        HeuristicBoxes(loose=value)
    with pytest.raises(UserError, match=rf"^tight={value}: "):
        HeuristicBoxes(tight=value)


def test_threshold_zero_keeps_what_is_positive():
    m = drawn(".....", ".129.", ".....") - drawn("3....", ".....", "....2")
    assert ThresholdBox(0)(at_size(m)) == [(0, (1, 1, 3, 1))]


@pytest.mark.parametrize(("loose", "tight"), [(0.3, 0.3), (0.5, 0.2)])
def test_loose_must_be_under_tight(loose, tight):
    with pytest.raises(
        UserError,
        match=rf"loose={loose}: must be under tight={tight}",
    ):
        HeuristicBoxes(loose=loose, tight=tight)


# --- the rules ------------------------------------------------------------------------------


def test_threshold_gives_one_box_a_class_and_no_more_than_five():
    columns = [np.zeros((3, 7), np.float32) for _ in range(7)]
    for rank, m in enumerate(columns):
        m[1, rank] = rank + 1
    maps = at_size(*columns, classes=[30, 31, 32, 33, 34, 35, 36])
    assert ThresholdBox()(maps) == [(30 + r, (r, 1, r, 1)) for r in range(5)]
    assert ThresholdBox()(maps.first(2)) == [(30, (0, 1, 0, 1)), (31, (1, 1, 1, 1))]
    assert ThresholdBox()(maps.only(6)) == [(36, (6, 1, 6, 1))]


def test_default_threshold_is_twenty_percent():
    m = np.array([[20, 21, 100, 19]], np.float32)
    assert ThresholdBox()(at_size(m)) == [(0, (1, 0, 2, 0))]


def test_the_map_is_resized_before_it_is_cut():
    # 2 -> 4 columns, pixel centres aligned: 0 1 3 4 in every row.
    maps = RankedMaps([7], np.array([[[0, 4], [0, 4]]], np.float32), 4, 3)
    assert maps.at_image_size(0).tolist() == [[0, 1, 3, 4]] * 3
    assert ThresholdBox(0.2)(maps) == [(7, (1, 0, 3, 2))]  # over 0.8
    assert ThresholdBox(0.25)(maps) == [(7, (2, 0, 3, 2))]  # over 1
    assert ThresholdBox(0.8)(maps) == [(7, (3, 0, 3, 2))]  # over 3.2


NESTED = drawn(
    ".......",
    ".33333.",
    ".3999..",
    ".3999..",
    ".......",
)


def test_heuristic_order_is_the_papers():
    flipped = NESTED[::-1].copy()  # y -> 4 - y
    flat = drawn(".......", ".......", ".......", ".......", "66.....")
    maps = at_size(NESTED, flipped, flat, NESTED, NESTED, classes=[8, 3, 5, 1, 0])
    assert HeuristicBoxes(0.2, 0.5)(maps) == [
        (8, (1, 1, 5, 3)),
        (8, (2, 2, 4, 3)),
        (3, (1, 1, 5, 3)),
        (3, (2, 1, 4, 2)),
        (5, (0, 4, 1, 4)),
    ]


def test_heuristic_defaults_are_20_percent_and_100_of_255():
    # Of 255: over 51 and over 100.
    m = np.array([[51, 52, 99, 101, 255]], np.float32)
    assert HeuristicBoxes()(at_size(m)) == [(0, (1, 0, 4, 0)), (0, (3, 0, 4, 0))]


def test_heuristic_with_fewer_than_three_classes():
    rule = HeuristicBoxes(0.2, 0.5)
    one = [(4, (1, 1, 5, 3)), (4, (2, 2, 4, 3))]
    assert rule(at_size(NESTED, classes=[4])) == one
    two = at_size(NESTED, NESTED, classes=[4, 2])
    assert rule(two) == one + [(2, box) for _, box in one]


# --- what the rules share -------------------------------------------------------------------


def test_resized_maps_are_shared():
    values = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    maps = RankedMaps([5, 6, 7], values, 6, 4)
    best = maps.first(2)
    assert best.classes == [5, 6]
    assert len(best) == 2
    resized = best.at_image_size(1)
    assert resized.shape == (4, 6)
    assert maps.at_image_size(1) is resized
    assert maps.only(1).at_image_size(0) is resized
    assert maps.at_image_size(0) is best.at_image_size(0)
    assert maps.at_image_size(0)[0, 0] == 0
    assert maps.only(2).classes == [7]
    # Not resized before: the third class's own map, not another's.
    third = maps.only(2).at_image_size(0)
    assert (third[0, 0], third[-1, -1]) == (8, 11)


def test_maps_may_be_views_of_other_arrays():
    values_hwR = np.random.default_rng(0).random((5, 6, 3), np.float32)
    strided = RankedMaps([0, 1, 2], values_hwR.transpose(2, 0, 1)[:, :, ::-1], 17, 11)
    plain = RankedMaps([0, 1, 2], np.ascontiguousarray(strided.maps_Rhw), 17, 11)
    assert ThresholdBox(0.6)(strided) == ThresholdBox(0.6)(plain)
    assert len({box for _, box in ThresholdBox(0.6)(plain)}) > 1


def test_maps_are_resized_as_the_view_says():
    values = np.array([[[0, 4]]], np.float32)
    linear = RankedMaps([7], values, 4, 1)
    np.testing.assert_allclose(linear.at_image_size(0), [[0, 1, 3, 4]])
    cubic = RankedMaps([7], values, 4, 1, None, "cubic")
    # Keys' kernel, a = -1/2, at distances 1/4, 3/4 and 5/4; what lies outside is left out.
    near, far, beyond = 0.8671875, 0.2265625, -0.0703125
    expected = [4 * beyond / (near + beyond), 4 * far / (near + far)]
    expected += [4 * near / (near + far), 4 * near / (near + beyond)]
    np.testing.assert_allclose(cubic.at_image_size(0), [expected], atol=1e-6)
    for part in (cubic.only(0), cubic.first(1)):
        np.testing.assert_allclose(part.at_image_size(0), [expected], atol=1e-6)


def test_parts_see_the_same_image():
    image = np.zeros((4, 6, 3), np.uint8)
    maps = RankedMaps([5, 6], np.zeros((2, 2, 2), np.float32), 6, 4, image)
    assert maps.first(1).image_HW3 is image
    assert maps.only(1).image_HW3 is image


def test_a_box_is_searched_once_for_all_rules(monkeypatch):
    searched = []

    def search(map_HW, threshold):
        searched.append((float(map_HW[0, 0]), threshold))
        return largest_component_box(map_HW, threshold)

    monkeypatch.setattr("cam_repro.boxes.threshold.largest_component_box", search)
    maps = at_size(*(np.full((1, 2), value, np.float32) for value in (1, 2, 3)))
    best, true_class = maps.first(2), maps.only(1)
    threshold, heuristic = ThresholdBox(0.2), HeuristicBoxes(0.2, 0.5)
    assert threshold(true_class) == [(1, (0, 0, 1, 0))]
    assert threshold(best) == [(0, (0, 0, 1, 0)), (1, (0, 0, 1, 0))]
    heuristic(best)
    assert searched == [(2, 0.2), (1, 0.2), (1, 0.5), (2, 0.5)]


def test_which_rules_need_what():
    assert not WholeImage.needs_maps
    assert not Center.needs_maps
    assert ThresholdBox.needs_maps
    assert HeuristicBoxes.needs_maps
    kinds = (WholeImage, Center, ThresholdBox, HeuristicBoxes)
    assert not any(kind.needs_image for kind in kinds)


# --- the centred box -----------------------------------------------------------------------------


def centred_box(width, height, scale):
    ((_, box),) = Center(scale)(RankedMaps([0], np.zeros((1, 1, 1), np.float32), width, height))
    return box


@pytest.mark.parametrize(
    ("width", "height", "scale", "box"),
    [
        (101, 101, 0.1, (45, 45, 55, 55)),
        (100, 50, 1, (0, 0, 99, 49)),
        # Of 99: 24.75 to 74.25; of 49: 12.25 to 36.75. The first pixel to the nearest, the last up.
        (100, 50, 0.5, (25, 12, 75, 37)),
        (101, 51, 0.5, (25, 12, 75, 38)),  # of 50: 12.5, to the even, to 37.5
        (500, 375, 0.75, (62, 47, 437, 328)),
        (2, 1, 0.05, (0, 0, 1, 0)),
        (1, 1, 0.75, (0, 0, 0, 0)),
    ],
)
def test_literal_centred_boxes(width, height, scale, box):
    assert centred_box(width, height, scale) == box


@given(st.integers(1, 700), st.integers(1, 700), st.floats(1e-6, 1))
def test_centred_boxes_are_in_the_middle_and_as_large_as_asked(width, height, scale):
    x0, y0, x1, y1 = centred_box(width, height, scale)
    for first, last, length in ((x0, x1, width), (y0, y1, height)):
        assert 0 <= first <= last < length
        assert abs(first - (length - 1 - last)) <= 1.5
        assert abs((last - first) - scale * (length - 1)) <= 1.5 + 1e-9


def test_center_guesses_one_box_for_the_five_best():
    maps = RankedMaps([4, 2, 9, 0, 7, 5], np.full((6, 2, 2), np.nan, np.float32), 100, 50)
    assert Center(0.5)(maps) == [(c, (25, 12, 75, 37)) for c in (4, 2, 9, 0, 7)]
    assert Center().scale == 0.75


@pytest.mark.parametrize("scale", [0, -0.5, 1.01, 75, float("nan"), "half"])
def test_a_scale_is_a_share_of_the_sides(scale):
    with pytest.raises(UserError, match=rf"^scale={scale}: must be a share"):
        Center(scale)


def test_whole_image_guesses_it_for_the_five_best_whatever_the_maps_say():
    maps = RankedMaps([4, 2, 9, 0, 7, 5], np.full((6, 2, 2), np.nan, np.float32), 12, 5)
    assert WholeImage()(maps) == [(c, (0, 0, 11, 4)) for c in (4, 2, 9, 0, 7)]
