"""What is indexed of a tree, and what is said of one that is not right.

The trees are in the Kaggle layout; test_layouts.py has the others.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from cam_repro.classes import classes_of, ilsvrc_classes
from cam_repro.data.ground_truth.read import GroundTruth, read_ground_truth
from cam_repro.data.ilsvrc import image_set as ilsvrc
from cam_repro.data.ilsvrc.image_set import ground_truth_set, load_image_set
from cam_repro.data.ilsvrc.layouts import Places
from cam_repro.data.sources import open_ground_truth, open_ilsvrc
from cam_repro.errors import UserError
from cam_repro.formats import boxes as annotations
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
    assert images.boxes_M4.shape == (0, 4)
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
    truth = load_image_set(root, "val").ground_truth()
    assert truth.images == [f"{VAL}{i}" for i in range(1, 7)]
    assert truth.labels_N.tolist() == [0, 1, 2, 0, 1, 2]
    assert truth.labels_N.dtype == truth.gt_boxes_T4.dtype == np.int64
    assert truth.gt_offsets.tolist() == [0, 2, 3, 4, 5, 6, 7]
    assert truth.gt_boxes_T4[:3].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [3, 2, 18, 13]]
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
    (root / "ILSVRC/ImageSets/CLS-LOC/val.txt").write_text(f"{VAL}5 1\n\n{VAL}2 2\n{VAL}5 3\n")
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
        replace(images, ids_N=np.char.replace(images.ids_N, b"6", b"7")),
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


# --- names ---------------------------------------------------------------------------------------


def test_a_small_set_is_named_after_its_folder_unless_told_otherwise(root, monkeypatch):
    images = load_image_set(root, "val")
    assert (images.name, images.is_ilsvrc) == ("small", False)
    assert load_image_set(root, "val", name="mine").name == "mine"
    monkeypatch.chdir(root)
    assert load_image_set(".", "val").name == "small"


def test_only_the_complete_split_of_ilsvrcs_classes_is_ilsvrc(root, monkeypatch):
    monkeypatch.setitem(ilsvrc.ILSVRC_IMAGES, "val", 6)
    # As many classes and images, but other classes: never to be called ilsvrc.
    assert load_image_set(root, "val").name == "small"
    own = load_image_set(root, "val").classes
    monkeypatch.setattr(ilsvrc, "ilsvrc_classes", lambda: own)
    val, train, test = (load_image_set(root, split) for split in ("val", "train", "test"))
    assert (val.name, val.is_ilsvrc) == ("ilsvrc", True)
    assert (train.name, train.is_ilsvrc) == ("small", False)
    assert (test.name, test.is_ilsvrc) == ("small", False)
    monkeypatch.setitem(ilsvrc.ILSVRC_IMAGES, "val", 7)
    assert load_image_set(root, "val").name == "small"


def test_how_many_images_and_classes_ilsvrc_has():
    assert ilsvrc.ILSVRC_IMAGES == {"train": 1_281_167, "val": 50_000, "test": 100_000}
    assert len(ilsvrc_classes()) == 1000


# --- names that repeat ---------------------------------------------------------------------------


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


# --- the development kit's ids -------------------------------------------------------------------


def write_meta(path: Path, id_of: dict[str, int]) -> None:
    """A ``meta.mat`` as the development kit's: an n x 1 struct array ``synsets``."""
    fields = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object)]
    synsets = np.array([(number, wnid, f"w{number}, v") for wnid, number in id_of.items()], fields)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"synsets": synsets[:, None]})


IDS = {"n00001020": 1, "n00009999": 1001, "n00001000": 3, "n00001010": 2}


@pytest.mark.parametrize(
    "place", ["meta.mat", "data/meta.mat", "ILSVRC2012_devkit_t12/data/meta.mat"]
)
@pytest.mark.parametrize("mapping", [True, False])
def test_submission_labels_come_from_meta_mat(root, place, mapping):
    if not mapping:
        (root / "LOC_synset_mapping.txt").unlink()
    before = load_image_set(root, "val").classes
    assert before.devkit_ids_C is None
    assert before.submission_labels_C.tolist() == [1, 2, 3]
    write_meta(root / place, IDS)
    classes = load_image_set(root, "val").classes
    assert classes.submission_labels_C.tolist() == [3, 2, 1]
    assert classes.submission_labels_C.dtype == np.int32
    assert classes.names == (("class 0", "class 1", "class 2") if mapping else ("w3", "w2", "w1"))


def write_labels(root: Path, lines: list[object]) -> Path:
    path = root / "ILSVRC2012_validation_ground_truth.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_val_labels_by_the_kit_go_through_its_ids(root):
    """Labels of the kit win over the annotations, whose objects of other classes do not count."""
    write_meta(root / "meta.mat", IDS)
    write_labels(root, [1, 2, 3, 3, 2, 1])  # n...20, n...10, n...00, n...00, n...10, n...20
    images = load_image_set(root, "val")
    assert images.labels_N.tolist() == [2, 1, 0, 0, 1, 2]
    assert np.diff(images.box_offsets).tolist() == [0, 1, 0, 1, 1, 1]
    shutil.rmtree(root / ANNOTATIONS)
    for split in ("train", "val"):
        (root / f"LOC_{split}_solution.csv").unlink()
    assert load_image_set(root, "val").labels_N.tolist() == [2, 1, 0, 0, 1, 2]


def test_a_line_of_the_kit_belongs_to_the_number_in_the_name(root):
    write_meta(root / "meta.mat", IDS)
    write_labels(root, [2, 1, 2, 2, 3, 2])
    (root / "ILSVRC/ImageSets/CLS-LOC/val.txt").write_text(f"{VAL}5 1\n{VAL}2 2\n")
    images = load_image_set(root, "val", with_boxes=False)
    assert (images.ids, images.labels_N.tolist()) == ([f"{VAL}2", f"{VAL}5"], [2, 0])


def test_names_without_numbers_are_taken_in_their_order(root):
    write_meta(root / "meta.mat", IDS)
    for number, name in zip((1, 2, 3, 4, 5, 6), "fbdace", strict=True):
        (root / IMAGES / "val" / f"{VAL}{number}.JPEG").rename(root / IMAGES / f"val/{name}.JPEG")
    shutil.rmtree(root / "ILSVRC/ImageSets")
    shutil.rmtree(root / ANNOTATIONS)
    (root / "LOC_val_solution.csv").unlink()
    write_labels(root, [1, 2, 3, 3, 3, 2])
    images = load_image_set(root, "val")
    assert images.ids == list("abcdef")
    assert images.labels_N.tolist() == [2, 1, 0, 0, 0, 1]
    write_labels(root, [1, 2, 3])  # whose are they?
    with pytest.raises(UserError, match="split=val: no labels"):
        load_image_set(root, "val")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([1, 2, 3], [f"has 3 lines, none for {VAL}4.JPEG"]),
        ([1, 2, "x", 3, 1, 2], ["expected one class id a line"]),
        ([1, 2, 3, 3, 4, 1], [f"does not tell the class of {VAL}5", "its id is that of none of"]),
        ([1, 2, 3, 3, 1001, 1], [f"does not tell the class of {VAL}5", "1 such images"]),
        ([0, 2, 3, 3, 1, -1], [f"does not tell the class of {VAL}1", "2 such images"]),
        (["\xe9"], ["expected one class id a line"]),
    ],
)
def test_a_list_of_labels_that_is_not_right_is_named(root, lines, words):
    write_meta(root / "meta.mat", IDS)
    path = write_labels(root, lines)
    with pytest.raises(UserError) as caught:
        load_image_set(root, "val")
    assert str(caught.value).startswith(f"{path}: ")
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_image_of_number_0_has_no_line(root):
    write_meta(root / "meta.mat", IDS)
    write_labels(root, [1, 2, 3, 3, 2, 1])
    (root / IMAGES / f"val/{VAL}1.JPEG").rename(root / IMAGES / f"val/{VAL}0.JPEG")
    shutil.rmtree(root / "ILSVRC/ImageSets")
    with pytest.raises(UserError, match=f"has 6 lines, none for {VAL}0.JPEG"):
        load_image_set(root, "val")


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
                "{root}/ILSVRC/Data/CLS-LOC/train: does not tell the class of n00001020_0",
                "class folder n00001020 is not in the 2 classes of {root}/LOC_synset_mapping.txt",
                "(2 such images)",
                "data.classes=",
            ],
        ),
        (
            _short_mapping,
            "val",
            [
                "{root}/ILSVRC/Annotations/CLS-LOC/val: does not tell the class of " + VAL + "3",
                "class n00001020 is not in the 2 classes of {root}/LOC_synset_mapping.txt",
            ],
        ),
        (
            _foreign_class_folder,
            "train",
            ["class folder n00001015 is not in the 3 classes of {root}/LOC_synset_mapping.txt"],
        ),
        (_image_beside_the_class_folders, "train", ["class of cover: it is in no class folder"]),
        (_xml_cut_short, "val", ["CLS-LOC/val/" + VAL + "4.xml: not a readable annotation"]),
        (_xml_without_number, "val", [f"{VAL}4.xml: not a readable annotation", "'wide'"]),
        (_xml_without_corner, "val", [f"{VAL}4.xml: not a readable annotation", "no <ymin>"]),
        (
            _xml_of_two_classes,
            "val",
            [f"class of {VAL}4: it has objects of n00001000, n00001010 (1 such"],
        ),
        (
            _xml_of_unknown_class,
            "val",
            [f"class of {VAL}4: class n00004444 is not in the 3 classes of"],
        ),
        (_no_xml, "val", ["Annotations/CLS-LOC/val", f"class of {VAL}4: it has no object there"]),
        (_no_annotations, "val", ["split=val: no labels", "data.devkit= or data.boxes="]),
        (_list_not_utf8, "val", ["{root}/ILSVRC/ImageSets/CLS-LOC/val.txt: not UTF-8 text"]),
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


# --- labels, sizes and boxes without images ------------------------------------------------------


def truth_of(images: list[str], labels: list[int], **more: object) -> GroundTruth:
    return GroundTruth(
        images=images,
        labels_N=np.array(labels, np.int64),
        gt_boxes_T4=np.array([[0, 1, 2, 3]] * len(images), np.int64),
        gt_offsets=np.arange(len(images) + 1),
        sizes_N2=np.array([[9, 8]] * len(images), np.int32),
        **more,
    )


def test_a_ground_truth_is_an_image_set_without_images():
    truth = truth_of(["a.b", "c"], [2, 0])
    images = ground_truth_set(truth, Path("folder/mine.csv.gz"), "val")
    assert (images.name, images.has_images, images.is_ilsvrc) == ("mine", False, False)
    assert as_tuples(images) == [("a.b", 2, [[0, 1, 2, 3]]), ("c", 0, [[0, 1, 2, 3]])]
    assert images.classes.names == ("class 0", "class 1", "class 2")
    assert images.sizes_N2.tolist() == [[9, 8], [9, 8]]
    again = images.ground_truth()
    assert again.images == truth.images
    assert again.labels_N.tolist() == [2, 0]
    assert ground_truth_set(truth, Path("mine.csv"), "val", "named").name == "named"


def test_a_ground_truth_is_opened_where_it_says_the_sizes(tmp_path, monkeypatch):
    (tmp_path / "mine.csv").write_text("image,width,height,label,boxes\na,9,8,3,0 1 2 3;4 5 6 7\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    images = open_ground_truth(split="val", with_boxes=True, file="~/mine.csv")
    assert (images.name, as_tuples(images)) == ("mine", [("a", 3, [[0, 1, 2, 3], [4, 5, 6, 7]])])
    (tmp_path / "bare.csv").write_text("image,label,boxes\na,3,0 1 2 3\n")
    with pytest.raises(UserError, match=r"bare\.csv: does not say how large the images are"):
        open_ground_truth(split="val", with_boxes=True, file=str(tmp_path / "bare.csv"))
    with pytest.raises(UserError, match=r"data\.file is not given: add data\.file=F"):
        open_ground_truth(split="val", with_boxes=True)


def test_a_root_is_needed(root, tmp_path):
    with pytest.raises(UserError, match=r"data\.root is not given: add data\.root=DIR"):
        open_ilsvrc(split="val", with_boxes=True)
    images = open_ilsvrc(
        split="val", with_boxes=True, root=str(root), cache=str(tmp_path / "c"), name="mine"
    )
    assert (images.name, len(images)) == ("mine", 6)
    assert len(list((tmp_path / "c").iterdir())) == 1


def test_the_official_ground_truth_is_ilsvrc_val(shared_file):
    path = shared_file("ilsvrc2012_val_groundtruth.csv.gz")
    images = ground_truth_set(read_ground_truth(path), path, "val")
    assert (images.name, images.is_ilsvrc, len(images)) == ("ilsvrc", True, 50_000)
    assert images.classes is ilsvrc_classes()
    assert images[0].label == 65
    assert not ground_truth_set(read_ground_truth(path), path, "train").is_ilsvrc
