import pytest

from cam_repro.metrics.intervals import Number
from cam_repro.report.curves import read_curves
from cam_repro.runs.manifest import Blacklist
from cam_repro.runs.predictions import read_predictions
from cam_repro.tables import Run

RIGHT_AT = [[10, 20, 30], [20], [20, 50], []]
SETTINGS = {"box": {"threshold": {"threshold": 0.2}}}


@pytest.fixture
def curves_of(make_run):
    def read(**changes):
        settings = {"cls_right": 2, "right_at": RIGHT_AT, "config": SETTINGS} | changes
        return read_curves(Run("r", read_predictions(make_run("nin", **settings))))

    return read


def errors(curves, percent):
    return {name: numbers[percent].error for name, numbers in curves.numbers.items()}


def test_a_guess_is_right_where_its_class_and_its_box_are(curves_of):
    curves = curves_of()
    # The first two images are classified right, at once; the others not among five.
    assert errors(curves, 20) == {"top1": 50.0, "top5": 50.0, "gt_known": 25.0}
    assert errors(curves, 50) == {"top1": 100.0, "top5": 100.0, "gt_known": 75.0}
    assert curves.numbers["gt_known"][20] == Number.of_counts(1, 4)


def test_the_lowest_is_the_first_of_equal_ones(curves_of):
    curves = curves_of(right_at=[[30, 40], [40], [30], []])
    assert curves.lowest == {"top1": 40, "top5": 40, "gt_known": 30}


def test_the_threshold_of_the_run_is_known_where_it_boxed_by_one(curves_of):
    assert (curves_of().own, curves_of().at_own) == (0.2, 20)
    between = curves_of(config={"box": {"threshold": {"threshold": 0.205}}})
    assert (between.own, between.at_own) == (0.205, None)
    assert curves_of(config={}).own is None


def test_blacklisted_images_do_not_count_but_in_gt_known(curves_of):
    curves = curves_of(blacklist=Blacklist(images=1, ids=["image00003"]))
    assert errors(curves, 20) == {"top1": 100 / 3, "top5": 100 / 3, "gt_known": 25.0}


@pytest.mark.parametrize(
    "changes", [{"right_at": None}, {"has_boxes": False}, {"has_labels": False}]
)
def test_no_curve_where_something_is_not_known(curves_of, changes):
    assert curves_of(**changes) is None


def test_the_page_calls_the_lowest_an_oracle(make_run, write_report):
    make_run("nin", cls_right=2, right_at=RIGHT_AT, config=SETTINGS)
    page = write_report()
    small = page.tables[0]
    assert small == [
        ["error", "at 20 %", "lowest (oracle)", "at"],
        ["top-1", "50.0 0.0–100.0", "50.0 0.0–100.0", "20 %"],
        ["top-5", "50.0 0.0–100.0", "50.0 0.0–100.0", "20 %"],
        ["GT-known", "25.0 0.0–75.0", "25.0 0.0–75.0", "20 %"],
    ]
    head, threshold, heuristic = page.tables["runs"]
    assert head[7] == "GT-known at the best threshold (oracle)"
    assert (threshold[7], heuristic[7]) == ("25.0 0.0–75.0", "–")
    charts = page.all("svg", **{"class": "chart"})
    assert charts[-1]["aria-label"] == "Localization error over the threshold: nin, cam."
