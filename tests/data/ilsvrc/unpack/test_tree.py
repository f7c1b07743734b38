"""The tree that official archives become, and which archives are taken."""

from __future__ import annotations

import gzip
import logging
import os
import tarfile

import pytest
from archives import (
    BBOX_TRAIN,
    BBOX_VAL,
    DEVKIT,
    OLD_TEST,
    TEST,
    TRAIN,
    UNPACKED,
    VAL,
    image,
    only,
    refusal,
    run,
    special,
    tar,
    tree,
)

from cam_repro.data.ilsvrc.layouts import find_layout

# --- the tree -------------------------------------------------------------------------------------


def test_all_archives_become_the_official_layout_byte_by_byte(tars, output):
    train = {
        "n01440764.tar": tar(("n01440764_7.JPEG", b"tench 7"), ("n01440764_18.JPEG", b"x" * 5000)),
        "n01443537.tar": tar(("n01443537_2.JPEG", b"")),
    }
    (tars / TRAIN).write_bytes(tar(*train.items()))
    (tars / VAL).write_bytes(tar(image("val", 1, b"v1"), image("val", 2, b"v2")))
    (tars / TEST).write_bytes(tar(("test/ILSVRC2012_test_00000003.JPEG", b"t3")))
    (tars / BBOX_VAL).write_bytes(gzip.compress(tar(("val/ILSVRC2012_val_00000001.xml", b"<v/>"))))
    boxes = tar(("n01440764/n01440764_7.xml", b"<a/>"), ("n01443537/n01443537_2.xml", b"<b/>"))
    (tars / BBOX_TRAIN).write_bytes(gzip.compress(boxes))
    kit = "ILSVRC2012_devkit_t12"
    files = {
        f"{kit}/readme.txt": b"read me",
        f"{kit}/data/meta.mat": bytes(range(256)),
        f"{kit}/data/ILSVRC2012_validation_ground_truth.txt": b"490\n361\n",
        f"{kit}/evaluation/eval_flat.m": b"%",
    }
    folders = (special(f"{kit}{name}", tarfile.DIRTYPE) for name in ("", "/data", "/evaluation"))
    (tars / DEVKIT).write_bytes(gzip.compress(tar(*folders, *files.items())))

    report = run(tars, output)

    assert tree(output) == {
        **files,
        "bbox/train/n01440764/n01440764_7.xml": b"<a/>",
        "bbox/train/n01443537/n01443537_2.xml": b"<b/>",
        "bbox/val/ILSVRC2012_val_00000001.xml": b"<v/>",
        "test/ILSVRC2012_test_00000003.JPEG": b"t3",
        "train/n01440764/n01440764_18.JPEG": b"x" * 5000,
        "train/n01440764/n01440764_7.JPEG": b"tench 7",
        "train/n01443537/n01443537_2.JPEG": b"",
        "val/ILSVRC2012_val_00000001.JPEG": b"v1",
        "val/ILSVRC2012_val_00000002.JPEG": b"v2",
    }
    layout = find_layout(output)
    assert layout.images == {split: output / split for split in ("train", "val", "test")}
    assert layout.boxes == {split: output / "bbox" / split for split in ("train", "val")}
    assert layout.meta == output / kit / "data" / "meta.mat"
    assert layout.val_labels == output / kit / "data" / "ILSVRC2012_validation_ground_truth.txt"
    counts = [(a.archive, a.written, a.kept, a.unexpected) for a in report.archives]
    assert counts == [
        (DEVKIT, 4, 0, 0),
        (BBOX_VAL, 1, 0, 0),
        (VAL, 2, 0, 0),
        (BBOX_TRAIN, 2, 0, 0),
        (TEST, 1, 0, 0),
        (TRAIN, 3, 0, 0),
    ]


@pytest.mark.parametrize("squeeze", [bytes, gzip.compress])
@pytest.mark.parametrize("inner", ["n01440764.tar", "./deep/n01440764.tar.gz", "n01440764.tgz"])
def test_train_boxes_in_one_archive_a_class_are_found_too(tars, output, inner, squeeze):
    boxes = tar(("Annotation/n01440764/n01440764_7.xml", b"<a/>"))
    (tars / BBOX_TRAIN).write_bytes(gzip.compress(tar((inner, squeeze(boxes)))))
    run(tars, output)
    assert tree(output) == {"bbox/train/n01440764/n01440764_7.xml": b"<a/>"}


def test_an_archive_that_a_browser_has_decompressed_is_read_under_its_old_name(tars, output):
    (tars / BBOX_VAL).write_bytes(tar(("val/ILSVRC2012_val_00000001.xml", b"<v/>")))
    run(tars, output)
    assert tree(output) == {"bbox/val/ILSVRC2012_val_00000001.xml": b"<v/>"}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_prefixes_folders_and_what_macos_adds_do_not_matter(tars, output, form):
    deep = "long/" * 30  # more than the 100 characters of the first tar programs
    members = [
        special("./", tarfile.DIRTYPE),
        ("./._ILSVRC2012_val_00000001.JPEG", b"macOS"),
        (f"./{image('val', 1, b'')[0]}", b"v1"),
        ("./.DS_Store", b"macOS"),
        (f"{deep}{image('val', 2, b'')[0]}", b"v2"),
    ]
    (tars / VAL).write_bytes(tar(*members, form=form))
    report = run(tars, output)
    assert tree(output) == {
        "val/ILSVRC2012_val_00000001.JPEG": b"v1",
        "val/ILSVRC2012_val_00000002.JPEG": b"v2",
    }
    assert only(report).unexpected == 0


def test_members_of_other_names_are_left_out_counted_and_named(tars, output):
    others = ["notes.txt", "ILSVRC2012_val_1.JPEG", "n01440764.tar", "ILSVRC2012_val_00000001.exe"]
    (tars / VAL).write_bytes(tar(*((name, b"?") for name in others), image("val", 9, b"9")))
    report = run(tars, output)
    assert tree(output) == {"val/ILSVRC2012_val_00000009.JPEG": b"9"}
    assert only(report).unexpected == 4
    assert only(report).examples == ("'notes.txt'", "'ILSVRC2012_val_1.JPEG'", "'n01440764.tar'")
    assert report.warnings[-1] == (
        f"{VAL}: left out 4 members with names that the official archive does not have "
        "('notes.txt', 'ILSVRC2012_val_1.JPEG', 'n01440764.tar', ...)"
    )


def test_an_archive_inside_an_inner_archive_is_not_opened(tars, output):
    bomb = tar(("n01440764_1.JPEG", b"1"))
    inner = tar(("n01440764.tar", bomb), ("n01440764_2.JPEG", b"2"))
    (tars / TRAIN).write_bytes(tar(("n01440764.tar", inner)))
    assert only(run(tars, output)).unexpected == 1
    assert tree(output) == {"train/n01440764/n01440764_2.JPEG": b"2"}


def test_files_have_the_permissions_that_new_files_have(val, output):
    mask = os.umask(0o027)
    try:
        run(val, output)
    finally:
        os.umask(mask)
    assert {p.stat().st_mode & 0o777 for p in (output / "val").iterdir()} == {0o640}


# --- which archives -------------------------------------------------------------------------------


def test_splits_choose_images_and_boxes_and_the_development_kit_comes_along(val, tars, output):
    (tars / BBOX_VAL).write_bytes(gzip.compress(tar(("ILSVRC2012_val_00000001.xml", b"<v/>"))))
    (tars / TEST).write_bytes(tar(image("test", 1, b"t")))
    (tars / DEVKIT).write_bytes(gzip.compress(tar(("ILSVRC2012_devkit_t12/COPYING", b"c"))))
    run(tars, output, splits=["test"])
    assert tree(output) == {
        "ILSVRC2012_devkit_t12/COPYING": b"c",
        "test/ILSVRC2012_test_00000001.JPEG": b"t",
    }


def test_one_file_or_several_places_may_be_given(val, tars, tmp_path, output):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / TEST).write_bytes(tar(image("test", 1, b"t")))
    (elsewhere / VAL).write_bytes(tar(image("val", 1, b"other")))
    assert [a.archive for a in run(val, output).archives] == [VAL]
    report = run([tars, str(elsewhere), elsewhere / VAL], output)  # type: ignore[arg-type]
    assert [(a.archive, a.finished_before) for a in report.archives] == [(VAL, True), (TEST, False)]
    assert tree(output) == UNPACKED | {"test/ILSVRC2012_test_00000001.JPEG": b"t"}


def test_the_newer_test_images_are_preferred_and_replace_those_of_the_older(tars, output, caplog):
    (tars / OLD_TEST).write_bytes(tar(image("test", 1, b"old 1"), image("test", 2, b"old 2")))
    run(tars, output)
    (tars / TEST).write_bytes(tar(image("test", 1, b"new 1"), image("test", 2, b"new 2")))
    with caplog.at_level(logging.INFO):
        run(tars, output)
    assert tree(output) == {
        "test/ILSVRC2012_test_00000001.JPEG": b"new 1",
        "test/ILSVRC2012_test_00000002.JPEG": b"new 2",
    }
    assert f"left alone: {OLD_TEST}" in caplog.text


def test_no_archive_names_those_looked_for(tars, output):
    (tars / "images.tar").write_bytes(tar(image("val", 1, b"1")))
    assert refusal(tars, output) == (
        f"tars={tars}: found none of {DEVKIT}, {BBOX_VAL}, {VAL}, {BBOX_TRAIN}, {TEST}, "
        f"{OLD_TEST}, {TRAIN}; download them from image-net.org and give the folder that holds them"
    )
    assert f"found none of {DEVKIT}, {TEST}, {OLD_TEST}; " in refusal(tars, output, splits=["test"])
    assert not output.exists()


def test_what_is_no_archive_is_refused_by_name(val, tars, output):
    (tars / "images.tar").write_bytes(b"")
    assert "not the name of an official archive" in refusal(tars / "images.tar", output)
    assert refusal(tars / "x", output) == f"tars={tars / 'x'}: no such file or folder"
    message = refusal(tars, output, splits=["val", "trian"])
    assert message == "splits=trian: choose one of train, val, test; did you mean train?"
