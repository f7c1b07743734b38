import re
from xml.etree import ElementTree

import pytest

from cam_repro.metrics.intervals import Number
from cam_repro.report.curves import ErrorCurves
from cam_repro.report.plots import draw_threshold_curves

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def curves():
    errors = {"top1": [90, 60, 70], "top5": [80, 50, 60], "gt_known": [70, 30, 60]}
    numbers = {
        name: [Number(error, error - 5, error + 5, 100) for error in values]
        for name, values in errors.items()
    }
    return ErrorCurves([0.0, 0.2, 0.4], numbers, own=0.2)


def test_a_chart_takes_ink_and_fonts_of_the_page(curves):
    text = draw_threshold_curves(curves, "a <b>", "c1")
    root = ElementTree.fromstring(text)
    assert root.get("fill") == "currentColor"
    assert root.get("aria-label") == "Localization error over the threshold: a <b>."
    assert root.get("viewBox") == "0 0 360 223.2"
    assert not {"width", "height"} & set(root.keys())
    assert "#000000" not in text
    labels = ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]
    assert "localization error, %" in labels
    colours = set(re.findall(r"stroke: (#\w+|currentColor)", text))
    assert {"#d55e00", "#0072b2", "#009e73", "currentColor"} <= colours


def test_charts_of_one_page_share_no_id_and_keep_only_those_that_are_used(curves):
    texts = [draw_threshold_curves(curves, "a", name) for name in ("c1", "c2")]
    ids = [
        {element.get("id") for element in ElementTree.fromstring(text).iter()} - {None}
        for text in texts
    ]
    assert ids[0]
    assert not ids[0] & ids[1]
    used = set(re.findall(r"url\(#([^)]+)\)", texts[0])) | set(re.findall(r'"#([^"]+)"', texts[0]))
    assert used == ids[0]


def test_a_chart_is_the_same_every_time(curves):
    first, second = (draw_threshold_curves(curves, "a", "c1") for _ in range(2))
    assert first == second


def points(text, colour):
    """The longest line of a colour, in points of the chart."""
    paths = re.findall(rf'<path d="([^"]+)"[^>]*stroke: {colour}', text)
    longest = max(paths, key=len)
    return [tuple(map(float, pair)) for pair in re.findall(r"[ML] ([\d.]+) ([\d.]+)", longest)]


def test_heights_are_errors_and_places_are_thresholds(curves):
    text = draw_threshold_curves(curves, "a", "c1")
    (x0, y0), (x1, y1), (x2, y2) = points(text, "#009e73")[:3]
    assert x2 - x1 == pytest.approx(x1 - x0)
    assert (y1 - y0) / (y1 - y2) == pytest.approx((70 - 30) / (60 - 30), rel=1e-3)
    top1 = points(text, "#d55e00")[0][1]
    assert (y0 - top1) / (y1 - y0) == pytest.approx((90 - 70) / (70 - 30), rel=1e-3)
