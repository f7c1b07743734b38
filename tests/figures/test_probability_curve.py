import numpy as np
import pytest
from PIL import Image

from cam_repro.figures import style
from cam_repro.figures.probability_curve import draw_probability_curve
from cam_repro.metrics.protocol import ProbabilityCurve

BLUE, BAND = (0x00, 0x72, 0xB2), (0xBF, 0xDC, 0xEC)


def rows(path, mean, low, high, colour):
    """The rows of a colour in the left half, the legend's left out, for curves of equal height."""
    heights = [np.full(3, float(value)) for value in (mean, low, high)]
    curve = ProbabilityCurve(np.linspace(0, 1, 3), *heights, "put back", 50.0, 7)
    figure = draw_probability_curve(curve, "Net on set (7 images)")
    style.save(figure, path)
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert pixels.shape == (720, 1040, 3)
    half = abs(pixels[:, 150:400] - np.array(colour)).max(-1) <= 12
    return figure, np.flatnonzero(half.any(1))


def test_heights(tmp_path):
    _, low = rows(tmp_path / "a.png", 20, 20, 20, BLUE)
    _, high = rows(tmp_path / "a.png", 40, 40, 40, BLUE)
    _, band = rows(tmp_path / "a.png", 30, 20, 40, BAND)
    assert band.min() == pytest.approx(high.mean(), abs=4)
    assert band.max() == pytest.approx(low.mean(), abs=4)


def test_words(tmp_path):
    figure, _ = rows(tmp_path / "a.png", 50, 40, 60, BLUE)
    (axes,) = figure.axes
    assert axes.get_title("left") == "Net on set (7 images)"
    assert axes.get_xlabel() == "pixels put back, most important first, %"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        *("mean over images; area under it 50.0 %", "its 95 % interval")
    ]
