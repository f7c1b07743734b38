"""Put a new run in the place of an older one: one of the two is whole at any moment.

A pass writes into ``.pass`` in its folder. When its manifest is there, the last file, the pass is
complete, and this is what takes its place:

1. the older run's manifest moves into ``.pass``: the older run no longer counts as complete;
2. the older run's other files are removed, then its manifest;
3. the new run's files move out of ``.pass``, the manifest last.

A signal waits until all is done. After a kill the next start goes on: what lies in ``.pass`` says
how far it had come.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from cam_repro.errors import Stopped, UserError
from cam_repro.files import sync
from cam_repro.locks import LOCK, sole_writer
from cam_repro.runs.examples import CONTACT_SHEET, EXAMPLES
from cam_repro.runs.folders import CUES, NETWORK, answers_file
from cam_repro.runs.manifest import MANIFEST
from cam_repro.runs.predictions import MAPS, PARQUET, SCORES
from cam_repro.runs.scores import scores_file
from cam_repro.signals import StopRequest

NEW = ".pass"
"""Folder within a run folder in which a pass under way writes."""

_OLDER = "older.json"
"""Name in ``NEW`` of the older run's manifest, as long as that run's files are being removed."""


@contextlib.contextmanager
def new_run(folder: Path, folders: Sequence[str] = ()) -> Iterator[Path]:
    """Provide a new folder within ``folder`` for a run, which becomes the run there at the end.

    The ``with`` block has to write the manifest last. Where it fails, all that it wrote is removed,
    and an older run is untouched. Only one process may do this at a time.

    folders: those of ``MAPS`` and ``CUES`` that the run has. Raises UserError where one of them
    lies there that is not of the run there. Raises ``Stopped`` where a signal came while the run
    took its place.
    """
    finish_replacing(folder)
    for name in folders:
        if os.path.lexists(folder / name) and name not in _folders_of(folder / MANIFEST):
            raise UserError(
                f"{folder / name}: exists already, but belongs to no run: remove it, or choose "
                "another output="
            )
    new = folder / NEW
    new.mkdir(parents=True)
    try:
        yield new
    except BaseException:
        (new / MANIFEST).unlink(missing_ok=True)  # first: what is left must not count as complete
        shutil.rmtree(new, ignore_errors=True)
        raise
    finish_replacing(folder)


def finish_replacing(folder: Path) -> None:
    """Let a complete run in ``NEW`` take its place; remove what a pass left that was killed."""
    new = folder / NEW
    if not (new / MANIFEST).is_file():
        if new.exists():
            shutil.rmtree(new)
        return
    with StopRequest("stops when the results are in their place").listening() as stop:
        _remove_older(folder, new)
        for path in sorted(new.iterdir(), key=lambda path: path.name == MANIFEST):
            if path.name == MANIFEST:
                sync(folder)
            path.replace(folder / path.name)
        new.rmdir()
        sync(folder)
        if stop.made:
            raise Stopped(f"the pass is complete and kept, in {folder}")


def take_place(folder: Path, new: Path) -> None:
    """Let a complete run in the folder ``new``, within ``folder``, become the run of ``folder``."""
    assert (new / MANIFEST).is_file(), "it is complete"
    new.rename(folder / NEW)
    finish_replacing(folder)


def finish_killed(folder: Path) -> None:
    """Finish and remove what a pass left that was killed late, where its results are complete.

    If another process holds the folder, that one does.
    """
    if any(os.path.lexists(folder / name) for name in (NEW, LOCK)):
        with contextlib.suppress(UserError), sole_writer(folder):
            finish_replacing(folder)


def _remove_older(folder: Path, new: Path) -> None:
    """Remove the files of the older run in ``folder``, if there is one; others stay."""
    older = new / _OLDER
    if (folder / MANIFEST).is_file():
        (folder / MANIFEST).replace(older)
        sync(new)
    if not older.is_file():
        return
    named = [folder / name for name in (PARQUET, SCORES, EXAMPLES, CONTACT_SHEET, NETWORK)]
    of_names = (answers_file(folder, "*").name, scores_file(folder, "*").name)
    patterns = ("submission_*.txt", "submission_*.csv", *of_names)
    for path in (*named, *(path for pattern in patterns for path in folder.glob(pattern))):
        path.unlink(missing_ok=True)
    for place in (folder / name for name in _folders_of(older)):
        if place.is_symlink():  # to another disk; what is there may be others'
            place.unlink()
        elif place.exists():
            shutil.rmtree(place)
    sync(folder)
    older.unlink()


def _folders_of(manifest: Path) -> list[str]:
    """List which of ``MAPS`` and ``CUES`` a run has, by its manifest; none if that is broken."""
    try:
        values = json.loads(manifest.read_text(encoding="utf-8"))
        has = {MAPS: values.get("maps") is True, CUES: isinstance(values.get("cues"), dict)}
    except (OSError, ValueError, AttributeError, RecursionError):
        return []
    return [name for name in has if has[name]]
