import numpy as np
import pytest
from PIL import Image, ImageColor
from run_builder import PICTURE, prediction, write_example_run

from cam_repro.errors import UserError
from cam_repro.figures import style
from cam_repro.figures.base import Wanted
from cam_repro.figures.contact_sheet import ContactSheet, write_sheet
from cam_repro.figures.shown import read_run
from cam_repro.types import NO_LABEL

GREEN, RED = ImageColor.getrgb(style.TRUE), ImageColor.getrgb(style.GUESSED)


def draw(folder, *predictions, **more):
    """The sheet's pixels, (H, W, 3)."""
    write_example_run(folder, predictions)
    figure = ContactSheet().draw(Wanted(names="run", folders=[folder], **more))
    style.save(figure, folder / "sheet.png")
    return np.asarray(Image.open(folder / "sheet.png").convert("RGB")).astype(int)


def near(pixels, colour, tolerance=12):
    return abs(pixels - np.array(colour)).max(-1) <= tolerance


def extent(mask):
    """Of the pixels of a mask: first and last column, first and last row."""
    y, x = np.nonzero(mask)
    return x.min(), x.max(), y.min(), y.max()


def first_picture(pixels):
    """The first picture, which alone is of its blue, and its pixels a pixel of the original."""
    left, right, top, bottom = extent(near(pixels, PICTURE, 3))
    return pixels[top : bottom + 1, left : right + 1], (right - left + 1) / 60


def test_cells_are_equal_whatever_the_images_are(tmp_path):
    sizes = [(60, 40), (40, 60), (200, 20), (60, 60)]
    every = [
        prediction(str(i), size=size, box=(0, 0, 9, 9), truth=[]) for i, size in enumerate(sizes)
    ]
    one_row, two_rows = (draw(tmp_path, *every[:count]).shape for count in (3, 4))
    # Cells of 1.32 x 1 inches, 0.08 apart, two for each image; 200 pixels an inch.
    assert one_row[1] == two_rows[1] == pytest.approx(200 * (0.2 + 6 * 1.4 - 0.08), abs=1)
    # A row more: three lines of text, the picture, the gap.
    assert two_rows[0] - one_row[0] == pytest.approx(200 * (3 * 0.135 + 1.08), abs=2)


def test_true_boxes_are_green_and_the_guess_red_where_they_belong(tmp_path):
    # Guess in the right half of the image, truth in the left.
    one = prediction(box=(35, 5, 54, 34), truth=[(5, 5, 24, 34)])
    picture, scale = first_picture(draw(tmp_path, one))
    for colour, box in ((GREEN, (5, 5, 24, 34)), (RED, (35, 5, 54, 34))):
        x0, x1, y0, y1 = extent(near(picture, colour))
        found = np.array([x0, y0, x1 + 1, y1 + 1]) / scale
        # The line is drawn along the edges of the box's pixels, some pixels wide.
        assert found == pytest.approx([box[0], box[1], box[2] + 1, box[3] + 1], abs=1.0)
    # The true box is a line, the guess is dashes.
    green, red = (near(picture, colour).sum() for colour in (GREEN, RED))
    assert 0.4 < red / green < 0.85


def test_a_box_of_the_whole_image_is_set_in(tmp_path):
    one = prediction(box=(0, 0, 59, 39), truth=[(0, 0, 59, 39)])
    picture, scale = first_picture(draw(tmp_path, one))
    for colour, inset in ((GREEN, 0.03 * 40), (RED, 0.06 * 40)):
        x0, x1, y0, y1 = extent(near(picture, colour))
        found = np.array([x0, y0, x1 + 1, y1 + 1]) / scale
        assert found == pytest.approx([inset, inset, 60 - inset, 40 - inset], abs=0.7)
    # One that leaves out more than 1 % at an edge is drawn where it is.
    picture, scale = first_picture(draw(tmp_path / "b", prediction(box=(0, 0, 58, 39), truth=[])))
    assert extent(near(picture, RED))[0] < 0.5 * scale
    large = prediction(size=(600, 400), box=(6, 4, 593, 395), truth=[(7, 4, 593, 395)])
    write_example_run(tmp_path / "c", [large])
    figure = ContactSheet().draw(Wanted(names="c", folders=[tmp_path / "c"]))
    true_box, guess = figure.axes[0].patches
    assert (true_box.get_xy(), true_box.get_width()) == ((6.5, 3.5), 587)
    assert (guess.get_xy(), guess.get_width()) == ((23.5, 23.5), 552)


def test_without_true_boxes_there_is_no_green_and_no_iou(tmp_path):
    pixels = draw(tmp_path, prediction(truth=[]))
    assert not near(pixels, GREEN).any()  # in the legend neither
    assert near(pixels[:-120], RED).sum() > 100


def test_the_map_lies_on_the_second_picture(tmp_path):
    pixels = draw(tmp_path, prediction(box=(25, 15, 34, 24), truth=[]))
    left, right, top, _ = extent(near(pixels, PICTURE, 3))
    row = pixels[top + 10, right + 5 : 2 * right - left]
    # Beside the picture lies its grey, under inferno's light yellow on the left, its black on the
    # right: 0.75 x (252, 255, 164) + 0.25 x 105, and 0.3 x (0, 0, 4) + 0.7 x 105.
    assert near(row, (215, 217, 149), 6).sum() > 0.35 * (right - left)
    assert near(row, (74, 74, 75), 6).sum() > 0.35 * (right - left)


def text_of(folder, *predictions, **more):
    """All that is written on a sheet."""
    write_example_run(folder, predictions)
    wanted = Wanted(names="run", folders=[folder], **more)
    return [text.get_text() for text in ContactSheet().draw(wanted).texts]


def test_what_is_said_of_each_image(tmp_path):
    two = [(10, 10, 29, 29), (50, 0, 59, 9)]
    said = text_of(
        tmp_path,
        prediction("a"),
        prediction("b", box=(0, 0, 19, 19), truth=two),
        prediction("c", label=1, box=(0, 0, 19, 19), truth=two),
        # 200 of 400 pixels: an overlap of one half.
        prediction("d", label=3, box=(10, 10, 29, 19)),
        prediction("e", label=NO_LABEL, truth=[]),
        prediction("f", truth=[]),
    )
    assert said[0] == "nin, cam on demo, val: pictures, and maps of the best class"
    captions = [tuple(said[i : i + 3]) for i in range(1, 19, 3)]
    assert captions == [
        ("✓ class 0 0.75", "IoU 1.00", "a"),
        ("✓ class 0 0.75", "IoU 0.14", "b"),  # 100 pixels shared, 400 + 400 - 100 in either
        ("✗ class 0 0.75", "IoU 0.14, is class 1", "c"),
        ("✗ class 0 0.75", "IoU 0.50, is class 3", "d"),
        ("class 0 0.75", "", "e"),
        ("✓ class 0 0.75", "", "f"),
    ]
    assert said[19:] == [
        *("true box", "first guess", "dots: (almost) the whole image", "map: 0", "its maximum"),
        "boxes of box rule threshold · ✓ ✗: whether the best class is right, and its probability · "
        "IoU: of the first guess with the nearest true box",
        "images: spread evenly over the split",
    ]


def test_without_any_true_box_none_is_explained(tmp_path):
    said = text_of(tmp_path, prediction(truth=[]))
    assert "first guess" in said
    assert "true box" not in said
    assert "IoU" not in " ".join(said)


def test_boxes_of_another_rule(tmp_path):
    said = text_of(tmp_path, prediction(), box="whole_image")
    assert "IoU 0.17" in said  # 400 of 2400 pixels
    with pytest.raises(UserError, match=r"box=dt_box: .*; choose one of threshold, whole_image$"):
        text_of(tmp_path, prediction(), box="dt_box")


def test_an_odd_map_is_drawn_all_the_same(tmp_path):
    for value in (np.nan, -1.0, 0.0):
        write_example_run(
            tmp_path, [prediction()], heats={"a": np.full((2, 3, 3), value, np.float32)}
        )
        write_sheet(read_run(tmp_path))
        pixels = np.asarray(Image.open(tmp_path / "contact_sheet.png").convert("RGB")).astype(int)
        assert near(pixels, RED).any()
        assert near(pixels, (74, 74, 75), 4).sum() > 1000
