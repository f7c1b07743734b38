"""Which setting a message names for a folder that the given one does not fit."""

import logging
from pathlib import Path

import pytest
from PIL import Image

from cam_repro.data.cub.source import Cub
from cam_repro.data.folder.source import Folder
from cam_repro.data.ilsvrc.source import Ilsvrc
from cam_repro.data.likely import likely
from cam_repro.data.tiny_imagenet.source import TinyImageNet
from cam_repro.data.voc.source import Voc
from cam_repro.errors import UserError

TREES = {
    "splits": ["train/a/1.png", "train/b/2.png", "val/a/3.png", "val/b/4.png"],
    "kaggle": ["ILSVRC/Data/CLS-LOC/train/n1/1.png", "ILSVRC/Data/CLS-LOC/val/2.png"],
    "classes": ["a/1.png", "b/2.png", "train/3.png"],
    "voc": ["VOC2007/JPEGImages/1.png", "VOC2007/SegmentationClass/1.png"],
    "cub": ["CUB_200_2011/images.txt", "CUB_200_2011/images/1.a/1.png"],
    "tiny": ["train/n1/images/1.png", "val/images/1.png", "val/val_annotations.txt"],
    "moved": ["wnids.txt", "train/n1/1.png", "val/n1/2.png"],
}


@pytest.fixture
def root(request, tmp_path):
    """The root of a tree of ``TREES``; a text file has the one line ``n1``."""
    for file in TREES[request.param.partition("/")[0]]:
        path = tmp_path / request.param.partition("/")[0] / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".txt":
            path.write_text("n1\n")
        else:
            Image.new("RGB", (4, 4)).save(path)
    return tmp_path / request.param


@pytest.mark.parametrize(
    ("root", "other"),
    [
        *(("splits", "ilsvrc"), ("kaggle", "ilsvrc"), ("moved", "ilsvrc")),
        *(("voc", "voc"), ("cub", "cub"), ("tiny", "tiny_imagenet")),
    ],
    indirect=["root"],
)
def test_a_plain_folder_that_has_another_form_is_said(root, other, caplog):
    with caplog.at_level(logging.INFO):
        Folder(str(root)).open("val")
    said = f"all its images are taken as one split; data={other} data.root={root} seems to fit"
    assert said in caplog.text


@pytest.mark.parametrize("root", ["classes", "splits/train"], indirect=True)
def test_nothing_is_said_of_a_plain_folder(root, caplog):
    with caplog.at_level(logging.INFO):
        Folder(str(root)).open("val")
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("source", "root", "split", "other"),
    [
        (Ilsvrc, "classes/a", "val", "data=folder data.root={root}"),
        (Ilsvrc, "splits/train", "train", "data=ilsvrc data.root={root.parent}"),
        (Ilsvrc, "voc", "val", "data=voc data.root={root}"),
        (Ilsvrc, "cub", "val", "data=cub data.root={root}"),
        (Ilsvrc, "tiny", "train", "data=tiny_imagenet data.root={root}"),
        (TinyImageNet, "splits", "val", "data=ilsvrc data.root={root}"),
        (TinyImageNet, "moved", "train", "data=ilsvrc data.root={root}"),
        (TinyImageNet, "moved", "val", "data=ilsvrc data.root={root}"),
        (TinyImageNet, "tiny", "val", None),
        (Cub, "splits", "val", "data=ilsvrc data.root={root}"),
        (Voc, "classes/b", "val", "data=folder data.root={root}"),
    ],
    indirect=["root"],
)
def test_a_message_names_the_setting_that_fits(source, root, split, other):
    with pytest.raises(UserError) as error:
        source(root=str(root)).open(split)
    said = str(error.value)
    if other is None:
        assert "seems to fit" not in said
        return
    assert said.endswith(f"; {other.format(root=Path(root))} seems to fit")
    name, place = (word.partition("=")[2] for word in said.split()[-5:-3])
    fitting = {"folder": Folder, "ilsvrc": Ilsvrc}.get(name)
    assert fitting is None or len(fitting(root=place).open("val"))


def test_a_folder_that_cannot_be_read_tells_nothing(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()
    assert likely(tmp_path, "voc") == f"; data=folder data.root={tmp_path} seems to fit"

    def refuse(place):
        raise PermissionError(place)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert likely(tmp_path, "voc") == ""
