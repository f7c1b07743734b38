"""Unpacking again: what is kept, what is replaced, and how an interrupted run goes on."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from archives import CONTENT, TRAIN, UNPACKED, VAL, only, refusal, run, tar, tree

from cam_repro.data.ilsvrc import unpack as module
from cam_repro.data.ilsvrc.unpack import MD5, ArchiveReport
from cam_repro.locks import sole_writer


def test_an_interrupted_run_leaves_whole_files_and_the_next_goes_on(val, output, interrupt):
    interrupt(4)
    with pytest.raises(KeyboardInterrupt):
        run(val, output)
    names = sorted(CONTENT)
    assert tree(output) == {f"val/{name}": CONTENT[name] for name in names[:3]}
    first = output / "val" / names[0]
    before = first.stat().st_mtime_ns
    interrupt(0)
    report = only(run(val, output))
    assert (report.written, report.kept) == (3, 3)
    assert report.md5 == hashlib.md5(val.read_bytes()).hexdigest()
    assert tree(output) == UNPACKED
    assert first.stat().st_mtime_ns == before


def test_an_interrupted_inner_archive_is_gone_on_with(tars, output, interrupt):
    wnids = ["n01440764", "n01443537"]
    inner = {w: [(f"{w}_{i}.JPEG", w.encode() * i) for i in range(1, 4)] for w in wnids}
    (tars / TRAIN).write_bytes(tar(*((f"{w}.tar", tar(*files)) for w, files in inner.items())))
    interrupt(5)
    with pytest.raises(KeyboardInterrupt):
        run(tars, output)
    assert len(tree(output)) == 4
    interrupt(0)
    report = only(run(tars, output))
    assert (report.written, report.kept) == (2, 4)
    assert tree(output) == {
        f"train/{w}/{name}": content for w, files in inner.items() for name, content in files
    }


def test_a_file_of_a_wrong_size_is_replaced_and_one_of_the_right_size_kept(val, output):
    folder = output / "val"
    folder.mkdir(parents=True)
    one, two = sorted(CONTENT)[:2]
    (folder / one).write_bytes(b"short")
    (folder / two).write_bytes(b"!" * len(CONTENT[two]))
    report = only(run(val, output))
    assert (report.written, report.kept) == (5, 1)
    assert tree(output) == UNPACKED | {f"val/{two}": b"!" * len(CONTENT[two])}


def test_a_finished_archive_is_not_read_again(val, output, monkeypatch):
    first = only(run(val, output))
    assert json.loads((output / ".unpack" / f"{VAL}.json").read_text()) == {
        "archive": VAL,
        "size": val.stat().st_size,
        "mtime_ns": val.stat().st_mtime_ns,
        "keep": True,
        "finished": True,
        "files": 6,
        "n_bytes": sum(map(len, CONTENT.values())),
        "md5": first.md5,
    }
    with monkeypatch.context() as patch:
        patch.setattr(module.tarfile, "open", lambda **_: pytest.fail("the archive was read"))
        report = only(run(val, output))
    assert report == ArchiveReport(VAL, 0, 6, 0, (), 0.0, first.md5, finished_before=True)


def test_a_file_that_was_removed_comes_back(val, output):
    run(val, output)
    (output / "val" / sorted(CONTENT)[2]).unlink()
    report = only(run(val, output))
    assert (report.written, report.kept) == (1, 5)
    assert tree(output) == UNPACKED


def test_files_that_a_power_cut_left_empty_come_back(val, output):
    run(val, output)
    for name in sorted(CONTENT)[:3]:
        (output / "val" / name).write_bytes(b"")
    report = only(run(val, output))
    assert (report.written, report.kept) == (3, 3)
    assert tree(output) == UNPACKED


def test_a_stamp_comes_when_the_files_are_on_the_disk(val, output, monkeypatch):
    steps = []
    monkeypatch.setattr(module.os, "sync", lambda: steps.append(sorted((output / "val").iterdir())))
    real = module.write_json

    def note(path, stamp):
        steps.append("finished" if stamp["finished"] else "begun")
        real(path, stamp)

    monkeypatch.setattr(module, "write_json", note)
    run(val, output)
    assert steps == ["begun", [output / "val" / name for name in sorted(CONTENT)], "finished"]


def test_a_stamp_of_an_older_version_names_no_sizes(val, output):
    run(val, output)
    path = output / ".unpack" / f"{VAL}.json"
    stamp = json.loads(path.read_text())
    del stamp["n_bytes"]
    path.write_text(json.dumps(stamp))
    assert only(run(val, output)).finished_before


def test_what_was_killed_while_it_wrote_a_file_leaves_nothing(val, output, interrupt):
    (output / "val").mkdir(parents=True)
    left = output / "val" / f".{sorted(CONTENT)[0]}.part"
    left.write_bytes(b"half")
    run(val, output)
    assert not left.exists()
    assert sorted(path.name for path in output.iterdir()) == [".unpack", "val"]


def test_two_do_not_unpack_to_one_tree_at_once(val, output):
    with sole_writer(output):
        assert "is writing to it, since 20" in refusal(val, output)
    run(val, output)


def test_a_stamp_that_cannot_be_read_is_none(val, output):
    run(val, output)
    (output / ".unpack" / f"{VAL}.json").write_text("{}")
    assert not only(run(val, output)).finished_before
    assert only(run(val, output)).finished_before


OTHER = {name: bytes(len(content)) for name, content in CONTENT.items()}
"""Files of the same names and sizes."""


def replace(path: Path, content: bytes) -> None:
    """Another file in the place of ``path``, which is a second younger."""
    stamp = path.stat().st_mtime_ns + 10**9
    path.write_bytes(content)
    os.utime(path, ns=(stamp, stamp))


def test_files_of_a_truncated_archive_are_replaced_by_those_of_the_whole_one(val, output):
    whole = val.read_bytes()
    val.write_bytes(tar(*OTHER.items())[:4000])
    refusal(val, output)
    assert tree(output) != {}
    replace(val, whole)
    report = only(run(val, output))
    assert (report.written, report.kept) == (6, 0)
    assert tree(output) == UNPACKED


def test_they_are_replaced_too_where_the_whole_one_has_size_and_time_of_the_damaged_one(
    val, output
):
    whole, status = val.read_bytes(), val.stat()
    val.write_bytes(tar(*OTHER.items())[:4000] + bytes(len(whole) - 4001) + b"!")
    os.utime(val, ns=(status.st_atime_ns, status.st_mtime_ns))
    refusal(val, output)
    val.write_bytes(whole)
    os.utime(val, ns=(status.st_atime_ns, status.st_mtime_ns))
    run(val, output)
    assert tree(output) == UNPACKED


def test_files_of_an_archive_with_another_sum_are_replaced(val, output):
    whole = val.read_bytes()
    val.write_bytes(tar(*OTHER.items()))
    run(val, output)
    replace(val, whole)
    assert only(run(val, output)).written == 6
    assert tree(output) == UNPACKED


def test_they_are_replaced_even_where_the_second_run_is_interrupted(val, output, interrupt):
    whole = val.read_bytes()
    val.write_bytes(tar(*OTHER.items()))
    interrupt(6)
    with pytest.raises(KeyboardInterrupt):
        run(val, output)
    replace(val, whole)
    interrupt(2)
    with pytest.raises(KeyboardInterrupt):
        run(val, output)
    interrupt(0)
    run(val, output)
    assert tree(output) == UNPACKED


def test_files_of_the_official_archive_are_kept_when_it_was_only_touched(val, output, monkeypatch):
    monkeypatch.setitem(MD5, VAL, hashlib.md5(val.read_bytes()).hexdigest())
    run(val, output)
    replace(val, val.read_bytes())
    report = only(run(val, output))
    assert (report.written, report.kept) == (0, 6)
