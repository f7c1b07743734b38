"""The table of two runs over the same images."""

import pytest

from cam_repro.errors import UserError
from cam_repro.tables import comparison_sheet, open_runs


@pytest.fixture
def compared(tmp_path, monkeypatch):
    """Compares runs below ``runs/demo``: ``compared("nin", "vgg")``."""
    monkeypatch.chdir(tmp_path)

    def made(*names, rules=None):
        return comparison_sheet(open_runs([f"runs/demo/{name}" for name in names]), rules)

    return made


def test_literal_comparison(make_run, compared):
    # n = 20, so that an image is 5 points: of the second all classes and 12 boxes are right
    make_run("nin", n=20, cls_right=16, loc_right=10, rules=["threshold", "dt_box"])
    make_run("vgg", n=22, cls_right=22, loc_right=12, rules=["heuristic", "threshold"])
    sheet = compared("nin", "vgg")
    assert sheet.stem == "comparison"
    where = "runs/demo/nin/eval/val-cam{0},runs/demo/vgg/eval/val-cam{0},"
    boxes = where.format(",threshold")
    loc = "50.00,30.00,70.00,40.00,20.00,60.00,-10.00,-25.00,0.00,0.5,20,8,2,0,0,2,fixed"
    assert sheet.csv_text.splitlines() == [
        "error,first run,first box,second run,second box,first,first 95% low,first 95% high,"
        "second,second 95% low,second 95% high,second - first,difference 95% low,"
        "difference 95% high,p (McNemar exact),n,wrong in both,only in first,only in second,"
        "images of first alone,images of second alone,thresholds",
        f"cls top-1,{where.format(',')}"
        "20.00,5.00,40.00,0.00,0.00,0.00,-20.00,-40.00,-5.00,0.125,20,0,4,0,0,2,fixed",
        f"cls top-5,{where.format(',')}"
        "20.00,5.00,40.00,0.00,0.00,0.00,-20.00,-40.00,-5.00,0.125,20,0,4,0,0,2,fixed",
        f"loc top-1,{boxes}{loc}",
        f"loc top-5,{boxes}{loc}",
        f"GT-known,{boxes}{loc}",
    ]
    assert (
        sheet.text
        == """\
**Comparison**: first runs/demo/nin/eval/val-cam; second runs/demo/vgg/eval/val-cam; over the 20
images that both scored. Errors in %; diff: second - first, in points. runs/demo/vgg/eval/val-cam
has 2 images that the other has not: they are left out. 95 %: interval of the difference, by the
bootstrap over images (10,000 resamples, seed 0); ±: the farther end of an error's own interval. p:
McNemar's exact test, two-sided. Thresholds are fixed: IoU 0.5, and those of the settings.

| error     | box       |      first |     second |  diff |          95 % |    p |
| --------- | --------- | ---------: | ---------: | ----: | ------------: | ---: |
| cls top-1 |           | 20.0 ±20.0 |   0.0 ±0.0 | -20.0 | -40.0 to -5.0 | 0.12 |
| cls top-5 |           | 20.0 ±20.0 |   0.0 ±0.0 | -20.0 | -40.0 to -5.0 | 0.12 |
| loc top-1 | threshold | 50.0 ±20.0 | 40.0 ±20.0 | -10.0 | -25.0 to +0.0 |  0.5 |
| loc top-5 | threshold | 50.0 ±20.0 | 40.0 ±20.0 | -10.0 | -25.0 to +0.0 |  0.5 |
| GT-known  | threshold | 50.0 ±20.0 | 40.0 ±20.0 | -10.0 | -25.0 to +0.0 |  0.5 |
"""
    )


def test_every_other_run_is_compared_with_the_first(make_run, compared):
    make_run("nin", cls_right=4, loc_right=4)
    make_run("vgg", cls_right=4, loc_right=4)
    make_run("none", "none", view="none", classifies=False, loc_right=2, rules=["heuristic"])
    sheet = compared("vgg", "n*")
    assert [(row[0], row[3].split("/")[2], row[4], row[11]) for row in sheet.rows] == [
        *(("cls top-1", "nin", "", "0.00"), ("cls top-5", "nin", "", "0.00")),
        *(("loc top-1", "nin", "threshold", "0.00"), ("loc top-5", "nin", "threshold", "0.00")),
        *(("GT-known", "nin", "threshold", "0.00"), ("loc top-1", "nin", "heuristic", "0.00")),
        *(("loc top-5", "nin", "heuristic", "0.00"), ("GT-known", "nin", "heuristic", "0.00")),
        ("GT-known", "none", "heuristic", "50.00"),
    ]
    assert sheet.text.count("**Comparison**") == 2


def test_two_box_rules(make_run, compared):
    make_run("nin", cls_right=4, loc_right=4, rules=["threshold", "dt_box"])
    make_run("vgg", cls_right=4, loc_right=1, rules=["dt_box"])
    sheet = compared("nin", "vgg", rules=("threshold", "dt_box"))
    assert [[row[0], row[2], row[4], row[11]] for row in sheet.rows] == [
        ["cls top-1", "", "", "0.00"],
        ["cls top-5", "", "", "0.00"],
        ["loc top-1", "threshold", "dt_box", "75.00"],
        ["loc top-5", "threshold", "dt_box", "75.00"],
        ["GT-known", "threshold", "dt_box", "75.00"],
    ]
    assert "first runs/demo/nin/eval/val-cam, box threshold; second" in sheet.text
    assert "| error     |        first |" not in sheet.text  # no column for the box
    of_one = compared("nin", rules=("threshold", "dt_box"))
    assert [[row[0], row[2], row[4], row[11]] for row in of_one.rows] == [
        ["loc top-1", "threshold", "dt_box", "0.00"],
        ["loc top-5", "threshold", "dt_box", "0.00"],
        ["GT-known", "threshold", "dt_box", "0.00"],
    ]


def test_the_longest_names_fit_the_terminal(make_run, compared):
    rules = ["dt_box_heuristic"]
    make_run("alexnet_star_gap_caffe", "backprop", n=600, rules=rules)
    make_run("googlenet_gap_caffe", n=600, cls_right=300, loc_right=200, rules=rules)
    text = compared("alexnet_star_gap_caffe", "googlenet_gap_caffe").text
    assert "| loc top-1 | dt_box_heuristic | 100 ±0.0 | 66.7 ±3.8 | -33.3 |" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("names", "rules", "said"),
    [
        (
            ["nin"],
            None,
            "eval/val-cam is the only run: name another one too, as in runs=[A,B], "
            "or two of its box rules (threshold), as in box=[A,B]",
        ),
        (
            ["nin", "vgg"],
            ("threshold", "heuristic"),
            "box=heuristic: not in runs/demo/vgg/eval/val-cam; choose one of dt_box",
        ),
        (
            ["none", "vgg"],
            None,
            "runs/demo/none/eval/val-cam and runs/demo/vgg/eval/val-cam have no error in common: "
            "errors need labels, those of localization true boxes, and a box rule that both have "
            "(or two, as in box=[A,B])",
        ),
    ],
)
def test_nothing_to_compare_is_one_line(make_run, compared, names, rules, said):
    make_run("nin", rules=["threshold"])
    make_run("vgg", rules=["dt_box"])
    make_run("none", rules=["center"], classifies=False)
    with pytest.raises(UserError) as refused:
        compared(*names, rules=rules)
    assert str(refused.value) == said
