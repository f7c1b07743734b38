"""Image sets made of a ground truth: labels, sizes and boxes without images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tree_helpers import as_tuples

from cam_repro.classes import ilsvrc_classes
from cam_repro.data.ground_truth.image_set import ground_truth_set
from cam_repro.data.ground_truth.read import read_truth
from cam_repro.data.ground_truth.source import GroundTruth
from cam_repro.errors import UserError
from cam_repro.truth import RaggedBoxes, Truth


def truth_of(images: list[str], labels: list[int], **more: object) -> Truth:
    return Truth(
        ids=images,
        labels_N=np.array(labels),
        boxes=RaggedBoxes.from_lists([[[0, 1, 2, 3]]] * len(images)),
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
    assert images.ids == truth.ids
    assert images.labels_N.tolist() == [2, 0]
    assert ground_truth_set(truth, Path("mine.csv"), "val", "named").name == "named"


def test_images_that_differ_in_their_suffix_alone_are_refused():
    with pytest.raises(UserError) as caught:
        ground_truth_set(truth_of(["a.jpg", "b.jpg", "b.png"], [0, 0, 0]), Path("mine.csv"), "val")
    assert str(caught.value) == "mine.csv: several images are called b, but for their suffixes"


def test_a_ground_truth_is_opened_where_it_says_the_sizes(tmp_path, monkeypatch):
    (tmp_path / "mine.csv").write_text("image,width,height,label,boxes\na,9,8,3,0 1 2 3;4 5 6 7\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    images = GroundTruth(file="~/mine.csv").open("val")
    assert (images.name, as_tuples(images)) == ("mine", [("a", 3, [[0, 1, 2, 3], [4, 5, 6, 7]])])
    (tmp_path / "bare.csv").write_text("image,label,boxes\na,3,0 1 2 3\n")
    with pytest.raises(UserError, match=r"bare\.csv: does not say how large the images are"):
        GroundTruth(file=str(tmp_path / "bare.csv")).open("val")
    with pytest.raises(UserError, match=r"data\.file is not given: add data\.file=F"):
        GroundTruth().open("val")


def test_the_official_ground_truth_is_ilsvrc_val(shared_file):
    path = shared_file("ilsvrc2012_val_groundtruth.csv.gz")
    images = ground_truth_set(read_truth(path), path, "val")
    assert (images.name, images.is_ilsvrc, len(images)) == ("ilsvrc", True, 50_000)
    assert images.classes is ilsvrc_classes()
    assert images[0].label == 65
    assert not ground_truth_set(read_truth(path), path, "train").is_ilsvrc
