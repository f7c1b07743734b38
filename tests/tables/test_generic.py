"""Tables 4 and 5: the paper's numbers, ours beside them, empty where there are none."""

import csv
import io
from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from cam_repro.runs.manifest import (
    Accuracy,
    Checkpoint,
    Crops,
    Provenance,
    SvmManifest,
    read_svm_manifest,
    write_manifest,
)
from cam_repro.tables import find_generic, generic_sheets

ACCURACY = Accuracy(
    percent=61.25,
    low=60.0,
    high=62.75,
    std=None,
    each=[61.25],
    class_mean=61.0,
    n_train=5994,
    n_test=5794,
    n_classes=200,
)
MANIFEST = SvmManifest(
    model="googlenet_gap",
    view="squash",
    data="cub",
    parted="train/val",
    train="a",
    test="b",
    fingerprints=["c", "d"],
    train_crops=None,
    crops=None,
    accuracy=ACCURACY,
    svm={"C": 1.0, "seed": 0, "partition": None},
    checkpoint=Checkpoint(path="last.pt", sha256="e"),
    seconds=2.5,
    config={"model": {"name": "googlenet_gap", "row": "GoogLeNet-GAP"}},
    provenance=Provenance(command="cam-generic", git=None, versions={}, created="2026-01-01"),
)
REPEATED = replace(ACCURACY, low=None, high=None, std=0.5, percent=88.0, each=[87.5, 88.5])


@pytest.fixture
def write(tmp_path):
    def write(name, **changes):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        write_manifest(folder, replace(MANIFEST, **changes))
        return folder

    return write


def rows_of(sheet):
    return list(csv.DictReader(io.StringIO(sheet.csv_text)))


def test_a_manifest_is_read_as_it_was_written(write):
    crops = Crops(boxes="run", rule="threshold", of_class="guess", right=41.5, n=5794)
    changes = {"crops": crops, "train_crops": replace(crops, right=None), "accuracy": REPEATED}
    folder = write("a", **changes)
    assert read_svm_manifest(folder) == replace(MANIFEST, **changes)


def test_table_4_literal(write, tmp_path):
    crops = Crops(boxes="run", rule="threshold", of_class="guess", right=41.5, n=5794)
    write("full")
    accuracy = replace(ACCURACY, percent=66.0)
    write("crop", train_crops=crops, crops=crops, svm={"C": 0.1}, accuracy=accuracy)
    older = replace(MANIFEST.provenance, created="2025-01-01")
    write("older", provenance=older, accuracy=replace(ACCURACY, percent=1.0))
    write("resnet", config={"model": {"name": "resnet50"}})
    table4, table5, every = generic_sheets(find_generic([str(tmp_path / "runs")]))
    assert [sheet.stem for sheet in (table4, table5, every)] == ["table4", "table5", "generic"]
    assert (table4.is_empty, table5.is_empty) == (False, True)
    rows = [list(row.values()) for row in rows_of(table4)]
    runs = tmp_path / "runs"
    assert [row[:10] for row in rows[:3]] == [
        [
            *("GoogLeNet-GAP on full image", "n/a", "61.25", "63.0", "60.00", "62.75"),
            *("", "", "5794", "cub"),
        ],
        [
            *("GoogLeNet-GAP on crop", "n/a", "66.00", "67.8", "60.00", "62.75"),
            *("41.50", "41.0", "5794", "cub"),
        ],
        ["GoogLeNet-GAP on BBox", "BBox", "", "70.5", "", "", "", "", "", ""],
    ]
    assert rows[0][10:] == ["", f"{runs}/full", ""]
    assert rows[1][10:] == ["C=0.1", f"{runs}/crop", ""]
    assert [(row[0], row[1], row[3]) for row in rows[3:]] == [
        ("Alignments", "n/a", "53.6"),
        ("Alignments", "BBox", "67.0"),
        ("DPD", "BBox+Parts", "51.0"),
        ("DeCAF+DPD", "BBox+Parts", "65.0"),
        ("PANDA R-CNN", "BBox+Parts", "76.4"),
    ]
    assert all(row[-1] == "cited; nothing here trains it" for row in rows[3:])
    assert "| GoogLeNet-GAP on crop [1]   |" in table4.text
    assert "[1] C=0.1" in table4.text
    assert len(rows_of(every)) == 4


TRUTH = Crops(boxes="truth")
GUESS = Crops(boxes="run", rule="threshold", of_class="guess")
OF_TRUE_CLASS = replace(GUESS, of_class="truth")
SWAPPED = replace(ACCURACY, n_train=5794, n_test=5994)
CUBV2 = replace(ACCURACY, n_test=1000)


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"train_crops": OF_TRUE_CLASS, "crops": OF_TRUE_CLASS}, "box of a run, true class"),
        ({"train_crops": GUESS, "crops": OF_TRUE_CLASS}, "box of a run / box of a run, true class"),
        ({"crops": TRUTH}, "full image / true box"),
        ({"train_crops": TRUTH}, "true box / full image"),
        ({"parted": "val/train", "accuracy": SWAPPED}, "full image"),
        ({"accuracy": CUBV2}, "full image"),
    ],
)
def test_table_4_takes_no_svm_of_other_crops_or_images(write, tmp_path, changes, seen):
    write("other", **changes)
    table4, _, every = generic_sheets(find_generic([str(tmp_path / "runs")]))
    assert table4.is_empty
    assert [row["Accuracy"] for row in rows_of(table4)] == [""] * 8
    assert [row["seen"] for row in rows_of(every)] == [seen]
    assert max(map(len, every.text.splitlines())) <= 100


def test_table_5_literal(write, tmp_path):
    write("scenes", data="scenes", parted="partition=scene15", accuracy=REPEATED)
    alexnet = {"model": {"name": "alexnet", "row": "AlexNet"}}
    indoor = {"data": "indoor67", "parted": "partition=indoor67"}  # as older versions have it
    write("indoor", **indoor, model="alexnet", config=alexnet)
    _, table5, every = generic_sheets(find_generic([str(tmp_path / "runs")]))
    rows = rows_of(table5)
    assert [row["features"] for row in rows] == [
        *("fc7 of AlexNet", "ave pool of GoogLeNet", "GoogLeNet-GAP")
    ]
    paper = [[float(v) for k, v in row.items() if k.endswith(" paper")] for row in rows]
    assert paper == [
        [42.61, 56.79, 84.23, 84.23, 87.22, 67.23, 54.92, 94.42],
        [51.68, 66.63, 88.02, 92.85, 92.05, 78.99, 72.03, 95.42],
        [51.31, 66.61, 88.30, 92.21, 91.98, 78.07, 70.62, 95.00],
    ]
    assert rows[0]["MIT Indoor67"] == "61.25"
    assert rows[0]["MIT Indoor67 95% low"] == "60.00"
    assert (rows[2]["Scene15"], rows[2]["Scene15 std"]) == ("88.00", "0.50")
    assert sum(bool(v) for k, v in rows[1].items() if not k.endswith((" paper", "ures"))) == 0
    assert "88.00 sd 0.50" in table5.text
    assert "61.25 ±1.5" in table5.text
    assert max(map(len, table5.text.splitlines())) <= 100
    assert max(map(len, every.text.splitlines())) <= 100


def test_settings_of_a_partition_are_said(write, compose_config, tmp_path):
    """But not where its lists lie."""
    for name, words in (
        ("caltech101", ["partition.train=3", "partition.test=2", "partition.repeats=2"]),
        ("indoor67", ["partition.lists=there"]),
    ):
        config = compose_config("generic", f"partition={name}", *words)
        partition = OmegaConf.to_container(config.partition)
        parted = f"partition={name}"
        write(name, data="set", parted=parted, svm={"C": 0.5, "partition": partition})
    row = rows_of(generic_sheets(find_generic([str(tmp_path / "runs")]))[1])[2]
    assert row["Caltech101 settings"] == (
        "C=0.5 partition.train=3 partition.test=2 partition.repeats=2"
    )
    assert row["MIT Indoor67 settings"] == "C=0.5"


def test_sets_that_are_parted_alike_are_told_apart(write, tmp_path):
    for data in ("birds", "flowers"):
        write(data, data=data, parted="partition=random", accuracy=REPEATED)
    every = generic_sheets(find_generic([str(tmp_path / "runs")]))[2]
    assert [row["data"] for row in rows_of(every)] == ["birds", "flowers"]
    assert "| birds random   | GoogLeNet-GAP | full image |" in every.text
    assert len(find_generic([str(tmp_path / "runs")], "birds")) == 1


def test_cam_tables_writes_them_beside_the_data_sets(write, make_run, command, tmp_path):
    write("cub/googlenet_gap/generic/val")
    done = command("tables")
    assert done.status == 0, done.err
    assert "Tables 1 to 3 are left out: no scored runs under runs" in done.err
    assert "written to runs/tables: table4.csv table5.csv generic.csv generic.md" in done.out
    make_run("nin", cls_right=1, n=2)
    both = command("tables")
    assert "left out" not in both.err
    assert "written to runs/demo/tables: table1.csv" in both.out
    assert "written to runs/tables: table4.csv" in both.out
    other = command("tables", "data=demo", "output=o")
    assert "table4" not in other.out


def test_a_broken_manifest_is_left_out(write, tmp_path, caplog):
    folder = write("a")
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace("61.25", "99.0"))
    assert find_generic([str(tmp_path / "runs")]) == []
    assert "left out" in caplog.text


@pytest.mark.parametrize(
    ("svm", "said"),
    [
        ({"C": None}, "svm.C is not a number"),
        ({"C": "1"}, "svm.C is not a number"),
        ({"C": 1.0, "partition": "random"}, "svm.partition is not an object"),
    ],
)
def test_settings_of_another_kind_are_left_out_by_name(write, tmp_path, caplog, svm, said):
    write("damaged", svm=svm)
    assert find_generic([str(tmp_path / "runs")]) == []
    assert said in caplog.text
