"""Put a new run in the place of an older one: the older one stays whole until the new one is."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from cam_repro.errors import UserError
from cam_repro.files import sync
from cam_repro.runs.manifest import MANIFEST
from cam_repro.runs.predictions import MAPS, remove_run

NEW = ".pass"
"""Folder within a run folder in which a pass under way writes."""


@contextlib.contextmanager
def new_run(folder: Path, maps: bool = False) -> Iterator[Path]:
    """Provide a new folder within ``folder`` for a run, which becomes the run there at the end.

    Where the ``with`` block fails, all that it wrote is removed, and an older run is untouched.
    What a pass left that was killed is removed at the start. Only one process may do this at a
    time.

    maps: whether the run has maps. Raises UserError then where maps lie there that are no run's.
    """
    new = folder / NEW
    is_ours = new.exists() or (folder / MANIFEST).is_file()
    if maps and (folder / MAPS).exists() and not is_ours:
        raise UserError(
            f"{folder / MAPS}: exists already, but belongs to no run: remove it, or choose another "
            "output="
        )
    if new.exists():
        shutil.rmtree(new)
    new.mkdir(parents=True)
    try:
        yield new
        if is_ours:
            remove_run(folder)
        _move(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _move(new: Path, folder: Path) -> None:
    """Move what a pass wrote to the folder, the manifest last: with it the run is complete."""
    for path in sorted(new.iterdir(), key=lambda path: path.name == MANIFEST):
        if path.name == MANIFEST:
            sync(folder)
        path.replace(folder / path.name)
    sync(folder)
