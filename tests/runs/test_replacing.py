"""A finished pass takes the place of an older one, whatever ends the process meanwhile."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from cam_repro.errors import Stopped, UserError
from cam_repro.locks import sole_writer
from cam_repro.runs.replacing import finish_killed, finish_replacing, new_run
from cam_repro.signals import heard_as_interrupts

OLDER = {
    "eval.log": "older",
    "examples.parquet": "older",
    "manifest.json": '{"maps": true, "is": "older"}',
    "maps/a.npy": "older",
    "maps/b.npy": "older",
    "predictions.parquet": "older",
    "score_pxap.json": "older",
    "submission_heuristic.txt": "older",
}
NEWER = {
    "eval.log": "newer",
    "manifest.json": '{"maps": true, "is": "newer"}',
    "maps/a.npy": "newer",
    "predictions.parquet": "newer",
    "scores.json": "newer",
    "submission_threshold.csv": "newer",
}
MINE = {"notes.txt": "mine", "submission_mine/a.txt": "mine"}


class Killed(BaseException):
    """As SIGKILL: whatever would be done next is not."""


def fill(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def texts(folder):
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def without_maps(files):
    kept = {name: text for name, text in files.items() if not name.startswith("maps/")}
    return {**kept, "manifest.json": files["manifest.json"].replace("true", "false")}


def replace(folder, files=NEWER):
    with new_run(folder, ["maps"] if "maps/a.npy" in files else []) as new:
        fill(new, files)


@pytest.fixture
def folder(tmp_path):
    """The folder of a run with maps, with other files in it."""
    fill(tmp_path / "run", {**OLDER, **MINE})
    return tmp_path / "run"


def test_the_older_run_goes_whole_and_what_is_not_its_own_stays(folder):
    replace(folder)
    assert texts(folder) == {**NEWER, **MINE}
    assert not (folder / ".pass").exists()
    replace(folder, without_maps(OLDER))
    assert texts(folder) == {**without_maps(OLDER), **MINE}


def test_in_an_empty_folder(tmp_path):
    replace(tmp_path / "a" / "run")
    assert texts(tmp_path / "a" / "run") == NEWER


def test_a_pass_that_fails_leaves_the_older_run(folder):
    def fails(error):
        with new_run(folder, ["maps"]) as new:
            fill(new, NEWER)
            raise error

    for error in (UserError, KeyboardInterrupt):
        with pytest.raises(error):
            fails(error)
        assert texts(folder) == {**OLDER, **MINE}
        assert not (folder / ".pass").exists()


def is_killed_at(number, folder):
    """Finish in a folder, but end the process before the ``number``-th change in the file system.

    Tells whether there were so many.
    """
    count = 0

    def counted(change):
        def one(*arguments, **options):
            nonlocal count
            count += 1
            if count >= number:
                raise Killed
            return change(*arguments, **options)

        return one

    with pytest.MonkeyPatch.context() as patch:
        for name in ("replace", "unlink", "rmdir"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        patch.setattr(os, "unlink", counted(os.unlink))  # within rmtree
        patch.setattr(os, "rmdir", counted(os.rmdir))
        try:
            finish_replacing(folder)
        except Killed:
            return True
    return False


@pytest.mark.parametrize("newer", [NEWER, without_maps(NEWER)], ids=["maps", "no maps"])
@pytest.mark.parametrize("older", [OLDER, without_maps(OLDER), {}], ids=["maps", "no maps", "none"])
def test_killed_at_any_moment_the_next_start_ends_what_was_begun(tmp_path, older, newer):
    for number in range(1, 100):
        folder = tmp_path / str(number)
        fill(folder, {**older, **MINE})
        fill(folder / ".pass", newer)
        if not is_killed_at(number, folder):
            break
        is_killed_at(2, folder)  # and so may be the next start
        finish_replacing(folder)
        assert texts(folder) == {**newer, **MINE}, f"killed at change {number}"
        assert not (folder / ".pass").exists()
    assert number > len(newer)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_the_new_run_has_its_place(folder, monkeypatch, number):
    real = shutil.rmtree

    def rmtree(path, **options):
        if Path(path).name == "maps":
            os.kill(os.getpid(), number)
        real(path, **options)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with heard_as_interrupts(), pytest.raises(Stopped, match="the pass is complete and kept, in "):
        replace(folder)
    assert texts(folder) == {**NEWER, **MINE}


def test_what_an_unfinished_pass_left_is_removed(folder):
    fill(folder / ".pass", {"predictions.parquet": "half"})
    replace(folder)
    assert texts(folder) == {**NEWER, **MINE}


@pytest.mark.parametrize("left", [{}, without_maps(OLDER), {".pass/eval.log": "half"}])
def test_maps_of_somebody_else_are_neither_removed_nor_mixed_with_ours(tmp_path, left):
    mine = {**left, "maps/mine.npy": "mine"}
    fill(tmp_path, mine)
    with pytest.raises(UserError, match="maps: exists already, but belongs to no run"):
        replace(tmp_path)
    replace(tmp_path, without_maps(NEWER))
    replace(tmp_path, without_maps(NEWER))
    assert texts(tmp_path) == {**without_maps(NEWER), "maps/mine.npy": "mine"}


def test_a_broken_manifest_has_no_maps(tmp_path):
    for text in ("{", "[]", "3", '{"maps": 1}'):
        fill(tmp_path, {"manifest.json": text, "maps/mine.npy": "mine"})
        replace(tmp_path, without_maps(NEWER))
        assert (tmp_path / "maps/mine.npy").read_text() == "mine"


def test_maps_that_are_a_link_to_another_disk(folder, tmp_path):
    shutil.move(folder / "maps", tmp_path / "scratch")
    (folder / "maps").symlink_to(tmp_path / "scratch")
    replace(folder)
    assert texts(folder) == {**NEWER, **MINE}
    assert not (folder / "maps").is_symlink()


def test_a_file_that_cannot_be_removed_loses_neither_run(folder, monkeypatch):
    def rmtree(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", rmtree)
        with pytest.raises(PermissionError):
            replace(folder)
    assert json.loads((folder / ".pass" / "manifest.json").read_text())["is"] == "newer"
    finish_replacing(folder)
    assert texts(folder) == {**NEWER, **MINE}


def test_what_a_pass_left_that_was_killed_at_its_very_end(folder):
    (folder / ".lock").touch()
    (folder / ".pass").mkdir()
    with sole_writer(folder):  # another process, which will see to it
        finish_killed(folder)
        assert (folder / ".pass").is_dir()
    (folder / ".lock").touch()
    finish_killed(folder)
    assert texts(folder) == {**OLDER, **MINE}
    assert not (folder / ".pass").exists()
