"""Images cropped to boxes: which pixels a network sees."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cam_repro.data.crops import cropped, true_boxes
from cam_repro.data.folder.source import Folder
from cam_repro.data.images import ImageStore, UnreadableImage
from cam_repro.errors import UserError
from cam_repro.truth import RaggedBoxes


@pytest.fixture
def images(tmp_path):
    """Two images of 6x4 pixels, whose red is x and whose green is y."""
    y, x = np.mgrid[:4, :6].astype(np.uint8)
    for name in ("a", "b"):
        Image.fromarray(np.stack([x, y, x], 2)).save(tmp_path / f"{name}.png")
    return Folder(str(tmp_path)).open("val")


def test_a_crop_has_the_pixels_of_its_box_both_ends_included(images):
    crops = cropped(images, np.array([[1, 2, 3, 3], [0, 0, 5, 3]]), "truth")
    image, size = crops.read(0)
    assert size == image.size == crops.size(0) == (3, 2)
    assert np.asarray(image)[:, :, 0].tolist() == [[1, 2, 3], [1, 2, 3]]
    assert np.asarray(image)[:, :, 1].tolist() == [[2, 2, 2], [3, 3, 3]]
    assert crops.read(1)[0].size == (6, 4)
    assert not crops.has_boxes


def test_a_box_outside_is_cut_and_a_missing_one_is_no_image(images):
    crops = cropped(images, np.array([[4, 2, 9, 9], [-1, -1, -1, -1]]), "RUN")
    assert crops.read(0)[0].size == (2, 2)
    with pytest.raises(UnreadableImage, match=r"b.png: has no box to crop it to \(RUN\)"):
        crops.read(1)


def test_crops_have_a_fingerprint_of_their_own(images):
    boxes_N4 = np.array([[0, 0, 1, 1], [0, 0, 1, 1]])
    other_N4 = np.array([[0, 0, 1, 1], [0, 0, 1, 2]])
    prints = {cropped(images, each, "a").fingerprint for each in (boxes_N4, other_N4)}
    assert len(prints | {images.fingerprint}) == 3
    assert cropped(images, boxes_N4, "b").fingerprint in prints


def test_a_box_is_of_the_original_where_images_are_stored_smaller(images):
    class Half(ImageStore):
        path = images.store.path
        size = images.store.size

        def read(self, index):
            image, size = images.read(index)
            return image.resize((3, 2), Image.Resampling.NEAREST), size

    crops = cropped(replace(images, store=Half()), np.array([[2, 2, 5, 3]] * 2), "truth")
    image, size = crops.read(0)
    assert (image.size, size) == ((2, 1), (4, 2))


def test_the_true_box_is_taken_where_there_is_one(images):
    def with_boxes(*boxes):
        return replace(images, boxes=RaggedBoxes.from_lists(boxes))

    assert true_boxes(with_boxes([[1, 1, 2, 2]], [])).tolist() == [[1, 1, 2, 2], [-1] * 4]
    with pytest.raises(UserError, match="b has 2 true boxes"):
        true_boxes(with_boxes([[1, 1, 2, 2]], [[0, 0, 1, 1], [2, 2, 3, 3]]))
    with pytest.raises(UserError, match="no true boxes to crop to"):
        true_boxes(images)
