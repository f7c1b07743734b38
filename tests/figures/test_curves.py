import numpy as np
import pandas as pd
from PIL import Image

from cam_repro.figures.curves import draw_curves

BLUE, ORANGE, GREEN = (0x1F, 0x77, 0xB4), (0xFF, 0x7F, 0x0E), (0x2C, 0xA0, 0x2C)


def records(train_loss, val_top1):
    n = len(train_loss)
    return pd.DataFrame(
        {
            "epoch": range(1, n + 1),
            "train_loss": train_loss,
            "val_loss": [1.0] * n,
            "train_top1_error": [80.0] * n,
            "val_top1_error": val_top1,
            "val_top5_error": [5.0] * n,
        }
    )


def draw(path, table):
    draw_curves(path, table, "Some net")
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def heights(pixels, colour):
    """Mean height of a curve of some colour in the first and the last quarter of a plot, in
    pixels from below; the legend, in its upper right corner, holds a short piece of it."""
    mask = abs(pixels - np.array(colour)).max(-1) <= 20
    columns = np.nonzero(mask.any(0))[0]
    first, last = columns.min(), columns.max()
    span = (last - first) // 8
    means = []
    for part in (mask[:, first : first + span], mask[:, last - span : last + 1]):
        rows = np.nonzero(part)[0]
        means.append(len(pixels) - rows.max())
    return means


def test_two_plots_of_the_size_said(tmp_path):
    pixels = draw(tmp_path / "curves.png", records([2.0, 1.0, 0.5], [60.0, 40.0, 30.0]))
    assert pixels.shape == (442, 1170, 3)  # 9 x 3.4 inches, 130 pixels an inch
    left, right = pixels[:, :585], pixels[:, 585:]

    def has(part, colour):
        return (abs(part - np.array(colour)).max(-1) <= 20).sum() > 100

    assert [has(left, c) for c in (BLUE, ORANGE, GREEN)] == [True, True, False]
    assert [has(right, c) for c in (BLUE, ORANGE, GREEN)] == [True, True, True]


def test_curves_go_where_the_numbers_go(tmp_path):
    pixels = draw(tmp_path / "a.png", records([2.0, 1.0, 0.2, 0.1], [90.0, 70.0, 30.0, 10.0]))
    start, end = heights(pixels[:, :585], BLUE)
    assert start > end + 100
    start, end = heights(pixels[:, 585:], ORANGE)
    assert start > end + 100
    # Errors share one scale, 0 to 100: a top-5 error of 5 % lies at the bottom.
    assert heights(pixels[:, 585:], GREEN)[1] < heights(pixels[:, 585:], BLUE)[1] - 150


def test_one_epoch_is_enough(tmp_path):
    pixels = draw(tmp_path / "one.png", records([1.5], [50.0]))
    assert (abs(pixels - np.array(ORANGE)).max(-1) <= 20).sum() > 50
