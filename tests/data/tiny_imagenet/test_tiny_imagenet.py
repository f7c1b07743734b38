"""data=tiny_imagenet: a mock tiny-imagenet-200, and what can be wrong with it."""

import pytest

from cam_repro.classes import ilsvrc_classes
from cam_repro.data.tiny_imagenet.source import TinyImageNet
from cam_repro.errors import UserError


def test_all_splits_literal(make_tiny):
    root = make_tiny()
    source = TinyImageNet(str(root))
    train, val, test = (source.open(split) for split in ("train", "val", "test"))
    assert train.classes.wnids == ("n01443537", "n02124075")
    assert train.classes.names == ("goldfish", "Egyptian cat")
    assert list(train.ids) == [f"{w}_{i}" for w in train.classes.wnids for i in range(3)]
    assert train.labels_N.tolist() == [0, 0, 0, 1, 1, 1]
    assert train.boxes.of(4).tolist() == [[1, 10, 63, 58]]
    assert list(val.ids) == ["val_0", "val_1", "val_2", "val_3"]
    assert val.labels_N.tolist() == [1, 0, 1, 0]
    assert [val.boxes.of(i).tolist() for i in (0, 3)] == [[[0, 32, 40, 62]], [[0, 32, 43, 62]]]
    assert val.sizes_N2.tolist() == [[64, 64]] * 4
    assert (list(test.ids), test.labels_N.tolist(), test.has_boxes) == (["test_0"], [-1], False)
    assert [images.read(0)[1] for images in (train, val, test)] == [(64, 64)] * 3
    assert not source.open("val", with_boxes=False).has_boxes
    assert val.name == "tiny-imagenet-200"
    assert TinyImageNet(str(root.parent)).folder() == root
    report = source.check(decode=True)
    assert [split.faults for split in report.splits.values()] == [{}, {}, {}]
    assert (report.can_train, report.can_eval) == (None, None)


def test_classes_may_be_numbered_as_ilsvrcs(make_tiny):
    root = make_tiny()
    images = TinyImageNet(str(root), classes="ilsvrc").open("val")
    assert (len(images.classes), images.labels_N.tolist()) == (1000, [285, 1, 285, 1])
    assert ilsvrc_classes().names[285] == "Egyptian cat"
    (root / "wnids.txt").write_text("n01443537\nn02124075\nn00000001\n")
    (root / "train" / "n00000001" / "images").mkdir(parents=True)
    (root / "train" / "n00000001" / "n00000001_boxes.txt").write_text("\n")
    with pytest.raises(UserError, match=r"wnids.txt: n00000001 is none of ILSVRC's classes"):
        TinyImageNet(str(root), classes="ilsvrc").open("val")
    with pytest.raises(UserError, match=r"data.classes=imagenet: choose one of ilsvrc"):
        TinyImageNet(str(root), classes="imagenet")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("val/val_annotations.txt", "val_3.JPEG", "val_2.JPEG", "has no line of val_3.JPEG"),
        ("val/val_annotations.txt", "\t62\n", "\n", "line 1: .* is not of the form file wnid x0"),
        ("val/val_annotations.txt", "n01443537", "n0", "is of class n0, which wnids.txt does not"),
        ("train/n01443537/n01443537_boxes.txt", "_2.JPEG", "_9.JPEG", "has no line of n01443537_2"),
        ("train/n01443537/n01443537_boxes.txt", "58", "x", "is not of the form file x0 y0 x1 y1"),
        ("wnids.txt", "n01443537", "n02124075", "names a class twice"),
    ],
)
def test_a_damaged_file_is_said(make_tiny, file, old, new, message):
    root = make_tiny()
    path = root / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError, match=message) as error:
        TinyImageNet(str(root)).open(file.partition("/")[0] if "/" in file else "val")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_image_listed_twice_or_missing_is_said(make_tiny):
    root = make_tiny()
    path = root / "val" / "val_annotations.txt"
    text = path.read_text()
    path.write_text(text + text.splitlines()[1] + "\n")
    with pytest.raises(UserError, match=r"val: images/val_1.JPEG is listed a second time"):
        TinyImageNet(str(root)).open("val")
    path.write_text(text)
    (root / "val" / "images" / "val_1.JPEG").unlink()
    faults = TinyImageNet(str(root)).check(decode=False).splits["val"].faults
    assert list(faults) == ["unreadable"]
    assert "val_1.JPEG: the image is listed but missing" in faults["unreadable"][0]
    path.unlink()
    with pytest.raises(UserError, match=r"val_annotations.txt: missing; restore it"):
        TinyImageNet(str(root)).open("val")
    for settings, message in (
        ({}, "data.root is not given: add data.root=DIR, tiny-imagenet-200"),
        ({"root": str(root / "val")}, "has no wnids.txt: give the folder tiny-imagenet-200"),
    ):
        with pytest.raises(UserError, match=message):
            TinyImageNet(**settings).open("val")
