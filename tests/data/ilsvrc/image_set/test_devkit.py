"""The development kit's ids and labels."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from tree_helpers import ANNOTATIONS, IDS, IMAGES, VAL, write_meta

from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.errors import UserError


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
    assert np.diff(images.boxes.offsets).tolist() == [0, 1, 0, 1, 1, 1]
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
