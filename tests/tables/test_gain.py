import csv
import io

from cam_repro.runs.manifest import CuesMade
from cam_repro.tables import find_runs, gain_sheet

MIOU = {"miou": 40.0, "miou_low": 38.5, "miou_high": 41.0, "oracle": 45.5, "oracle_threshold": 0.3}
MIOU["n_images"] = 3  # one of the four with cues has no mask
SETTINGS = {"_target_": "cam_repro.boxes.cues.CueRule", "threshold": 0.2, "conflicts": "smallest"}


def test_the_published_rows_and_our_cues_literal(make_run, tmp_path):
    cues = CuesMade(images=4, miou=MIOU)
    make_run("vgg_gap", cues=cues, config={"cues": SETTINGS})
    make_run("nin", cues=CuesMade(images=4))  # of images without masks
    make_run("googlenet")
    sheet = gain_sheet(find_runs(tmp_path / "runs")["demo"])
    assert sheet.stem == "table_gain"
    rows = list(csv.DictReader(io.StringIO(sheet.csv_text)))
    assert [list(row.values())[:3] for row in rows[:4]] == [
        ["SEC", "50.7", "51.7"],
        ["GAIN", "55.3", "56.8"],
        ["GAIN extended, 200 images with masks", "58.3", "59.6"],
        ["GAIN extended, 1,464 images with masks", "60.5", "62.1"],
    ]
    assert all(not row["cues mIoU"] and "nothing here trains it" in row["note"] for row in rows[:4])
    (ours,) = rows[4:]
    assert list(ours.values()) == [
        *("vgg_gap, cam", "", "", "40.00", "38.50", "41.00", "45.50", "0.30", "3", "demo", "val"),
        *("cues.threshold=0.2 cues.conflicts=smallest", "demo/vgg_gap/eval/val-cam", ""),
    ]
    assert "not comparable" in sheet.text.replace("\n", " ")
    assert "| vgg_gap, cam" in sheet.text
    assert "±1.5" in sheet.text
    assert "split val, n = 3." in sheet.text.replace("\n", " ")
    assert max(map(len, sheet.text.splitlines())) <= 100


def test_what_earlier_versions_did_not_keep_is_left_empty(make_run, tmp_path):
    of_before = {key: value for key, value in MIOU.items() if key != "n_images"}
    make_run("vgg_gap", cues=CuesMade(images=4, miou=of_before))
    sheet = gain_sheet(find_runs(tmp_path / "runs")["demo"])
    assert sheet.rows[-1][sheet.header.index("n")] == ""


def test_without_cues_there_is_no_table(make_run, tmp_path):
    make_run("nin", cues=CuesMade(images=4))
    assert gain_sheet(find_runs(tmp_path / "runs")["demo"]) is None
