"""Write files under a temporary name and rename them when complete: no reader sees half a file."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cam_repro.errors import UserError

FIGURES = (".png", ".pdf", ".svg")
"""Suffixes of the files that figures are written to."""


def is_figure(path: Path | str | None) -> bool:
    """Tell whether a file's suffix is one of ``FIGURES``."""
    return path is not None and Path(path).suffix.lower() in FIGURES


@contextlib.contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` on success, else delete it.

    The temporary name keeps the suffix of ``path``, because some writers choose a format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(folder: Path | str) -> None:
    """Raise UserError where files cannot be written to ``folder``, which need not exist yet."""
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        reason = "is read-only" if place.is_dir() else "is a file"
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
    write_text(path, json.dumps(value, indent=2) + "\n")


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


def sha256(path: Path | str) -> str:
    """Compute the SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
