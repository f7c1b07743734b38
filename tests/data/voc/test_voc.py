"""data=voc: a mock VOCdevkit by every list, seen in both ways, and what can be wrong with it."""

import logging

import numpy as np
import pytest
from PIL import Image

from cam_repro.data.voc.image_set import CLASSES
from cam_repro.data.voc.source import Voc
from cam_repro.errors import UserError
from cam_repro.truth import LabelSets

CAT, DOG, BUS, PERSON, SHEEP = map(CLASSES.index, ("cat", "dog", "bus", "person", "sheep"))


def boxes_of(images):
    return [images.boxes.of(i).tolist() for i in range(len(images))]


def sets_of(images):
    return [images.label_sets.of(i).tolist() for i in range(len(images))]


def test_train_literal(make_voc):
    images = Voc(str(make_voc())).open("train")
    assert (images.name, len(images.classes)) == ("voc2012", 20)
    assert list(images.ids) == ["2008_000001", "2008_000002", "2008_000003"]
    assert images.labels_N.tolist() == [DOG, PERSON, CAT]
    assert sets_of(images) == [[DOG, PERSON], [PERSON], [CAT]]
    assert boxes_of(images) == [[[0, 0, 29, 19]], [[0, 0, 59, 39]], [[10, 10, 29, 29]]]
    assert images.sizes_N2.tolist() == [[60, 40]] * 3
    assert images.read(0)[1] == (60, 40)
    assert images.described == (
        "ImageSets/Main/train.txt; labels: largest object; boxes: all of that class; masks of 2 of "
        "3 images"
    )


def test_boxes_with_fractions_and_difficult_ones(make_voc, caplog):
    """Rounded, then counted from 0. The difficult bus is a box of buses; alone it is a class."""
    caplog.set_level(logging.INFO, "cam_repro")
    images = Voc(str(make_voc())).open("val")
    assert images.labels_N.tolist() == [BUS, PERSON, SHEEP]
    assert boxes_of(images) == [
        [[5, 1, 23, 20], [40, 0, 59, 19]],
        [[40, 0, 59, 19]],
        [[0, 0, 59, 19]],
    ]
    assert sets_of(images) == [[BUS], [CAT, PERSON], [SHEEP]]
    assert caplog.messages == [
        "ImageSets/Main/val.txt: 1 images have difficult objects alone, and count by these (the "
        "first: 2008_000006)",
        "ImageSets/Main/val.txt: 1 of 3 images show several classes; the label is that of the "
        "largest object that is not difficult (data.pairs=true makes an entry for each class)",
    ]


def test_pairs_literal(make_voc, caplog):
    """As in the pointing game: of each class that has an object which is not difficult."""
    caplog.set_level(logging.INFO, "cam_repro")
    source = Voc(str(make_voc()), pairs=True, train="trainval")
    images = source.open("train")
    assert images.name == "voc2012-pairs"
    assert list(zip(images.ids, images.labels_N.tolist(), strict=True)) == [
        ("2008_000001-dog", DOG),
        ("2008_000001-person", PERSON),
        ("2008_000002-person", PERSON),
        ("2008_000003-cat", CAT),
        ("2008_000004-bus", BUS),
        ("2008_000005-cat", CAT),
        ("2008_000005-person", PERSON),
    ]
    assert boxes_of(images)[1] == [[30, 20, 39, 29]]
    assert boxes_of(images)[5:] == [[[0, 0, 9, 9], [20, 0, 29, 9]], [[40, 0, 59, 19]]]
    assert sets_of(images)[1] == [DOG, PERSON]
    assert images[1].path.name == "2008_000001.jpg"
    assert images.masks is None
    assert caplog.messages == [
        "ImageSets/Main/trainval.txt: 1 images have difficult objects alone, and are left out (the "
        "first: 2008_000006)"
    ]
    without = source.open("train", with_boxes=False)
    assert not without.has_boxes
    assert without.labels_N.tolist() == images.labels_N.tolist()


def test_masks_of_the_segmentation_lists(make_voc):
    images = Voc(str(make_voc()), images="segmentation").open("val")
    assert (images.name, list(images.ids)) == (
        "voc2012-segmentation",
        ["2008_000004", "2008_000005"],
    )
    first_HW, second_HW = images.masks.of(0), images.masks.of(1)
    assert (first_HW.dtype, first_HW.shape) == (np.uint8, (40, 60))
    assert np.unique(first_HW).tolist() == [0, BUS + 1, 255]
    assert first_HW[1:21, 5:24].tolist() == [[BUS + 1] * 19] * 20
    assert np.unique(second_HW, return_counts=True)[1].tolist() == [2400 - 600, 200, 400]


def test_an_image_without_a_mask_has_none(make_voc):
    images = Voc(str(make_voc())).open("train")
    assert [images.masks.of(i) is None for i in range(3)] == [False, False, True]
    assert (
        "; masks of all images" in Voc(images.folder, images="segmentation").open("val").described
    )


def test_the_label_sets_are_those_of_the_lists_of_classes(make_voc):
    """1 in dog_train.txt is an image of dogs; 0, with difficult dogs alone, and -1 are none."""
    root = make_voc()
    lines = (root / "VOC2012" / "ImageSets" / "Main" / "dog_train.txt").read_text().splitlines()
    images = Voc(str(root)).open("train")
    hot_NC = images.label_sets.multi_hot(range(len(images)), 20)
    assert hot_NC[:, DOG].tolist() == [line.split()[1] == "1" for line in lines]
    assert (hot_NC.dtype, hot_NC.sum()) == (bool, 4)
    with pytest.raises(UserError, match="has a second column, so it is the list of one class"):
        Voc(str(root), train="dog_train").open("train")


def test_a_test_split_without_annotations_is_unlabelled(make_voc):
    root = make_voc()
    images = Voc(str(root)).open("test")
    assert (list(images.ids), images.labels_N.tolist()) == (["2008_000007"], [-1])
    assert images.label_sets is None
    assert "labels unknown, as not all have annotations" in images.described
    with pytest.raises(UserError, match=r"has no 2008_000007.xml \(1 of the 1 images of"):
        Voc(str(root), val="test").open("val")


def test_2007_scores_the_test_images(make_voc):
    root = make_voc(2007)
    images = Voc(str(root), year=2007, val="trainval").open("val")
    assert (images.name, len(images)) == ("voc2007", 6)
    with pytest.raises(UserError, match="has no VOC2012/JPEGImages: give the folder VOCdevkit"):
        Voc(str(root)).open("val")
    with pytest.raises(UserError, match=r"is not of 2012: add data.year=2007"):
        Voc(str(root / "VOC2007")).open("val")
    assert Voc(str(root / "VOC2007"), year=2007).folder() == root / "VOC2007"
    assert Voc(str(root.parent), year=2007).folder() == root / "VOC2007"


def test_what_is_wrong_is_said(make_voc, tmp_path):
    root = make_voc()
    folder = root / "VOC2012"
    for changes, message in (
        ({"images": "layout"}, "data.images=layout: choose one of main, segmentation"),
        ({"pairs": "yes"}, "data.pairs=yes: must be true or false"),
        ({"train": "trainaug"}, "trainaug.txt: missing; name another list by data."),
        ({"root": None}, r"data.root is not given: add data.root=DIR \(or set CAM_REPRO_VOC\)"),
    ):
        with pytest.raises(UserError, match=message):
            Voc(**{"root": str(root), **changes}).open("train")
    (folder / "ImageSets" / "Main" / "train.txt").write_text("2008_000001\n" * 2)
    with pytest.raises(UserError, match=r"train.txt: names 2008_000001 twice; remove one"):
        Voc(str(root)).open("train")
    xml = folder / "Annotations" / "2008_000004.xml"
    xml.write_text(xml.read_text().replace("bus", "tram"))
    with pytest.raises(UserError, match=r"2008_000004.xml: has a tram, which is none of VOC's 20"):
        Voc(str(root)).open("val")
    xml.write_text("<annotation></annotation>")
    images = Voc(str(root)).open("val")  # that image is left out
    assert list(images.ids) == ["2008_000005", "2008_000006"]


def test_check_finds_masks_that_cannot_be(make_voc):
    root = make_voc()
    source = Voc(str(root), images="segmentation")
    report = source.check(decode=True)
    assert [report.splits[split].faults for split in ("train", "val")] == [{}, {}]
    assert (report.can_train, report.can_eval) == (None, None)
    assert "Segmentation/test.txt: missing; name another list" in report.splits["test"].problem
    folder = root / "VOC2012" / "SegmentationClass"
    Image.new("L", (60, 40), 21).save(folder / "2008_000001.png")
    Image.new("L", (40, 60), 1).save(folder / "2008_000004.png")
    Image.new("RGB", (60, 40)).save(folder / "2008_000005.png")
    report = source.check(decode=True)
    assert report.splits["train"].faults == {
        "bad_masks": ["2008_000001: its mask has the value 21, and there are 20 classes"]
    }
    size, mode = report.splits["val"].faults["bad_masks"]
    assert size == "2008_000004 is 60x40, its mask 40x60"
    assert mode.endswith("a mask has a palette or 8-bit grey values, not RGB)")
    assert report.can_train is None  # which reads no masks
    assert report.can_eval.startswith("val has masks that are unreadable")
    assert source.check(decode=False).splits["val"].faults == {}


def test_label_sets_literal():
    sets = LabelSets.from_lists([[3, 1, 3], [], [0]])
    assert (sets.values_T.tolist(), sets.offsets.tolist()) == ([1, 3, 0], [0, 2, 2, 3])
    assert (len(sets), sets.counts_N.tolist()) == (3, [2, 0, 1])
    assert sets.multi_hot([2, 0], 4).tolist() == [[1, 0, 0, 0], [0, 1, 0, 1]]


def test_the_fingerprint_tells_label_sets_apart(make_voc):
    from dataclasses import replace

    images = Voc(str(make_voc())).open("train")
    assert replace(images, label_sets=None).fingerprint != images.fingerprint
