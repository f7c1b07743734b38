"""Parts of a tree that the user names."""

from __future__ import annotations

import pytest
from layout_trees import (
    EXPECTED,
    GOOSE,
    SNAKE,
    as_tuples,
    image_folder,
    kaggle,
    write_image,
    write_solutions,
    write_val_boxes,
    write_xml,
)

from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.data.ilsvrc.layouts import Places, find_layout
from cam_repro.data.sources import open_source
from cam_repro.errors import UserError


def test_a_named_part_wins_over_what_lies_in_the_tree(parts, tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    kaggle(root, parts)
    write_image(other / "val/ILSVRC2012_val_00000002.JPEG")
    write_xml(other / "xml/ILSVRC2012_val_00000002.xml", GOOSE, [(1, 1, 2, 2)])
    places = Places(val=str(other / "val"), boxes=str(other / "xml"))
    images = load_image_set(root, "val", places=places)
    # What lies there is taken, not what the tree's list names.
    assert as_tuples(images) == [("ILSVRC2012_val_00000002", 99, [[1, 1, 2, 2]])]
    assert images[0].path == other / "val/ILSVRC2012_val_00000002.JPEG"
    assert as_tuples(load_image_set(root, "test", places=places)) == EXPECTED["test"]


def test_boxes_named_for_one_split_leave_the_other_as_it_is(parts, tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    kaggle(root, parts)
    write_xml(other / "val/ILSVRC2012_val_00000001.xml", SNAKE, [(5, 5, 6, 6)])
    places = Places(boxes=str(other))
    layout = find_layout(root, places)
    assert layout.boxes == {
        "train": root / "ILSVRC/Annotations/CLS-LOC/train",
        "val": other / "val",
    }
    assert as_tuples(load_image_set(root, "train", places=places)) == EXPECTED["train"]


@pytest.mark.parametrize("what", ["a solution file", "a flat folder"])
def test_boxes_may_be_one_file_or_one_folder(parts, what, tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    image_folder(root, parts)
    if what == "a solution file":
        write_solutions(other, "val")
        named = other / "LOC_val_solution.csv"
    else:
        write_val_boxes(other)
        named = other
    places = Places(boxes=str(named))
    assert as_tuples(load_image_set(root, "val", places=places)) == EXPECTED["val"]
    train = load_image_set(root, "train", places=places)
    assert as_tuples(train) == [(name, label, []) for name, label, _ in EXPECTED["train"]]
    assert train.described == "layout ImageFolder, labels from class folders, no boxes"


def test_a_home_folder_may_be_named(parts, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    image_folder(tmp_path / "root", parts)
    write_val_boxes(tmp_path / "xml")
    images = load_image_set("~/root", "val", places=Places(boxes="~/xml"))
    assert as_tuples(images) == EXPECTED["val"]


READING = ("on_error", "preload", "workers")


def test_each_part_can_be_named_on_the_command_line(compose_config):
    for part in ("train", "val", "test", "boxes", "devkit"):
        cfg = compose_config("data_command", "data=ilsvrc", f"data.{part}=there")
        data = {key: value for key, value in cfg.data.items() if key not in READING}
        assert open_source(data).places == Places(**{part: "there"})


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ({"train": "nowhere"}, ["data.train=nowhere: no such folder"]),
        ({"val": "file.txt"}, ["data.val=file.txt: no such folder"]),
        ({"test": "nowhere"}, ["data.test=nowhere: no such folder"]),
        ({"boxes": "nowhere"}, ["data.boxes=nowhere: no such folder or file"]),
        ({"boxes": "empty"}, ["data.boxes=empty: holds no XML files"]),
        ({"devkit": "nowhere"}, ["data.devkit=nowhere: no such folder"]),
        ({"devkit": "empty"}, ["data.devkit=empty: holds neither meta.mat nor"]),
    ],
)
def test_a_place_that_is_not_there_is_named(parts, places, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").touch()
    image_folder(tmp_path / "root", parts)
    with pytest.raises(UserError) as caught:
        find_layout(tmp_path / "root", Places(**places))
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_root_and_no_images_are_named(tmp_path):
    with pytest.raises(UserError, match=r"data\.root=.*/nowhere: no such folder"):
        find_layout(tmp_path / "nowhere")
    (tmp_path / "stuff").mkdir()
    with pytest.raises(UserError, match=r"holds no images; looked for \[ILSVRC/\]Data/CLS-LOC"):
        find_layout(tmp_path)
