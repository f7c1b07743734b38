"""Files of packed data: shards, index and manifest."""

from __future__ import annotations

import json
import shutil
import tarfile
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_helpers import ORIGINALS, VAL, members, pack_them, same_sets

from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.data.packed.read import load_packed_set
from cam_repro.data.packed.write import Stored
from cam_repro.files import sha256


def test_shards_are_as_webdataset_wants_them(source, tmp_path):
    folder = pack_them(tmp_path / "p", source, stored=Stored(16, "png"))
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == [
        *("manifest.json", "val", "val/index.parquet", "val/val-000000.tar")
    ]
    content = members(folder / "val/val-000000.tar")
    names = [name for name, _ in content]
    assert names == [f"{index:09d}.{end}" for index in range(6) for end in ("png", "json")]
    assert json.loads(content[5][1]) == {
        "id": f"{VAL}3",
        "label": 2,
        "wnid": "n00001020",
        "width": 47,
        "height": 31,
        "boxes": [[6, 4, 21, 15]],
    }
    with tarfile.open(folder / "val/val-000000.tar") as tar:
        for member in tar:
            assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "")


def test_the_index_says_where_the_bytes_lie(source, tmp_path):
    pack_them(tmp_path / "p", source, stored=Stored(16), shard_bytes=5000)
    shards = sorted((tmp_path / "p/val").glob("*.tar"))
    assert len(shards) == 3
    content = [dict(members(shard)) for shard in shards]
    rows = pq.read_table(tmp_path / "p/val/index.parquet").to_pylist()
    for number, row in enumerate(rows):
        stored = shards[row["shard"]].read_bytes()
        wanted = content[row["shard"]][f"{number:09d}.webp"]
        assert stored[row["offset"] : row["offset"] + row["length"]] == wanted
    assert [row["id"] for row in rows] == source.ids
    assert [(row["width"], row["height"]) for row in rows][2:4] == [(47, 31), (40, 30)]
    assert rows[2]["boxes"] == [6, 4, 21, 15]
    assert [row["label"] for row in rows] == [0, 1, 2, 0, 1, 2]


@given(limit=st.integers(1, 30_000))
@settings(max_examples=15, deadline=None)
def test_shards_are_filled_to_their_limit(tiny_tree, tmp_path_factory, limit):
    images = load_image_set(tiny_tree, "train")
    folder = pack_them(tmp_path_factory.mktemp("p") / "p", images, shard_bytes=limit)
    shards = sorted((folder / "train").glob("*.tar"))
    assert [shard.name for shard in shards] == [
        f"train-{number:06d}.tar" for number in range(len(shards))
    ]
    content = [members(shard) for shard in shards]
    keys = [name.partition(".")[0] for shard in content for name, _ in shard[::2]]
    assert keys == [f"{index:09d}" for index in range(12)]

    def blocks(shard):
        return sum(512 + -(-len(stored) // 512) * 512 for _, stored in shard)

    for one, following in pairwise(content):
        image = len(following[0][1])
        assert len(one) == 2 or blocks(one[:-2]) + len(one[-2][1]) <= limit
        assert blocks(one) + image > limit  # it would not have fitted
    same_sets(load_packed_set(folder, "train"), images)
    shutil.rmtree(folder)


@pytest.mark.parametrize("stored", [Stored(16), Stored(16, "png"), Stored(16, "jpg"), ORIGINALS])
def test_packed_again_it_is_the_same_bytes(source, tmp_path, stored):
    options = {"stored": stored, "shard_bytes": 3000}
    one = pack_them(tmp_path / "one", source, threads=1, **options)
    time.sleep(1.1)  # were a time of writing in them, in whole seconds, it would be another
    other = pack_them(tmp_path / "other", source, threads=3, **options)
    files = [path.relative_to(one) for path in sorted(one.rglob("*")) if path.is_file()]
    assert len(files) > 3
    assert files == [p.relative_to(other) for p in sorted(other.rglob("*")) if p.is_file()]
    for file in files:
        assert (one / file).read_bytes() == (other / file).read_bytes(), file


def test_the_manifest_says_what_it_is(root, source, tmp_path):
    test = load_image_set(root, "test")
    blacklisted = replace(source, blacklisted_N=np.array([1, 0, 0, 1, 0, 0], bool))
    stored = Stored(16, "jpg", 90)
    folder = pack_them(tmp_path / "p", blacklisted, test, stored=stored, shard_bytes=4000)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert list(manifest)[-1] == "checksum"
    del manifest["checksum"]
    splits = manifest.pop("splits")
    assert manifest == {
        "packed_schema": 1,
        "size": 16,
        "format": "jpg",
        "quality": 90,
        "shard_bytes": 4000,
        "classes": {
            "wnids": ["n00001000", "n00001010", "n00001020"],
            "names": ["class 0", "class 1", "class 2"],
            "devkit_ids": None,
            "ids_from": source.classes.ids_from,
        },
        "command": "cam-data pack",
    }
    shards = sorted((folder / "val").glob("*.tar"))
    assert len(shards) > 1
    assert splits["val"] == {
        "name": "small-16",
        "images": 6,
        "boxes": 6,
        "images_with_boxes": 6,
        "shards": [path.stat().st_size for path in shards],
        "shards_sha256": [sha256(path) for path in shards],
        "index_sha256": sha256(folder / "val/index.parquet"),
        "skipped": [],
        "blacklisted": 2,
        "is_ilsvrc": False,
        "altered": "16x16 jpg 90",
        "described": f"packed at 16x16 as jpg of quality 90; {source.described}; 3 of another size "
        "than annotated",
        "other_size": [
            f"{VAL}3 is 47x31, not 32x24",
            f"{VAL}4 is 40x30, not 32x24",
            f"{VAL}5 is 20x20, not 32x24",
        ],
        "source": {
            "name": "small",
            "folder": str(source.folder),
            "fingerprint": source.fingerprint,
        },
    }
    assert (splits["test"]["boxes"], splits["test"]["blacklisted"]) == (0, None)
