"""What lies in a tree and is not taken as it stands: it is named and counted."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from PIL import Image
from tree_helpers import ANNOTATIONS, IMAGES, VAL, write_xml

from cam_repro.classes import ilsvrc_classes
from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.data.ilsvrc.listing import Listing, list_folder
from cam_repro.errors import UserError


@pytest.fixture(autouse=True)
def _with_information(caplog):
    caplog.set_level(logging.INFO)


def write(root: Path, *files: str) -> Path:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if path.suffix else path.mkdir()
    return root


# --- files and folders


def test_what_is_taken_of_a_folder_and_what_is_not(tmp_path):
    taken = ["cat/a.JPG", "cat/b.webp", "dog/c.Tiff", "dog/d.bmp", "stray.png"]
    write(tmp_path, *taken, "cat/more/e.jpg", "cat/more/still/f.jpg", "dog/notes/g.txt")
    write(tmp_path, "cat/@eaDir/a.jpg/thumb.jpg", "cat/.h.jpg", "dog/i.heic", "dog/c.xml")
    write(tmp_path, "__MACOSX/cat/a.jpg", "__MACOSX/j.jpg", ".git/k.jpg", "empty", "readme.txt")
    found = list_folder(tmp_path)
    found.files.sort()
    assert found == Listing(
        files=taken,
        deeper=["cat/more/e.jpg", "cat/more/still/f.jpg"],
        others=["dog/i.heic", "readme.txt"],
        empty=["__MACOSX", "empty"],
    )
    assert found.left_out == (
        "2 images left out, in deeper folders (cat/more/e.jpg); 2 files left out, no images by "
        "their names (dog/i.heic); 2 folders without images (__MACOSX)"
    )
    assert Listing(taken).left_out == ""


def test_a_command_says_what_it_does_not_take(tmp_path, caplog):
    write(tmp_path, "train/cat/a.jpg", "train/cat/more/b.jpg", "train/dog/c.jpg", "train/@eaDir/x")
    images = load_image_set(tmp_path, "train")
    assert (images.ids, images.classes.wnids) == (["a", "c"], ("cat", "dog"))
    assert caplog.messages == [
        f"{tmp_path}/train: 1 images left out, in deeper folders (cat/more/b.jpg); 1 folders "
        "without images (@eaDir)"
    ]


def test_images_that_all_lie_deeper_are_found_out(tmp_path):
    write(tmp_path, "val/a/attic/1.jpg", "val/b/barn/2.jpg")
    with pytest.raises(UserError) as caught:
        load_image_set(tmp_path, "val")
    assert str(caught.value) == (
        f"{tmp_path}/val: holds no images for split=val in it or its sub-folders; deeper are 2 "
        "(a/attic/1.jpg): move them up"
    )


def test_a_stray_image_does_not_hide_the_class_folders(tmp_path):
    write(tmp_path, "val/cat/a.jpg", "val/overview.jpg")
    with pytest.raises(UserError, match=r"class of overview.jpg: it is in no class folder \(1 "):
        load_image_set(tmp_path, "val")


def test_images_of_one_name_are_counted(tmp_path, caplog):
    name = "n01440764_1.JPEG"
    write(tmp_path, f"train/n01440764/{name}", f"train/n01443537/{name}")
    assert len(load_image_set(tmp_path, "train")) == 2
    assert "1 images of one name in several places count as images of their own" in caplog.text


# --- folders that are numbers


def test_folders_0_to_999_are_class_indices(tmp_path):
    write(tmp_path, *(f"val/{index}/x{index}.jpg" for index in range(1000)))
    images = load_image_set(tmp_path, "val")
    assert images.classes.wnids == ilsvrc_classes().wnids
    assert all(images[i].id == f"x{images[i].label}" for i in range(1000))
    assert "labels from class folders, whose numbers are the class indices" in images.described


def test_a_part_of_them_too_and_empty_folders_do_not_matter(tmp_path):
    write(tmp_path, "val/5/a.jpg", "val/7/b.jpg", "val/6", "val/999")
    images = load_image_set(tmp_path, "val")
    assert (images.labels_N.tolist(), len(images.classes)) == ([5, 7], 1000)


def test_numbers_are_indices_where_ilsvrcs_classes_are_asked_for(tmp_path):
    write(tmp_path, "train/5/a.jpg", "train/10/b.jpg")
    own = load_image_set(tmp_path, "train")
    assert (own.classes.wnids, own.labels_N.tolist()) == (("5", "10"), [0, 1])
    assert "class folders, in the order of their numbers: 5 is class index 0" in own.described
    assert load_image_set(tmp_path, "train", classes="ilsvrc").labels_N.tolist() == [5, 10]


def test_classes_numbered_without_a_gap_are_a_data_sets_own(tmp_path):
    write(tmp_path, *(f"val/{number}/x{number:02d}.jpg" for number in range(1, 12)))
    images = load_image_set(tmp_path, "val")
    assert images.classes.wnids == tuple(map(str, range(1, 12)))
    assert images.labels_N.tolist() == list(range(11))


def test_a_list_in_numeric_order_names_numbered_folders(tmp_path):
    write(tmp_path, *(f"train/{number}/x{number}.jpg" for number in (2, 10)))
    (tmp_path / "order.txt").write_text("".join(f"{i} word {i}\n" for i in range(12)))
    images = load_image_set(tmp_path, "train", classes=str(tmp_path / "order.txt"))
    assert images.classes.names[:3] == ("word 0", "word 1", "word 2")
    assert [(images[i].id, images[i].label) for i in (0, 1)] == [("x10", 10), ("x2", 2)]


# --- annotations


def test_boxes_of_other_classes_alone_are_counted(root, caplog):
    write_xml(root, "train/n00001010/n00001010_1", [("cat", (3, 3, 9, 9))])
    images = load_image_set(root, "train")
    assert images.boxes.counts_N.tolist() == [1, 1, 1, 0, 1, 1]
    assert caplog.messages == [
        f"{root / ANNOTATIONS}/train: 1 images have boxes, but none of their class; these are not "
        "used (the first: n00001010/n00001010_1.JPEG has boxes of cat)"
    ]


def test_labels_that_two_sources_tell_differently_are_counted(root, caplog):
    write_xml(root, "train/n00001010/n00001010_1", [("n00001020", (3, 3, 9, 9))])
    load_image_set(root, "train")
    assert (
        "1 images are of another class by ILSVRC/Annotations/CLS-LOC/train than by" in caplog.text
    )


def test_rounded_boxes_are_counted(root, caplog):
    write_xml(root, f"val/{VAL}2", [("n00001010", (0, "1.5", 2.4, 3))])
    images = load_image_set(root, "val")
    assert images[1].boxes_M4.tolist() == [[0, 2, 2, 3]]
    assert "the boxes of 1 images have fractions of pixels, and are rounded" in caplog.text


def test_annotations_of_other_images_alone_are_said_to_be_so(tmp_path, root, caplog):
    for path in (root / IMAGES / "train").rglob("*.JPEG"):
        path.rename(path.with_name(f"x{path.name}"))
    (root / "ILSVRC/ImageSets/CLS-LOC/train_cls.txt").unlink()
    assert not load_image_set(root, "train").has_boxes
    assert "none of its 6 annotations is of these images" in caplog.text


def test_images_of_another_size_are_counted(tmp_path, caplog):
    write(tmp_path, "val/cat/a.png", "val/cat/b.png", "bbox/val/a.xml", "bbox/val/b.xml")
    for name in "ab":
        Image.new("RGB", (40, 30)).save(tmp_path / f"val/cat/{name}.png")
        (tmp_path / f"bbox/val/{name}.xml").write_text(
            "<annotation><size><width>80</width><height>60</height></size></annotation>"
        )
    images = load_image_set(tmp_path, "val")
    images.warn_of_other_sizes(images.sizes_N2 // [[1], [2]])
    assert caplog.messages == [
        "1 of 2 images have another size than their annotations state, so their boxes may be of "
        "other pixels (the first: b is 40x30, not 80x60)"
    ]
