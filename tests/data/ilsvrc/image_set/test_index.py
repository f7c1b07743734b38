"""What is indexed of a tree: images, labels, boxes, sizes and names."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tree_helpers import ANNOTATIONS, IMAGES, VAL, as_tuples, write_xml

from cam_repro.classes import classes_of, ilsvrc_classes
from cam_repro.data.ilsvrc import image_set as ilsvrc
from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.data.ilsvrc.layouts import Places
from cam_repro.data.ilsvrc.source import Ilsvrc
from cam_repro.data.image_set import ILSVRC_IMAGES
from cam_repro.errors import UserError
from cam_repro.formats import boxes as annotations
from cam_repro.truth import RaggedBoxes
from cam_repro.types import NO_LABEL

# --- what is indexed ------------------------------------------------------------------------------


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
    assert images.classes.wnids == ("n00000999", "n00001000", "n00001010", "n00001020")
    assert images.classes.names == ("first", "class 0", "class 1", "class 2")
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
    for path in (root / ANNOTATIONS / "train").rglob("*.xml"):
        path.write_text("not XML")
    images = load_image_set(root, "train", with_boxes=False)
    assert [label for _, label, _ in as_tuples(images)] == [0, 0, 1, 1, 2, 2]
    assert images.boxes.values_T4.shape == (0, 4)
    assert images.sizes_N2 is None
    with pytest.raises(UserError, match="not a readable annotation"):
        load_image_set(root, "train")
    shutil.rmtree(root / ANNOTATIONS / "train")
    (root / "LOC_train_solution.csv").unlink()
    images = load_image_set(root, "train")  # boxes are asked for, and there are none
    assert not images.has_boxes
    assert images.described == "layout Kaggle, labels from class folders, no boxes"


def test_only_boxes_of_the_images_own_class_count(root):
    """A guess of another object in the image is no hit."""
    other = [("n00001020", (0, 0, 5, 5)), ("n00001010", (3, 3, 9, 9)), ("n00004444", (1, 1, 2, 2))]
    write_xml(root, "train/n00001010/n00001010_1", other)
    assert as_tuples(load_image_set(root, "train"))[3] == ("n00001010_1", 1, [[3, 3, 9, 9]])


def test_sizes_are_those_of_the_annotations(root):
    images = load_image_set(root, "val")
    assert images.sizes_N2.tolist() == [[32, 24]] * 6
    write_xml(root, f"val/{VAL}2", [("n00001010", (0, 1, 2, 3))])  # says no size
    assert load_image_set(root, "val").sizes_N2.tolist() == [[32, 24], [0, 0], *[[32, 24]] * 4]


def test_the_ground_truth_is_what_is_scored_against(root):
    write_xml(root, f"val/{VAL}1", [("n00001000", (0, 1, 2, 3)), ("n00001000", (4, 5, 6, 7))])
    truth = load_image_set(root, "val")
    assert truth.ids == [f"{VAL}{i}" for i in range(1, 7)]
    assert truth.labels_N.tolist() == [0, 1, 2, 0, 1, 2]
    assert truth.labels_N.dtype == truth.boxes.values_T4.dtype == np.int32
    assert truth.boxes.offsets.tolist() == [0, 2, 3, 4, 5, 6, 7]
    assert truth.boxes.values_T4[:3].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [3, 2, 18, 13]]
    assert truth.classes.wnids == ("n00001000", "n00001010", "n00001020")


def test_each_annotation_is_read_once(root, monkeypatch):
    """Also where they tell the classes, the labels and the boxes."""
    (root / "LOC_synset_mapping.txt").unlink()
    shutil.rmtree(root / IMAGES / "train")
    read = []
    original = annotations._read_xml
    monkeypatch.setattr(
        annotations, "_read_xml", lambda folder, name: read.append(name) or original(folder, name)
    )
    assert load_image_set(root, "val").labels_N.tolist() == [0, 1, 2, 0, 1, 2]
    assert read == [f"{VAL}{i}.xml" for i in range(1, 7)]


def test_a_kept_table_changes_nothing(root, tmp_path):
    cold = load_image_set(root, "val", cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 1
    warm = load_image_set(root, "val", cache=tmp_path / "cache")
    assert warm.fingerprint == cold.fingerprint == load_image_set(root, "val").fingerprint
    assert warm.sizes_N2.tolist() == cold.sizes_N2.tolist()


def test_test_split_has_neither_labels_nor_boxes(root):
    images = load_image_set(root, "test")
    assert as_tuples(images) == [
        ("ILSVRC2012_test_00000001", NO_LABEL, []),
        ("ILSVRC2012_test_00000002", NO_LABEL, []),
    ]
    assert not images.has_labels


def test_boxes_of_test_images_are_taken_where_somebody_has_them(root):
    (root / ANNOTATIONS / "test").mkdir()
    two = [("n00001010", (0, 1, 2, 3)), ("n00001020", (4, 5, 31, 23))]
    write_xml(root, "test/ILSVRC2012_test_00000002", two)
    assert as_tuples(load_image_set(root, "test")) == [
        ("ILSVRC2012_test_00000001", NO_LABEL, []),
        ("ILSVRC2012_test_00000002", NO_LABEL, [[0, 1, 2, 3], [4, 5, 31, 23]]),
    ]


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
    assert len(from_csv.boxes.values_T4) == {"train": 6, "val": 7}[split]


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
    (root / "ILSVRC/ImageSets/CLS-LOC/val.txt").write_text(f"{VAL}5 1\n\n{VAL}2 2\n{VAL}5 3\n")
    assert [s[0] for s in as_tuples(load_image_set(root, "val"))] == [f"{VAL}2", f"{VAL}5"]


def test_fingerprint_changes_with_names_labels_boxes_and_classes(root):
    images = load_image_set(root, "val")
    labels_N, boxes_M4, offsets = (
        images.labels_N.copy(),
        images.boxes.values_T4.copy(),
        images.boxes.offsets.copy(),
    )
    labels_N[0] = 1
    boxes_M4[5, 3] += 1
    offsets[1] = 2
    changed = [
        replace(images, labels_N=labels_N),
        replace(images, boxes=RaggedBoxes(boxes_M4, images.boxes.offsets)),
        replace(images, boxes=RaggedBoxes(images.boxes.values_T4, offsets)),
        replace(images, ids=[own_id.replace("6", "7") for own_id in images.ids]),
        replace(images, classes=classes_of(["n00001000", "n00001010", "n00001021"])),
    ]
    assert len({images.fingerprint, *(other.fingerprint for other in changed)}) == 6
    # What does not tell which images these are leaves it alone.
    for other in (
        replace(images, name="other", folder=Path("x"), described="elsewhere"),
        replace(images, sizes_N2=None),
        replace(images, classes=classes_of(images.classes.wnids, {"n00001000": "another name"})),
    ):
        assert other.fingerprint == images.fingerprint


# --- names ----------------------------------------------------------------------------------------


def test_a_small_set_is_named_after_its_folder_unless_told_otherwise(root, monkeypatch):
    images = load_image_set(root, "val")
    assert (images.name, images.is_ilsvrc) == ("small", False)
    assert Ilsvrc(root=str(root), name="mine").open("val").name == "mine"
    monkeypatch.chdir(root)
    assert load_image_set(".", "val").name == "small"


def test_only_the_complete_split_of_ilsvrcs_classes_is_ilsvrc(root, monkeypatch):
    monkeypatch.setitem(ILSVRC_IMAGES, "val", 6)
    # As many classes and images, but other classes: never to be called ilsvrc.
    assert load_image_set(root, "val").name == "small"
    own = load_image_set(root, "val").classes
    monkeypatch.setattr(ilsvrc, "ilsvrc_classes", lambda: own)
    val, train, test = (load_image_set(root, split) for split in ("val", "train", "test"))
    assert (val.name, val.is_ilsvrc) == ("ilsvrc", True)
    assert (train.name, train.is_ilsvrc) == ("small", False)
    assert (test.name, test.is_ilsvrc) == ("small", False)
    monkeypatch.setitem(ILSVRC_IMAGES, "val", 7)
    assert load_image_set(root, "val").name == "small"


def test_how_many_images_and_classes_ilsvrc_has():
    assert ILSVRC_IMAGES == {"train": 1_281_167, "val": 50_000, "test": 100_000}
    assert len(ilsvrc_classes()) == 1000


# --- names that repeat ----------------------------------------------------------------------------


def test_names_that_repeat_in_class_folders_take_the_folder(tmp_path):
    """Sets of one's own often number the images of each class from 1."""
    for wnid, box in (("cat", (0, 0, 1, 1)), ("dog", (2, 2, 3, 3))):
        for split in ("train", "val"):
            image = tmp_path / split / wnid / "001.jpg"
            image.parent.mkdir(parents=True)
            image.touch()
            (tmp_path / ANNOTATIONS / split / wnid).mkdir(parents=True)
            write_xml(tmp_path, f"{split}/{wnid}/001", [(wnid, box)])
    places = Places(boxes=str(tmp_path / ANNOTATIONS))
    for split in ("train", "val"):
        images = load_image_set(tmp_path, split, places=places)
        assert as_tuples(images) == [("cat/001", 0, [[0, 0, 1, 1]]), ("dog/001", 1, [[2, 2, 3, 3]])]
        assert images.ids == ["cat/001", "dog/001"]


def test_two_files_of_one_name_are_refused(root):
    (root / "ILSVRC/ImageSets/CLS-LOC/val.txt").unlink()
    (root / IMAGES / "val" / f"{VAL}3.png").touch()
    with pytest.raises(UserError, match=f"is {VAL}3, and so is .*{VAL}3") as caught:
        load_image_set(root, "val")
    assert "take one away" in str(caught.value)


# --- labels, sizes and boxes without images -------------------------------------------------------


def test_a_root_is_needed(root, tmp_path):
    with pytest.raises(UserError, match=r"data\.root is not given: add data\.root=DIR"):
        Ilsvrc().open("val")
    source = Ilsvrc(root=str(root), cache=str(tmp_path / "c"), name="mine")
    assert source.splits() == ["train", "val", "test"]
    images = source.open("val")
    assert (images.name, len(images)) == ("mine", 6)
    assert len(list((tmp_path / "c").iterdir())) == 1
