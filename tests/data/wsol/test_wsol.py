"""data=wsol: mock metadata of Choe et al. with images, and what can be wrong with them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cam_repro.classes import ilsvrc_classes
from cam_repro.data.ground_truth.read import read_truth
from cam_repro.data.wsol.source import NAMES, Wsol
from cam_repro.errors import UserError
from cam_repro.tables.protocols import published


@pytest.fixture
def source(make_wsol):
    """Opens the mock set of a kind, with settings."""

    def make(kind, **settings):
        words = dict(word.split("=", 1) for word in make_wsol(kind)[1:])
        return Wsol(words["data.root"], words["data.metadata"], **settings)

    return make


def test_boxes_literal(source):
    cub = source("CUB")
    val = cub.open("val")
    assert (val.name, val.classes.wnids) == ("cub", ("001.Albatross", "002.Auklet"))
    assert list(val.ids) == [
        f"{w}/val{k}{i}" for k, w in enumerate(val.classes.wnids) for i in "01"
    ]
    assert val.labels_N.tolist() == [0, 0, 1, 1]
    assert val.boxes.of(3).tolist() == [[1, 2, 21, 22]]
    assert val.sizes_N2.tolist() == [[40, 30]] * 4
    assert val.read(2)[1] == (40, 30)
    truth = read_truth(Path(cub.metadata, "val"))
    assert truth.boxes.values_T4.tolist() == val.boxes.values_T4.tolist()
    assert [len(cub.open(split)) for split in ("train", "test")] == [6, 4]
    report = cub.check(decode=True)
    assert [split.faults for split in report.splits.values()] == [{}, {}, {}]
    assert (report.can_train, report.can_eval) == (None, None)


def test_masks_literal(source):
    images = source("OpenImages").open("test")
    assert (images.name, images.has_boxes, images.sizes_N2) == ("openimages30k", False, None)
    assert images.classes.wnids == ("01226z", "0138tl")
    mask_HW = images.masks.of(2)  # of two objects and a region to ignore, twice as large
    assert mask_HW.shape == (60, 80)
    assert np.unique(mask_HW, return_counts=True)[1].tolist() == [4800 - 516, 256 + 160, 100]
    assert np.unique(mask_HW).tolist() == [0, 2, 255]
    assert np.unique(images.masks.of(1)).tolist() == [0, 1]


def test_check_finds_masks_that_are_broken_but_not_those_of_another_size(source):
    images = source("OpenImages")
    report = images.check(decode=True)
    assert [split.faults for split in report.splits.values()] == [{}, {}, {}]
    assert report.can_eval is None
    next(Path(images.root).rglob("val00_m0.png")).write_bytes(b"")
    (message,) = images.check(decode=True).splits["val"].faults["bad_masks"]
    assert "val00_m0.png: cannot be read as an image" in message


def test_training_images_may_have_no_boxes_and_a_proxy(source):
    images = source("CUB", proxy=True)
    assert list(images.open("train").ids) == ["001.Albatross/train00", "002.Auklet/train10"]
    assert images.open("train").described.endswith("no boxes")
    assert len(images.open("val")) == 4  # the proxy is of training images alone
    Path(images.metadata, "val", "localization.txt").unlink()
    with pytest.raises(UserError, match=r"localization.txt: missing"):
        images.open("val")
    assert len(images.open("val", with_boxes=False)) == 4


def test_imagenet_v2_has_ilsvrcs_classes(tmp_path):
    root, folder = tmp_path / "images", tmp_path / "ILSVRC" / "val"
    folder.mkdir(parents=True)
    names = [f"val2/{label}/{i}.jpeg" for label in (0, 1, 10, 11, 2) for i in (0, 1)]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10)).save(root / name)
    lines = {
        "image_ids": names,
        "class_labels": [f"{name},{name.split('/')[1]}" for name in names],
        "image_sizes": [f"{name},20,10" for name in names],
        "localization": [f"{name},0,0,9,9" for name in names],
    }
    for file, rows in lines.items():
        (folder / f"{file}.txt").write_text("\n".join(rows))
    images = Wsol(str(root), str(folder.parent)).open("val")
    assert images.classes.wnids == ilsvrc_classes().wnids
    assert images.labels_N.tolist() == [0, 0, 1, 1, 10, 10, 11, 11, 2, 2]
    assert (images.ids[2], images.name) == ("val2/1/0", "ilsvrc-wsol")


def test_training_images_of_ilsvrc_are_told_by_their_folders(source):
    images = source("CUB")
    wnids = ilsvrc_classes().wnids
    for path in Path(images.metadata).rglob("*.txt"):
        text = path.read_text()
        path.write_text(text.replace("001.Albatross", wnids[0]).replace("002.Auklet", wnids[1]))
    for label, folder in enumerate(("001.Albatross", "002.Auklet")):
        Path(images.root, folder).rename(Path(images.root, wnids[label]))
    assert len(images.open("train").classes) == 1000


def test_classes_without_a_folder_each_have_no_names(source):
    images = source("CUB")
    path = Path(images.metadata, "train", "class_labels.txt")
    path.write_text(path.read_text().replace("train00.jpg,0", "train00.jpg,1"))
    assert images.open("val").classes.wnids == ("class00000", "class00001")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "class_labels",
            "001.Albatross/val00.jpg,0\n",
            "",
            "no label of 001.Albatross/val00.jpg",
        ),
        ("class_labels", "val00.jpg,0", "val00.jpg,-1", "line 1: .* is not of the form id,label"),
        ("image_ids", "val01.jpg", "val00.jpg", "line 2: 001.Albatross/val00.jpg comes a second"),
        ("image_sizes", "002.Auklet/val11.jpg,40,30", "", "no size of 002.Auklet/val11.jpg; add"),
        ("localization", "0,2,20,22", "0,2,20", "line 1: .* is not of the form id,x0,y0,x1,y1"),
    ],
)
def test_a_damaged_file_is_said(source, file, old, new, message):
    images = source("CUB")
    path = Path(images.metadata, "val", f"{file}.txt")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError, match=message) as error:
        images.open("val")
    assert "\n" not in str(error.value)


def test_what_is_missing_is_said(source):
    images = source("CUB")
    root, metadata = images.root, images.metadata
    for settings, split, message in (
        ({"root": None}, "val", "data.root is not given: add data.root=DIR, the images"),
        (
            {"metadata": None},
            "val",
            "data.metadata is not given: add data.metadata=DIR, the",
        ),
        ({"metadata": f"{metadata}/val"}, "val", "is that of one split: give the folder above it"),
        ({"root": metadata}, "val", "has no 001.Albatross/val00.jpg, the first image of"),
        ({"metadata": root}, "val", "val: no such folder of metadata"),
        ({}, "dev", "split=dev: choose one of train, val, test"),
    ):
        with pytest.raises(UserError, match=message):
            Wsol(**{"root": root, "metadata": metadata, **settings}).open(split)


def test_check_names_images_of_both_splits_and_boxes_outside(source):
    images = source("CUB")
    folder = Path(images.metadata)
    for file in ("image_ids", "class_labels", "image_sizes", "localization"):
        path = folder / "val" / f"{file}.txt"
        path.write_text(path.read_text().replace("val00.jpg", "train00.jpg"))
    path.write_text(path.read_text().replace("0,2,20,22", "0,2,40,22", 1))
    faults = images.check(decode=False).splits["val"].faults
    assert faults == {
        "in_training": [f"{images.root}/001.Albatross/train00.jpg"],
        "boxes_outside": ["001.Albatross/train00 (40x30): [[0, 2, 40, 22]]"],
    }


def test_names_are_those_of_the_published_numbers():
    assert {NAMES["CUB"], NAMES["OpenImages"]} <= {row.data for row in published()}
    assert NAMES["ILSVRC"] not in {row.data for row in published()}
