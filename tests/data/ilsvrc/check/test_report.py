"""What ``cam-data check`` counts and says of a tree in which nothing is damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from check_helpers import ANNOTATIONS, A, B, C, findings, report_on
from PIL import Image

from cam_repro.classes import classes_of, ilsvrc_classes
from cam_repro.data.check import SplitReport, some_of
from cam_repro.data.ilsvrc import listing
from cam_repro.data.ilsvrc.layouts import Places
from cam_repro.data.image_set import ILSVRC_IMAGES
from cam_repro.formats.boxes import read_annotations

# --- a tree in which all is well ------------------------------------------------------------------


def test_what_is_counted(root):
    report = report_on(root)
    assert (report.layout, report.root, report.n_classes) == ("Kaggle", str(root), 3)
    assert report.classes == f"the 3 classes of {root}/LOC_synset_mapping.txt"
    assert report.labels == "class index + 1"
    assert not report.is_ilsvrc
    assert report.problem is report.can_train is report.can_eval is None
    assert report.tables == {"Table 1": [], "Table 2": [], "Table 3": []}
    assert findings(report) == {}
    each = {A: 2, B: 2, C: 2}
    version = {s: read_annotations(root / ANNOTATIONS / s).version for s in ("train", "val")}
    assert report.splits == {
        "train": SplitReport(
            split="train",
            images=6,
            complete=1_281_167,
            images_by_class=each,
            labels="class folders",
            boxes=6,
            annotations=f"{ANNOTATIONS}/train",
            annotation_version=version["train"],
        ),
        "val": SplitReport(
            split="val",
            images=6,
            complete=50_000,
            images_by_class=each,
            labels=f"{ANNOTATIONS}/val",
            boxes=6,
            annotations=f"{ANNOTATIONS}/val",
            annotation_version=version["val"],
        ),
        "test": SplitReport(split="test", images=2, complete=100_000, images_without_boxes=2),
    }
    assert json.loads(json.dumps(report.as_json()))["splits"]["val"]["images_by_class"] == each


def test_classes_without_an_image_are_counted_too(root):
    mapping = root / "LOC_synset_mapping.txt"
    mapping.write_text(f"n00000999 none\n{mapping.read_text()}")
    report = report_on(root)
    assert report.splits["val"].images_by_class == {"n00000999": 0, A: 2, B: 2, C: 2}


def test_the_tree_is_kept_apart_from_the_cache(root, tmp_path):
    first = report_on(root, cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert report_on(root, cache=tmp_path / "cache") == first == report_on(root)


# --- names that repeat ----------------------------------------------------------------------------


def test_numbers_from_1_in_each_class_folder_are_no_fault(tmp_path):
    for number, name in enumerate(("cat/001", "dog/001", "dog/002")):
        path = tmp_path / "val" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(path)
    assert findings(report_on(tmp_path)) == {}
    shutil.copy(tmp_path / "val/dog/002.png", tmp_path / "val/dog/002.jpg")
    assert findings(report_on(tmp_path)) == {
        "val": {
            "repeated": ["dog/002.jpg, dog/002.png"],
            "identical": ["dog/002.jpg, dog/002.png"],
        }
    }


def test_a_folder_without_a_list_is_looked_through_once(tmp_path, monkeypatch):
    for name in ("train/cat", "train/dog", "val/cat", "val/dog"):
        (tmp_path / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name / "1.png")
    entered = []
    enter = listing._enter_folder

    def note(folder: Path, *more: object) -> None:
        entered.append(folder.relative_to(tmp_path).as_posix())
        enter(folder, *more)

    monkeypatch.setattr(listing, "_enter_folder", note)
    report_on(tmp_path)
    assert sorted(entered) == ["train/cat", "train/dog", "val/cat", "val/dog"]


# --- boxes elsewhere ------------------------------------------------------------------------------


def test_boxes_named_for_val_are_not_laid_to_trains_charge(root, tmp_path):
    (root / ANNOTATIONS / "val").rename(tmp_path / "xml")
    (tmp_path / "xml/broken.xml").write_text("no XML")
    report = report_on(root, Places(boxes=str(tmp_path / "xml")))
    train, val = report.splits["train"], report.splits["val"]
    assert (train.annotations, train.boxes, train.images_without_boxes) == (None, 0, 6)
    assert (val.annotations, val.boxes) == (str(tmp_path / "xml"), 6)
    assert list(findings(report)) == ["val"]
    assert len(val.faults["unreadable_annotations"]) == 1


def test_boxes_of_other_images_are_said_to_be_so(root):
    for path in (root / ANNOTATIONS / "train" / A).iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    (root / "LOC_train_solution.csv").unlink()
    report = report_on(root)
    assert report.splits["train"].images_without_boxes == 2
    assert findings(report) == {
        "train": {"annotations_without_image": [f"x{A}_0", f"x{A}_1"]},
    }


# --- ILSVRC's classes -----------------------------------------------------------------------------


def test_an_incomplete_ilsvrc_lacks_images(root, monkeypatch):
    own = classes_of([A, B, C])
    monkeypatch.setattr("cam_repro.data.check.ilsvrc_classes", lambda: own)
    report = report_on(root)
    assert report.is_ilsvrc
    lacks = "49,994 of 50,000 validation images"
    assert report.tables == {"Table 1": [lacks], "Table 2": [lacks], "Table 3": [lacks]}
    assert report.can_train is report.can_eval is None
    monkeypatch.setitem(ILSVRC_IMAGES, "val", 6)
    assert report_on(root).tables == {"Table 1": [], "Table 2": [], "Table 3": []}


def test_classes_may_be_named(root):
    report = report_on(root, classes="ilsvrc")
    assert (report.n_classes, report.is_ilsvrc) == (1000, True)
    assert report.classes == "ILSVRC's 1,000 classes"
    assert len(report.splits["train"].faults["without_label"]) == 6
    assert report.n_classes == len(ilsvrc_classes())


# --- saying it ------------------------------------------------------------------------------------


def test_some_of():
    assert some_of([]) == ""
    assert some_of("abc") == "a; b; c"
    assert some_of("abcd") == "a; b; c and 1 more"
    assert some_of(map(str, range(2000)), shown=1) == "0 and 1,999 more"
