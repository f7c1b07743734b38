"""Grad-CAM's Table 1, and the ranking of saliency methods."""

import csv

from cam_repro.runs.manifest import Checkpoint
from cam_repro.tables import build_gradcam_table, find_runs, methods_sheet, paper_sheet
from cam_repro.tables.paper import GRADCAM


def runs_of(tmp_path):
    (runs,) = find_runs(tmp_path / "runs").values()
    return runs


def as_rows(sheet):
    return list(csv.DictReader(sheet.csv_text.splitlines()))


# --- Grad-CAM's table ----------------------------------------------------------------------------


def test_gradcams_rows_and_numbers():
    assert [(row.name, *row.paper) for row in GRADCAM.rows] == [
        ("Backprop on VGG-16", 61.12, 51.46, 30.38, 10.89),
        ("c-MWP on VGG-16", 70.92, 63.04, 30.38, 10.89),
        ("Grad-CAM on VGG-16", 56.51, 46.41, 30.38, 10.89),
        ("CAM on VGG-16-GAP", 57.2, 45.14, 33.4, 12.2),
    ]


def test_gradcams_table_has_localization_and_classification(make_run, tmp_path):
    rules = ["threshold", "gradcam"]
    make_run("vgg", "gradcam", cls_right=3, loc_right=2, rules=rules)
    make_run("vgg", "cmwp", cls_right=3, loc_right=0, rules=rules)
    sheet = paper_sheet(build_gradcam_table(runs_of(tmp_path)))
    assert sheet.stem == "table_gradcam"
    backprop, cmwp, gradcam, cam = as_rows(sheet)
    assert list(gradcam)[:5] == ["Method", "loc top-1", "loc top-5", "cls top-1", "cls top-5"]
    assert list(gradcam.values())[:9] == [
        *("Grad-CAM on VGG-16", "50.00", "50.00", "25.00", "25.00"),
        *("56.51", "46.41", "30.38", "10.89"),
    ]
    assert gradcam["cls top-1 95% high"] == "75.00"
    assert gradcam["note"] == "box=gradcam"
    assert cmwp["loc top-1"] == "100.00"
    assert "our reading" in cmwp["note"]
    assert (backprop["run"], cam["run"]) == ("", "")
    assert "Boxes: of Grad-CAM by `gradcam`" in sheet.text
    cells = [line.split("|")[1:-1] for line in sheet.text.splitlines() if "Grad-CAM on" in line]
    assert [cell.strip() for cell in cells[0]] == [
        *("Grad-CAM on VGG-16", "50.00/50.00", "56.51/46.41", "25.00/25.00", "30.38/10.89"),
    ]
    assert max(map(len, sheet.text.splitlines())) <= 100


def test_gradcams_table_needs_a_run_that_table_2_has_not(make_run, tmp_path):
    make_run("vgg", "backprop")
    make_run("vgg_gap")
    assert build_gradcam_table(runs_of(tmp_path)) is None


# --- the ranking of methods ----------------------------------------------------------------------


def test_methods_are_ranked_by_each_box_rule(make_run, tmp_path):
    rules = ["threshold", "gradcam"]
    make_run("nin", "gradcam", cls_right=3, loc_right=1, rules=rules)
    make_run("nin", "cam", cls_right=3, loc_right=2, rules=rules)
    make_run("vgg", "backprop", rules=rules)
    sheet = methods_sheet(runs_of(tmp_path))
    rows = as_rows(sheet)
    told = ("network", "box", "maps", "loc top-1", "GT-known", "ms an image", "n", "precision")
    assert [tuple(row[key] for key in told) for row in rows] == [
        ("nin", "gradcam", "cam", "50.00", "50.00", "125", "4", "fp32"),
        ("nin", "gradcam", "gradcam", "75.00", "75.00", "125", "4", "fp32"),
        ("nin", "threshold", "cam", "50.00", "50.00", "125", "4", "fp32"),
        ("nin", "threshold", "gradcam", "75.00", "75.00", "125", "4", "fp32"),
    ]
    assert rows[0]["loc top-1 95% high"] == "100.00"
    assert (
        sheet.text
        == """\
**Saliency methods on nin**: data set demo, split val, view squash, box rule threshold, n = 4;
classification error, top-1/top-5, 25.0/25.0 %. By localization error (loc), top-1/top-5, the lowest
top-1 first; GT: with the true class given. ±: the farther end of the 95 % bootstrap interval over
images. ms: milliseconds an image of the whole pass, with reading and boxes. The CSV has the other
box rules, and the hardware.

| maps    |        loc |    GT |  ms |
| ------- | ---------: | ----: | --: |
| cam     |  50.0/50.0 |  50.0 | 125 |
|         | ±50.0/50.0 | ±50.0 |     |
| gradcam |  75.0/75.0 |  75.0 | 125 |
|         | ±50.0/50.0 | ±50.0 |     |
"""
    )


def test_one_method_is_no_ranking_nor_are_two_with_other_weights(make_run, tmp_path):
    make_run("nin", "cam", checkpoint=Checkpoint(path="a.pt", sha256="1"))
    make_run("nin", "gradcam", checkpoint=Checkpoint(path="b.pt", sha256="2"))
    make_run("vgg", "backprop")
    assert methods_sheet(runs_of(tmp_path)) is None
