"""Every fault and note that ``cam-data check`` knows: each is named, and none hides another."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from check_helpers import (
    ANNOTATIONS,
    IMAGES,
    LISTS,
    VAL,
    A,
    B,
    C,
    _object,
    edit_xml,
    findings,
    report_on,
)
from PIL import Image

from cam_repro.data.check import FAULTS, NOTES
from cam_repro.data.ilsvrc import check
from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.errors import UserError


def _missing(root: Path) -> None:
    (root / IMAGES / f"val/{VAL}2.JPEG").unlink()


def _bad_names(root: Path) -> None:
    (root / LISTS / "test.txt").unlink()
    folder = os.fsencode(root / IMAGES / "test")
    os.rename(folder + b"/ILSVRC2012_test_00000001.JPEG", folder + b"/caf\xe9.JPEG")  # noqa: PTH104


def _empty(root: Path) -> None:
    (root / IMAGES / f"train/{B}/{B}_0.JPEG").write_bytes(b"")


def _unreadable(root: Path) -> None:
    path = root / IMAGES / f"val/{VAL}2.JPEG"
    path.write_bytes(path.read_bytes()[:300])
    (root / IMAGES / "test/ILSVRC2012_test_00000001.JPEG").write_text("<html>404</html>")


def _a_pipe(root: Path) -> None:
    os.mkfifo(root / IMAGES / f"train/{B}/x.JPEG")
    (root / LISTS / "train_cls.txt").unlink()


def _unreadable_annotations(root: Path) -> None:
    for i in (0, 1):
        (root / ANNOTATIONS / f"train/{A}/{A}_{i}.xml").write_text("<annotation>")


def _unreadable_annotations_that_tell_the_class(root: Path) -> None:
    (root / ANNOTATIONS / f"val/{VAL}2.xml").write_text("<annotation>")


def _wrong_line_of_the_solution(root: Path) -> None:
    shutil.rmtree(root / ANNOTATIONS)
    path = root / "LOC_val_solution.csv"
    path.write_text(path.read_text().replace(f"{VAL}2,{B} 3 2 18 13", f"{VAL}2,{B} 3 2 18"))


def _repeated(root: Path) -> None:
    (root / LISTS / "train_cls.txt").unlink()
    Image.new("RGB", (32, 24), (0, 0, 9)).save(root / IMAGES / f"train/{C}/{A}_1.JPEG")


def _without_label_by_folder(root: Path) -> None:
    (root / LISTS / "train_cls.txt").unlink()
    (root / IMAGES / "train/n00001011").mkdir()
    Image.new("RGB", (32, 24), (0, 99, 0)).save(root / IMAGES / "train/n00001011/x_1.JPEG")
    Image.new("RGB", (32, 24), (0, 0, 9)).save(root / IMAGES / "train/cover.jpg")


def _without_label_by_boxes(root: Path) -> None:
    for i in (2, 3):
        for folder, suffix in ((IMAGES, "JPEG"), (ANNOTATIONS, "xml")):
            assert (root / folder / f"val/{VAL}{i}.{suffix}").is_file()
    edit_xml(root, f"val/{VAL}2", B, "n00004444")
    (root / ANNOTATIONS / f"val/{VAL}3.xml").unlink()
    (root / "LOC_val_solution.csv").unlink()
    edit_xml(root, f"val/{VAL}4", "</annotation>", _object(B) + "</annotation>")


def _label_conflicts(root: Path) -> None:
    edit_xml(root, f"train/{A}/{A}_1", A, C)
    (root / "LOC_train_solution.csv").unlink()


def _boxes_outside(root: Path) -> None:
    for split in ("train", "val"):
        (root / f"LOC_{split}_solution.csv").unlink()
    # x 3 to 18, y 2 to 13 in images of 32 x 24
    edit_xml(root, f"val/{VAL}2", "<xmax>18<", "<xmax>32<")  # 31 is the last
    edit_xml(root, f"train/{A}/{A}_1", "<ymin>2<", "<ymin>-1<")
    edit_xml(root, f"train/{B}/{B}_1", "<ymin>2<", "<ymin>14<")
    edit_xml(root, f"train/{C}/{C}_1", "<xmax>18<", "<xmax>31<")  # just inside


def _not_listed(root: Path) -> None:
    path = root / LISTS / "val.txt"
    lines = [line for line in path.read_text().splitlines() if not line.startswith(f"{VAL}2")]
    path.write_text("\n".join(lines))
    (root / IMAGES / "train/n00001011").mkdir()
    (root / IMAGES / "train/n00001011/n00001011_1.JPEG").touch()


def _annotations_without_image(root: Path) -> None:
    shutil.copy(root / ANNOTATIONS / f"val/{VAL}2.xml", root / ANNOTATIONS / f"val/{VAL}9.xml")


def _other_objects(root: Path) -> None:
    edit_xml(root, f"train/{A}/{A}_1", A, "cat")
    (root / "LOC_train_solution.csv").unlink()


def _left_out(root: Path) -> None:
    train = root / IMAGES / "train"
    (train / A / "more").mkdir()
    (train / A / "more/deep.JPEG").touch()
    (train / A / "photo.heic").touch()
    (train / "@eaDir").mkdir()


def _rounded(root: Path) -> None:
    edit_xml(root, f"val/{VAL}2", "<xmax>18<", "<xmax>18.4<")


def _other_size(root: Path) -> None:
    Image.new("RGB", (31, 24), (0, 0, 9)).save(root / IMAGES / f"val/{VAL}2.JPEG")


def _other_boxes(root: Path) -> None:
    edit_xml(root, f"val/{VAL}2", "<xmax>18<", "<xmax>19<")
    (root / ANNOTATIONS / f"train/{A}/{A}_1.xml").unlink()


def _identical(root: Path) -> None:
    first = root / IMAGES / f"train/{A}/{A}_0.JPEG"
    shutil.copy(first, root / IMAGES / f"train/{C}/{C}_1.JPEG")
    shutil.copy(first, root / IMAGES / f"train/{A}/{A}_1.JPEG")


Spoil = Callable[[Path], None]
KNOWN = "the 3 classes of {root}/LOC_synset_mapping.txt"
TRAIN, EVAL = "train", "eval"
FOUND: dict[Spoil, tuple[dict[str, dict[str, list[str]]], set[str]]] = {
    # what is found, and which of cam-train and cam-eval it stops
    _missing: (
        {
            "val": {
                "missing": [f"{VAL}2.JPEG"],
                "annotations_without_image": [f"{VAL}2"],
            },
        },
        {TRAIN, EVAL},
    ),
    _bad_names: ({"test": {"bad_names": [r"'caf\udce9.JPEG'"]}}, set()),
    _empty: ({"train": {"empty": [f"{B}/{B}_0.JPEG"]}}, {TRAIN}),
    _unreadable: (
        {
            "val": {"unreadable": [f"{VAL}2.JPEG: not a readable image (…)"]},
            "test": {"unreadable": ["ILSVRC2012_test_00000001.JPEG: not a readable image (…)"]},
        },
        {TRAIN, EVAL},
    ),
    _a_pipe: (
        {"train": {"unreadable": [f"{B}/x.JPEG: a pipe, a socket or a device, not a file"]}},
        {TRAIN},
    ),
    _unreadable_annotations: (
        {
            "train": {
                "unreadable_annotations": [
                    f"{{root}}/{ANNOTATIONS}/train/{A}/{A}_{i}.xml: not a readable annotation "
                    "(no element found: line 1, column 12); restore the file"
                    for i in (0, 1)
                ],
                "other_boxes": [
                    f"{A}/{A}_0.JPEG: XML none, LOC_train_solution.csv {A} 0 0 15 11",
                    f"{A}/{A}_1.JPEG: XML none, LOC_train_solution.csv {A} 3 2 18 13",
                ],
            }
        },
        set(),  # training reads no boxes, and nobody scores the training images
    ),
    _unreadable_annotations_that_tell_the_class: (
        {
            "val": {
                "unreadable_annotations": [
                    f"{{root}}/{ANNOTATIONS}/val/{VAL}2.xml: not a readable annotation "
                    "(no element found: line 1, column 12); restore the file"
                ],
                "without_label": [f"{VAL}2.JPEG (it has no object there)"],
                "other_boxes": [f"{VAL}2.JPEG: XML none, LOC_val_solution.csv {B} 3 2 18 13"],
            }
        },
        {TRAIN, EVAL},
    ),
    _wrong_line_of_the_solution: (
        {
            "val": {
                "unreadable_annotations": [
                    "{root}/LOC_val_solution.csv, line 6: 4 words; expected 'wnid x0 y0 x1 y1' for "
                    "each object"
                ],
                "without_label": [f"{VAL}2.JPEG (it has no object there)"],
            }
        },
        {TRAIN, EVAL},
    ),
    _repeated: (
        {
            "train": {
                "repeated": [f"{A}/{A}_1.JPEG, {C}/{A}_1.JPEG"],
                # The XML file's folder tells which of the two is meant, the solution does not.
                "other_boxes": [f"{A}/{A}_1.JPEG: XML {A} 3 2 18 13, LOC_train_solution.csv none"],
            }
        },
        {TRAIN},
    ),
    _without_label_by_folder: (
        {
            "train": {
                "without_label": [
                    "cover.jpg (it is in no class folder)",
                    f"n00001011/x_1.JPEG (class folder n00001011 is not in {KNOWN})",
                ]
            }
        },
        {TRAIN},
    ),
    _without_label_by_boxes: (
        {
            "val": {
                "without_label": [
                    f"{VAL}2.JPEG (class n00004444 is not in {KNOWN})",
                    f"{VAL}3.JPEG (it has no object there)",
                    f"{VAL}4.JPEG (it has objects of {A}, {B})",
                ]
            }
        },
        {TRAIN, EVAL},
    ),
    _label_conflicts: (
        {
            "train": {
                "label_conflicts": [
                    f"{A}/{A}_1.JPEG is {A} by class folders, {C} by {ANNOTATIONS}/train"
                ]
            }
        },
        {TRAIN},
    ),
    _boxes_outside: (
        {
            "train": {
                "boxes_outside": [
                    f"{A}/{A}_1.JPEG (32x24): [[3, -1, 18, 13]]",
                    f"{B}/{B}_1.JPEG (32x24): [[3, 14, 18, 13]]",
                ]
            },
            "val": {"boxes_outside": [f"{VAL}2.JPEG (32x24): [[3, 2, 32, 13]]"]},
        },
        {EVAL},
    ),
    _not_listed: (
        {
            "train": {"not_listed": ["n00001011/n00001011_1.JPEG"]},
            "val": {
                "not_listed": [f"{VAL}2.JPEG"],
                "annotations_without_image": [f"{VAL}2"],
            },
        },
        set(),
    ),
    _other_objects: (
        {"train": {"other_objects": [f"{A}/{A}_1.JPEG is {A}, its boxes are of cat"]}},
        set(),  # training reads no boxes
    ),
    _left_out: (
        {
            "train": {
                "deeper": [f"{A}/more/deep.JPEG"],
                "other_files": [f"{A}/photo.heic"],
                "empty_folders": ["@eaDir"],
            }
        },
        set(),
    ),
    _rounded: ({"val": {"rounded": [f"{VAL}2.JPEG"]}}, set()),
    _annotations_without_image: ({"val": {"annotations_without_image": [f"{VAL}9"]}}, set()),
    _other_size: ({"val": {"other_size": [f"{VAL}2.JPEG is 31x24, not 32x24"]}}, set()),
    _other_boxes: (
        {
            "train": {
                "other_boxes": [f"{A}/{A}_1.JPEG: XML none, LOC_train_solution.csv {A} 3 2 18 13"]
            },
            "val": {
                "other_boxes": [
                    f"{VAL}2.JPEG: XML {B} 3 2 19 13, LOC_val_solution.csv {B} 3 2 18 13"
                ]
            },
        },
        set(),
    ),
    _identical: (
        {
            "train": {
                "identical": [f"{A}/{A}_0.JPEG, {A}/{A}_1.JPEG, {C}/{C}_1.JPEG"],
            }
        },
        set(),
    ),
}


@pytest.mark.parametrize("spoil", FOUND, ids=lambda spoil: spoil.__name__.strip("_"))
def test_each_fault_and_note_is_found_and_nothing_else(root, spoil):
    spoil(root)
    report = report_on(root)
    wanted, stopped = FOUND[spoil]
    found = findings(report)
    for name in found:  # Pillow's own words
        found[name] = {
            kind: [
                re.sub(r"image \(.*", "image (…)", item) if kind == "unreadable" else item
                for item in items
            ]
            for kind, items in found[name].items()
        }
    assert found == {
        name: {kind: [item.format(root=root) for item in items] for kind, items in kinds.items()}
        for name, kinds in wanted.items()
    }
    why_not = {TRAIN: report.can_train, EVAL: report.can_eval}
    assert {command for command, reason in why_not.items() if reason is not None} == stopped
    for split, kinds in wanted.items():
        for kind in kinds.keys() & FAULTS.keys():
            assert report.splits[split].faults[kind]
        for kind in kinds.keys() & NOTES.keys():
            assert report.splits[split].notes[kind]
    assert report.splits["train"].images + report.splits["val"].images >= 11, "all is looked at"


OF_PACKED_DATA = {"changed", "without_checksums"}
"""Provoked in tests/data/packed/test_damage.py."""

OF_MASKS = {"bad_masks"}
"""Provoked in tests/data/voc/test_voc.py and tests/data/demo/test_masks.py."""

OF_LISTS = {"in_training"}
"""Provoked in tests/data/wsol/test_wsol.py."""


def test_every_kind_is_provoked_above():
    kinds = {kind for found, _ in FOUND.values() for split in found.values() for kind in split}
    assert kinds == {*FAULTS, *NOTES} - OF_PACKED_DATA - OF_MASKS - OF_LISTS
    assert not FAULTS.keys() & NOTES.keys()


def test_what_check_says_of_loading_is_what_loading_does(root, make_tree, tmp_path):
    """Where nothing but pixels is wrong, a split loads; where a label is missing, it does not."""
    loads = {_missing, _unreadable, _empty, _not_listed, _other_size, _other_boxes, _boxes_outside}
    for number, spoil in enumerate((*loads, _without_label_by_folder, _without_label_by_boxes)):
        tree = Path(shutil.copytree(root, tmp_path / f"tree{number}"))
        spoil(tree)
        if spoil in loads:
            for split in ("train", "val"):
                load_image_set(tree, split, with_boxes=False)
        else:
            split = "train" if spoil is _without_label_by_folder else "val"
            with pytest.raises(UserError, match="does not tell the class"):
                load_image_set(tree, split, with_boxes=False)


def test_it_never_stops_at_the_first_fault(root):
    """All of it at once, so far as one does not undo another."""
    for spoil in (_empty, _boxes_outside, _annotations_without_image, _unreadable, _bad_names):
        spoil(root) if spoil is not _boxes_outside else None
    _without_label_by_boxes(root)
    (root / ANNOTATIONS / f"val/{VAL}5.xml").write_text("no XML")
    (root / IMAGES / f"val/{VAL}6.JPEG").unlink()
    edit_xml(root, f"val/{VAL}1", "<xmax>15<", "<xmax>99<")
    _label_conflicts(root)
    report = report_on(root)
    counts = {
        split: {kind: len(items) for kind, items in kinds.items()}
        for split, kinds in findings(report).items()
    }
    assert counts == {
        "train": {"empty": 1, "label_conflicts": 1},
        "val": {
            "missing": 1,
            "unreadable": 1,
            "unreadable_annotations": 1,
            "without_label": 4,
            "boxes_outside": 1,
            "annotations_without_image": 2,
        },
        "test": {"bad_names": 1, "unreadable": 1},
    }
    assert (
        report.can_train
        == "train has files of no bytes, images whose sources disagree on the class"
    )
    assert report.can_eval is not None
    assert report.can_eval.startswith("val has files listed but not there, unreadable images, ")


def test_without_decoding_boxes_are_held_against_the_stated_sizes(root):
    _unreadable(root)
    _boxes_outside(root)
    _identical(root)
    (root / ANNOTATIONS / f"val/{VAL}6.xml").write_text(
        f"<annotation>{_object(C)}</annotation>".replace("<xmax>1<", "<xmax>999<")
    )  # says no size: nobody knows
    found = findings(report_on(root, decode=False))
    assert found == {
        "train": {
            "boxes_outside": [
                f"{A}/{A}_1.JPEG (32x24): [[3, -1, 18, 13]]",
                f"{B}/{B}_1.JPEG (32x24): [[3, 14, 18, 13]]",
            ]
        },
        "val": {"boxes_outside": [f"{VAL}2.JPEG (32x24): [[3, 2, 32, 13]]"]},
    }


def test_objects_may_stand_in_another_order_in_the_solution(root):
    edit_xml(root, f"val/{VAL}2", "</annotation>", _object(B) + "</annotation>")
    path = root / "LOC_val_solution.csv"
    line = f"{VAL}2,{B} 3 2 18 13"
    assert line in path.read_text()
    assert list(findings(report_on(root))["val"]) == ["other_boxes"]
    path.write_text(path.read_text().replace(line, f"{VAL}2,{B} 1 1 1 1 {B} 3 2 18 13"))
    assert findings(report_on(root)) == {}


def test_only_the_boxes_outside_are_shown(root):
    (root / "LOC_val_solution.csv").unlink()
    edit_xml(
        root,
        f"val/{VAL}2",
        "</annotation>",
        _object(B).replace("<xmin>1<", "<xmin>2<") + "</annotation>",
    )
    assert findings(report_on(root)) == {
        "val": {"boxes_outside": [f"{VAL}2.JPEG (32x24): [[2, 1, 1, 1]]"]}
    }


def test_many_files_are_handed_out_in_portions(root, monkeypatch):
    _identical(root)
    _empty(root)
    wanted = findings(report_on(root))
    for portion in (1, 2, 4):
        monkeypatch.setattr(check, "AT_ONCE", portion)
        assert findings(report_on(root)) == wanted
