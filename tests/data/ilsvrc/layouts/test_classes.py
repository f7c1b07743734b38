"""The classes of a tree, by what lies in it."""

from __future__ import annotations

import shutil

from layout_trees import (
    EXPECTED,
    GOOSE,
    SNAKE,
    TENCH,
    as_tuples,
    write_mapping,
    write_solutions,
    write_train,
    write_val,
    write_val_boxes,
)

from cam_repro.classes import ilsvrc_classes
from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.data.ilsvrc.listing import class_folders

# --- the layouts ----------------------------------------------------------------------------------


def test_class_folders_give_the_classes_of_a_set_of_ones_own(make_tree, tmp_path):
    """Labels and boxes are those of the tree with its mapping; names are not known."""
    root = make_tree(tmp_path / "mine")
    with_mapping = [load_image_set(root, split) for split in ("train", "val", "test")]
    (root / "LOC_synset_mapping.txt").unlink()
    for split, wanted in zip(("train", "val", "test"), with_mapping, strict=True):
        images = load_image_set(root, split)
        assert images.fingerprint == wanted.fingerprint
        assert images.classes.wnids == ("n00001000", "n00001010", "n00001020")
        assert images.classes.names == images.classes.wnids
        assert images.classes.devkit_ids_C is None
        assert images.classes.submission_labels_C.tolist() == [1, 2, 3]
    shutil.rmtree(root / "ILSVRC/Data/CLS-LOC/train")
    # Now the annotations of val tell, for test too.
    for split in ("val", "test"):
        assert load_image_set(root, split).classes.wnids == ("n00001000", "n00001010", "n00001020")


# --- the classes ----------------------------------------------------------------------------------


def test_a_part_of_val_alone_has_ilsvrcs_classes_in_every_layout(parts, tmp_path):
    """Three classes are seen; without training images the 1,000 are meant."""
    roots = {name: tmp_path / name for name in ("flat", "sorted", "kit", "kaggle")}
    write_val(roots["flat"] / "val")
    write_val_boxes(roots["flat"] / "bbox/val")
    write_val(roots["sorted"] / "val", sort=True)
    write_val_boxes(roots["sorted"] / "bbox/val")
    write_val(roots["kit"] / "val", sort=True)
    write_val_boxes(roots["kit"] / "bbox/val")
    shutil.copytree(parts.kit, roots["kit"] / "devkit")
    write_val(roots["kaggle"] / "Data/CLS-LOC/val")
    write_solutions(roots["kaggle"], "val")
    write_mapping(roots["kaggle"])
    for root in roots.values():
        images = load_image_set(root, "val")
        assert as_tuples(images) == EXPECTED["val"]
        assert images.classes.wnids == ilsvrc_classes().wnids
    assert len({load_image_set(root, "val").fingerprint for root in roots.values()}) == 1


def test_training_folders_are_the_classes_and_ilsvrc_can_be_asked_for(parts, tmp_path):
    root = tmp_path / "root"
    write_train(root / "train")
    write_val(root / "val", sort=True)
    few = load_image_set(root, "val")
    assert few.classes.wnids == (TENCH, SNAKE, GOOSE)
    assert few.classes.names == ("tench", "sea snake", "goose")
    assert few.classes.devkit_ids_C is None
    assert few.labels_N.tolist() == [1, 0, 2]

    asked = load_image_set(root, "val", classes="ilsvrc")
    assert asked.labels_N.tolist() == [65, 0, 99]
    mapping = tmp_path / "classes.txt"
    mapping.write_text(f"n00000001 other\n{TENCH} t\n{SNAKE} s\n{GOOSE} g\n")
    of_file = load_image_set(root, "val", classes=str(mapping))
    assert of_file.labels_N.tolist() == [2, 1, 3]
    assert of_file.classes.names == ("other", "t", "s", "g")

    # The kit knows these three: their ids are its.
    shutil.copytree(parts.kit, root / "devkit")
    assert load_image_set(root, "val").classes.devkit_ids_C.tolist() == [449, 490, 420]


def test_folders_that_bear_no_wordnet_id_are_no_classes_of_ilsvrc(tmp_path):
    for name in (SNAKE, TENCH, "lost+found", "n0175174", ".hidden"):
        (tmp_path / "train" / name).mkdir(parents=True)
    (tmp_path / "train/readme.txt").touch()
    assert class_folders(tmp_path / "train") == [TENCH, SNAKE]
    for name in ("cat", "dog", "empty"):
        (tmp_path / "other" / name).mkdir(parents=True)
        if name != "empty":
            (tmp_path / "other" / name / "1.jpg").touch()
    assert class_folders(tmp_path / "other") == ["cat", "dog"]
