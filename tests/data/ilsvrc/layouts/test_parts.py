"""The parts of a tree: each is found where people have it."""

from __future__ import annotations

from pathlib import Path

import pytest
from layout_trees import EXPECTED, GOOSE, SNAKE, TENCH, as_tuples, kaggle, official

from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.data.ilsvrc.layouts import (
    Layout,
    Places,
    find_layout,
)
from cam_repro.data.ilsvrc.listing import class_folders


def test_the_parts_of_an_official_tree(parts, tmp_path):
    root = tmp_path / "root"
    official(root, parts)
    data = root / "ILSVRC2012_devkit_t12/data"
    assert find_layout(root) == Layout(
        root=root,
        is_kaggle=False,
        images={split: root / split for split in ("train", "val", "test")},
        boxes={split: root / "bbox" / split for split in ("train", "val")},
        lists={},
        solutions={},
        synset_mapping=None,
        meta=data / "meta.mat",
        val_labels=data / "ILSVRC2012_validation_ground_truth.txt",
        blacklist=data / "ILSVRC2012_validation_blacklist.txt",
    )


def test_the_parts_of_a_kaggle_tree(parts, tmp_path):
    root = tmp_path / "root"
    kaggle(root, parts)
    inner = root / "ILSVRC"
    names = {"train": "train_cls.txt", "val": "val.txt", "test": "test.txt"}
    assert find_layout(root) == Layout(
        root=root,
        is_kaggle=True,
        images={split: inner / "Data/CLS-LOC" / split for split in names},
        boxes={split: inner / "Annotations/CLS-LOC" / split for split in ("train", "val")},
        lists={split: inner / "ImageSets/CLS-LOC" / name for split, name in names.items()},
        solutions={split: root / f"LOC_{split}_solution.csv" for split in ("train", "val")},
        synset_mapping=root / "LOC_synset_mapping.txt",
        meta=None,
        val_labels=None,
        blacklist=None,
    )


@pytest.mark.parametrize(
    ("kit", "meta", "labels"),
    [
        ("", "meta.mat", "ILSVRC2012_validation_ground_truth.txt"),
        ("data", "meta.mat", "ILSVRC2012_validation_ground_truth.txt"),
        ("ILSVRC2012_devkit_t12/data", "meta.mat", "ILSVRC2012_validation_ground_truth.txt"),
        ("devkit/data", "meta.mat", "ILSVRC2012_validation_ground_truth.txt"),
        (
            "ILSVRC2014_devkit/data",
            "meta_clsloc.mat",
            "ILSVRC2014_clsloc_validation_ground_truth.txt",
        ),
    ],
)
def test_development_kits_of_any_year_are_found(parts, kit, meta, labels, tmp_path):
    (tmp_path / "val").mkdir()
    (tmp_path / kit).mkdir(parents=True, exist_ok=True)
    (tmp_path / kit / meta).touch()
    (tmp_path / kit / labels).touch()
    layout = find_layout(tmp_path)
    assert layout.meta == tmp_path / kit / meta
    assert layout.val_labels == tmp_path / kit / labels
    if kit:
        named = find_layout(tmp_path, Places(devkit=str(tmp_path / Path(kit).parts[0])))
        assert (named.meta, named.val_labels) == (layout.meta, layout.val_labels)


def test_class_folders_are_told_from_a_flat_folder_whatever_lies_beside(tmp_path):
    folder = tmp_path / "val"
    folder.mkdir()
    assert class_folders(folder) == []
    (folder / "readme.txt").touch()
    (folder / ".cache").mkdir()
    (folder / "@eaDir").mkdir()
    (folder / "@eaDir/a.JPEG").touch()
    (folder / TENCH).mkdir()
    assert class_folders(folder) == [TENCH]
    (folder / TENCH / "1.JPEG").touch()
    assert class_folders(folder) == [TENCH]
    (folder / "a.JPEG").touch()  # one that went astray
    assert class_folders(folder) == [TENCH]
    (folder / "b.JPEG").touch()  # more beside the folder than in it
    assert class_folders(folder) == []
    (folder / TENCH / "2.JPEG").touch()
    (folder / "lost").mkdir()
    (folder / "lost/3.JPEG").touch()
    assert class_folders(folder) == [TENCH]
    (folder / TENCH).rename(folder / "tench")
    (folder / "empty").mkdir()
    assert class_folders(folder) == ["lost", "tench"]


def test_class_folders_that_are_numbers_are_in_their_order(tmp_path):
    for name in ("10", "2", "0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.webp").touch()
    assert class_folders(tmp_path) == ["0", "2", "10"]
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a.webp").touch()
    assert class_folders(tmp_path) == ["0", "10", "2", "x"]


def test_a_link_to_images_is_followed(parts, tmp_path):
    official(tmp_path / "disk", parts)
    (tmp_path / "root/train").mkdir(parents=True)
    for wnid in (TENCH, SNAKE, GOOSE):
        (tmp_path / "root/train" / wnid).symlink_to(parts.train / wnid)
    (tmp_path / "root/val").symlink_to(tmp_path / "disk/val")
    (tmp_path / "root/bbox").symlink_to(tmp_path / "disk/bbox")
    for split in ("train", "val"):
        images = load_image_set(tmp_path / "root", split, classes="ilsvrc")
        assert as_tuples(images) == EXPECTED[split]
