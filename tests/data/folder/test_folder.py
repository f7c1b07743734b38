"""data=folder: all images below a folder, its folders as classes or none."""

import logging

import numpy as np
import pytest
from PIL import Image

from cam_repro.data.folder.source import Folder
from cam_repro.errors import UserError


@pytest.fixture
def write(tmp_path):
    def write(*files):
        for file in files:
            path = tmp_path / "pictures" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((4, 6, 3), len(file), np.uint8)).save(path)
        return Folder(str(tmp_path / "pictures"))

    return write


def test_folders_at_any_depth_are_classes(write):
    images = write("a/abbey/2.jpg", "a/abbey/1.png", "z/zoo/outdoor/1.jpg", "b/.hidden.png").open(
        "val"
    )
    assert images.name == "pictures"
    assert list(images.ids) == ["a/abbey/1", "a/abbey/2", "z/zoo/outdoor/1"]
    assert images.classes.wnids == ("a/abbey", "z/zoo/outdoor")
    assert images.labels_N.tolist() == [0, 0, 1]
    assert images.read(0)[1] == (6, 4)


def test_folders_that_are_numbers_are_sorted_as_numbers_at_any_depth(write):
    images = write("val/10/a.jpg", "val/0/a.jpg", "val/2/a.jpg").open("val")
    assert images.classes.wnids == ("val/0", "val/2", "val/10")
    assert dict(zip(images.ids, images.labels_N.tolist(), strict=True)) == {
        "val/0/a": 0,
        "val/2/a": 1,
        "val/10/a": 2,
    }
    assert images.described == (
        "a plain folder, labels from its folders, in the order of their numbers: val/2 is class "
        "index 1"
    )
    assert write("val/1/a.jpg").open("val").labels_N.tolist() == [0, 1, 3, 2]


def test_links_to_folders_are_followed_and_other_files_are_counted(write, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    source = write("a/1.jpg", "../elsewhere/2.jpg")
    root = tmp_path / "pictures"
    (root / "c").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "up").symlink_to(root)  # leads back
    (tmp_path / "elsewhere" / "back").symlink_to(root)  # so does this, by another link
    for name in ("x.heic", "y.jfif", "z.xml", ".hidden"):
        (root / "a" / name).touch()
    images = source.open("val")
    assert list(images.ids) == ["a/1", "c/2"]
    assert caplog.messages == [
        f"{root}: 2 files left out, no images by their names (a/x.heic)",
    ]
    assert source.check(decode=True).splits["val"].notes == {
        "other_files": ["a/x.heic", "a/y.jfif"]
    }


def test_images_side_by_side_have_no_labels(write):
    images = write("2.jpg", "1.jpg").open("val")
    assert list(images.ids) == ["1", "2"]
    assert not images.has_labels
    assert len(images.classes) == 1000


def test_what_is_ambiguous_is_refused(write, tmp_path):
    source = write("cat/1.jpg")
    with pytest.raises(UserError, match="one split, split=val"):
        source.open("train")
    write("cat/1.png")
    with pytest.raises(UserError, match=r"1.png: is cat/1, and so is cat/1.jpg"):
        source.open("val")
    (tmp_path / "pictures" / "cat" / "1.png").unlink()
    write("2.jpg")
    with pytest.raises(UserError, match=r"2.jpg: lies beside the folders of classes"):
        source.open("val")
    with pytest.raises(UserError, match=r"data.root=nowhere: no such folder"):
        Folder("nowhere").open("val")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no images"):
        Folder(str(tmp_path / "empty")).open("val")
    assert source.splits() == ["val"]
