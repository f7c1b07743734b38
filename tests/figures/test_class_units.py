"""The figure of class-specific units: what is cut out of an image, and what stands where."""

import numpy as np
import pytest

from cam_repro.figures.class_units import MAX_SIDE, ShownClass, ShownUnit, cut_out, draw_units


def picture(width, height):
    """Pixels whose red is x and whose green is y."""
    y_HW, x_HW = np.mgrid[:height, :width]
    return np.stack([x_HW, y_HW, 0 * x_HW], axis=2).astype(np.uint8)


def region(width, height, x0, y0, x1, y1):
    mask_HW = np.zeros((height, width), bool)
    mask_HW[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask_HW, (x0, y0, x1, y1)


def test_a_square_around_the_region_with_a_margin_darker_outside():
    """The region is 8 pixels wide, so 4 = 2 x 25 % more are shown: from 38 to 49, 16 to 27."""
    mask_HW, box = region(200, 100, 40, 20, 47, 23)
    cut = cut_out(picture(200, 100), mask_HW, box)
    assert cut.shape == (12, 12, 3)
    assert cut[4, 2].tolist() == [40, 20, 0]
    assert cut[7, 9].tolist() == [47, 23, 0]
    assert cut[0, 0].tolist() == [round(0.35 * 38), round(0.35 * 16), 0]
    assert cut[4, 1].tolist() == [round(0.35 * 39), round(0.35 * 20), 0]


def test_the_cut_lies_within_the_image():
    at_the_corner = cut_out(picture(200, 100), *region(200, 100, 190, 95, 199, 99))
    assert at_the_corner.shape == (15, 15, 3)
    assert at_the_corner[-1, -1].tolist() == [199, 99, 0]
    of_the_whole = cut_out(picture(200, 100), *region(200, 100, 0, 0, 199, 99))
    np.testing.assert_array_equal(of_the_whole, picture(200, 100))


def test_a_large_cut_is_shrunk():
    cut = cut_out(picture(900, 600), *region(900, 600, 0, 0, 899, 599))
    assert cut.shape == (round(MAX_SIDE * 600 / 900), MAX_SIDE, 3)


def test_classes_units_and_weights_stand_in_their_order():
    patches = [np.full((4, 4, 3), value, np.uint8) for value in (10, 20)]
    classes = [
        ShownClass("crane", [ShownUnit(7, 0.5, patches), ShownUnit(3, 0.25, patches[:1])]),
        ShownClass("crane", [ShownUnit(9, 0.125, [])]),  # ILSVRC has two classes of this name
    ]
    figure = draw_units(classes, "Net: units", ["of 5 images"])
    assert [text.get_text() for text in figure.texts] == [
        *("Net: units", "crane", "crane", "of 5 images")
    ]
    # Before the patches of each unit stand its number and weight.
    said = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    first, second = ["7", "0.5"], ["3", "0.25"]
    assert said == [first, [], [], second, [], ["9", "0.125"], ["nowhere active"]]
    assert figure.axes[2].images[0].get_array()[0, 0].tolist() == [20, 20, 20]


@pytest.mark.parametrize(
    ("n_classes", "cell", "columns"),
    [(1, 0.74, 1), (3, 0.74, 1), (4, 0.59, 1), (6, 0.33, 2), (12, 0.33, 2)],
)
def test_it_fits_on_a_page_and_its_pictures_are_as_large_as_can_be(n_classes, cell, columns):
    unit = ShownUnit(7, 0.5, [np.zeros((4, 4, 3), np.uint8)] * 8)
    figure = draw_units([ShownClass("a", [unit] * 3)] * n_classes, "T", ["a note of a line"] * 3)
    width, height = figure.get_size_inches()
    assert width <= 7.5 + 1e-9
    assert height <= 10
    assert figure.axes[1].get_position().width * width == pytest.approx(cell)
    left = {round(text.get_position()[0], 4) for text in figure.texts if text.get_text() == "a"}
    assert len(left) == columns
