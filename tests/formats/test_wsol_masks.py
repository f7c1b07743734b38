import cv2
import numpy as np
import pytest

from cam_repro.errors import UserError
from cam_repro.formats.wsol_metadata import is_metadata_folder, read_metadata

LINES = """\
val/a.jpg,a0.png,ai.png
val/b.jpg,b0.png,
val/a.jpg,a1.png,
val/z.jpg,z0.png,
"""


@pytest.fixture
def tree(tmp_path):
    """Metadata of two images as that of OpenImages30k, and the files of their masks."""

    def write(lines=LINES, labels="val/a.jpg,4\nval/b.jpg,0\n", **masks):
        (tmp_path / "image_ids.txt").write_text("val/a.jpg\nval/b.jpg\n")
        (tmp_path / "class_labels.txt").write_text(labels)
        (tmp_path / "localization.txt").write_text(lines)
        given = {
            "a0": [[9, 0, 0, 0]],
            "a1": [[0, 255, 0, 0]],
            "ai": [[255, 0, 255, 0]],
            "b0": [[0, 1], [0, 0]],
            **masks,
        }
        for name, values in given.items():
            cv2.imwrite(str(tmp_path / f"{name}.png"), np.array(values, np.uint8))
        return tmp_path

    return write


def test_masks_are_united_and_the_object_outweighs_what_is_ignored(tree):
    folder = tree()
    assert is_metadata_folder(folder)
    truth = read_metadata(folder, folder)
    assert truth.masks.of(0).tolist() == [[5, 5, 255, 0]]
    assert truth.masks.of(1).tolist() == [[0, 1], [0, 0]]
    assert truth.masks.of(0).dtype == np.uint8
    assert truth.sizes_N2 is None
    assert not truth.has_boxes
    assert truth.labels_N.tolist() == [4, 0]


def test_files_of_several_sizes_are_brought_to_one(tree):
    folder = tree(a1=[[0], [1]])
    mask_HW = read_metadata(folder, folder).masks.of(0)
    assert mask_HW.shape == (224, 224)
    assert (mask_HW[:112, :56] == 5).all()
    assert (mask_HW[112:] == 5).all()
    assert (mask_HW[:112, 56:112] == 0).all()
    assert (mask_HW[:112, 112:168] == 255).all()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("val/a.jpg,a0.png\n", r"line 1: 'val/a.jpg,a0.png' is not of the form id,mask,ignore"),
        ("val/a.jpg,1,2,3,4\n", r"line 1: .* \(which masks= reads; for boxes leave it out\)"),
        ("val/a.jpg,,ai.png\n", "line 1"),
        (LINES + "val/a.jpg,a0.png,ai.png\n", "line 5: a second mask to ignore of val/a.jpg"),
        ("val/a.jpg,a0.png,\n", r"no mask of val/b.jpg \(1 of 2 images have none\)"),
    ],
)
def test_bad_lines_are_named(tree, lines, message):
    folder = tree(lines)
    with pytest.raises(UserError, match=message):
        read_metadata(folder, folder)


def test_missing_and_broken_files_are_named(tree, tmp_path):
    truth = read_metadata(tree(), tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"a0\.png: no such mask; masks=DIR is the folder"):
        truth.masks.of(0)
    folder = tree()
    (folder / "b0.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"b0\.png: cannot be read as an image"):
        read_metadata(folder, folder).masks.of(1)


def test_classes_that_a_mask_cannot_hold_are_refused(tree):
    folder = tree(labels="val/a.jpg,254\nval/b.jpg,0\n")
    with pytest.raises(UserError, match="has class 254; with masks a class is 0 to 253"):
        read_metadata(folder, folder)


def test_without_masks_it_says_what_the_lines_are(tree):
    with pytest.raises(UserError, match=r"line 1: .*; these are masks: add masks=DIR"):
        read_metadata(tree())


def test_sizes_are_read_where_they_are_there(tree):
    folder = tree()
    (folder / "image_sizes.txt").write_text("val/a.jpg,4,1\nval/b.jpg,2,2\n")
    assert read_metadata(folder, folder).sizes_N2.tolist() == [[4, 1], [2, 2]]
