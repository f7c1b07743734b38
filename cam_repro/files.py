"""Write files under a temporary name and rename them when complete: no reader sees half a file."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import json
import logging
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cam_repro.errors import UserError
from cam_repro.locks import try_lock

log = logging.getLogger(__name__)

FIGURES = (".png", ".pdf", ".svg")
"""Suffixes of the files that figures are written to."""

FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "your quota of the disk is used up"}
"""Errors of a full disk, in words."""


def is_figure(path: Path | str | None) -> bool:
    """Tell whether a file's suffix is one of ``FIGURES``."""
    return path is not None and Path(path).suffix.lower() in FIGURES


def at_home(path: Path | str) -> Path:
    """Give a path with the home folder in place of ``~``, alone or in ``~/x``.

    Any other name that begins with ``~`` is that of a file or folder, not of a user.
    """
    path = Path(path)
    return path.expanduser() if path.parts[:1] == ("~",) else path


@contextlib.contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` on success, else delete it.

    The temporary name keeps the suffix of ``path``, because some writers choose a format by it.
    What was written is on the disk before it gets its name, so that it outlives a power cut. What a
    writer of the same file left behind when it was killed is removed.
    Raises UserError where the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with says_if_full(path):
        handle, name = tempfile.mkstemp(path.suffix, f".{path.stem}-", path.parent)
        temporary = Path(name)
        try:
            try_lock(handle)  # held as long as this process writes: it is no left-over
            _remove_leftovers(path)
            yield temporary
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
            os.close(handle)


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files of earlier writers of ``path`` that run no more."""
    named = re.compile(rf"\.{re.escape(path.stem)}-\w{{8}}{re.escape(path.suffix)}", re.ASCII)
    for place in path.parent.iterdir():
        if named.fullmatch(place.name) is None:
            continue
        with contextlib.suppress(OSError):  # another process removed it
            handle = os.open(place, os.O_RDONLY)
            try:
                if try_lock(handle):
                    place.unlink()
            finally:
                os.close(handle)


def sync(path: Path | str) -> None:
    """Wait until a file's bytes, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not os.path.isdir(path):  # of folders some file systems cannot  # noqa: PTH112
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def says_if_full(path: Path | str) -> Iterator[None]:
    """Turn the error of a full disk in a ``with`` block into a UserError that names ``path``."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        full = of_full_disk(error, path)
        if full is None:
            raise
        raise full from error


def of_full_disk(error: BaseException, path: Path | str) -> UserError | None:
    """Give the UserError to raise for an error of writing to ``path``; None if it is another one.

    The error of a full disk may stand behind the one that is raised, as with torch.
    """
    number = getattr(error, "errno", None)
    if number not in FULL:
        return None if error.__context__ is None else of_full_disk(error.__context__, path)
    place = Path(path).absolute()
    while not place.is_dir():
        place = place.parent
    free = size_in_words(shutil.disk_usage(place).free)
    return UserError(
        f"{path}: {FULL[number]} ({free} free now on the disk of {place}): free some space and run "
        "the command again; what was written before is kept"
    )


def size_in_words(count: int) -> str:
    """Say how large a number of bytes is, in MB or GB."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"


def path_within(folder: Path | str, *names: str) -> Path:
    """Give the path of ``names``, folders and at last a file, below a folder, to write to.

    All output that is named by what stands in a file, maybe a stranger's, goes through here.
    Raises UserError unless each is the name of one folder or file, and leads nowhere else.
    """
    for name in names:
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise UserError(
                f"{name!a} is no name of a file or folder in {folder}, so nothing is written "
                "there: give it another name"
            )
    return Path(folder, *names)


def refuse_special(path: Path) -> None:
    """Raise ValueError for a named pipe, a socket or a device: reading one may wait for ever."""
    if not (path.is_file() or path.is_dir()) and path.exists():  # one look for most
        raise ValueError("a pipe, a socket or a device, not a file")


def check_writable(folder: Path | str) -> None:
    """Raise UserError where files cannot be written to ``folder``, which need not exist yet."""
    place = Path(folder).absolute()
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        reason = "is read-only" if place.is_dir() else "is a file"
        if not place.exists():
            reason = f"is a link to {place.readlink()}, which is not there"
        raise UserError(f"{folder}: cannot be written ({place} {reason}); choose another output=")


def check_file_writable(path: Path | str) -> None:
    """Raise UserError where a file cannot be written to ``path``."""
    if Path(path).is_dir():
        raise UserError(f"{path}: is a folder; give the name of a file with output=")
    check_writable(Path(path).parent)


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write ``value`` as indented JSON, whole or not at all."""
    write_text(path, json_text(value) + "\n")


def json_text(value: Any) -> str:
    """Write ``value`` as indented JSON; what is no number (NaN, infinite) as null, with a word."""
    return json.dumps(_finite(value), indent=2, allow_nan=False)


def _finite(value: Any, key: str = "") -> Any:
    """Give ``value`` with None for numbers that JSON has not. key: its place, for the message."""
    if isinstance(value, Mapping):
        return {
            name: _finite(each, f"{key}.{name}" if key else name) for name, each in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_finite(each, key) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        log.warning("%s is %s, which is no number: written as null", key or "a value", value)
        return None
    return value


def check_columns_file(key: str, path: str) -> None:
    """Raise UserError, naming the setting, where ``write_columns`` could not write ``path``."""
    if Path(path).suffix not in (".csv", ".parquet"):
        raise UserError(f"{key}={path}: end the name in .csv or .parquet")
    check_file_writable(path)


def write_columns(path: Path | str, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write a table as CSV or as Parquet, by the suffix of ``path``, whole or not at all.

    columns: equally long, by name; None is an empty cell.
    """
    with atomic_path(path) as temporary:
        if temporary.suffix == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.table(dict(columns)), temporary)
            return
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))


CHECKSUM = "checksum"
"""Key of a JSON object that holds the SHA-256 of all else in it."""


def with_checksum(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give a JSON object, of finite numbers, with its checksum as the last key."""
    values = _finite(values)  # once: what is no number is said each time
    digest = hashlib.sha256(json_text(values).encode()).hexdigest()
    return {**values, CHECKSUM: digest}


def checksum_holds(values: Mapping[str, Any]) -> bool:
    """Tell whether a JSON object is as ``with_checksum`` gave it; True for one without."""
    rest = {key: value for key, value in values.items() if key != CHECKSUM}
    return CHECKSUM not in values or with_checksum(rest) == values


def sha256(path: Path | str) -> str:
    """Compute the SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
