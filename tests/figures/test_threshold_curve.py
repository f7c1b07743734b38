import numpy as np
import pytest
from PIL import Image

from cam_repro.figures import style
from cam_repro.figures.threshold_curve import draw_threshold_curve, draw_threshold_curves
from cam_repro.metrics.protocol import Curves

RED, BLUE, GREEN = (0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2), (0x00, 0x9E, 0x73)
GREY = (0x99, 0x99, 0x99)
THRESHOLDS = np.arange(100) / 100


def draw(path, top1, top5, gt_known, own=None, title="Net on set"):
    errors = {"top1": top1, "top5": top5, "gt_known": gt_known}
    style.save(draw_threshold_curve(Curves(THRESHOLDS, errors, own), title), path)
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def points(pixels, colour):
    """(row, column) of the pixels of a colour, the legend's left out."""
    mask = abs(pixels - np.array(colour)).max(-1) <= 20
    mask[440:, 500:] = False
    return np.argwhere(mask)


@pytest.fixture
def flat():
    return [np.full(100, value) for value in (80.0, 60.0, 40.0)]


def test_size_and_heights(tmp_path, flat):
    pixels = draw(tmp_path / "c.png", *flat)
    assert pixels.shape == (720, 1040, 3)  # 5.2 x 3.6 inches, 200 pixels an inch
    top1, top5, known = (np.median(points(pixels, c)[:, 0]) for c in (RED, BLUE, GREEN))
    assert top1 < top5 < known
    assert known - top5 == pytest.approx(top5 - top1, abs=3)


def test_the_mark_is_at_the_lowest_error(tmp_path, flat):
    flat[2][75] = 20.0
    found = points(draw(tmp_path / "c.png", *flat), GREEN)
    left, right = found[:, 1].min(), found[:, 1].max()
    low = found[found[:, 0] > found[:, 0].max() - 5]
    assert (low[:, 1].mean() - left) / (right - left) == pytest.approx(75 / 99, abs=0.01)
    # The others are lowest everywhere: theirs is at the first threshold.
    blue = points(draw(tmp_path / "c.png", *flat), BLUE)
    thick = [column for column in range(left, right) if (blue[:, 1] == column).sum() > 6]
    assert thick
    assert max(thick) < left + 20


def test_the_runs_own_threshold_is_a_line(tmp_path, flat):
    without = draw(tmp_path / "a.png", *flat)
    with_line = draw(tmp_path / "b.png", *flat, own=0.5)

    def upright(pixels):
        columns, counts = np.unique(points(pixels, GREY)[:, 1], return_counts=True)
        return columns[counts > 150]

    assert len(upright(without)) == 0
    curve = points(with_line, RED)[:, 1]
    middle = curve.min() + 50 / 99 * (curve.max() - curve.min())
    assert 1 <= len(upright(with_line)) <= 5
    assert upright(with_line).mean() == pytest.approx(middle, abs=6)


def test_a_name_that_looks_like_a_formula_is_written_as_it_is(tmp_path, flat):
    draw(tmp_path / "c.png", *flat, title=r"Net on a$\foo$")


def legend_of(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_one_error_of_several_runs():
    """A curve and a mark of each run, by its label; a sixth run differs by its dashes."""
    of, names = {}, [f"run {number}" for number in range(5)] + ["_run 5"]
    for number in range(6):
        known = np.linspace(90 - number, 30 - number, 100)
        of[names[number]] = Curves(THRESHOLDS, {"gt_known": known})
    figure = draw_threshold_curves(of, "gt_known", "set val (9 images)")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        f"{names[number]}: oracle {30 - number}.0 % at 99 %" for number in range(6)
    ]
    (axes,) = figure.axes
    assert axes.get_ylabel() == "GT-known localization error, %"
    lines = [line for line in axes.lines if len(line.get_xdata()) == 100]
    looks = [(line.get_color(), line.get_linestyle()) for line in lines]
    assert len(set(looks)) == 6
    assert looks[0][0] == looks[5][0]
    np.testing.assert_array_equal(lines[3].get_ydata(), of["run 3"].errors["gt_known"])


def test_one_error_of_one_run(flat):
    curves = Curves(THRESHOLDS, dict(zip(("top1", "top5", "gt_known"), flat, strict=True)))
    figure = draw_threshold_curve(curves, "Net", error="top5")
    assert legend_of(figure) == ["top-5: oracle 60.0 % at 0 %"]
