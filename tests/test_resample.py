"""Resizing maps: against OpenCV, Keys' kernel worked out by hand, and what must always hold."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cam_repro.errors import UserError
from cam_repro.resample import INTERPOLATIONS, check_interpolation, enlarge, resize

SIDES = st.integers(1, 9)
SEEDS = st.integers(0, 2**32 - 1)


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# --- linear --------------------------------------------------------------------------------------


def test_linear_literally():
    # 2 -> 4: the centres of the four lie at -1/4, 1/4, 3/4, 5/4 among those of the two.
    assert resize(np.array([[0.0, 8.0]]), 4, 1, "linear").tolist() == [[0, 2, 6, 8]]
    assert enlarge(np.array([[0.0, 8.0]]), 4, "linear").tolist() == [[0, 2, 6, 8]] * 4


@settings(max_examples=60, deadline=None)
@given(SEEDS, SIDES, SIDES, st.integers(0, 40))
def test_linear_is_opencvs_when_it_enlarges(seed, h, w, more):
    map_hw, size = noise(seed, h, w), max(h, w) + more
    wanted = cv2.resize(map_hw, (size, size), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(enlarge(map_hw, size, "linear"), wanted, atol=1e-5)
    np.testing.assert_array_equal(resize(map_hw, size, size, "linear"), wanted)


def test_linear_does_not_smooth_when_it_shrinks():
    # 4 -> 2: the two lie at 1/2 and 5/2 among 0, 1, 2, 3, half way between their neighbours.
    assert resize(np.array([[8.0, 0.0, 0.0, 4.0]]), 2, 1, "linear").tolist() == [[4, 2]]


# --- cubic ---------------------------------------------------------------------------------------


def test_cubic_literally():
    """Keys' kernel with a = -1/2: 1.5 x^3 - 2.5 x^2 + 1 up to 1, -0.5 x^3 + 2.5 x^2 - 4 x + 2 to 2.

    At 1/4, 3/4, 5/4, 7/4 it is 111/128, 29/128, -9/128, -3/128:
        1.5/64 - 2.5/16 + 1             = (3 - 20 + 128)/128 = 111/128
        1.5 27/64 - 2.5 9/16 + 1        = (81 - 180 + 128)/128 = 29/128
        -0.5 125/64 + 2.5 25/16 - 5 + 2 = (-125 + 500 - 384)/128 = -9/128
        -0.5 343/64 + 2.5 49/16 - 7 + 2 = (-343 + 980 - 640)/128 = -3/128

    2 -> 4: the centres of the four lie at -1/4, 1/4, 3/4, 5/4 among those of the two, 0 and 1.
    The first is 1/4 and 5/4 away from them: weights 111 and -9, which without what falls outside
    sum to 102. The second, 1/4 and 3/4 away: 111 and 29 of 140. The others mirror these.
    """
    expected = [-9 / 102, 29 / 140, 111 / 140, 111 / 102]
    assert resize(np.array([[0.0, 1.0]]), 4, 1, "cubic")[0] == pytest.approx(expected, abs=1e-6)
    assert resize(np.array([[0.0], [1.0]]), 1, 4, "cubic")[:, 0] == pytest.approx(
        expected, abs=1e-6
    )
    # Rows, then columns: the product of both.
    frame = enlarge(np.array([[0.0, 0.0], [0.0, 1.0]]), 4, "cubic")
    np.testing.assert_allclose(frame, np.outer(expected, expected), atol=1e-6)
    np.testing.assert_allclose(
        resize(np.array([[0.0, 0.0], [0.0, 1.0]]), 4, 4, "cubic"), frame, atol=1e-6
    )


def test_cubic_in_the_middle_of_a_map_has_all_four_weights():
    # 4 -> 8: the fifth lies at 7/4, which is 7/4, 3/4, 1/4 and 5/4 away from 0, 1, 2, 3.
    for place, weight in enumerate((-3, 29, 111, -9)):
        one = np.zeros((1, 4))
        one[0, place] = 128
        assert resize(one, 8, 1, "cubic")[0, 4] == pytest.approx(weight, abs=1e-4)


def test_cubic_smooths_when_it_shrinks_as_imresize_does():
    # 4 -> 2: the kernel is stretched to twice its width. The first of the two lies at 1/2 among
    # 0, 1, 2, 3, so 1/4, 1/4, 3/4, 5/4 away in the new unit: 111, 111, 29, -9, of 242.
    for place, weight in enumerate((111, 111, 29, -9)):
        one = np.zeros((1, 4))
        one[0, place] = 242
        assert resize(one, 2, 1, "cubic")[0, 0] == pytest.approx(weight, abs=1e-4)


# --- both ----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(SEEDS, SIDES, SIDES, st.integers(0, 30), st.integers(1, 3), st.sampled_from(INTERPOLATIONS))
def test_enlarging_many_maps_is_resizing_each(seed, h, w, more, count, interpolation):
    maps_2Rhw, size = noise(seed, 2, count, h, w), max(h, w) + more
    before = maps_2Rhw.copy()
    found = enlarge(maps_2Rhw, size, interpolation)
    assert found.shape == (2, count, size, size)
    assert found.dtype == np.float32
    for i in range(2):
        for j in range(count):
            wanted = resize(maps_2Rhw[i, j], size, size, interpolation)
            np.testing.assert_allclose(found[i, j], wanted, atol=2e-5)
    np.testing.assert_array_equal(maps_2Rhw, before)


@settings(max_examples=60, deadline=None)
@given(st.floats(-100, 100, width=32), SIDES, SIDES, SIDES, SIDES, st.sampled_from(INTERPOLATIONS))
def test_weights_sum_to_one(value, h, w, height, width, interpolation):
    constant = np.full((h, w), value, np.float32)
    found = resize(constant, width, height, interpolation)
    assert found.shape == (height, width)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-5)
    size = max(h, w, height)
    np.testing.assert_allclose(enlarge(constant, size, interpolation), value, rtol=1e-5, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(SEEDS, SIDES, SIDES, SIDES, st.sampled_from(INTERPOLATIONS))
def test_a_mirrored_map_gives_the_mirrored_result(seed, h, w, more, interpolation):
    """The authors' crops come mirrored, too, and neither side must be favoured."""
    map_hw, size = noise(seed, h, w), max(h, w) + more
    for flipped in (np.s_[:, ::-1], np.s_[::-1]):
        for mine, theirs in (
            (enlarge(map_hw[flipped], size, interpolation), enlarge(map_hw, size, interpolation)),
            (
                resize(map_hw[flipped], size, size + 1, interpolation),
                resize(map_hw, size, size + 1, interpolation),
            ),
        ):
            np.testing.assert_allclose(mine, theirs[flipped], atol=2e-5)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_map_of_the_right_size_stays_as_it_is(interpolation):
    map_hw = noise(0, 7, 7)
    np.testing.assert_array_equal(resize(map_hw, 7, 7, interpolation), map_hw)
    np.testing.assert_allclose(enlarge(map_hw, 7, interpolation), map_hw, atol=1e-6)


def test_width_comes_before_height():
    assert resize(np.zeros((2, 3)), 5, 4, "linear").shape == (4, 5)
    assert resize(np.zeros((2, 3)), 5, 4, "cubic").shape == (4, 5)


def test_another_interpolation_is_refused_by_name():
    assert [check_interpolation("key", name) for name in INTERPOLATIONS] == ["linear", "cubic"]
    with pytest.raises(
        UserError, match=r"^view.interpolation=nearest: choose one of linear, cubic$"
    ):
        check_interpolation("view.interpolation", "nearest")
