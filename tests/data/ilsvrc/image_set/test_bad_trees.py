"""Trees that are not right: what is wrong is named in one line."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tree_helpers import ANNOTATIONS, IMAGES, VAL, write_xml

from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.errors import UserError


def _no_root(root: Path) -> None:
    shutil.rmtree(root)


def _no_data(root: Path) -> None:
    shutil.rmtree(root / "ILSVRC/Data")


def _no_split(root: Path) -> None:
    shutil.rmtree(root / IMAGES / "val")


def _no_images(root: Path) -> None:
    _no_split(root)
    shutil.rmtree(root / "ILSVRC/ImageSets")
    (root / IMAGES / "val").mkdir()


def _empty_mapping(root: Path) -> None:
    (root / "LOC_synset_mapping.txt").write_text("\n \n")


def _unsorted_mapping(root: Path) -> None:
    (root / "LOC_synset_mapping.txt").write_text("n00001010 b\nn00001000 a\nn00001020 c\n")


def _repeated_mapping(root: Path) -> None:
    (root / "LOC_synset_mapping.txt").write_text("n00001000 a\nn00001000 a\nn00001010 b\n")


def _short_mapping(root: Path) -> None:
    (root / "LOC_synset_mapping.txt").write_text("n00001000 a\nn00001010 b\n")


def _xml_cut_short(root: Path) -> None:
    path = root / ANNOTATIONS / f"val/{VAL}4.xml"
    path.write_text(path.read_text()[:-20])


def _xml_without_number(root: Path) -> None:
    write_xml(root, f"val/{VAL}4", [("n00001000", (1, 2, "wide", 3))])


def _xml_without_corner(root: Path) -> None:
    path = root / ANNOTATIONS / f"val/{VAL}4.xml"
    path.write_text(path.read_text().replace("ymin", "top"))


def _xml_of_two_classes(root: Path) -> None:
    box = (1, 2, 3, 4)
    write_xml(root, f"val/{VAL}4", [("n00001010", box), ("n00001000", box)])


def _xml_of_unknown_class(root: Path) -> None:
    write_xml(root, f"val/{VAL}4", [("n00004444", (1, 2, 3, 4))])


def _no_xml(root: Path) -> None:
    (root / ANNOTATIONS / f"val/{VAL}4.xml").unlink()


def _foreign_class_folder(root: Path) -> None:
    (root / "ILSVRC/ImageSets/CLS-LOC/train_cls.txt").unlink()
    (root / IMAGES / "train/n00001015").mkdir()
    (root / IMAGES / "train/n00001015/n00001015_1.JPEG").touch()


def _image_beside_the_class_folders(root: Path) -> None:
    (root / "ILSVRC/ImageSets/CLS-LOC/train_cls.txt").unlink()
    (root / IMAGES / "train/cover.jpg").touch()


def _list_not_utf8(root: Path) -> None:
    (root / "ILSVRC/ImageSets/CLS-LOC/val.txt").write_bytes(b"caf\xe9 1\n")


def _name_not_utf8(root: Path) -> None:
    (root / "ILSVRC/ImageSets/CLS-LOC/test.txt").unlink()
    name = os.fsencode(root / IMAGES / "test") + b"/caf\xe9.JPEG"
    os.close(os.open(name, os.O_CREAT))


def _no_annotations(root: Path) -> None:
    shutil.rmtree(root / ANNOTATIONS)
    (root / "LOC_val_solution.csv").unlink()


@pytest.mark.parametrize(
    ("spoil", "split", "words"),
    [
        (_no_root, "val", ["data.root={root}", "no such folder"]),
        (_no_data, "val", ["data.root={root}: holds no images; looked for", "data.val="]),
        (_no_split, "val", ["{root}: missing images; split=val needs a folder val", "data.val="]),
        (_no_images, "val", ["{root}/ILSVRC/Data/CLS-LOC/val: holds no images", "split=val"]),
        (_empty_mapping, "val", ["{root}/LOC_synset_mapping.txt: empty"]),
        (_unsorted_mapping, "val", ["{root}/LOC_synset_mapping.txt", "must be sorted"]),
        (_repeated_mapping, "val", ["{root}/LOC_synset_mapping.txt", "sorted and distinct"]),
        (
            _short_mapping,
            "train",
            [
                "{root}/ILSVRC/Data/CLS-LOC/train: does not tell the class of "
                "n00001020/n00001020_0.JPEG",
                "class folder n00001020 is not in the 2 classes of {root}/LOC_synset_mapping.txt",
                "(2 such images)",
                "data.classes=",
            ],
        ),
        (
            _short_mapping,
            "val",
            [
                "{root}/ILSVRC/Annotations/CLS-LOC/val: does not tell the class of "
                + VAL
                + "3.JPEG",
                "class n00001020 is not in the 2 classes of {root}/LOC_synset_mapping.txt",
            ],
        ),
        (
            _foreign_class_folder,
            "train",
            ["class folder n00001015 is not in the 3 classes of {root}/LOC_synset_mapping.txt"],
        ),
        (
            _image_beside_the_class_folders,
            "train",
            ["class of cover.jpg: it is in no class folder"],
        ),
        (_xml_cut_short, "val", ["CLS-LOC/val/" + VAL + "4.xml: not a readable annotation"]),
        (_xml_without_number, "val", [f"{VAL}4.xml: not a readable annotation", "'wide'"]),
        (_xml_without_corner, "val", [f"{VAL}4.xml: not a readable annotation", "no <ymin>"]),
        (
            _xml_of_two_classes,
            "val",
            [f"class of {VAL}4.JPEG: it has objects of n00001000, n00001010 (1 such"],
        ),
        (
            _xml_of_unknown_class,
            "val",
            [f"class of {VAL}4.JPEG: class n00004444 is not in the 3 classes of"],
        ),
        (
            _no_xml,
            "val",
            ["Annotations/CLS-LOC/val", f"class of {VAL}4.JPEG: it has no object there"],
        ),
        (_no_annotations, "val", ["split=val: no labels", "data.devkit= or data.boxes="]),
        (_list_not_utf8, "val", ["{root}/ILSVRC/ImageSets/CLS-LOC/val.txt: cannot be read"]),
        (_name_not_utf8, "test", ["CLS-LOC/test: rename 'caf\\udce9.JPEG', not UTF-8"]),
        (lambda root: None, "valid", ["split=valid", "train, val, test"]),
    ],
)
def test_what_is_not_right_is_named_in_one_line(root, spoil, split, words):
    spoil(root)
    with pytest.raises(UserError) as caught:
        load_image_set(root, split)
    message = str(caught.value)
    for word in words:
        assert word.format(root=root) in message
    assert "\n" not in message


def test_classes_asked_for_are_named_where_they_lack_one(root, tmp_path):
    (tmp_path / "mine.txt").write_text("n00001000 a\nn00001020 c\n")
    with pytest.raises(UserError, match=f"not in the 2 classes of {tmp_path}/mine.txt"):
        load_image_set(root, "train", classes=str(tmp_path / "mine.txt"))
    with pytest.raises(UserError, match="not in ILSVRC's 1,000 classes"):
        load_image_set(root, "train", classes="ilsvrc")


def test_a_list_that_a_windows_program_saved_is_read(root):
    path = root / "ILSVRC/ImageSets/CLS-LOC/val.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_image_set(root, "val").ids == [f"{VAL}{i}" for i in range(1, 7)]
