"""Write and read the features of a split: what a network's class layer takes, of each image.

Needs no torch. A folder of features holds

``features.npy``
    float32 (N, K): a row for each image.
``features.parquet``
    the same images in the same order: ``id`` and ``label`` (class index, -1 unknown); with
    ``format=parquet`` also ``features``, K numbers each.
``manifest.json``
    where it all came from. Written last: a folder with a manifest is complete.

Features under way lie in ``.part`` in that folder, and stay there when the command is stopped:
``features.npy`` with all rows, ``done.npy``, which tells those that are written, and
``started.json``, by which settings; at the end also ``skipped.json``, the lines about images that
could not be read. Started again, the command goes on with the rows that are left.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cam_repro.errors import UserError
from cam_repro.files import atomic_path, says_if_full, write_json
from cam_repro.runs.columns import column
from cam_repro.runs.manifest import (
    MANIFEST,
    FeaturesManifest,
    check_unchanged,
    read_features_manifest,
    write_manifest,
)
from cam_repro.runs.replacing import finish_replacing, take_place

log = logging.getLogger(__name__)

FEATURES, TABLE = "features.npy", "features.parquet"
PART = ".part"
_DONE, _STARTED, _SKIPPED = "done.npy", "started.json", "skipped.json"

FORMATS = ("npy", "parquet")
"""What ``format=`` takes."""

KEEP_EVERY = 5.0
"""Seconds after which rows are noted as written: as much work a power cut may cost."""

_ROWS = 4096
"""How many rows are copied at a time."""


@dataclass(frozen=True, eq=False)
class Features:
    """Hold the features of a split.

    ids: of the images. labels_N: class indices, int32, -1 where unknown. values_NK: float32, read
    from the file when asked for.
    """

    ids: list[str]
    labels_N: np.ndarray
    values_NK: np.ndarray
    manifest: FeaturesManifest

    def __len__(self) -> int:
        """Count the images."""
        return len(self.ids)


def read_features(folder: Path | str) -> Features:
    """Read a folder of features.

    Raises UserError where its manifest is missing or of another kind, and where the files are
    missing, damaged, changed since, or not as the manifest says.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give one that cam-features wrote")
    manifest = read_features_manifest(folder)
    again = "run cam-features again, with overwrite=true"
    for name in (FEATURES, TABLE):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing: {again}")
        check_unchanged(folder / name, again)
    try:
        values_NK = np.load(folder / FEATURES, mmap_mode="r", allow_pickle=False)
        with pq.ParquetFile(folder / TABLE) as file:
            table = file.read(["id", "label"])
        for name, kind in (("id", pa.string()), ("label", pa.int32())):
            if table[name].type != kind or table[name].null_count:
                raise ValueError(f"the column {name} is not of {kind} without gaps")
        labels_N = np.from_dlpack(table["label"].combine_chunks())
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise UserError(f"{folder}: its features are damaged ({error}): {again}") from None
    expected = (manifest.counts.images, manifest.features)
    if values_NK.shape != expected or len(labels_N) != len(values_NK):
        raise UserError(
            f"{folder}: has features {values_NK.shape} of {len(labels_N)} images, its manifest says"
            f" {expected}: {again}"
        )
    if not _are_numbers(values_NK):
        raise UserError(f"{folder / FEATURES}: not all are finite float32 numbers: {again}")
    if len(labels_N) and not (labels_N.min() >= -1 and labels_N.max() < len(manifest.classes)):
        raise UserError(
            f"{folder / TABLE}: has labels that are no index of its manifest's "
            f"{len(manifest.classes)} classes, nor -1: {again}"
        )
    return Features(table["id"].to_pylist(), labels_N, values_NK, manifest)


def _are_numbers(values_NK: np.ndarray) -> bool:
    """Tell whether all values are float32 and finite, reading some rows at a time."""
    return values_NK.dtype == np.float32 and all(
        bool(np.isfinite(values_NK[start : start + _ROWS]).all())
        for start in range(0, len(values_NK), _ROWS)
    )


def refuse_unlike(one: FeaturesManifest, other: FeaturesManifest, names: str) -> None:
    """Raise UserError where two folders of features are not of one network, weights and view.

    names: of the settings that name the folders, for the message.
    """
    weights = [each.checkpoint.sha256 or each.checkpoint.path for each in (one, other)]
    pairs = {
        "networks": (one.model, other.model),
        "weights": tuple(weights),
        "views": (one.config.get("view"), other.config.get("view")),
        "numbers of features": (one.features, other.features),
    }
    for what, (before, after) in pairs.items():
        if before != after:
            raise UserError(
                f"{names} are of other {what}: compute both with the same settings of cam-features"
            )
    if one.hardware.precision != other.hardware.precision:
        log.warning(
            "%s are of %s and %s: values differ by rounding",
            names,
            one.hardware.precision,
            other.hardware.precision,
        )


def shared_images(one: Features, other: Features) -> int:
    """Count the images that two folders of features share, cropped or not.

    Images are the same where they are one file, by the folder of the images and the id; and where
    they have one id in sets of one name, unless their folders tell them apart: the same file names
    in two plain folders, or in the folders of two splits of one set, are two images.
    """
    at_one, at_other = (
        {f"{each.manifest.folder}/{image_id}" for image_id in each.ids} for each in (one, other)
    )
    shared = len(at_one & at_other)
    names = {each.manifest.data.name for each in (one, other)}
    if shared or len(names) > 1 or _folders_tell(one.manifest, other.manifest):
        return shared
    return len(set(one.ids) & set(other.ids))


def _folders_tell(one: FeaturesManifest, other: FeaturesManifest) -> bool:
    """Tell whether images in other folders are other images: of plain folders, or of two splits.

    A plain folder may be given any name, and be any. Splits that were packed lie in a folder each
    even where they share images; and a set may lie in two places.
    """
    if one.folder is None or other.folder is None:
        return False
    data = [each.config.get("data") or {} for each in (one, other)]
    targets = [str(each.get("_target_")) for each in data]
    if all(target.endswith(".folder.source.Folder") for target in targets):
        return True
    is_packed = targets[0].endswith(".packed.source.Packed")
    return one.split != other.split and data[0] == data[1] and not is_packed


# --- under way -----------------------------------------------------------------------------------


def finish_completing(folder: Path) -> None:
    """Let features take their place that were complete when their command was killed."""
    finish_replacing(folder)
    part = folder / PART
    if (part / MANIFEST).is_file():
        take_place(folder, part)


def begin(
    folder: Path, started: Mapping[str, Any], shape_NK: tuple[int, int], overwrite: bool = False
) -> None:
    """Make the files of features under way in ``folder``; keep those that are of these settings.

    started: what decides the features, as plain JSON. Raises UserError where features by other
    settings are under way there, unless ``overwrite``, which removes them.
    """
    part = folder / PART
    differing = _differing(part, started)
    if differing == []:
        return
    if differing and not overwrite:
        raise UserError(
            f"{folder}: features by other settings are under way there ({', '.join(differing)}): "
            "name another folder with output=, or add overwrite=true to give them up"
        )
    shutil.rmtree(part, ignore_errors=True)  # of a start that was killed at once
    part.mkdir(parents=True)
    for name, kind, shape in ((FEATURES, np.float32, shape_NK), (_DONE, bool, shape_NK[:1])):
        with says_if_full(part / name):  # the file has its size at once, and no room yet
            np.lib.format.open_memmap(part / name, "w+", kind, shape)
    write_json(part / _STARTED, dict(started))


def _differing(part: Path, started: Mapping[str, Any]) -> list[str] | None:
    """Name what decides features and is other than for those under way; None: there are none."""
    try:
        there = json.loads((part / _STARTED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return [key for key, value in started.items() if there.get(key) != value]


@dataclass
class FeatureFile:
    """Write rows of the features under way, in any order; several processes may at a time.

    folder: in which they are under way. todo: the rows that are not written yet.
    Rows are written into the file at their places, not through mapped memory, so that a full disk
    is an error that can be told.
    """

    folder: Path
    _new: list[int] = field(default_factory=list)
    _kept_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.part = self.folder / PART
        values_NK = np.load(self.part / FEATURES, mmap_mode="r")
        done_N = np.load(self.part / _DONE, mmap_mode="r")
        self._row_bytes = values_NK.dtype.itemsize * values_NK.shape[1]
        self._starts = values_NK.offset, done_N.offset
        was_completing = len(values_NK) < len(done_N)  # killed when rows had been left out
        self.todo = [] if was_completing else np.flatnonzero(~done_N).tolist()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Open the files within a ``with`` block; at its end what was put is kept."""
        self._values = os.open(self.part / FEATURES, os.O_WRONLY)
        self._done = os.open(self.part / _DONE, os.O_WRONLY)
        try:
            try:
                yield
            finally:
                self.keep()
        finally:
            os.close(self._values)
            os.close(self._done)

    def put(self, rows: Sequence[int], values_NK: np.ndarray) -> None:
        """Write these rows, float32."""
        with says_if_full(self.part / FEATURES):
            for row, values_K in zip(rows, values_NK, strict=True):
                place = self._starts[0] + row * self._row_bytes
                _write(self._values, values_K.astype(np.float32).tobytes(), place)
        self._new += rows
        if time.monotonic() - self._kept_at >= KEEP_EVERY:
            self.keep()

    def keep(self) -> None:
        """Note the new rows as written, once they are on the disk."""
        with says_if_full(self.part / FEATURES):
            os.fsync(self._values)
            for row in self._new:
                _write(self._done, b"\1", self._starts[1] + row)
        self._new.clear()
        self._kept_at = time.monotonic()


def _write(descriptor: int, content: bytes, place: int) -> None:
    """Write all of ``content`` at a place of an open file."""
    written = 0
    while written < len(content):
        written += os.pwrite(descriptor, content[written:], place + written)


def rows_done(folder: Path) -> list[int]:
    """List the rows under way that are written."""
    done: list[int] = np.flatnonzero(np.load(folder / PART / _DONE)).tolist()
    return done


def complete(
    folder: Path,
    ids: Sequence[str],
    labels_N: np.ndarray,
    manifest: FeaturesManifest,
    in_parquet: bool,
) -> None:
    """Let the features under way take their place in ``folder``; rows that are not written go.

    ids, labels_N: of all images of the split. in_parquet: write the features into
    ``features.parquet`` too.
    """
    part, rows = folder / PART, rows_done(folder)
    if len(rows) < len(ids):
        manifest = replace(manifest, skipped=_leave_out(part, rows, manifest.skipped))
    columns = {
        "id": column([ids[row] for row in rows], pa.string()),
        "label": column(np.asarray(labels_N)[rows], pa.int32()),
    }
    _write_table(part, columns, in_parquet)
    write_manifest(part, manifest)
    (part / _STARTED).unlink()
    (part / _DONE).unlink()
    (part / _SKIPPED).unlink(missing_ok=True)
    take_place(folder, part)


def _leave_out(part: Path, rows: list[int], skipped: list[str]) -> list[str]:
    """Leave in the features under way these rows alone; give the lines about the others.

    skipped: the lines of this start. Those of the start that left the rows out are kept, as a later
    one does not see these images.
    """
    path = part / FEATURES
    values_NK = np.load(path, mmap_mode="r")
    if len(values_NK) == len(rows):  # done before the command was stopped
        kept: list[str] = json.loads((part / _SKIPPED).read_text(encoding="utf-8"))
        return kept
    write_json(part / _SKIPPED, skipped)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(rows), values_NK.shape[1])}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(rows), _ROWS):
            file.write(values_NK[rows[start : start + _ROWS]].tobytes())
    return skipped


def _write_table(part: Path, columns: dict[str, pa.Array], in_parquet: bool) -> None:
    """Write ``features.parquet``, some rows at a time."""
    values_NK = np.load(part / FEATURES, mmap_mode="r")
    n_images, n_features = values_NK.shape
    table = pa.table(columns)
    schema = table.schema
    if in_parquet:
        schema = schema.append(pa.field("features", pa.list_(pa.float32(), n_features)))
    with atomic_path(part / TABLE) as path, pq.ParquetWriter(path, schema) as writer:
        for start in range(0, n_images, _ROWS if in_parquet else n_images):
            some = table.slice(start, _ROWS if in_parquet else n_images)
            if in_parquet:
                flat = column(values_NK[start : start + _ROWS].ravel(), pa.float32())
                lists = pa.FixedSizeListArray.from_arrays(flat, n_features)
                some = some.append_column("features", lists)
            writer.write_table(some.cast(schema))
