import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image, ImageColor

from cam_repro.figures import contact_sheet
from cam_repro.figures.contact_sheet import Shown, draw_contact_sheet
from cam_repro.types import NO_LABEL, Prediction, RuleGuesses

GREEN, RED = (0x22, 0xC5, 0x5E), (0xEF, 0x44, 0x44)
PICTURE = (40, 120, 200)


def prediction(name="a", label=0, classes=(0, 1), box=(10, 10, 29, 29), truth=((10, 10, 29, 29),)):
    return Prediction(
        id=name,
        width=60,
        height=40,
        label=label,
        true_boxes_M4=np.array(truth, np.int32).reshape(-1, 4),
        classes=list(classes),
        probabilities=[0.75, 0.25],
        rules={"threshold": RuleGuesses([(classes[0], box)], None)},
    )


def draw(path, *predictions):
    """The sheet's pixels, (H, W, 3), of blue images whose maps stand out in the left half."""
    heat = np.zeros((4, 6), np.float32)
    heat[:, :3] = 1
    draw_contact_sheet(
        path,
        [Shown(p, Image.new("RGB", (60, 40), PICTURE), heat) for p in predictions],
        ["a cat", "a dog"],
        "threshold",
        "Net on set, val",
    )
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def near(pixels, colour, tolerance=12):
    return abs(pixels - np.array(colour)).max(-1) <= tolerance


def extent(mask):
    """Of the pixels of a mask: first and last column, first and last row."""
    y, x = np.nonzero(mask)
    return x.min(), x.max(), y.min(), y.max()


def pictures(pixels):
    """Extent of the picture, which alone is of its blue."""
    return extent((pixels == PICTURE).all(-1))


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (4, 1), (5, 2)])
def test_four_images_a_row(tmp_path, count, rows):
    pixels = draw(tmp_path / "sheet.png", *(prediction(str(i)) for i in range(count)))
    # 4.4 x 2.62 inches an image and half an inch for the title, 80 pixels an inch.
    assert pixels.shape[1] == 4 * 352
    assert pixels.shape[0] == pytest.approx(80 * (2.62 * rows + 0.5), abs=1)


def test_true_boxes_are_green_and_the_guess_red_where_they_belong(tmp_path):
    # Guess in the right half of the image, truth in the left.
    one = prediction(box=(35, 5, 54, 34), truth=[(5, 5, 24, 34)])
    pixels = draw(tmp_path / "sheet.png", one)
    left, right, top, bottom = pictures(pixels)
    scale = (right - left + 1) / 60
    assert (bottom - top + 1) / 40 == pytest.approx(scale, rel=0.03)
    picture = pixels[top : bottom + 1, left : right + 1]
    for colour, box in ((GREEN, (5, 5, 24, 34)), (RED, (35, 5, 54, 34))):
        x0, x1, y0, y1 = extent(near(picture, colour))
        found = np.array([x0, y0, x1 + 1, y1 + 1]) / scale
        # The line is drawn along the edges of the box's pixels, some pixels wide.
        assert found == pytest.approx([box[0], box[1], box[2] + 1, box[3] + 1], abs=1.0)


def test_without_true_boxes_there_is_no_green(tmp_path):
    pixels = draw(tmp_path / "sheet.png", prediction(label=NO_LABEL, truth=[]))
    assert not near(pixels, GREEN).any()
    assert near(pixels, RED).sum() > 100


def test_the_map_lies_on_the_second_picture(tmp_path):
    pixels = draw(tmp_path / "sheet.png", prediction(box=(0, 0, 59, 39), truth=[]))
    left, right, top, bottom = pictures(pixels)
    row = pixels[(top + bottom) // 2]
    # Beside the picture lies its grey, under inferno's light yellow on the left, its black on the
    # right.
    beside = row[right + 10 : 2 * right - left].sum(-1)
    bright, dark = np.nonzero((beside > 350) & (beside < 700))[0], np.nonzero(beside < 200)[0]
    assert len(bright) > 0.4 * (right - left)
    assert len(dark) > 0.4 * (right - left)
    assert bright.max() < dark[10]


def test_captions(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        Axes, "set_title", lambda axes, text, **more: said.append((text, more.get("color")))
    )
    right, class_alone, wrong = "#15803d", "#b45309", "#b91c1c"
    two = [(10, 10, 29, 29), (50, 0, 59, 9)]
    draw(
        tmp_path / "sheet.png",
        prediction("a"),
        prediction("b", box=(0, 0, 19, 19), truth=two),
        prediction("c", label=1, box=(0, 0, 19, 19), truth=two),
        prediction("d", label=1),
        # 200 of 400 pixels: an overlap of one half counts.
        prediction("e", box=(10, 10, 29, 19)),
        prediction("f", label=NO_LABEL, truth=[]),
    )
    assert said == [
        ("a cat 0.75, IoU 1.00", right),
        ("a cat 0.75, IoU 0.14", class_alone),  # 100 pixels shared, 400 + 400 - 100 in either
        ("a cat 0.75 (is a dog), IoU 0.14", wrong),
        ("a cat 0.75 (is a dog), IoU 1.00", wrong),
        ("a cat 0.75, IoU 0.50", right),
        ("a cat 0.75", None),
    ]


def test_colours_are_those_named_in_the_title():
    assert ImageColor.getrgb(contact_sheet.TRUE) == GREEN
    assert ImageColor.getrgb(contact_sheet.GUESSED) == RED


def test_an_odd_map_is_drawn_all_the_same(tmp_path):
    one = prediction()
    for value in (np.nan, -1.0, 0.0):
        draw_contact_sheet(
            tmp_path / "sheet.png",
            [Shown(one, Image.new("RGB", (60, 40)), np.full((3, 3), value, np.float32))],
            ["a cat", "a dog"],
            "threshold",
            "t",
        )
        assert near(
            np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int), RED
        ).any()
