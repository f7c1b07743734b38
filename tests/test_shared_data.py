"""Real images, where they are at hand: in the folder that CAM_REPRO_SHARED names, or ../shared.

They are under ImageNet's terms and so no part of this repository; without them these tests are
skipped.
"""

import csv
import gzip
import json
import os
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from cam_repro.commands.evaluate import run_evaluation
from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.data.images import read_image
from cam_repro.geometry import clip, paired_iou
from cam_repro.metrics.official import errors, hits
from cam_repro.truth import RaggedBoxes, Truth


@pytest.fixture(scope="module")
def unpack(tmp_path_factory, shared_file):
    """Unpacks one of the archives; returns the root of its tree."""

    def unpack(name):
        archive = shared_file(f"{name}.tar.gz")
        folder = tmp_path_factory.mktemp(name)
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        return folder / name

    return unpack


def test_squeezenet_on_a_thousand_real_images(unpack, shared_file, compose_config, tmp_path):
    """The whole way, against what an independent script measured."""
    weights = shared_file("squeezenet1_0_imagenet_fp16.safetensors")
    words = [
        *("model=squeezenet", f"model.weights={weights}", "data=ilsvrc", "split=val"),
        *(f"data.root={unpack('ilsvrc-val1000-227')}", "view=squash", "device=cpu"),
        *("precision=fp32", "loader.workers=0", "examples=0", "batch_size=16", "box=threshold"),
        f"output={tmp_path}",
    ]
    threads = torch.get_num_threads()
    torch.set_num_threads(min(4, os.cpu_count() or 1))
    try:
        assert run_evaluation(compose_config("eval", *words), words) == [tmp_path]
    finally:
        torch.set_num_threads(threads)
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["n_images"] == 1000
    assert scores["cls"]["top1"] == pytest.approx(28.4, abs=0.3)
    assert scores["cls"]["top5"] == pytest.approx(8.9, abs=0.3)
    threshold = scores["loc"]["threshold"]
    assert threshold["top1"] == pytest.approx(60.4, abs=0.3)
    assert threshold["top5"] == pytest.approx(51.2, abs=0.3)
    assert threshold["gt_known"] == pytest.approx(48.2, abs=0.3)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["data"]["name"] == "ilsvrc-val1000-227"  # never to be taken for ILSVRC val
    assert manifest["data"]["is_ilsvrc"] is False


def test_boxes_lie_in_the_images_as_decoded(unpack, official_boxes):
    images = load_image_set(unpack("ilsvrc-val60"), "val")
    assert (len(images), len(images.classes)) == (60, 1000)
    truth = official_boxes
    for index in range(len(images)):
        sample = images[index]
        decoded = read_image(sample.path)
        with Image.open(sample.path) as stored:
            assert decoded.size == stored.size  # as stored: no EXIF rotation
        assert decoded.mode == "RGB"
        width, height = decoded.size
        assert len(sample.boxes_M4) > 0
        assert (sample.boxes_M4[:, :2] >= 0).all()
        assert (sample.boxes_M4[:, :2] <= sample.boxes_M4[:, 2:]).all()
        assert (sample.boxes_M4[:, 2:] < [width, height]).all()
        # The official labels and boxes; these copies are cut to whole blocks of 8x8 pixels.
        (full_width, full_height), label, boxes = truth[sample.id]
        assert label == sample.label
        assert (width, height) == (full_width // 8 * 8, full_height // 8 * 8)
        clipped = sorted(clip(box, width, height) for box in boxes)
        assert clipped == sorted(map(tuple, sample.boxes_M4.tolist()))


@pytest.fixture(scope="module")
def tiny_imagenet(unpack):
    return unpack("tinyimagenet40")


@pytest.mark.parametrize(
    ("split", "count", "per_class"),
    [("train", 19000, 475), ("val", 2000, 50), ("test", 1000, None)],
)
def test_tiny_imagenet_counts(tiny_imagenet, split, count, per_class):
    images = load_image_set(tiny_imagenet, split)
    assert (images.name, len(images), len(images.classes)) == ("tinyimagenet40", count, 40)
    assert images.has_labels == (split != "test")
    if per_class:
        labels, counts = np.unique(images.labels_N, return_counts=True)
        assert labels.tolist() == list(range(40))
        assert set(counts) == {per_class}
        assert (np.diff(images.boxes.offsets) > 0).all()
        assert images.boxes.values_T4.min() >= 0
        assert images.boxes.values_T4.max() <= 63
    sample = images[count // 2]
    assert read_image(sample.path).size == (64, 64)
    assert sample.id not in {images[count // 2 - 1].id, images[count // 2 + 1].id}


@pytest.fixture(scope="module")
def official_boxes(shared_file):
    """(size, label, boxes) by image of all 50,000 val images."""
    path = shared_file("ilsvrc2012_val_groundtruth.csv.gz")
    with gzip.open(path, "rt", newline="") as file:
        return {
            row["image"]: (
                (int(row["width"]), int(row["height"])),
                int(row["class_index"]),
                [[int(word) for word in box.split()] for box in row["boxes"].split(";")],
            )
            for row in csv.DictReader(file)
        }


def test_whole_image_boxes_on_all_of_val(official_boxes):
    """The box of the whole image is right on 40.70 % of the val images: a floor for any method."""
    truth = official_boxes.values()
    assert len(truth) == 50_000
    whole_N4 = np.array([[0, 0, width - 1, height - 1] for (width, height), _, _ in truth])
    labels_N = np.array([label for _, label, _ in truth])
    boxes = RaggedBoxes.from_lists(boxes for _, _, boxes in truth)

    overlaps_T = paired_iou(whole_N4[boxes.image_of_box()], boxes.values_T4)
    best_N = np.maximum.reduceat(overlaps_T, boxes.offsets[:-1])
    assert 100 * (best_N >= 0.5).mean() == pytest.approx(40.70, abs=0.005)

    of_val = Truth(ids=list(official_boxes), labels_N=labels_N, boxes=boxes)
    right = hits(of_val, labels_N[:, None], whole_N4[:, None])
    (error,) = errors(*right)
    assert error.cls_error == 0
    assert error.clsloc_error == pytest.approx(59.30, abs=0.005)
