import pytest

from cam_repro.report.comparisons import compare_errors
from cam_repro.runs.manifest import Blacklist
from cam_repro.runs.predictions import read_predictions
from cam_repro.tables import Run


@pytest.fixture
def open_run(make_run):
    def make(model, saliency="cam", **changes):
        return Run(f"{model}-{saliency}", read_predictions(make_run(model, saliency, **changes)))

    return make


def test_runs_are_paired_image_by_image(open_run):
    plain = open_run("vgg", "backprop", cls_right=4, loc_right=1, rules=["threshold"])
    gap = open_run("vgg_gap", cls_right=3, loc_right=2, rules=["dt_box", "threshold"])
    (found,) = compare_errors([plain, gap])
    assert (found.title, found.runs, found.rules) == (
        "CAM and Backprop",
        (gap, plain),
        ("threshold", "threshold"),
    )
    assert list(found.paired) == ["loc top-5", "GT-known"]
    known = found.paired["GT-known"]
    assert (known.first.error, known.second.error, known.difference) == (50.0, 75.0, 25.0)
    assert (known.only_first, known.only_second, known.both, known.n) == (0, 1, 2, 4)


def test_loose_and_tight_boxes_are_compared_within_a_run(open_run):
    paper = open_run("nin", cls_right=3)
    authors = open_run("vgg", view="ten", rules=["dt_box_heuristic", "dt_box"])
    found = compare_errors([paper, authors, open_run("alexnet", rules=["threshold"])])
    assert [(one.runs[0].manifest.model, one.rules) for one in found] == [
        ("nin", ("heuristic", "threshold")),
        ("vgg", ("dt_box_heuristic", "dt_box")),
    ]
    assert [list(one.paired) for one in found] == [["loc top-5"]] * 2


def test_runs_that_cannot_be_paired_are_said(open_run, caplog):
    only = {"rules": ["threshold"]}
    blacklist = Blacklist(images=1, ids=["image00000"])
    runs = [open_run("nin", **only), open_run("nin", "backprop", blacklist=blacklist, **only)]
    assert compare_errors(runs) == []
    (message,) = caplog.messages
    assert message.startswith("not compared: nin-cam and nin-backprop differ in the blacklist")


@pytest.mark.parametrize("changes", [{"has_labels": False}, {"rules": ["dt_box"]}])
def test_nothing_is_compared_without_labels_or_a_common_rule(open_run, changes):
    only = {"rules": ["threshold"]}
    assert (
        compare_errors([open_run("nin", **only | changes), open_run("nin", "backprop", **only)])
        == []
    )


def test_the_page_has_a_line_for_each_error(make_run, write_report):
    make_run("nin", cls_right=4, loc_right=3, rules=["threshold"])
    make_run("nin", "backprop", cls_right=4, loc_right=1, rules=["threshold"])
    errors = ["25.0 0.0–75.0", "75.0 25.0–100.0", "+50.0 +0.0 to +100.0", "0.5", "4"]
    assert write_report().tables["compared"][1:] == [
        ["CAM and Backprop"],
        ["nin, cam", "nin, backprop", "localization, top-5", *errors],
        ["nin, cam", "nin, backprop", "GT-known", *errors],
    ]
