"""A tree in the Kaggle layout: what is indexed, and what is said of a tree that is not right."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from cam_repro.data import ilsvrc
from cam_repro.data.ilsvrc import load_image_set
from cam_repro.errors import UserError
from cam_repro.types import NO_LABEL

ANNOTATIONS = "ILSVRC/Annotations/CLS-LOC"
IMAGES = "ILSVRC/Data/CLS-LOC"
VAL = "ILSVRC2012_val_0000000"


@pytest.fixture
def root(make_tree: Callable[..., Path], tmp_path: Path) -> Path:
    return make_tree(tmp_path / "small", train=2)


def write_xml(root: Path, image: str, objects: list[tuple[str, tuple[object, ...]]]) -> None:
    text = "".join(
        f"<object><name>{wnid}</name><bndbox><ymax>{y1}</ymax><xmin>{x0}</xmin>"
        f"<ymin>{y0}</ymin><xmax>{x1}</xmax></bndbox></object>"
        for wnid, (x0, y0, x1, y1) in objects
    )
    (root / ANNOTATIONS / f"{image}.xml").write_text(f"<annotation>{text}</annotation>")


def as_tuples(images: ilsvrc.ImageSet) -> list[tuple[str, int, list[list[int]]]]:
    return [(s.id, s.label, s.boxes_M4.tolist()) for s in (images[i] for i in range(len(images)))]


# --- what is indexed -----------------------------------------------------------------------------


def test_val_labels_and_boxes_come_from_the_annotations_in_file_name_order(root):
    two = [("n00001010", (0, 1, 2, 3)), ("n00001010", ("4.0", 5, 31, 23))]
    write_xml(root, f"val/{VAL}2", two)
    images = load_image_set(root, "val")
    assert as_tuples(images) == [
        (f"{VAL}1", 0, [[0, 0, 15, 11]]),
        (f"{VAL}2", 1, [[0, 1, 2, 3], [4, 5, 31, 23]]),
        (f"{VAL}3", 2, [[6, 4, 21, 15]]),
        (f"{VAL}4", 0, [[9, 6, 24, 17]]),
        (f"{VAL}5", 1, [[12, 8, 27, 19]]),
        (f"{VAL}6", 2, [[15, 10, 30, 21]]),
    ]
    assert images[1].boxes_M4.dtype == np.int32
    assert images[3].path == root / IMAGES / "val" / f"{VAL}4.JPEG"
    assert images[3].path.is_file()
    assert images.has_labels


def test_indices_follow_the_mapping_not_the_class_folders_present(root):
    mapping = root / "LOC_synset_mapping.txt"
    mapping.write_text("n00000999 first\n" + mapping.read_text() + "\n")
    images = load_image_set(root, "train")
    assert images.wnids == ["n00000999", "n00001000", "n00001010", "n00001020"]
    assert images.class_names == ["first", "class 0", "class 1", "class 2"]
    assert [(images[i].id, images[i].label) for i in range(6)] == [
        ("n00001000_0", 1),
        ("n00001000_1", 1),
        ("n00001010_0", 2),
        ("n00001010_1", 2),
        ("n00001020_0", 3),
        ("n00001020_1", 3),
    ]
    assert images[4].path == root / IMAGES / "train/n00001020/n00001020_0.JPEG"


def test_training_image_without_annotation_has_no_boxes(root):
    (root / ANNOTATIONS / "train/n00001010/n00001010_0.xml").unlink()
    images = load_image_set(root, "train")
    assert as_tuples(images)[1:4] == [
        ("n00001000_1", 0, [[3, 2, 18, 13]]),
        ("n00001010_0", 1, []),
        ("n00001010_1", 1, [[3, 2, 18, 13]]),
    ]
    assert images[2].boxes_M4.shape == (0, 4)


def test_training_without_boxes_reads_no_annotation(root):
    shutil.rmtree(root / ANNOTATIONS / "train")
    (root / "LOC_train_solution.csv").unlink()
    images = load_image_set(root, "train", with_boxes=False)
    assert [label for _, label, _ in as_tuples(images)] == [0, 0, 1, 1, 2, 2]
    assert images.boxes_M4.shape == (0, 4)
    with pytest.raises(UserError, match="split=train: no boxes"):
        load_image_set(root, "train")


def test_test_split_has_neither_labels_nor_boxes(root):
    images = load_image_set(root, "test")
    assert as_tuples(images) == [
        ("ILSVRC2012_test_00000001", NO_LABEL, []),
        ("ILSVRC2012_test_00000002", NO_LABEL, []),
    ]
    assert not images.has_labels


@pytest.mark.parametrize("split", ["train", "val"])
def test_solution_csv_says_the_same_as_the_annotations(root, split):
    two = [("n00001020", (6, 4, 21, 15)), ("n00001020", (0, 0, 0, 0))]
    write_xml(root, f"val/{VAL}3", two)
    solution = root / "LOC_val_solution.csv"
    line = f"{VAL}3,n00001020 6 4 21 15 "
    assert line in solution.read_text()
    solution.write_text(solution.read_text().replace(line, line + "n00001020 0 0 0 0 "))

    from_xml = load_image_set(root, split)
    shutil.rmtree(root / ANNOTATIONS)
    from_csv = load_image_set(root, split)
    assert as_tuples(from_csv) == as_tuples(from_xml)
    assert from_csv.fingerprint == from_xml.fingerprint
    assert len(from_csv.boxes_M4) == {"train": 6, "val": 7}[split]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_the_outer_folder_may_be_missing(root, split):
    nested = load_image_set(root, split)
    for folder in list((root / "ILSVRC").iterdir()):
        folder.rename(root / folder.name)
    (root / "ILSVRC").rmdir()
    flat = load_image_set(root, split)
    assert flat.folder == root / "Data/CLS-LOC" / split
    assert nested.folder == root / IMAGES / split
    assert flat.fingerprint == nested.fingerprint
    assert as_tuples(flat) == as_tuples(nested)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_without_lists_the_folder_is_listed(root, split):
    listed = load_image_set(root, split)
    shutil.rmtree(root / "ILSVRC/ImageSets")
    (root / IMAGES / split / "notes.txt").write_text("not an image")
    found = load_image_set(root, split)
    assert as_tuples(found) == as_tuples(listed)
    assert found.fingerprint == listed.fingerprint


def test_a_list_chooses_among_the_files(root):
    (root / "ILSVRC/ImageSets/CLS-LOC/val.txt").write_text(f"{VAL}5 1\n\n{VAL}2 2\n")
    assert [s[0] for s in as_tuples(load_image_set(root, "val"))] == [f"{VAL}2", f"{VAL}5"]


def test_fingerprint_changes_with_names_labels_boxes_and_classes(root):
    images = load_image_set(root, "val")
    labels_N, boxes_M4, offsets = (
        images.labels_N.copy(),
        images.boxes_M4.copy(),
        images.box_offsets.copy(),
    )
    labels_N[0] = 1
    boxes_M4[5, 3] += 1
    offsets[1] = 2
    changed = [
        replace(images, labels_N=labels_N),
        replace(images, boxes_M4=boxes_M4),
        replace(images, box_offsets=offsets),
        replace(images, files_N=np.char.replace(images.files_N, b"6.JPEG", b"7.JPEG")),
        replace(images, wnids=[*images.wnids[:2], "n00001021"]),
    ]
    assert len({images.fingerprint, *(other.fingerprint for other in changed)}) == 6
    # What does not tell which images these are leaves it alone.
    assert replace(images, name="other", folder=Path("x")).fingerprint == images.fingerprint


# --- names ---------------------------------------------------------------------------------------


def test_a_small_set_is_named_after_its_folder_unless_told_otherwise(root, monkeypatch):
    images = load_image_set(root, "val")
    assert (images.name, images.is_ilsvrc) == ("small", False)
    assert load_image_set(root, "val", name="mine").name == "mine"
    monkeypatch.chdir(root)
    assert load_image_set(".", "val").name == "small"


def test_only_the_complete_split_is_ilsvrc(root, monkeypatch):
    monkeypatch.setattr(ilsvrc, "ILSVRC_CLASSES", 3)
    monkeypatch.setattr(ilsvrc, "ILSVRC_VAL_IMAGES", 6)
    val, train, test = (load_image_set(root, split) for split in ("val", "train", "test"))
    assert (val.name, val.is_ilsvrc) == ("ilsvrc", True)
    assert (train.name, train.is_ilsvrc) == ("small", False)
    assert (test.name, test.is_ilsvrc) == ("small", False)
    monkeypatch.setattr(ilsvrc, "ILSVRC_CLASSES", 4)
    assert load_image_set(root, "val").name == "small"


# --- the development kit's ids -------------------------------------------------------------------


def write_meta(path: Path, id_of: dict[str, int]) -> None:
    """A ``meta.mat`` as the development kit's: an n x 1 struct array ``synsets``."""
    fields = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object)]
    synsets = np.array([(number, wnid, "w") for wnid, number in id_of.items()], fields)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"synsets": synsets[:, None]})


IDS = {"n00001020": 1, "n00009999": 1001, "n00001000": 3, "n00001010": 2}


@pytest.mark.parametrize(
    "place", ["meta.mat", "data/meta.mat", "ILSVRC2012_devkit_t12/data/meta.mat"]
)
def test_submission_labels_come_from_meta_mat(root, place):
    assert load_image_set(root, "val").submission_labels_C is None
    write_meta(root / place, IDS)
    labels_C = load_image_set(root, "val").submission_labels_C
    assert labels_C.tolist() == [3, 2, 1]
    assert labels_C.dtype == np.int32


def _not_a_mat(path: Path) -> None:
    path.write_text("hello")


def _other_variables(path: Path) -> None:
    savemat(path, {"classes": np.arange(3)})


def _other_fields(path: Path) -> None:
    savemat(path, {"synsets": np.array([(1,), (2,)], [("ID", object)])})


def _other_classes(path: Path) -> None:
    write_meta(path, {"n00001000": 1, "n00001020": 2, "n7": 3})


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (_not_a_mat, "not the development kit's meta.mat"),
        (_other_variables, "not the development kit's meta.mat"),
        (_other_fields, "not the development kit's meta.mat"),
        (_other_classes, "has no class n00001010"),
    ],
)
def test_a_foreign_meta_mat_is_refused(root, write, words):
    write(root / "meta.mat")
    with pytest.raises(UserError) as caught:
        load_image_set(root, "val")
    message = str(caught.value)
    assert message.startswith(f"{root / 'meta.mat'}: ")
    assert words in message
    assert "\n" not in message


# --- trees that are not right --------------------------------------------------------------------


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


def _no_mapping(root: Path) -> None:
    (root / "LOC_synset_mapping.txt").unlink()


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


def _no_annotations(root: Path) -> None:
    shutil.rmtree(root / ANNOTATIONS)
    (root / "LOC_val_solution.csv").unlink()


@pytest.mark.parametrize(
    ("spoil", "split", "words"),
    [
        (_no_root, "val", ["data.root={root}", "no such folder"]),
        (_no_data, "val", ["data.root={root}", "neither Data/CLS-LOC nor ILSVRC/Data/CLS-LOC"]),
        (_no_split, "val", ["{root}/ILSVRC/Data/CLS-LOC/val: missing", "split=val"]),
        (_no_images, "val", ["{root}/ILSVRC/Data/CLS-LOC/val: holds no images", "split=val"]),
        (_no_mapping, "val", ["{root}/LOC_synset_mapping.txt: missing"]),
        (_empty_mapping, "val", ["{root}/LOC_synset_mapping.txt: empty"]),
        (_unsorted_mapping, "val", ["{root}/LOC_synset_mapping.txt", "must be sorted"]),
        (_repeated_mapping, "val", ["{root}/LOC_synset_mapping.txt", "sorted and distinct"]),
        (
            _short_mapping,
            "train",
            ["Data/CLS-LOC/train/n00001020: class folder", "{root}/LOC_synset_mapping.txt"],
        ),
        (_short_mapping, "val", ["class n00001020", f"{VAL}3", "LOC_synset_mapping.txt"]),
        (_xml_cut_short, "val", ["CLS-LOC/val/" + VAL + "4.xml: not a readable annotation"]),
        (_xml_without_number, "val", [f"{VAL}4.xml: not a readable annotation", "'wide'"]),
        (_xml_without_corner, "val", [f"{VAL}4.xml: not a readable annotation", "bndbox/ymin"]),
        (_xml_of_two_classes, "val", [f"{VAL}4 must have one class", "n00001000, n00001010"]),
        (_xml_of_unknown_class, "val", [f"class n00004444 of {VAL}4 is not in"]),
        (_no_xml, "val", ["Annotations/CLS-LOC/val", f"{VAL}4 must have one class, has none"]),
        (_no_annotations, "val", ["split=val: no boxes", "{root}/LOC_val_solution.csv"]),
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


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([("ImageId", "PredictionString"), (f"{VAL}1", "n00001000 1 2 3")], 2),
        (
            [
                ("ImageId", "PredictionString"),
                (f"{VAL}1", "n00001000 1 2 3 4"),
                (f"{VAL}2", "n00001000 1 2 x 4"),
            ],
            3,
        ),
        ([("ImageId", "PredictionString"), (f"{VAL}1",)], 2),
        ([("Image", "Boxes"), (f"{VAL}1", "n00001000 1 2 3 4")], 2),
    ],
)
def test_a_wrong_line_of_the_solution_is_named(root, rows, line):
    shutil.rmtree(root / ANNOTATIONS)
    solution = root / "LOC_val_solution.csv"
    with solution.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(UserError) as caught:
        load_image_set(root, "val")
    assert str(caught.value).startswith(f"{solution}, line {line}: expected")
