"""Views: which pixels a crop shows, and where the values of its map come to lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cam_repro.data.views import Center, Squash, Ten, build_view, squash
from cam_repro.errors import UserError
from cam_repro.resample import INTERPOLATIONS, resize


def coordinate_image(size: int) -> Image.Image:
    """Red is the row, green the column: squashing it to its own size changes nothing."""
    y, x = np.mgrid[:size, :size]
    return Image.fromarray(np.stack([y, x, 0 * x], -1).astype(np.uint8))


def maps(*values) -> np.ndarray:
    """float32 (V, 1, h, w): one class."""
    return np.array(values, np.float32)[:, None]


# --- squash --------------------------------------------------------------------------------------


def test_squash_does_not_keep_the_aspect_ratio_and_antialiases():
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[:, 2:] = 200
    # Columns 4 -> 2: a triangle of radius 2 around 1.0 weighs the columns 3/4, 3/4, 1/4, 0, so
    # the left value is 200 x (1/4) / (7/4) = 28.6; the rows stay.
    expected = np.array([[29, 171], [29, 171]])
    result = squash(Image.fromarray(pixels), 2)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, np.repeat(expected[:, :, None], 3, 2))


@pytest.mark.parametrize("view", ["Squash", "Center", "Ten"])
def test_an_image_is_squashed_as_the_network_needs_it(view):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (9, 7, 3), np.uint8))
    settings = {"_target_": f"cam_repro.data.views.{view}", "name": view.lower()}
    sizes = {"input_size": 4, "resize_size": 4}
    for name, resampling in (
        ("bilinear", Image.Resampling.BILINEAR),
        ("bicubic", Image.Resampling.BICUBIC),
    ):
        crops = build_view(settings, {**sizes, "interpolation": name}).crops(image)
        np.testing.assert_array_equal(crops[0], np.asarray(image.resize((4, 4), resampling)))
    older = build_view(settings, sizes)  # older checkpoints do not say
    assert older.resampling == Image.Resampling.BILINEAR
    with pytest.raises(UserError, match=r"model.interpolation=nearest: choose one of bilinear"):
        build_view(settings, {**sizes, "interpolation": "nearest"})


def test_squash_view_is_the_identity_at_the_images_own_size():
    view, image = Squash(5, 7), coordinate_image(5)
    np.testing.assert_array_equal(view.crops(image), np.asarray(image)[None])
    assert view.n_crops == 1
    assert view.covered == 1


def test_squash_merge_is_the_map_itself():
    frames = Squash(8, 9).merge(maps([[1.5, -2.0], [0.0, 4.0]]))
    assert frames.tolist() == [[[1.5, -2.0], [0.0, 4.0]]]


# --- centre --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("resize", "first"), [(4, 0), (7, 1), (8, 2)])
def test_center_crop_shows_the_middle(resize, first):
    (crop,) = Center(4, resize).crops(coordinate_image(resize))
    y, x = np.mgrid[first : first + 4, first : first + 4]
    np.testing.assert_array_equal(crop[..., 0], y)
    np.testing.assert_array_equal(crop[..., 1], x)


def test_center_merge_is_zero_where_nothing_was_seen():
    # Bilinear with aligned pixel centres, 2 -> 4: the centres lie at -1/4, 1/4, 3/4, 5/4.
    view = Center(4, 7)
    frames = view.merge(np.array([[[[0, 4], [0, 4]], [[-8, -8], [-8, -8]]]], np.float32))
    row = [0, 0, 1, 3, 4, 0, 0]
    blank = [0] * 7
    assert frames[0].tolist() == [blank, row, row, row, row, blank, blank]
    row = [0, -8, -8, -8, -8, 0, 0]
    assert frames[1].tolist() == [blank, row, row, row, row, blank, blank]
    assert frames.dtype == np.float32


def test_share_of_the_image_that_is_covered():
    assert Center(6, 8).covered == 0.5625
    assert Center(8, 8).covered == 1
    assert Ten(4, 8).covered == 1
    # Four corners of 2 x 2 and the centre, of 6 x 6 pixels: 20 of 36.
    assert Ten(2, 6).covered == pytest.approx(20 / 36)


# --- ten crops -----------------------------------------------------------------------------------


def test_ten_crops_are_corners_centre_and_their_mirrors():
    crops = Ten(4, 7).crops(coordinate_image(7))
    assert crops.shape == (10, 4, 4, 3)
    corners = [(0, 0), (0, 3), (3, 0), (3, 3), (1, 1)]
    for v, (y, x) in enumerate(corners):
        rows, columns = np.mgrid[y : y + 4, x : x + 4]
        np.testing.assert_array_equal(crops[v, ..., 0], rows)
        np.testing.assert_array_equal(crops[v, ..., 1], columns)
        np.testing.assert_array_equal(crops[v + 5, ..., 0], rows)
        np.testing.assert_array_equal(crops[v + 5, ..., 1], columns[:, ::-1])


def test_ten_merge_of_constant_maps_is_the_coverage():
    # 3 x 3 and crops of 2: the centre crop starts at (0, 0), so that the five cover
    # 2 3 1 / 3 5 2 / 1 2 1 times, and their mirrors as often again.
    ones = np.ones((10, 1, 1, 1), np.float32)
    expected = [[0.4, 0.6, 0.2], [0.6, 1.0, 0.4], [0.2, 0.4, 0.2]]
    np.testing.assert_allclose(Ten(2, 3).merge(ones)[0], expected, rtol=1e-6)
    # 4 x 4: the corners cover all once and the centre crop the middle once more.
    expected = [[0.5] * 4, [0.5, 1, 1, 0.5], [0.5, 1, 1, 0.5], [0.5] * 4]
    np.testing.assert_allclose(Ten(2, 4).merge(7 * ones)[0], expected, rtol=1e-6)


def test_ten_merge_divided_by_coverage_is_flat_for_constant_maps():
    ones = np.ones((10, 1, 1, 1), np.float32)
    np.testing.assert_allclose(Ten(2, 3, divide_by_coverage=True).merge(3 * ones), 1, rtol=1e-6)
    # What no crop sees stays 0.
    frame = Ten(1, 3, divide_by_coverage=True).merge(ones)[0]
    assert frame.tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]


def test_ten_merge_puts_each_crop_in_its_place_flips_mirrors_and_takes_absolute_values():
    corner = [[1, 0], [0, 0]]
    nothing = [[0, 0], [0, 0]]
    values = [nothing] * 10
    values[1] = [[0, 0], [0, 8]]  # top right, (1, 1) of it: frame (1, 3)
    values[4] = [[-4, 0], [0, 0]]  # centre, starts at (1, 1)
    values[5] = corner  # mirror of the top left: frame (0, 1)
    values[8] = [[2, 0], [0, 0]]  # mirror of the bottom right, starts at (2, 2): frame (2, 3)
    expected = np.zeros((4, 4))
    expected[1, 3], expected[1, 1], expected[0, 1], expected[2, 3] = 1, 0.5, 0.125, 0.25
    np.testing.assert_array_equal(Ten(2, 4).merge(maps(*values))[0], expected)


def test_ten_merge_adds_absolute_values_not_the_absolute_sum():
    values = np.zeros((10, 1, 2, 2), np.float32)
    values[0, 0, 1, 1] = 3  # frame (1, 1) of 4 x 4
    values[4, 0, 0, 0] = -3  # the same place, from the centre crop
    values[3, 0, 1, 1] = 12  # frame (3, 3)
    frame = Ten(2, 4).merge(values)[0]
    assert frame[1, 1] == 0.5
    assert frame[3, 3] == 1


def test_ten_merge_scales_each_class_by_its_own_maximum_and_leaves_zeros():
    values = np.zeros((10, 3, 2, 2), np.float32)
    values[0, 0, 0, 0] = 5
    values[0, 2, 0, 1] = 1e-3
    frames = Ten(2, 4).merge(values)
    expected = np.zeros((3, 4, 4))
    expected[0, 0, 0] = expected[2, 0, 1] = 1
    np.testing.assert_array_equal(frames, expected)


# Of 0 and 1 enlarged to four values; worked out in tests/test_resample.py.
CUBIC = [-9 / 102, 29 / 140, 111 / 140, 111 / 102]
LINEAR = [0, 1 / 4, 3 / 4, 1]


@pytest.mark.parametrize(
    ("words", "row"), [({}, CUBIC), ({"interpolation": "linear"}, LINEAR)], ids=["cubic", "linear"]
)
@pytest.mark.parametrize(("crop", "mirrored"), [(1, False), (6, True)])
def test_ten_merge_upsamples_as_the_authors_do_unless_told_otherwise(words, row, crop, mirrored):
    """Cubic is the default. It reaches below 0, where absolute values are taken."""
    view = Ten(4, 6, **words)
    values = np.zeros((10, 1, 2, 2), np.float32)
    values[crop, 0, :, 1] = 1  # the top right corner, or its mirror: frame x 2 to 5, y 0 to 3
    wanted = np.abs(row[::-1] if mirrored else row) / max(row)
    frame = view.merge(values)[0]
    np.testing.assert_allclose(frame[:4, 2:], [wanted] * 4, atol=1e-6)
    assert not frame[4:].any()
    assert not frame[:, :2].any()


def test_interpolation_of_each_view():
    assert Ten(4, 6).interpolation == "cubic"
    assert Ten(4, 6, interpolation="linear").interpolation == "linear"
    assert Squash(4, 6).interpolation == Center(4, 6).interpolation == "linear"
    with pytest.raises(
        UserError, match=r"^view.interpolation=nearest: choose one of linear, cubic"
    ):
        Ten(4, 6, interpolation="nearest")


def test_ten_merge_leaves_the_maps_as_they_were():
    values = np.full((10, 1, 4, 4), -2, np.float32)
    Ten(4, 6).merge(values)
    assert (values == -2).all()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 6), st.integers(0, 5), st.integers(0, 2**32 - 1), st.booleans(), st.booleans()
)
def test_ten_merge_of_the_crops_own_values_is_the_image(size, more, seed, divide, signed):
    resize = size + more
    view = Ten(size, resize, divide_by_coverage=divide)
    values = np.random.default_rng(seed).integers(1, 256, (resize, resize)).astype(np.uint8)
    crops = view.crops(Image.fromarray(np.repeat(values[:, :, None], 3, 2)))
    frame = values.astype(np.float64)
    grey = crops[:, None, :, :, 0].astype(np.float32)
    if signed:
        frame, grey = abs(frame - 128), grey - 128

    # How often a pixel is seen, counted from what the crops show of a coordinate image.
    seen = np.zeros((resize, resize))
    shown = view.crops(coordinate_image(resize)).reshape(-1, 3)
    np.add.at(seen, (shown[:, 0], shown[:, 1]), 1)
    expected = frame * ((seen > 0) if divide else seen)
    if expected.max() > 0:
        expected = expected / expected.max()
    np.testing.assert_allclose(view.merge(grey)[0], expected, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(0, 5),
    st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)),
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.sampled_from(INTERPOLATIONS),
)
def test_ten_merge_is_a_sum_over_the_crops(size, more, shape, seed, divide, interpolation):
    size = max(size, *shape[1:])  # a crop is at least as large as its map
    view = Ten(size, size + more, divide, interpolation)
    maps_VRhw = np.random.default_rng(seed).normal(size=(10, *shape)).astype(np.float32)
    for r, frame_HW in enumerate(view.merge(maps_VRhw)):
        summed_HW = np.zeros((size + more, size + more))
        seen_HW = np.zeros_like(summed_HW)
        for v, map_hw in enumerate(maps_VRhw[:, r]):
            y, x = view.corners_yx[v % 5]
            crop_HW = abs(resize(map_hw, size, size, interpolation))
            summed_HW[y : y + size, x : x + size] += crop_HW if v < 5 else crop_HW[:, ::-1]
            seen_HW[y : y + size, x : x + size] += 1
        if divide:
            summed_HW = summed_HW / np.maximum(seen_HW, 1)
        np.testing.assert_allclose(frame_HW, summed_HW / summed_HW.max(), atol=1e-5)
