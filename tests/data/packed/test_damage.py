"""Packed data that is damaged: each damage is named when it is opened."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from packed_helpers import pack_them

from cam_repro.data.images import UnreadableImage
from cam_repro.data.packed.read import load_packed_set
from cam_repro.data.packed.source import Packed
from cam_repro.errors import UserError

DAMAGED = {"changed", "unreadable"}
"""Faults of files, among which an image of the source has one of its box."""


def change(path: Path, **keys: object) -> None:
    values = {**json.loads(path.read_text()), **keys}
    values.pop("checksum", None)
    path.write_text(json.dumps(values))


def without_sums(folder: Path) -> None:
    """As an earlier version packed it."""
    splits = json.loads((folder / "manifest.json").read_text())["splits"]
    for split in splits.values():
        del split["index_sha256"], split["shards_sha256"]
    change(folder / "manifest.json", splits=splits)


def _no_manifest(folder: Path) -> str:
    (folder / "manifest.json").unlink()
    return r"data\.root=.*/p: has no manifest\.json, so it is no folder that cam-data pack wrote"


def _no_folder(folder: Path) -> str:
    shutil.rmtree(folder)
    return r"data\.root=.*/p: no such folder; give the one that cam-data pack wrote"


def _manifest_of_a_run(folder: Path) -> str:
    (folder / "manifest.json").write_text('{"schema": 1}')
    return r"manifest\.json: is not of packed data"


def _half_a_manifest(folder: Path) -> str:
    path = folder / "manifest.json"
    path.write_text(path.read_text()[:300])
    return r"manifest\.json: is not of packed data"


def _other_schema(folder: Path) -> str:
    change(folder / "manifest.json", packed_schema=2)
    return r"manifest\.json: packed data of schema 2, this version reads 1; pack .* new folder$"


def _manifest_changed(folder: Path) -> str:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"class 1"', '"class 7"'))
    return r"manifest\.json: is not as it was packed, by its checksum; copy it again"


def _nothing_but_a_schema(folder: Path) -> str:
    (folder / "manifest.json").write_text('{"packed_schema": 1}')
    return r"manifest\.json: damaged \(splits\); copy it again"


def _ids_of_text(folder: Path) -> str:
    classes = json.loads((folder / "manifest.json").read_text())["classes"]
    change(folder / "manifest.json", classes={**classes, "devkit_ids": ["a", "b", "c"]})
    return r"manifest\.json: damaged \(classes.devkit_ids\); copy it again"


def _no_classes(folder: Path) -> str:
    change(folder / "manifest.json", classes={})
    return r"manifest\.json: damaged \('devkit_ids'\); copy it again"


def _other_split(folder: Path) -> str:
    splits = json.loads((folder / "manifest.json").read_text())["splits"]
    change(folder / "manifest.json", splits={"train": splits["val"], "test": splits["val"]})
    return r"data\.root=.*/p: split=val was not packed, only train, test"


def _shard_missing(folder: Path) -> str:
    (folder / "val/val-000001.tar").unlink()
    return r"val-000001\.tar: missing; copy it again, or pack it again"


def _shard_cut(folder: Path) -> str:
    path = folder / "val/val-000001.tar"
    path.write_bytes(path.read_bytes()[:5120])
    return r"val-000001\.tar: has 5,120 bytes, was packed with 10,240; copy it again"


def _index_missing(folder: Path) -> str:
    (folder / "val/index.parquet").unlink()
    return r"index\.parquet: cannot be read \(.*; copy it again"


def _index_cut(folder: Path) -> str:
    path = folder / "val/index.parquet"
    path.write_bytes(path.read_bytes()[:-99])
    return r"index\.parquet: is not as it was packed \(SHA-256\); copy it again"


def _index_of_an_earlier_version_cut(folder: Path) -> str:
    _index_cut(folder)
    without_sums(folder)
    return r"index\.parquet: cannot be read \(.*; copy it again"


def _index_changed(folder: Path) -> str:
    path = folder / "val/index.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("label")
    pq.write_table(table.set_column(place, "label", [[1] * 6]), path)
    return r"index\.parquet: is not as it was packed \(SHA-256\); copy it again"


def _index_of_others(folder: Path) -> str:
    path = folder / "val/index.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    without_sums(folder)
    return r"index\.parquet: is of other shards than manifest\.json"


def _index_beyond_its_shards(folder: Path) -> str:
    path = folder / "val/index.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("shard")
    pq.write_table(table.set_column(place, "shard", [[0, 1, 2, 3, 4, 6]]), path)
    without_sums(folder)
    return r"index\.parquet: is of other shards than manifest\.json"


def _index_beyond_a_shards_end(folder: Path) -> str:
    path = folder / "val/index.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("offset")
    pq.write_table(table.set_column(place, "offset", [[512] * 5 + [10_000]]), path)
    without_sums(folder)
    return r"index\.parquet: is of other shards than manifest\.json"


def _index_without_a_column(folder: Path) -> str:
    path = folder / "val/index.parquet"
    pq.write_table(pq.read_table(path).drop_columns("offset"), path)
    without_sums(folder)
    return r"index\.parquet: cannot be read \(.*offset.*; copy it again"


def _id_of_other_bytes(folder: Path) -> str:
    path = folder / "val/index.parquet"
    table = pq.read_table(path)
    other = pa.array([b"n01/\xff"] * 6, pa.binary()).view(pa.string())
    pq.write_table(table.set_column(table.column_names.index("id"), "id", [other]), path)
    without_sums(folder)
    return r"index\.parquet: cannot be read \(.*UTF.*; copy it again"


@pytest.mark.parametrize(
    "damage",
    [
        *(_no_folder, _no_manifest, _manifest_of_a_run, _half_a_manifest, _other_schema),
        *(_no_classes, _other_split, _shard_missing, _shard_cut, _index_missing, _index_cut),
        *(_index_of_others, _index_beyond_its_shards, _index_beyond_a_shards_end),
        *(_index_without_a_column, _index_of_an_earlier_version_cut, _index_changed),
        *(_manifest_changed, _id_of_other_bytes),
    ],
)
def test_what_is_broken_is_named_at_opening(source, tmp_path, damage):
    folder = pack_them(tmp_path / "p", source, shard_bytes=1)
    assert len(load_packed_set(folder, "val")) == 6
    message = damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        load_packed_set(folder, "val")
    assert "\n" not in str(caught.value)


def test_a_damaged_manifest_says_what_helps_where_it_is_packed_once_more(source, tmp_path):
    packed = pack_them(tmp_path / "packed", source)
    _half_a_manifest(packed)
    remedy = r"or pack it again with cam-data pack, into a new folder$"
    with pytest.raises(UserError, match=remedy):
        pack_them(packed, source)
    assert len(load_packed_set(pack_them(tmp_path / "new", source), source.split)) == len(source)


def test_bytes_changed_in_a_shard_are_noticed_where_they_are_read_and_by_check(source, tmp_path):
    folder = pack_them(tmp_path / "p", source)
    path = folder / "val/val-000000.tar"
    images = load_packed_set(folder, "val")
    for place, is_pixels in ((int(images.store.offset_N[2]) + 300, True), (5, False)):
        whole = path.read_bytes()
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        report = Packed(str(folder)).check(decode=True).splits["val"]
        (shard,) = report.faults["changed"]
        assert shard.startswith(f"{path}: is not as it was packed (SHA-256); copy it again")
        assert len(report.faults.get("unreadable", [])) == is_pixels
        if is_pixels:
            with pytest.raises(
                UnreadableImage, match=r"val-000000\.tar: image .*3: is not as it was"
            ):
                images.read(2)
        path.write_bytes(whole)
    assert not DAMAGED & Packed(str(folder)).check(decode=True).splits["val"].faults.keys()


def test_what_an_earlier_version_packed_is_read_without_checksums(source, tmp_path):
    folder = pack_them(tmp_path / "p", source)
    index = folder / "val/index.parquet"
    pq.write_table(pq.read_table(index).drop_columns("crc32"), index)
    without_sums(folder)
    images = load_packed_set(folder, "val")
    assert images.read(2)[1] == source.read(2)[1]
    notes = Packed(str(folder)).check(decode=False).splits["val"].notes
    assert notes["without_checksums"] == [f"{folder}/val"]
    assert not DAMAGED & Packed(str(folder)).check(decode=True).splits["val"].faults.keys()
