"""What runs score by the protocols of later papers, beside what was published."""

import csv

import pytest

from cam_repro.runs.scores import scores_file, write_scores
from cam_repro.tables import find_runs, protocols_sheet
from cam_repro.tables.protocols import published

V2 = {
    "mean": 61.5,
    "thresholds_are": {"mean": "oracle", "chosen": "chosen on imagenetv2 val (runs/x)"},
    "chosen": {"mean": 60.25},
}
CURVE = {
    "chosen": {
        name: {"threshold": 0.3, "error": error, "error_95": [error - 2, error + 3]}
        for name, error in (("top1", 60), ("top5", 50), ("gt_known", 40))
    },
    "thresholds_are": {"chosen": "chosen on imagenetv2 val (runs/x)"},
}


def rows_of(tmp_path):
    (runs,) = find_runs(tmp_path / "runs").values()
    sheet = protocols_sheet(runs)
    return sheet, list(csv.DictReader(sheet.csv_text.splitlines()))


def test_published_numbers_are_those_of_the_sources():
    found = {(each.number, each.data, each.network): each for each in published()}
    assert len(found) == len(published())
    of = {key: each.value for key, each in found.items()}
    networks = ("VGG16", "InceptionV3", "ResNet50", "centre Gaussian")
    for number, data, values in (
        ("MaxBoxAccV2", "ilsvrc", (60.0, 63.4, 63.7, 52.5)),
        ("MaxBoxAccV2", "cub", (63.7, 56.7, 63.0, 59.7)),
        ("PxAP", "openimages30k", (58.3, 63.2, 58.5, 45.8)),
    ):
        assert tuple(of[number, data, each] for each in networks) == values
    assert of["top-1 localization", "ilsvrc", "VGG16"] == 42.8
    assert of["top-5 localization", "ilsvrc", "VGG16"] == 54.9
    assert of["GT-known localization", "ilsvrc", "VGG16"] == 59.0
    assert {each.threshold for each in published()} == {"fixed", "oracle", "all"}
    assert all(each.source for each in published())


def test_ours_stand_beside_what_was_published(make_run, tmp_path):
    folder = make_run("vgg16_cam", cls_right=3, loc_right=2, data="ilsvrc")
    write_scores(folder, "max_box_acc_v2", V2)
    write_scores(folder, "threshold_curve", CURVE)
    sheet, rows = rows_of(tmp_path)
    of = {
        (row["number"], row["threshold"].split()[0]): row for row in rows if row["run"]
    }  # our own numbers
    oracle = of["MaxBoxAccV2", "oracle"]
    assert (oracle["ours"], oracle["published"], oracle["their network"]) == (
        "61.50",
        "60.0",
        "VGG16",
    )
    assert (oracle["their threshold"], oracle["source"]) == ("oracle", "Choe et al., CVPR 2020")
    chosen = of["MaxBoxAccV2", "chosen"]
    assert (chosen["ours"], chosen["published"]) == ("60.25", "")
    assert chosen["threshold"] == "chosen on imagenetv2 val (runs/x)"
    fixed = of["top-1 localization", "fixed"]
    assert (fixed["ours"], fixed["published"], fixed["95% low"]) == ("50.00", "42.8", "0.00")
    known = of["GT-known localization", "chosen"]
    assert (known["ours"], known["95% low"], known["95% high"]) == ("60.00", "57.00", "62.00")
    empty = [row for row in rows if not row["run"]]
    assert len(empty) == len(published()) - 4
    assert {row["ours"] for row in empty} == {""}
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in sheet.text.splitlines()]
    assert ["MaxBoxAccV2", "vgg16_cam", "cam", "val", "61.50", "oracle", "60.0"] in cells
    assert ["MaxBoxAccV2", "vgg16_cam", "cam", "val", "60.25", "chosen [1]", ""] in cells
    assert "[1] on imagenetv2 val (runs/x)" in sheet.text
    assert max(map(len, sheet.text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("vgg16_cam", {"data": "demo"}),
        ("vgg16_cam", {"data": "ilsvrc", "split": "train"}),
        ("vgg16_cam", {"data": "ilsvrc", "saliency": "gradcam"}),
        ("nin", {"data": "ilsvrc"}),
    ],
)
def test_other_data_methods_and_networks_stand_for_themselves(model, changes, make_run, tmp_path):
    write_scores(make_run(model, **changes), "max_box_acc_v2", V2)
    _, rows = rows_of(tmp_path)
    ours = [row for row in rows if row["run"]]
    assert "61.50" in {row["ours"] for row in ours}
    assert {row["published"] for row in ours} == {""}


@pytest.mark.parametrize(
    ("changes", "settings", "noted"),
    [
        (
            {"config": {"box": {"threshold": {"threshold": 0.5}}}},
            "box.threshold.threshold=0.5",
            "box.threshold.threshold=0.5",
        ),
        ({"view": "ten"}, "", "view=ten"),
    ],
)
def test_other_thresholds_and_views_are_not_the_published(
    make_run, tmp_path, changes, settings, noted
):
    """They stand below, with what they are; a number at no fixed threshold is what it was."""
    folder = make_run("vgg16_cam", data="ilsvrc", **changes)
    write_scores(folder, "max_box_acc_v2", V2)
    sheet, rows = rows_of(tmp_path)
    of = {row["number"]: row for row in rows if row["run"] and row["threshold"] != "chosen"}
    fixed = of["top-1 localization"]
    assert (fixed["ours"], fixed["threshold"], fixed["published"]) == ("0.00", "fixed", "")
    assert fixed["settings"] == settings
    assert noted in sheet.text
    oracle = next(row for row in rows if row["run"] and row["threshold"] == "oracle")
    assert oracle["settings"] == ""
    assert oracle["published"] == ("60.0" if settings else "")


def test_without_kept_scores_there_is_no_table(make_run, tmp_path):
    make_run("vgg16_cam", data="ilsvrc")
    (runs,) = find_runs(tmp_path / "runs").values()
    assert protocols_sheet(runs) is None


def test_damaged_scores_are_left_out(make_run, tmp_path, caplog):
    """The others are shown, of the run and of other runs; so is what is no number left out."""
    folder = make_run("nin")
    write_scores(folder, "max_box_acc_v2", V2)
    scores_file(folder, "pxap").write_text("{")
    write_scores(folder, "max_box_acc", {"max_box_acc": {"0.5": "high"}, "thresholds_are": 3})
    other = {"max_box_acc": {"0.5": 40.0}, "max_box_acc_95": {"0.5": ["?", 2]}}
    write_scores(make_run("vgg_gap"), "max_box_acc", other)
    _, rows = rows_of(tmp_path)
    assert f"left out: {scores_file(folder, 'pxap')}: is no JSON: write it again" in caplog.text
    ours = {(row["network"], row["number"]): row["ours"] for row in rows if row["run"]}
    assert ours["nin", "MaxBoxAccV2"] == "60.25"
    assert ours["vgg_gap", "MaxBoxAcc"] == "40.00"
    assert not {("nin", "MaxBoxAcc"), ("nin", "PxAP")} & ours.keys()


def test_numbers_without_a_threshold_stand_in_the_table_too(make_run, tmp_path):
    folder = make_run("vgg16_cam", cls_right=3, loc_right=2, data="ilsvrc")
    pointing = {"all": 95.3, "difficult": 80.6}
    ends = {"all": [93.9, 96.6], "difficult": [75.2, 85.6]}
    kept = {"pointing_game": pointing, "pointing_game_95": ends}
    write_scores(folder, "pointing_game", {**kept, "thresholds_are": {"tolerance": "fixed"}})
    energy = {"energy_in_box": 72.4, "energy_in_box_95": [70.8, 74.0], "thresholds_are": {}}
    write_scores(folder, "energy_in_box", energy)
    _, rows = rows_of(tmp_path)
    columns = ("number", "ours", "95% low", "95% high", "published")
    assert [tuple(row[key] for key in columns) for row in rows if row["threshold"] == "none"] == [
        ("pointing game, all", "95.30", "93.90", "96.60", ""),
        ("pointing game, difficult", "80.60", "75.20", "85.60", ""),
        ("energy in the box", "72.40", "70.80", "74.00", ""),
    ]
