"""Pictures of one's own photographs: one map over the whole image, and a sheet of many."""

import dataclasses
import io

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from cam_repro.api import Explanation
from cam_repro.figures import explained as figures_explained
from cam_repro.figures import style
from cam_repro.figures.explained import draw_beside, draw_overlay, draw_sheet, png_of
from cam_repro.figures.pictures import overlay


def explained(width=600, height=400, classes=2, box=(0, 0, 199, 199), network="Net"):
    """A grey image; the map of each class is 1 in its upper left part, 0 elsewhere."""
    maps = np.zeros((classes, 4, 6), np.float32)
    maps[:, :2, :2] = 1
    return Explanation(
        image=Image.new("RGB", (width, height), (128, 128, 128)),
        classes=list(range(classes)),
        names=[f"kind {index}" for index in range(classes)],
        scores=[0.75, *[0.25 / max(1, classes - 1)] * (classes - 1)],
        maps=maps,
        boxes={"threshold": [(index, box) for index in range(classes)]},
        network=network,
        saliency="cam",
        interpolation="linear",
    )


def pixels_of(figure):
    with Image.open(io.BytesIO(png_of(figure))) as picture:
        return np.asarray(picture.convert("RGB"))


def svg_of(figure):
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg")
    return buffer.getvalue().decode()


def test_an_overlay_has_the_images_size_and_the_colours_of_the_map():
    one = explained()
    pixels = pixels_of(draw_overlay(one))
    assert pixels.shape == (400, 600, 3)
    expected = overlay(np.asarray(one.image), one.map(0), style.MAP_COLOURS)
    np.testing.assert_array_equal(pixels[100, 100], expected[100, 100])  # the map is 1 here
    np.testing.assert_array_equal(pixels[350, 550], expected[350, 550])  # and 0 here
    assert not np.array_equal(pixels[100, 100], pixels[350, 550])


def test_a_small_image_is_enlarged_and_keeps_its_shape():
    assert pixels_of(draw_overlay(explained(60, 40))).shape == (320, 480, 3)


def test_a_large_photograph_is_shrunk_with_its_map_and_box(monkeypatch):
    monkeypatch.setattr(figures_explained, "LARGEST", 300)
    monkeypatch.setattr(figures_explained, "SMALLEST", 200)
    large, small = explained(), explained(300, 200, box=(0, 0, 99, 99))
    np.testing.assert_array_equal(pixels_of(draw_overlay(large)), pixels_of(draw_overlay(small)))


@pytest.mark.parametrize(
    ("size", "drawn"),
    [((4000, 1), (3000, 1)), ((1, 30000), (1, 3000)), ((40000, 10), (3000, 1))],
)
def test_a_thin_photograph_keeps_a_pixel(size, drawn):
    thin = explained(*size, box=(0, 0, 0, 0))
    assert pixels_of(draw_overlay(thin)).shape[1::-1] == drawn
    assert f"{size[0]} x {size[1]} pixels" in svg_of(draw_sheet([thin]))


def test_an_overlay_names_class_and_probability():
    assert "kind 1 25%" in svg_of(draw_overlay(explained(), rank=1))


def test_the_box_is_drawn_where_it_is():
    red = np.array([int(style.GUESSED[i : i + 2], 16) for i in (1, 3, 5)])
    pixels = pixels_of(draw_overlay(explained())).astype(int)
    near = np.abs(pixels - red).sum(2) < 60
    rows, columns = np.nonzero(near)
    assert abs(rows.max() - 199) <= 3
    assert abs(columns.max() - 199) <= 3


@pytest.mark.parametrize(
    ("box", "legend", "other"),
    [
        ((0, 0, 199, 199), "box of the class", "the whole image"),
        ((0, 0, 599, 399), "the whole image", "box of the class"),
    ],
)
def test_the_legend_explains_the_lines_that_are_there(box, legend, other):
    svg = svg_of(draw_sheet([explained(box=box)]))
    assert legend in svg
    assert other not in svg


def test_a_sheet_has_a_row_for_each_network_and_breaks_long_ones():
    both = [explained(network="One"), explained(classes=8, network="Two")]  # of other classes
    svg = svg_of(draw_sheet(both))
    for word in ("One, cam", "Two, cam", "kind 7", "600 x 400 pixels", "0.750"):
        assert word in svg
    # One row for the first; two for the second, with five maps in each beside the picture.
    width, height = draw_sheet([explained(network="One")]).get_size_inches()
    wide, high = draw_sheet([explained(classes=8)]).get_size_inches()
    assert wide == pytest.approx(width * 2, rel=0.05)
    assert high > 1.6 * height


def test_methods_with_the_same_classes_stand_side_by_side():
    methods = [
        dataclasses.replace(explained(), saliency=name) for name in ("cam", "guided_gradcam")
    ]
    figure = draw_sheet(methods)
    svg = svg_of(figure)
    for word in ("Net", ">cam<", "guided gradcam", "kind 0", "kind 1"):
        assert word in svg
    assert svg.count("0.750") == 1, "a network has one probability of a class"
    pictures = [axes for axes in figure.axes if axes.images and axes.get_position().height > 0.1]
    assert len(pictures) == 2 * 3
    tops = sorted({round(axes.get_position().y1, 3) for axes in pictures})
    assert len(tops) == 2, "a row for each class"


def test_networks_with_the_same_classes_say_each_its_probability():
    other = dataclasses.replace(explained(network="Other"), scores=[0.5, 0.125])
    svg = svg_of(draw_sheet([explained(), other]))
    assert svg.count("0.750") == 2
    for word in (">cam<", "Net", "Other", "0.500", "0.125"):
        assert word in svg


def test_without_a_box_rule_there_is_no_box():
    one = explained()
    one.boxes = {}
    assert one.box(0) is None
    assert "box of the class" not in svg_of(draw_sheet([one]))


def test_images_beside_the_maps_of_their_first_class():
    """Three in a row; each of its own size, with its own caption."""
    images = [explained(), explained(100, 300), explained(), explained(50, 50, box=(0, 0, 49, 49))]
    figure = draw_beside(images, ["a", "b", "c", "d"], "Net: a concept", ["best first"])
    shown = [axes.images[0].get_array().shape[:2] for axes in figure.axes[:8]]
    assert shown[2] == shown[3] == (300, 100)
    expected = overlay(np.asarray(images[3].image), images[3].map(0), style.MAP_COLOURS)
    np.testing.assert_array_equal(figure.axes[7].images[0].get_array(), expected)
    texts = {text.get_text(): text.get_position()[1] for text in figure.texts}
    assert list(texts)[:5] == ["Net: a concept", "a", "b", "c", "d"]
    assert texts["a"] == texts["b"] == texts["c"] > texts["d"] > texts["best first"]
    assert "dots: (almost) the whole image" in texts
