"""Files are whole or not there, on the disk before they have their names, and inside a folder."""

import errno
import json
import logging
import math
import os
from pathlib import Path

import pytest
import torch

from cam_repro import files
from cam_repro.engine.checkpoint import save_checkpoint
from cam_repro.errors import UserError
from cam_repro.files import (
    at_home,
    atomic_path,
    check_writable,
    path_within,
    says_if_full,
    write_json,
    write_text,
)


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    steps, fsync = [], os.fsync
    monkeypatch.setattr(files.os, "fsync", lambda fd: (steps.append(named(fd)), fsync(fd)))
    replace = Path.replace

    def noted(path, target):
        steps.append("renamed")
        return replace(path, target)

    def named(descriptor):
        return Path(f"/proc/self/fd/{descriptor}").readlink().name[:7]

    monkeypatch.setattr(Path, "replace", noted)
    write_text(tmp_path / "scores.json", "{}")
    assert steps == [".scores", "renamed", tmp_path.name[:7]]


def test_what_a_killed_writer_left_goes_with_the_next_of_the_same_file(tmp_path):
    names = (".last-0a1b2c3d.pt", ".last-0a1b2c3d.csv", ".best-0a1b2c3d.pt", ".last-mine.pt")
    for name in names:
        (tmp_path / name).write_text("half")
    with atomic_path(tmp_path / "last.pt") as path:
        path.write_text("whole")
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(["last.pt", *names[1:]])


def test_what_another_writer_is_writing_stays(tmp_path):
    with atomic_path(tmp_path / "a.csv") as one:
        one.write_text("one")
        with atomic_path(tmp_path / "a.csv") as other:
            other.write_text("other")
        assert one.read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "one"


@pytest.mark.parametrize(
    ("number", "what"),
    [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "your quota of the disk is used up")],
)
def test_a_full_disk_is_one_line_and_the_file_before_stays(tmp_path, number, what):
    path = tmp_path / "scores.json"
    write_text(path, "before")
    with pytest.raises(UserError) as error, atomic_path(path):
        raise OSError(number, os.strerror(number))
    assert str(error.value).startswith(f"{path}: {what} (")
    assert "B free now on the disk of " in str(error.value)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [
        ("scores.json", "before")
    ]


def test_a_full_disk_is_found_behind_the_error_of_torch(monkeypatch, tmp_path):
    real = Path.open

    def full(path, *arguments):
        return real(Path("/dev/full") if path.name.startswith(".last-") else path, *arguments)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(UserError, match=r"last\.pt: the disk is full"):
        save_checkpoint(tmp_path / "last.pt", {"model": torch.zeros(100_000)})
    assert list(tmp_path.iterdir()) == []


def test_other_errors_are_what_they_were(tmp_path):
    for error in (OSError(errno.EIO, "Input/output error"), UserError("no"), KeyError("x")):
        with pytest.raises(type(error)) as caught, says_if_full(tmp_path):
            raise error
        assert caught.value is error


def test_a_checkpoint_has_the_same_bytes_each_time(tmp_path):
    for name in ("a", "b"):
        save_checkpoint(tmp_path / f"{name}.pt", {"model": torch.arange(9.0)})
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


@pytest.mark.parametrize("name", ["a", "a_1.npy", "ein Bild, ü.npy", "..a", "a..b", "~", "-"])
def test_a_name_is_a_path_in_its_folder(tmp_path, name):
    assert path_within(tmp_path, "n01440764", name) == tmp_path / "n01440764" / name


@pytest.mark.parametrize("name", ["", "..", ".", "../a", "a/..", "/etc/a", "a/b", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, name):
    with pytest.raises(UserError) as error:
        path_within(tmp_path, "a", name)
    assert str(error.value) == (
        f"{name!a} is no name of a file or folder in {tmp_path}, so nothing is written there: "
        "give it another name"
    )


def test_json_has_null_where_there_is_no_number_and_says_so(tmp_path, caplog):
    path = tmp_path / "x.json"
    values = {"a": [1.5, math.nan], "b": {"c": math.inf, "d": (2, None, True, "NaN")}}
    with caplog.at_level(logging.WARNING):
        write_json(path, values)
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {
        "a": [1.5, None],
        "b": {"c": None, "d": [2, None, True, "NaN"]},
    }
    assert caplog.messages == [
        "a is nan, which is no number: written as null",
        "b.c is inf, which is no number: written as null",
    ]


def test_a_link_to_a_disk_that_is_not_there(tmp_path):
    (tmp_path / "runs").symlink_to("/scratch/not-mounted")
    said = r"runs is a link to /scratch/not-mounted, which is not there\); choose another output="
    with pytest.raises(UserError, match=said):
        check_writable(tmp_path / "runs" / "tiny" / "train")


@pytest.mark.parametrize("name", ["~x", "~$a.jpg", "~root", "a/~", "[~]", "~x/~"])
def test_a_name_that_begins_with_a_tilde_is_no_user(name, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert at_home(name) == Path(name)
    assert at_home(f"~/{name}") == Path("/home/me", name)
    assert at_home("~") == Path("/home/me")
