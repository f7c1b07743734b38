"""One process at a time writes to a folder, and no lock outlives its process."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from cam_repro import locks
from cam_repro.errors import UserError
from cam_repro.locks import sole_writer

HOLD = """
import sys, time
from cam_repro.locks import sole_writer
with sole_writer(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def held(tmp_path):
    """A folder that another process holds, and the process."""
    folder = tmp_path / "runs" / "train"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield folder, process
        process.kill()


def test_the_second_is_refused_at_once_and_told_by_whom(held):
    folder, process = held
    began = time.monotonic()
    with pytest.raises(UserError) as refused, sole_writer(folder):
        pass
    assert time.monotonic() - began < 1
    since = json.loads((folder / ".lock").read_text())["since"]
    assert str(refused.value) == (
        f"{folder}: process {process.pid} on {socket.gethostname()} is writing to it, since "
        f"{since}: wait until it ends, or name another folder with output="
    )


def test_a_lock_goes_with_a_process_that_is_killed(held):
    folder, process = held
    process.kill()
    process.wait()
    assert (folder / ".lock").exists()
    with sole_writer(folder):
        pass
    assert list(folder.iterdir()) == []


def test_what_was_made_for_it_and_stayed_empty_is_removed(tmp_path):
    folder = tmp_path / "a" / "b"
    with sole_writer(folder):
        assert [path.name for path in folder.iterdir()] == [".lock"]
        with pytest.raises(UserError, match=f"process {os.getpid()} on"), sole_writer(folder):
            pass
    assert list(tmp_path.iterdir()) == []
    with sole_writer(folder):
        (folder / "result").write_text("1")
    assert [path.name for path in folder.iterdir()] == ["result"]


FORK = """
import os, sys, time
from cam_repro.locks import sole_writer
with sole_writer(sys.argv[1]):
    if os.fork() == 0:
        print(os.getpid(), flush=True)
    time.sleep(60)
"""


def test_a_forked_process_that_outlives_its_parent_holds_nothing(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", FORK, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        child = int(parent.stdout.readline())
        with pytest.raises(UserError, match=f"process {parent.pid} on"), sole_writer(tmp_path):
            pass
        parent.kill()
        parent.wait()
        os.kill(child, 0)  # it lives
        with sole_writer(tmp_path):
            pass
        os.kill(child, signal.SIGKILL)


def test_a_folder_that_cannot_be_written_needs_no_lock(tmp_path, monkeypatch):
    def refuses(*arguments):
        raise OSError(errno.EROFS, "Read-only file system", "x")

    monkeypatch.setattr(locks.os, "open", refuses)
    with sole_writer(tmp_path):
        pass


def test_on_a_full_disk_a_lock_holds_without_a_name(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(locks.os, "pwrite", full)
    said = "another process is writing to it: wait"
    with sole_writer(tmp_path), pytest.raises(UserError, match=said), sole_writer(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def without_flock(monkeypatch):
    def fails(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", fails)


def test_without_locks_a_process_that_lives_or_may_live_is_believed(tmp_path, without_flock):
    with subprocess.Popen(["sleep", "60"]) as other:
        for host, pid in ((socket.gethostname(), other.pid), ("node17", 5)):
            text = json.dumps({"host": host, "pid": pid, "since": "2026-01-01 10:00:00+00:00"})
            (tmp_path / ".lock").write_text(text)
            said = rf"process {pid} on {host} .*; if it is not running any more, remove .*/\.lock$"
            with pytest.raises(UserError, match=said), sole_writer(tmp_path):
                pass
        other.kill()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": "h"}', "gone"])
def test_without_locks_one_that_runs_no_more_is_taken_over(tmp_path, without_flock, text):
    if text == "gone":
        with subprocess.Popen(["true"]) as other:
            other.wait()
        text = json.dumps({"host": socket.gethostname(), "pid": other.pid, "since": "x"})
    (tmp_path / ".lock").write_text(text)
    with sole_writer(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []
