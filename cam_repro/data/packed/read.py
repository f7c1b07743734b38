"""Read packed data: a data set in a few large files, which ``write.py`` writes.

A packed folder holds

``<split>/<split>-000000.tar ...``
    Shards in the form of the WebDataset library. Each image has two members, one after the other:
    ``<9 digits>.<suffix>``, the image, and ``<9 digits>.json``, its ``id``, ``label`` (class
    index, -1 unknown), ``wnid``, ``width``, ``height`` and ``boxes`` (of the original image).
``<split>/index.parquet``
    One row for each image, unreadable ones too, in the order of the split: ``id``, ``label``,
    ``width``, ``height``, ``boxes`` (flat, four numbers a box), ``blacklisted`` where the split
    has a blacklist, and where the image's bytes are: ``shard`` (-1 for an image that could not be
    read), ``offset``, ``length``, and their CRC-32, ``crc32``, compared when an image is read.
    Tars are not compressed, so any image can be read by itself.
``manifest.json``
    What was packed, from where, and how, with the SHA-256 of every shard, which ``cam-data check``
    compares, and of the index, compared when it is read. It is written last.

Folders that earlier versions packed have no checksums, and are read without.
"""

from __future__ import annotations

import functools
import io
import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from cam_repro.classes import ClassTable
from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import ImageStore, Size, UnreadableImage, read_image
from cam_repro.errors import UserError
from cam_repro.files import checksum_holds, sha256
from cam_repro.progress import Bar
from cam_repro.truth import LabelSets, Names, RaggedBoxes

SCHEMA = 1
"""Version of a packed folder's layout; a reader refuses any other."""

MANIFEST = "manifest.json"
INDEX = "index.parquet"

SHARD_SUMS = "shards_sha256"
"""Key of a split in the manifest, which those of earlier versions lack."""

NOWHERE = -1
"""Shard of an image that could not be read when it was packed."""

_OPEN_AT_ONCE = 256
"""How many shards a process keeps open; operating systems usually allow 1,024 files."""

_PACK = "pack it again with cam-data pack, into a new folder"
_AGAIN = f"copy it again, or {_PACK}"


def shard_path(folder: Path, split: str, number: int) -> Path:
    """Give the path of the shard with this number; ``folder`` is that of the split."""
    return folder / f"{split}-{number:06d}.tar"


class _OpenShard:
    """Hold an open shard file, and close it when nothing uses it any more."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)

    def read(self, length: int, offset: int) -> bytes:
        # pread takes the offset, so threads and forked processes share no file position.
        return os.pread(self.descriptor, length, offset)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):  # it is not set where the file could not be opened
            os.close(self.descriptor)


@dataclass(eq=False)
class PackedImages(ImageStore):
    """Read images from shards.

    folder: of the split. ids: names of the images, for messages.
    shard_N, offset_N, length_N: where the bytes of each image are, integers: the number of the
    shard (or ``NOWHERE``), the first byte in it, and how many bytes. crc32_N: of these bytes,
    uint32; None where it is not known.
    sizes_N2: width and height of the originals, int32.
    """

    folder: Path
    split: str
    ids: Sequence[str]
    shard_N: np.ndarray
    offset_N: np.ndarray
    length_N: np.ndarray
    crc32_N: np.ndarray | None
    sizes_N2: np.ndarray

    def __post_init__(self) -> None:
        self._shard = functools.lru_cache(_OPEN_AT_ONCE)(_OpenShard)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_shard"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.__post_init__()

    def path(self, index: int) -> Path:
        shard = int(self.shard_N[index])
        return self.folder if shard == NOWHERE else shard_path(self.folder, self.split, shard)

    def size(self, index: int) -> Size:
        if self.shard_N[index] == NOWHERE:
            name = self.ids[index]
            raise UnreadableImage(f"{self.folder}: image {name}: could not be read when packed")
        width, height = self.sizes_N2[index].tolist()
        return width, height

    def read(self, index: int) -> tuple[Image.Image, Size]:
        size, path = self.size(index), self.path(index)
        place = f"{path}: image {self.ids[index]}"
        try:
            content = self._shard(path).read(int(self.length_N[index]), int(self.offset_N[index]))
        except OSError as error:
            raise UnreadableImage(f"{place}: cannot be read ({error.strerror})") from None
        if self.crc32_N is not None and zlib.crc32(content) != self.crc32_N[index]:
            raise UnreadableImage(f"{place}: is not as it was packed (CRC-32); {_AGAIN}")
        return read_image(io.BytesIO(content), place), size


def read_pack_manifest(root: Path) -> dict[str, Any]:
    """Read a packed folder's manifest; UserError where it is missing or of another schema."""
    path = root / MANIFEST
    if not root.is_dir():
        raise UserError(f"data.root={root}: no such folder; give the one that cam-data pack wrote")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        schema = manifest["packed_schema"]
    except FileNotFoundError:
        raise UserError(
            f"data.root={root}: has no {MANIFEST}, so it is no folder that cam-data pack wrote, "
            "or an incomplete copy of one"
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError, OSError):
        raise UserError(f"{path}: is not of packed data; {_AGAIN}") from None
    if not checksum_holds(manifest):
        raise UserError(f"{path}: is not as it was packed, by its checksum; {_AGAIN}")
    if schema != SCHEMA:
        raise UserError(
            f"{path}: packed data of schema {schema}, this version reads {SCHEMA}; {_PACK}"
        )
    _check_keys(path, manifest)
    return dict(manifest)


def _check_keys(path: Path, manifest: dict[str, Any]) -> None:
    """Raise UserError unless a packed folder's manifest has its splits and classes, as objects."""
    splits, classes = manifest.get("splits"), manifest.get("classes")
    if not isinstance(splits, dict) or not all(isinstance(one, dict) for one in splits.values()):
        raise UserError(f"{path}: damaged (splits); {_AGAIN}")
    if not isinstance(classes, dict):
        raise UserError(f"{path}: damaged (classes); {_AGAIN}")
    ids = classes.get("devkit_ids") or []
    if not isinstance(ids, list) or not all(type(one) is int for one in ids):
        raise UserError(f"{path}: damaged (classes.devkit_ids); {_AGAIN}")


def packed_classes(manifest: dict[str, Any]) -> ClassTable:
    """Make the class table of a packed folder from its manifest."""
    stated = manifest["classes"]
    ids = stated["devkit_ids"]
    return ClassTable(
        wnids=tuple(stated["wnids"]),
        names=tuple(stated["names"]),
        devkit_ids_C=None if ids is None else np.array(ids, np.int32),
        ids_from=stated["ids_from"],
    )


def load_packed_set(
    root: Path, split: str, *, name: str | None = None, with_boxes: bool = True
) -> ImageSet:
    """Open one split of a packed folder; check that its shards are there, but do not read them.

    name: of the data set; None: the name under which it was packed.

    Raises UserError where the split was not packed, and where a file is missing, damaged, or not as
    long as when it was packed.
    """
    manifest = read_pack_manifest(root)
    try:
        if split not in manifest["splits"]:
            there = ", ".join(manifest["splits"])
            raise UserError(f"data.root={root}: split={split} was not packed, only {there}")
        packed = manifest["splits"][split]
        lengths = _check_shards(root / split, split, packed["shards"])
        _check_sum(root / split / INDEX, packed.get("index_sha256"))
        index = _read_index(root / split / INDEX, with_boxes, packed["blacklisted"] is not None)
        index.check(root / split / INDEX, packed["images"], lengths)
        return ImageSet(
            **index.truth,
            classes=packed_classes(manifest),
            name=name or packed["name"],
            split=split,
            folder=root / split,
            store=PackedImages(root / split, split, index.truth["ids"], **index.places),
            is_ilsvrc=packed["is_ilsvrc"],
            described=packed["described"],
            altered=packed["altered"],
        )
    except (KeyError, TypeError, AssertionError) as error:
        raise UserError(f"{root / MANIFEST}: damaged ({error}); {_AGAIN}") from None


def _check_shards(folder: Path, split: str, lengths: list[int]) -> np.ndarray:
    """Check that the shards on disk have these lengths; give the lengths, int64 (S,)."""
    for number, length in enumerate(lengths):
        path = shard_path(folder, split, number)
        try:
            there = path.stat().st_size
        except FileNotFoundError:
            raise UserError(f"{path}: missing; {_AGAIN}") from None
        if there != length:
            raise UserError(f"{path}: has {there:,} bytes, was packed with {length:,}; {_AGAIN}")
    return np.array(lengths, np.int64)


def changed_shards(root: Path, split: str) -> list[str]:
    """Read all shards of a split; name those whose bytes are not those that were packed."""
    sums = read_pack_manifest(root)["splits"][split].get(SHARD_SUMS, [])
    changed = []
    for number, expected in enumerate(Bar(len(sums), f"reading {split}", iterable=sums)):
        try:
            _check_sum(shard_path(root / split, split, number), expected)
        except UserError as error:
            changed.append(str(error))
    return changed


def _check_sum(path: Path, expected: str | None) -> None:
    """Raise UserError where a file has another SHA-256 than is expected; None: nothing is."""
    if expected is not None and path.is_file() and sha256(path) != expected:
        raise UserError(f"{path}: is not as it was packed (SHA-256); {_AGAIN}")


@dataclass(frozen=True)
class _Index:
    """Hold what index.parquet says: the truth of the images, and where their bytes are.

    truth: arguments of ``Truth``. places: arguments of ``PackedImages``.
    """

    truth: dict[str, Any]
    places: dict[str, Any]

    def check(self, path: Path, n_images: int, lengths: np.ndarray) -> None:
        """Raise UserError where the index cannot be of shards with these lengths."""
        shard_N = self.places["shard_N"]
        # The 0 at the end is the length of any shard that does not exist: NOWHERE (-1) picks it.
        lengths_N = np.append(lengths, 0)[shard_N.clip(NOWHERE, len(lengths))]
        ends_N = self.places["offset_N"] + self.places["length_N"]
        if len(shard_N) != n_images or (ends_N > lengths_N).any():
            raise UserError(f"{path}: is of other shards than {MANIFEST}; {_AGAIN}")


def _read_index(path: Path, with_boxes: bool, has_blacklist: bool) -> _Index:
    try:
        table = pq.read_table(path)
        table["id"].validate(full=True)  # that they are UTF-8
        sizes_N2 = np.stack([table["width"].to_numpy(), table["height"].to_numpy()], 1)
        boxes = RaggedBoxes.none(len(table))
        if with_boxes:
            counts_N = pc.list_value_length(table["boxes"]).to_numpy() // 4
            boxes = RaggedBoxes.from_counts(pc.list_flatten(table["boxes"]).to_numpy(), counts_N)
        places = {f"{name}_N": table[name].to_numpy() for name in ("shard", "offset", "length")}
        places["crc32_N"] = table["crc32"].to_numpy() if "crc32" in table.column_names else None
        truth = {
            "ids": Names(np.array(table["id"].cast(pa.binary()).to_pylist(), np.bytes_)),
            "labels_N": table["label"].to_numpy(),
            "boxes": boxes,
            "sizes_N2": sizes_N2,
            "blacklisted_N": table["blacklisted"].to_numpy() if has_blacklist else None,
            "label_sets": _label_sets(table),
        }
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); {_AGAIN}") from None
    return _Index(truth, {**places, "sizes_N2": sizes_N2})


def _label_sets(table: pa.Table) -> LabelSets | None:
    """Read all classes of each image; None where no more than its label was known."""
    if "label_set" not in table.column_names:
        return None
    column = table["label_set"]
    counts_N = pc.list_value_length(column).to_numpy()
    return LabelSets(pc.list_flatten(column).to_numpy(), np.cumsum([0, *counts_N.tolist()]))
