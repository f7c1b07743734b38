"""Disks that are too small or become full."""

from __future__ import annotations

from collections import namedtuple

import pytest
from archives import CONTENT, TEST, UNPACKED, image, only, refusal, run, tar, tree

from cam_repro.data.ilsvrc import unpack as module

Usage = namedtuple("Usage", "total used free")


def test_too_little_space_is_told_before_anything_is_written(val, output, monkeypatch):
    free = val.stat().st_size - 1
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: Usage(10**9, 10**9 - free, free))
    message = refusal(val, output)
    assert message.startswith(f"{output}: about 0.0 MB are needed on the disk of {output}, ")
    assert not output.exists()


def test_what_is_unpacked_already_needs_no_space(val, output, interrupt, monkeypatch):
    interrupt(6)
    with pytest.raises(KeyboardInterrupt):
        run(val, output)
    interrupt(0)
    there = sum(512 * p.stat().st_blocks for p in (output / "val").iterdir())
    needed = val.stat().st_size - there
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: Usage(0, 0, needed - 1))
    assert "free some" in refusal(val, output)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: Usage(0, 0, needed))
    assert only(run(val, output)).written == 1
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: Usage(0, 0, 0))
    assert only(run(val, output)).finished_before


def test_each_disk_is_looked_at_by_itself(val, tars, output, tmp_path, monkeypatch):
    (tars / TEST).write_bytes(tar(image("test", 1, b"t")))
    asked = []

    def usage(place):
        asked.append(place)
        return Usage(0, 0, 10**6)

    monkeypatch.setattr(module.shutil, "disk_usage", usage)
    run(tars, output)
    assert asked == [output]  # both on one disk, asked once


def test_a_full_disk_is_told_in_one_line_and_leaves_no_half_file(val, output, monkeypatch):
    def full(source, target, length):
        target.write(source.read(10))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "copyfileobj", full)
        message = refusal(val, output)
    assert message.startswith(f"{output}: the disk is full (")
    assert message.endswith(
        f"B free now on the disk of {output}): free some space and run the command again; what was "
        "written before is kept"
    )
    assert tree(output) == {}
    run(val, output)
    assert tree(output) == UNPACKED


def test_a_folder_where_a_file_should_go_is_an_error_of_one_line(val, output):
    (output / "val" / sorted(CONTENT)[1]).mkdir(parents=True)
    message = refusal(val, output)
    assert message.startswith(f"{val}: stopped (")
    assert not list(output.rglob("*.part"))
