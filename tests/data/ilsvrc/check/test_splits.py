"""Splits that cannot be loaded, trees without their list of classes, and the development kit."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from check_helpers import ANNOTATIONS, IMAGES, LISTS, VAL, A, B, C, findings, report_on
from scipy.io import savemat

from cam_repro.data.ilsvrc.layouts import Places


def test_a_split_that_is_not_there(root):
    (root / IMAGES / "train").rename(root.parent / "away")
    report = report_on(root)
    assert report.splits["train"].problem == "no folder of train images (data.train=DIR names one)"
    assert report.splits["val"].images == 6
    assert report.can_train == report.splits["train"].problem
    assert report.can_eval is None
    assert report.tables == {"Table 1": [], "Table 2": [], "Table 3": []}


def test_no_test_images_and_no_boxes_are_lacking_for_tables_2_and_3(root):
    shutil.rmtree(root / IMAGES / "test")
    (root / ANNOTATIONS / f"val/{VAL}2.xml").unlink()
    some = ["boxes of 1 of the validation images"]
    test = ["the test images (the validation images stand in)"]
    assert report_on(root).tables == {"Table 1": [], "Table 2": some, "Table 3": [*some, *test]}

    for wnid, number in ((A, 1), (B, 2), (C, 3), (A, 4), (B, 5), (C, 6)):
        (root / IMAGES / "val" / wnid).mkdir(exist_ok=True)
        (root / IMAGES / f"val/{VAL}{number}.JPEG").rename(
            root / IMAGES / f"val/{wnid}/{VAL}{number}.JPEG"
        )
    shutil.rmtree(root / ANNOTATIONS)
    (root / "LOC_val_solution.csv").unlink()
    report = report_on(root)
    assert report.splits["val"].images_without_boxes == 6
    assert report.splits["val"].annotations is None
    every = ["boxes of the validation images"]
    assert report.tables == {"Table 1": [], "Table 2": every, "Table 3": [*every, *test]}
    assert report.can_train is report.can_eval is None


def test_val_without_labels(root):
    shutil.rmtree(root / ANNOTATIONS)
    (root / "LOC_val_solution.csv").unlink()
    report = report_on(root)
    val = report.splits["val"]
    assert val.images == 6
    assert val.problem == (
        f"{root / IMAGES / 'val'}: no labels: neither class folders, nor the development kit's "
        "list, nor boxes"
    )
    assert report.can_train == report.can_eval == val.problem
    assert report.tables["Table 1"] == [val.problem]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: (root / LISTS / "val.txt").write_bytes(b"\xe9"), "val.txt: cannot be read"),
        (lambda root: (root / LISTS / "val.txt").write_text(" \n"), "val: holds no images"),
    ],
)
def test_a_list_that_is_none_is_the_splits_problem(root, spoil, words):
    spoil(root)
    report = report_on(root)
    assert words in report.splits["val"].problem
    assert report.splits["train"].images == 6
    assert findings(report) == {}
    assert report.can_eval == report.splits["val"].problem


def test_all_listed_files_missing(root):
    shutil.rmtree(root / IMAGES / "val")
    (root / IMAGES / "val").mkdir()
    report = report_on(root)
    assert report.splits["val"].images == 0
    assert len(report.splits["val"].faults["missing"]) == 6
    assert report.can_eval == "val has files listed but not there"


def test_a_broken_list_of_classes_is_named_and_the_rest_looked_at(root):
    mapping = root / "LOC_synset_mapping.txt"
    mapping.write_text(f"{B} b\n{A} a\n{C} c\n")
    report = report_on(root)
    assert report.problem.startswith(f"{mapping}: WordNet ids must be sorted")
    assert report.can_train == report.can_eval == report.problem
    assert report.classes == "the 3 classes of the data set"  # by training folders
    assert [split.images for split in report.splits.values()] == [6, 6, 2]
    assert findings(report) == {}

    mapping.unlink()
    (root / "meta.mat").write_text("no MATLAB")
    report = report_on(root)
    assert report.problem.startswith(f"{root / 'meta.mat'}: not the development kit's meta.mat")
    assert [split.images for split in report.splits.values()] == [6, 6, 2]


def write_kit(root: Path, labels: list[object]) -> Path:
    fields = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object)]
    synsets = np.array([(3, A, "a"), (1, B, "b"), (2, C, "c")], fields)
    savemat(root / "meta.mat", {"synsets": synsets[:, None]})
    path = root / "ILSVRC2012_validation_ground_truth.txt"
    path.write_text("".join(f"{label}\n" for label in labels))
    return path


def test_labels_of_the_kit_against_those_of_the_boxes(root):
    path = write_kit(root, [3, 1, 2, 3, 2, 2])  # of the fifth the boxes say B, which is 1
    report = report_on(root)
    assert report.splits["val"].labels == path.name
    assert report.labels == "ILSVRC2012_ID of the development kit"
    assert findings(report) == {
        "val": {"label_conflicts": [f"{VAL}5.JPEG is {C} by {path.name}, {B} by {ANNOTATIONS}/val"]}
    }
    write_kit(root, [3, 1, 2, 3])
    report = report_on(root)
    assert report.splits["val"].problem == (
        f"{path}: has 4 lines, none for {VAL}5.JPEG; give the complete file of the development kit"
    )
    write_kit(root, [3, 1, 2, 3, 1001, 2])
    found = findings(report_on(root))["val"]["without_label"]
    assert found == [
        f"{VAL}5.JPEG (its id is that of none of the 3 classes of {root}/LOC_synset_mapping.txt)"
    ]


def test_the_blacklist_of_the_kit(root):
    assert report_on(root).splits["val"].blacklisted is None
    path = root / "ILSVRC2012_validation_blacklist.txt"
    path.write_text("2\n5\n36\n")
    report = report_on(root)
    assert [split.blacklisted for split in report.splits.values()] == [None, 2, None]
    path.write_text("2\nfive\n")
    report = report_on(root)
    assert report.can_eval == report.splits["val"].problem
    assert report.can_eval.startswith(f"{path}, line 2: ")
    assert report.splits["val"].images_by_class == {A: 2, B: 2, C: 2}


@pytest.mark.parametrize("is_link", [False, True])
def test_a_split_in_the_folder_of_training_images_is_a_fault(root, tmp_path, is_link):
    (tmp_path / "link").symlink_to(root / IMAGES / "train")
    folder = tmp_path / "link" if is_link else root / IMAGES / "train"
    report = report_on(root, Places(val=str(folder)))
    assert findings(report)["val"]["in_training"] == [f"all of {folder}, the folder of train"]
    assert report.can_train.startswith("val has ")
    assert "images that are training images too" in report.can_train
