"""The masks of the built-in set: the right answer, pixel by pixel, for maps and cues."""

import numpy as np
import pytest
from PIL import Image

from cam_repro.data.demo.source import Demo
from cam_repro.metrics.miou import MeanIou
from cam_repro.runs.cues import Cues


@pytest.fixture(scope="module")
def demo():
    return Demo(n_train=24, n_val=12)


def test_masks_have_the_number_of_the_class_in_the_boxes(demo):
    for split in ("train", "val"):
        images = demo.open(split)
        for index in range(len(images)):
            mask_HW = images.masks.of(index)
            assert (mask_HW.dtype, mask_HW.shape) == (np.uint8, images.size(index)[::-1])
            assert np.unique(mask_HW).tolist() == [0, images.labels_N[index] + 1]
            ys, xs = np.nonzero(mask_HW)
            x0, y0 = images.boxes.of(index)[:, :2].min(axis=0)
            x1, y1 = images.boxes.of(index)[:, 2:].max(axis=0)
            assert (xs.min(), ys.min(), xs.max(), ys.max()) == (x0, y0, x1, y1)
    assert demo.open("test").masks is None


def cues_of(images, index, map_HW):
    value = images.labels_N[index] + 1
    cues_HW = np.where(map_HW > 0.2, value, 255).astype(np.uint8)
    return Cues(np.array([value]), map_HW[None].astype(np.float32), cues_HW)


def test_cues_that_are_the_masks_are_right_and_boxes_less_so(demo):
    images = demo.open("val")
    rows = range(len(images))
    masks = [(images.masks.of(index) > 0).astype(float) for index in rows]
    right = MeanIou().score(images, (cues_of(images, i, masks[i]) for i in rows)).numbers
    assert (right["miou"], right["oracle"], right["n_without_pixels"]) == (100, 100, 0)
    whole = (cues_of(images, i, np.ones_like(masks[i])) for i in rows)
    numbers = MeanIou().score(images, whole).numbers
    # All is of the class: the background is never right, each class in the share of its objects.
    shares = [100 * mask_HW.mean() for mask_HW in masks]  # one image of each of the 12 classes
    assert numbers["miou"] == pytest.approx(sum(shares) / 13)
    assert numbers["iou"]["background"] == 0


def test_check_reads_the_masks(demo):
    assert demo.check(decode=True).splits["val"].faults == {}
    images = demo.open("val")
    path = images.masks.folder / images.masks.files[3]
    whole = path.read_bytes()
    Image.new("L", (5, 4)).save(path)
    try:
        report = demo.check(decode=True)
    finally:
        path.write_bytes(whole)
    (fault,) = report.splits["val"].faults["bad_masks"]
    width, height = images.size(3)
    assert fault == f"{images.ids[3]} is {width}x{height}, its mask 5x4"
    assert report.can_eval.startswith("val has masks that are unreadable, of another size")
    assert report.can_train is None
