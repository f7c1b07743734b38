"""Packed data as an image set: names, labels, boxes and classes of its source."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from packed_helpers import ORIGINALS, members, pack_them, same_sets

from cam_repro.data.demo.source import Demo
from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.data.packed.read import load_packed_set
from cam_repro.data.packed.write import Stored
from cam_repro.truth import LabelSets, RaggedBoxes


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_originals_are_the_same_set(root, tmp_path, split):
    source = load_image_set(root, split)
    folder = pack_them(tmp_path / "elsewhere", source)
    images = load_packed_set(folder, split)
    assert same_sets(images, source)
    assert (images.name, images.fingerprint) == ("small", source.fingerprint)
    assert (images.has_images, images.has_labels) == (True, split != "test")
    other = "; 3 of another size than annotated" if split == "val" else ""
    assert images.described == f"packed as it was; {source.described}{other}"
    assert images.folder == folder / split
    # Training reads no boxes.
    without = load_packed_set(folder, split, with_boxes=False)
    assert without.boxes.values_T4.shape == (0, 4)
    if split == "train":
        theirs = load_image_set(root, split, with_boxes=False)
        assert without.fingerprint == theirs.fingerprint
        assert without.fingerprint != source.fingerprint


def test_other_pixels_are_another_set(source, tmp_path):
    found = {}
    for stored in (
        ORIGINALS,
        *(Stored(16, "webp"), Stored(16, "png"), Stored(17), Stored(16, "jpg")),
        Stored(16, "jpg", 80),
    ):
        name = f"{stored.size}{stored.format}{stored.quality}"
        images = load_packed_set(pack_them(tmp_path / name, source, stored=stored), "val")
        assert same_sets(images, source)
        found[name] = (images.name, images.fingerprint)
    prints = {name: fingerprint for name, (_, fingerprint) in found.items()}
    assert prints["NoneNoneNone"] == source.fingerprint
    assert prints["16webpNone"] == prints["16pngNone"]  # the same pixels
    assert len(set(prints.values())) == 5
    assert {name for name, _ in found.values()} == {"small", "small-16", "small-17"}
    assert load_packed_set(tmp_path / "16jpg80", "val", name="mine").name == "mine"


def test_all_classes_of_an_image_come_along(source, tmp_path):
    assert load_packed_set(pack_them(tmp_path / "one", source), "val").label_sets is None
    sets = LabelSets.from_lists([[0, 2], [1], [], [2], [0, 1, 2], [0]])
    several = replace(source, label_sets=sets)
    images = load_packed_set(pack_them(tmp_path / "several", several), "val")
    assert [images.label_sets.of(i).tolist() for i in range(6)] == [
        *([0, 2], [1], [], [2], [0, 1, 2], [0]),
    ]
    assert images.fingerprint == several.fingerprint


def test_that_masks_are_left_behind_is_said(tmp_path, caplog):
    caplog.set_level("INFO", "cam_repro")
    images = Demo(n_train=1, n_val=2).open("val")
    assert images.masks is not None
    assert load_packed_set(pack_them(tmp_path / "p", images), "val").masks is None
    assert "val: masks are not packed: what needs them takes the original" in caplog.messages


def test_blacklist_and_completeness_come_along(source, tmp_path):
    marked_N = np.array([False, True, False, False, True, True])
    marked = replace(source, blacklisted_N=marked_N, is_ilsvrc=True, name="ilsvrc")
    images = load_packed_set(pack_them(tmp_path / "p", marked, stored=Stored(16)), "val")
    assert images.blacklisted_N.tolist() == marked_N.tolist()
    assert (images.is_ilsvrc, images.name) == (True, "ilsvrc-16")
    plain = load_packed_set(pack_them(tmp_path / "q", source, stored=Stored(16)), "val")
    assert plain.blacklisted_N is None
    assert not plain.is_ilsvrc
    none = replace(source, blacklisted_N=np.zeros(6, bool))  # a list that names none of them
    images = load_packed_set(pack_them(tmp_path / "r", none), "val")
    assert images.blacklisted_N.tolist() == [False] * 6


def test_the_kits_ids_come_along(source, tmp_path):
    kit = replace(source.classes, devkit_ids_C=np.array([7, 3, 5], np.int32), ids_from="the kit")
    images = load_packed_set(pack_them(tmp_path / "p", replace(source, classes=kit)), "val")
    assert images.classes.submission_labels_C.tolist() == [7, 3, 5]
    assert images.classes.ids_from == "the kit"


def test_images_without_labels(root, tmp_path):
    images = load_packed_set(pack_them(tmp_path / "p", load_image_set(root, "test")), "test")
    assert images.labels_N.tolist() == [-1, -1]
    about = json.loads(members(tmp_path / "p/test/test-000000.tar")[1][1])
    assert (about["label"], about["wnid"], about["boxes"]) == (-1, None, [])


def test_images_with_many_boxes_and_with_none(source, tmp_path):
    boxes_T4 = np.arange(20, dtype=np.int32).reshape(5, 4)
    several = replace(source, boxes=RaggedBoxes(boxes_T4, np.array([0, 0, 2, 2, 5, 5, 5])))
    images = load_packed_set(pack_them(tmp_path / "p", several), "val")
    assert same_sets(images, several)
    assert images[1].boxes_M4.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert images[2].boxes_M4.tolist() == []
