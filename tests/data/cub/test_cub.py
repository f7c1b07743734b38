"""data=cub: a mock CUB_200_2011, and what can be wrong with it."""

import logging

import numpy as np
import pytest
from PIL import Image

from cam_repro.data.cub.source import Cub
from cam_repro.errors import UserError


def boxes_of(images):
    return [images.boxes.of(i).tolist() for i in range(len(images))]


def test_both_splits_literal(make_cub, caplog):
    caplog.set_level(logging.INFO, "cam_repro")
    source = Cub(str(make_cub()))
    train, val = source.open("train"), source.open("val")
    assert (train.name, train.classes.wnids) == (
        "cub",
        ("001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross"),
    )
    assert train.classes.names[0] == "Black footed Albatross"
    assert list(train.ids) == [
        "001.Black_footed_Albatross/Albatross_0009",
        "002.Laysan_Albatross/Laysan_0003",
        "003.Sooty_Albatross/Sooty_0001",
    ]
    assert train.labels_N.tolist() == val.labels_N.tolist() == [0, 1, 2]
    # x, y, width, height from 0; 9.6 to 19.8 and 8.4 to 17.7, both ends included.
    assert boxes_of(train) == [[[5, 4, 24, 13]], [[10, 8, 20, 18]], [[1, 2, 3, 5]]]
    # The whole image, and one that reaches a pixel beyond: 5 + 46 - 1 is 50, of a width of 50.
    assert boxes_of(val) == [[[0, 0, 59, 39]], [[5, 10, 49, 21]], [[2, 2, 21, 21]]]
    assert train.sizes_N2.tolist() == [[60, 40], [50, 30], [50, 30]]
    assert val.read(1)[1] == (50, 30)
    assert not set(train.store.files) & set(val.store.files)
    folder = source.folder()
    assert caplog.messages == [
        f"{folder}/bounding_boxes.txt: boxes of 1 images have fractions of pixels: rounded",
        f"{folder}/bounding_boxes.txt: boxes of 1 images reach a pixel beyond them: cut",
    ]
    assert source.open("test").fingerprint == val.fingerprint
    assert source.splits() == ["train", "val"]
    assert Cub(str(folder.parent)).folder() == folder


def test_without_boxes_no_image_is_opened(make_cub):
    root = make_cub()
    next(root.rglob("*.jpg")).write_bytes(b"")
    images = Cub(str(root)).open("train", with_boxes=False)
    assert (len(images), images.has_boxes, images.masks) == (3, False, None)
    assert len(Cub(str(root)).open("train")) == 3  # the check names it, a pass skips it if told to


def test_masks_are_the_bird_where_more_than_half_drew_it(make_cub):
    root = make_cub()
    assert Cub(str(root)).open("val").masks is None
    for image in (root / "images").rglob("*.jpg"):
        width, height = Image.open(image).size
        mask_HW = np.zeros((height, width), np.uint8)
        mask_HW[:2, :3], mask_HW[0, 0] = 153, 102
        path = root.parent / "segmentations" / image.relative_to(root / "images")
        path.parent.mkdir(parents=True, exist_ok=True)
        if image.stem != "Laysan_0001":
            Image.fromarray(mask_HW).save(path.with_suffix(".png"))
    images = Cub(str(root)).open("val")
    assert images.described.endswith("masks of 2 of 3 images")
    assert images.masks.of(1) is None
    assert np.argwhere(images.masks.of(2) == 3).tolist() == [[0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert np.unique(images.masks.of(2)).tolist() == [0, 3]
    report = Cub(str(root)).check(decode=True)
    assert (report.can_train, report.can_eval) == (None, None)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("train_test_split", "2 0\n", "", r"no line of image 2 \(1 of 6 have none\); restore"),
        ("train_test_split", "2 0", "2 yes", "the line '2 yes' is not of the form image is_train"),
        ("train_test_split", "2 0", "2", "line 2: '2' is not of the form image is_training_image"),
        ("image_class_labels", "6 3", "5 3", "line 6: 5 comes a second time; remove one"),
        ("image_class_labels", "6 3", "6 4", "image 6 is of class 4, which classes.txt does not"),
        ("image_class_labels", "6 3", "6 3\n7 3", "line of image 7, which images.txt does not"),
        ("images", "Sooty_0002", "Sooty_0001", "images 5 and 6 are the same file 003.Sooty"),
        ("bounding_boxes", "2.0 2.0 20.0 20.0", "2.0 2.0 -1 20.0", "'6 2.0 2.0 -1 20.0' is not of"),
        ("bounding_boxes", "2.0 2.0 20.0 20.0", "2.0 2.0 x 20.0", "'6 2.0 2.0 x 20.0' is not of"),
        ("classes", "3 003.Sooty_Alb", "3 002.Laysan_Alb", "names a class twice; remove one"),
    ],
)
def test_a_damaged_file_is_said(make_cub, file, old, new, message):
    root = make_cub()
    path = root / f"{file}.txt"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError, match=message) as error:
        Cub(str(root)).open("val")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_missing_is_said(make_cub, tmp_path):
    root = make_cub()
    (root / "bounding_boxes.txt").unlink()
    with pytest.raises(UserError, match=r"bounding_boxes.txt: missing; restore it"):
        Cub(str(root)).open("val")
    for settings, message in (
        ({"root": None}, r"data.root is not given: add data.root=DIR \(or set CAM_REPRO_CUB\)"),
        ({"root": str(root / "images")}, "has no images.txt: give the folder CUB_200_2011"),
        ({"root": str(root), "masks": "nowhere"}, "data.masks=nowhere: no such folder"),
    ):
        with pytest.raises(UserError, match=message):
            Cub(**settings).open("val")


def test_check_names_a_box_that_leaves_its_image(make_cub):
    root = make_cub()
    path = root / "bounding_boxes.txt"
    path.write_text(path.read_text().replace("2.0 2.0 20.0 20.0", "2.0 2.0 60.0 20.0"))
    report = Cub(str(root)).check(decode=False)
    assert report.splits["val"].faults == {
        "boxes_outside": ["003.Sooty_Albatross/Sooty_0002 (50x30): [[2, 2, 61, 21]]"]
    }
