"""What is not packed, and what an interrupted run leaves."""

from __future__ import annotations

import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from packed_helpers import pack_them

from cam_repro.classes import classes_of
from cam_repro.data.ground_truth.image_set import ground_truth_set
from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.data.packed.read import load_packed_set
from cam_repro.data.packed.write import Stored
from cam_repro.errors import UserError
from cam_repro.locks import sole_writer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, "png"), "size=null packs the files as they are: leave format and jpg_quality out"),
        (
            (None, None, 90),
            "size=null packs the files as they are: leave format and jpg_quality out",
        ),
        ((0,), "size=0: must be 1 to 16,383, or null"),
        ((20_000,), "size=20000: must be 1 to 16,383, or null"),
        ((256, "gif"), "format=gif: choose one of webp, png, jpg"),
        ((256, "png", 95), "format=png keeps every pixel: leave jpg_quality out"),
        ((256, None, 95), "format=webp keeps every pixel: leave jpg_quality out"),
        ((256, "jpg", 0), "jpg_quality=0: must be 1 to 100"),
        ((256, "jpg", 101), "jpg_quality=101: must be 1 to 100"),
    ],
)
def test_what_cannot_be_stored(arguments, message):
    with pytest.raises(UserError) as caught:
        Stored(*arguments)
    assert str(caught.value) == message


def test_webp_is_not_in_every_pillow(monkeypatch):
    monkeypatch.setattr("cam_repro.data.packed.write.features.check", lambda name: name != "webp")
    with pytest.raises(UserError, match="format=webp: this Pillow was built without it, choose"):
        Stored(256)
    assert Stored(256, "png").format == "png"


def test_a_folder_that_holds_something_is_left_alone(source, tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p/mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"/p: is not empty; give a new folder with output=DIR"):
        pack_them(tmp_path / "p", source)
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["mine.txt"]
    with pytest.raises(UserError, match=r"mine\.txt: cannot be written"):
        pack_them(tmp_path / "p/mine.txt", source)
    (tmp_path / "p/mine.txt").unlink()
    assert len(load_packed_set(pack_them(tmp_path / "p", source), "val")) == 6  # an empty one does


def test_what_is_packed_already_is_left_and_said(root, source, tmp_path, caplog):
    folder = pack_them(tmp_path / "p", source)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with caplog.at_level("INFO"):
        pack_them(folder, source)
    assert f"packed already: {folder}" in caplog.messages
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    other_labels = replace(source, labels_N=source.labels_N[::-1].copy())
    with pytest.raises(UserError, match="is not empty"):
        pack_them(folder, other_labels)
    with pytest.raises(UserError, match="is not empty"):
        pack_them(folder, source, stored=Stored(16, "png"))
    with pytest.raises(UserError, match="is not empty"):
        pack_them(folder, source, load_image_set(root, "train"))
    shard = folder / "val/val-000000.tar"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"val-000000\.tar: has .* bytes, was packed with"):
        pack_them(folder, source)


def test_what_was_left_by_a_pack_that_was_killed_is_removed(source, tmp_path):
    left = tmp_path / ".p.packing/val/val-000000.tar"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    pack_them(tmp_path / "p", source)
    assert {path.name for path in tmp_path.iterdir()} == {"p", "small"}


def test_two_do_not_pack_one_folder_at_once(source, tmp_path):
    said = r"/p: process \d+ on .* is writing to it, since 20"
    lock = sole_writer(tmp_path / "p", lock=tmp_path / ".p.lock")
    with lock, pytest.raises(UserError, match=said):
        pack_them(tmp_path / "p", source)
    pack_them(tmp_path / "p", source)


def test_the_manifest_comes_when_all_else_is_on_the_disk(source, tmp_path, monkeypatch):
    """A power cut after it must not leave it with shards that are not there."""
    done, real = [], os.fsync

    def note(descriptor):
        done.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    pack_them(tmp_path / "p", source)
    shard, index, folder, manifest, *rest = done
    assert (shard, index, folder) == ("val-000000.tar", "index.parquet", "val")
    assert manifest.startswith(".manifest-")
    assert rest == [".p.packing", tmp_path.name]


@pytest.mark.parametrize("at", ["images", "manifest"])
def test_stopped_it_leaves_nothing(source, tmp_path, monkeypatch, at):
    def stop(*arguments):
        raise KeyboardInterrupt

    place = {"images": "pq.write_table", "manifest": "write_json"}[at]
    monkeypatch.setattr(f"cam_repro.data.packed.write.{place}", stop)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        pack_them(tmp_path / "p", source)
    assert sorted(tmp_path.iterdir()) == before


def test_a_full_disk_is_one_line(source, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(
        UserError, match=r"/p: the disk is full \(.*[MG]B free now on the disk of /.*\): "
    ):
        pack_them(tmp_path / "p", source)


def test_it_is_no_packed_set_before_it_is_complete(source, tmp_path, monkeypatch):
    real, seen = pq.write_table, []

    def look(*arguments):
        real(*arguments)
        place = tmp_path / ".p.packing"
        with pytest.raises(UserError, match=r"has no manifest\.json"):
            load_packed_set(place, "val")
        seen.append((tmp_path / "p").exists())

    monkeypatch.setattr("cam_repro.data.packed.write.pq.write_table", look)
    pack_them(tmp_path / "p", source)
    assert seen == [False]
    assert {path.name for path in tmp_path.iterdir()} == {"p", "small"}


def test_what_is_packed_is_not_packed_again(source, tmp_path):
    images = load_packed_set(pack_them(tmp_path / "p", source), "val")
    bare = ground_truth_set(source, Path("truth.csv"), "val")
    for other in (images, bare):
        with pytest.raises(UserError, match="no files of images: pack the original data set"):
            pack_them(tmp_path / "q", other)
    assert not (tmp_path / "q").exists()


def test_splits_have_the_same_classes(root, source, tmp_path):
    train = load_image_set(root, "train")
    other = replace(train, classes=classes_of(["n00001000", "n00001010", "n00001021"]))
    with pytest.raises(UserError, match=r"/train: has other classes than .*/val; name one list"):
        pack_them(tmp_path / "p", source, other)
    assert not (tmp_path / "p").exists()
