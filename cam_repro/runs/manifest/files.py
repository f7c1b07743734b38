"""Write a run's manifest, and tell by it whether a file, or a folder, is what it should be."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cam_repro.errors import UserError
from cam_repro.files import sha256, with_checksum, write_json
from cam_repro.runs.manifest.record import MANIFEST, Manifest

log = logging.getLogger(__name__)

_LOG = "log.csv"
"""The file that training runs alone have (``runs.training_log``, which imports this package)."""

CHECKED = ("*.parquet", "*.npy", "scores.json", "submission_*", "*.pt", _LOG)
"""Names, as patterns, of a run's files that numbers come from."""

_OTHERS = {"iterations", "splits", "features", "svm", "concept"}
"""Keys that only manifests of training runs, packed data, features, SVMs and concepts have."""


def write_manifest(folder: Path | str, manifest: Manifest) -> None:
    """Write ``manifest.json``, whole or not at all: the run in ``folder`` is complete with it.

    It holds the SHA-256 of the files there that numbers come from, as ``files``.
    """
    named = sorted({path for pattern in CHECKED for path in Path(folder).glob(pattern)})
    kept = [path for path in named if path.is_file() and not path.name.startswith(".")]
    sums = {path.name: sha256(path) for path in kept}
    values = {**manifest.as_json(), **({"files": sums} if sums else {})}
    write_json(Path(folder) / MANIFEST, with_checksum(values))


def check_unchanged(path: Path, remedy: str) -> None:
    """Raise UserError where a file is not as the manifest beside it says; remedy: what to do then.

    Files that no manifest names, as in runs of older versions, are not compared.
    """
    try:
        stated = json.loads((path.parent / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return  # of a run that is under way
    except (OSError, ValueError, RecursionError):
        stated = None
    if not (isinstance(stated, dict) and stated):
        log.warning(
            "%s is damaged, or no manifest, so it is not known whether %s is as it was written",
            path.parent / MANIFEST,
            path.name,
        )
        return
    sums = stated["files"] if "files" in stated else _sums_before_files(stated.get("checkpoint"))
    expected = sums.get(path.name) if isinstance(sums, dict) else None
    if expected is not None and path.is_file() and sha256(path) != expected:
        raise UserError(
            f"{path} is not as it was written: its SHA-256 is not the one in {MANIFEST}: {remedy}"
        )


def refuse_to_overwrite(key: str, path: Path | str, inputs: Iterable[Any] = ()) -> None:
    """Raise UserError, naming the setting, where a file to be written is read, or is a run's own.

    inputs: values of the settings that may name files which the command reads.
    """
    path = Path(path)
    if not path.is_file():
        return
    for each in inputs:
        if isinstance(each, str | Path) and Path(each).is_file() and path.samefile(each):
            raise UserError(f"{key}={path}: is read by this command: name another file")
    if path.name in _own_files(path.parent):
        raise UserError(f"{key}={path}: is a file of the run in {path.parent}: name another file")


def _own_files(folder: Path) -> set[str]:
    """List the names of a run's manifest and of the files that it names; of other folders none."""
    try:
        stated = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, RecursionError):
        stated = None
    files = stated.get("files") if isinstance(stated, dict) else None
    if isinstance(files, dict):
        return {MANIFEST, *files}
    # Of an older version, or damaged.
    return {MANIFEST, *(path.name for pattern in CHECKED for path in folder.glob(pattern))}


def _sums_before_files(checkpoint: Any) -> dict[str, Any]:
    """Give what the manifest of a training run of an older version says: of one checkpoint."""
    if not (isinstance(checkpoint, dict) and isinstance(checkpoint.get("path"), str)):
        return {}
    return {checkpoint["path"]: checkpoint.get("sha256")}


def is_of_scored_run(folder: Path | str) -> bool:
    """Tell whether a folder has a manifest that may be of a scored run, broken ones included.

    False where it is of a training run, of features, of an SVM, of a concept or of packed data.
    A broken one beside the log of a training is that of the training.
    """
    path = Path(folder) / MANIFEST
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return False
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):  # whoever reads it says what is wrong
        return not (path.parent / _LOG).is_file()
    return not _OTHERS & values.keys()


def is_of_svm(folder: Path | str) -> bool:
    """Tell whether a folder has the manifest of an SVM."""
    try:
        values = json.loads((Path(folder) / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and "svm" in values
