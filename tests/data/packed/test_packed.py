"""Packed data: the pixels, boxes and names of its source, and what is said where it is broken."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cam_repro.classes import classes_of
from cam_repro.data.ilsvrc.image_set import ImageSet, ground_truth_set, load_image_set
from cam_repro.data.images import UnreadableImage, read_image
from cam_repro.data.loading import (
    ErrorPolicy,
    SquashCrop,
    TrainImages,
    TrainingOrder,
    ViewImages,
    collate_labelled,
)
from cam_repro.data.packed import read as packed
from cam_repro.data.packed.read import PackedImages, load_packed_set
from cam_repro.data.packed.write import Stored, in_order, pack
from cam_repro.data.views import Squash, Ten, squash
from cam_repro.errors import UserError

VAL = "ILSVRC2012_val_0000000"
ORIGINALS = Stored(None)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.fixture
def root(make_tree: Callable[..., Path], tmp_path: Path) -> Path:
    """Twelve training, six validation, two test images; of the second six each of another kind."""
    root = make_tree(tmp_path / "small")
    folder = root / "ILSVRC/Data/CLS-LOC/val"
    Image.fromarray(noise(24, 32)).save(folder / f"{VAL}2.JPEG", "png")
    Image.fromarray(noise(31, 47)[..., 0]).save(folder / f"{VAL}3.JPEG", "jpeg")
    ink = Image.fromarray(np.concatenate([noise(30, 40), noise(30, 40, 1)[..., :1]], 2), "CMYK")
    ink.save(folder / f"{VAL}4.JPEG", "jpeg")
    Image.fromarray(noise(20, 20)).save(folder / f"{VAL}5.JPEG", "jpeg")
    return root


@pytest.fixture
def source(root: Path) -> ImageSet:
    return load_image_set(root, "val")


def pack_them(
    output: Path,
    *sources: ImageSet,
    stored: Stored = ORIGINALS,
    shard_bytes: int = 10**9,
    threads: int = 2,
    on_error: str = "stop",
    decode: bool = True,
) -> Path:
    pack(
        sources,
        output,
        stored,
        shard_bytes=shard_bytes,
        threads=threads,
        policy=ErrorPolicy(on_error),
        decode=decode,
        provenance={"command": "cam-data pack"},
    )
    return output


def members(shard: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(shard) as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar]


def same_sets(one: ImageSet, other: ImageSet) -> bool:
    assert one.ids == other.ids
    assert one.labels_N.tolist() == other.labels_N.tolist()
    assert one.boxes_M4.tolist() == other.boxes_M4.tolist()
    assert one.box_offsets.tolist() == other.box_offsets.tolist()
    assert one.classes.wnids == other.classes.wnids
    assert one.classes.names == other.classes.names
    for index in range(len(one)):
        mine, theirs = one[index], other[index]
        assert (mine.id, mine.index, mine.label) == (theirs.id, index, theirs.label)
        assert mine.boxes_M4.tolist() == theirs.boxes_M4.tolist()
    return True


# --- pixels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["webp", "png", None])
@pytest.mark.parametrize("size", [20, 256])
def test_lossless_pixels_are_those_of_the_squashed_image(source, tmp_path, format, size):
    images = load_packed_set(pack_them(tmp_path / "p", source, stored=Stored(size, format)), "val")
    for index in range(6):
        original = read_image(source[index].path)
        image, stated = images.read(index)
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), squash(original, size))
        assert stated == images.size(index) == source.size(index) == original.size
    assert images.sizes_N2.tolist() == [[32, 24], [32, 24], [47, 31], [40, 30], [20, 20], [32, 24]]


@pytest.mark.parametrize("quality", [None, 40])
def test_a_jpg_is_the_squashed_image_at_that_quality(source, tmp_path, quality):
    stored = Stored(64, "jpg", quality)
    images = load_packed_set(pack_them(tmp_path / "p", source, stored=stored), "val")
    content = dict(members(tmp_path / "p/val/val-000000.tar"))
    for index in range(6):
        buffer = io.BytesIO()
        wanted = Image.fromarray(squash(read_image(source[index].path), 64))
        wanted.save(buffer, "jpeg", quality=quality or 95)
        assert content[f"{index:09d}.jpg"] == buffer.getvalue()
        image, size = images.read(index)
        np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(buffer)))
        assert size == source.size(index)


@pytest.mark.parametrize("decode", [True, False])
def test_originals_keep_their_bytes(source, tmp_path, decode):
    images = load_packed_set(pack_them(tmp_path / "p", source, decode=decode), "val")
    content = members(tmp_path / "p/val/val-000000.tar")
    assert [name for name, _ in content[::2]] == [f"{index:09d}.jpeg" for index in range(6)]
    for index in range(6):
        assert content[2 * index][1] == source[index].path.read_bytes()
        image, size = images.read(index)
        np.testing.assert_array_equal(np.asarray(image), np.asarray(source.read(index)[0]))
        assert size == images.size(index) == image.size


def test_what_boxes_refer_to_is_the_original_size(source, tmp_path):
    images = load_packed_set(pack_them(tmp_path / "p", source, stored=Stored(24)), "val")
    for index, size in ((2, (47, 31)), (3, (40, 30)), (4, (20, 20))):
        stretched = images.read(index)[0].resize(size, Image.Resampling.BILINEAR)
        assert images.original(index).size == size
        np.testing.assert_array_equal(np.asarray(images.original(index)), np.asarray(stretched))
        seen, crops_V3HW = ViewImages(images, Ten(20, 24), keep_pixels=True)[index]
        assert seen.size == size
        np.testing.assert_array_equal(seen.pixels_HW3, np.asarray(stretched))
        of_source, wanted = ViewImages(source, Ten(20, 24), keep_pixels=False)[index]
        assert of_source.size == size
        np.testing.assert_array_equal(crops_V3HW, wanted)


# --- files ---------------------------------------------------------------------------------------


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

    def blocks(shard: list[tuple[str, bytes]]) -> int:
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
    shards = [p.stat().st_size for p in sorted((folder / "val").glob("*.tar"))]
    assert len(shards) > 1
    assert splits["val"] == {
        "name": "small-16",
        "images": 6,
        "boxes": 6,
        "images_with_boxes": 6,
        "shards": shards,
        "skipped": [],
        "blacklisted": 2,
        "is_ilsvrc": False,
        "altered": "16x16 jpg 90",
        "described": f"packed at 16x16 as jpg of quality 90; {source.described}",
        "source": {
            "name": "small",
            "folder": str(source.folder),
            "fingerprint": source.fingerprint,
        },
    }
    assert (splits["test"]["boxes"], splits["test"]["blacklisted"]) == (0, None)


# --- what it is a set of -------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_originals_are_the_same_set(root, tmp_path, split):
    source = load_image_set(root, split)
    folder = pack_them(tmp_path / "elsewhere", source)
    images = load_packed_set(folder, split)
    assert same_sets(images, source)
    assert (images.name, images.fingerprint) == ("small", source.fingerprint)
    assert (images.has_images, images.has_labels) == (True, split != "test")
    assert images.described == f"packed as it was; {source.described}"
    assert images.folder == folder / split
    # Training reads no boxes.
    without = load_packed_set(folder, split, with_boxes=False)
    assert without.boxes_M4.shape == (0, 4)
    if split == "train":
        theirs = load_image_set(root, split, with_boxes=False)
        assert without.fingerprint == theirs.fingerprint
        assert without.fingerprint != source.fingerprint


def test_other_pixels_are_another_set(source, tmp_path):
    found = {}
    for stored in (
        ORIGINALS,
        *(Stored(16, "webp"), Stored(16, "png"), Stored(17), Stored(16, "jpg")),
        Stored(16, "jpg", 80),
    ):
        name = f"{stored.size}{stored.format}{stored.quality}"
        images = load_packed_set(pack_them(tmp_path / name, source, stored=stored), "val")
        assert same_sets(images, source)
        found[name] = (images.name, images.fingerprint)
    prints = {name: fingerprint for name, (_, fingerprint) in found.items()}
    assert prints["NoneNoneNone"] == source.fingerprint
    assert prints["16webpNone"] == prints["16pngNone"]  # the same pixels
    assert len(set(prints.values())) == 5
    assert {name for name, _ in found.values()} == {"small", "small-16", "small-17"}
    assert load_packed_set(tmp_path / "16jpg80", "val", name="mine").name == "mine"


def test_blacklist_and_completeness_come_along(source, tmp_path):
    marked_N = np.array([False, True, False, False, True, True])
    marked = replace(source, blacklisted_N=marked_N, is_ilsvrc=True, name="ilsvrc")
    images = load_packed_set(pack_them(tmp_path / "p", marked, stored=Stored(16)), "val")
    assert images.blacklisted_N.tolist() == marked_N.tolist()
    assert (images.is_ilsvrc, images.name) == (True, "ilsvrc-16")
    plain = load_packed_set(pack_them(tmp_path / "q", source, stored=Stored(16)), "val")
    assert plain.blacklisted_N is None
    assert not plain.is_ilsvrc
    none = replace(source, blacklisted_N=np.zeros(6, bool))  # a list that names none of them
    images = load_packed_set(pack_them(tmp_path / "r", none), "val")
    assert images.blacklisted_N.tolist() == [False] * 6


def test_the_kits_ids_come_along(source, tmp_path):
    kit = replace(source.classes, devkit_ids_C=np.array([7, 3, 5], np.int32), ids_from="the kit")
    images = load_packed_set(pack_them(tmp_path / "p", replace(source, classes=kit)), "val")
    assert images.classes.submission_labels_C.tolist() == [7, 3, 5]
    assert images.classes.ids_from == "the kit"


def test_images_without_labels(root, tmp_path):
    images = load_packed_set(pack_them(tmp_path / "p", load_image_set(root, "test")), "test")
    assert images.labels_N.tolist() == [-1, -1]
    about = json.loads(members(tmp_path / "p/test/test-000000.tar")[1][1])
    assert (about["label"], about["wnid"], about["boxes"]) == (-1, None, [])


def test_images_with_many_boxes_and_with_none(source, tmp_path):
    boxes_M4 = np.arange(20, dtype=np.int32).reshape(5, 4)
    several = replace(source, boxes_M4=boxes_M4, box_offsets=np.array([0, 0, 2, 2, 5, 5, 5]))
    images = load_packed_set(pack_them(tmp_path / "p", several), "val")
    assert same_sets(images, several)
    assert images[1].boxes_M4.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert images[2].boxes_M4.tolist() == []


# --- unreadable images ---------------------------------------------------------------------------


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize("stored", [ORIGINALS, Stored(16)])
def test_an_unreadable_image_ends_it_and_leaves_nothing(source, tmp_path, stored):
    spoil(source[3].path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=rf"{VAL}4\.JPEG: not a readable .* data\.on_error=skip"):
        pack_them(tmp_path / "p", source, stored=stored)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("stored", [ORIGINALS, Stored(16)])
def test_or_it_stays_the_unreadable_one_among_the_same_images(source, tmp_path, stored):
    spoil(source[3].path)
    source[4].path.unlink()
    folder = pack_them(tmp_path / "p", source, stored=stored, on_error="skip")
    images = load_packed_set(folder, "val")
    assert same_sets(images, source)
    keys = {name.partition(".")[0] for name, _ in members(folder / "val/val-000000.tar")}
    assert keys == {"000000000", "000000001", "000000002", "000000005"}
    skipped = json.loads((folder / "manifest.json").read_text())["splits"]["val"]["skipped"]
    assert [message.partition(": ")[0] for message in skipped] == [
        *(str(source[index].path) for index in (3, 4))
    ]
    for read in (images.read, images.size, images.original):
        with pytest.raises(UnreadableImage) as caught:
            read(3)
        assert str(caught.value) == f"{folder}/val: image {VAL}4: could not be read when packed"
    assert isinstance(ViewImages(images, Squash(8, 8), keep_pixels=False)[4], UnreadableImage)
    assert images.read(5)[1] == (32, 24)


def test_without_decoding_a_broken_image_is_packed_as_it_is(source, tmp_path):
    path = source[5].path
    Image.fromarray(noise(64, 80)).save(path)
    path.write_bytes(path.read_bytes()[:-500])
    images = load_packed_set(pack_them(tmp_path / "p", source, decode=False), "val")
    assert images.size(5) == (80, 64)
    shard = tmp_path / "p/val/val-000000.tar"
    with pytest.raises(UnreadableImage) as caught:
        images.read(5)
    assert str(caught.value).startswith(f"{shard}: image {VAL}6: not a readable image (")
    assert images[5].path == shard


def test_a_damaged_image_is_named_with_its_shard(source, tmp_path):
    folder = pack_them(tmp_path / "p", source, shard_bytes=1)
    images = load_packed_set(folder, "val")
    shard = folder / "val/val-000002.tar"
    content = bytearray(shard.read_bytes())
    content[512:700] = bytes(188)
    shard.write_bytes(content)
    with pytest.raises(UnreadableImage, match=rf"val-000002\.tar: image {VAL}3: not a readable"):
        images.read(2)
    assert images.read(3)[1] == (40, 30)
    (folder / "val/val-000004.tar").unlink()  # after the check at opening
    with pytest.raises(UnreadableImage, match=rf"val-000004\.tar: image {VAL}5: cannot be read"):
        images.read(4)


# --- processes and handles -----------------------------------------------------------------------


@pytest.fixture
def train_set(root: Path, tmp_path: Path) -> ImageSet:
    source = load_image_set(root, "train")
    for index in range(12):
        Image.fromarray(noise(20 + index, 30, index)).save(source[index].path)
    folder = pack_them(tmp_path / "p", source, stored=Stored(20), shard_bytes=4000)
    assert len(list((folder / "train").glob("*.tar"))) > 2
    return load_packed_set(folder, "train")


def batches(images: ImageSet, workers: int, context: str | None) -> list[torch.Tensor]:
    train = TrainImages(images, SquashCrop(16, 20), 3, "no")
    loader = train.loader(
        workers=workers,
        batch_sampler=TrainingOrder(len(images), 5, 4, 3),
        collate_fn=collate_labelled,
        multiprocessing_context=context,
    )
    return [batch.images_N3HW for batch in loader]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_other_processes_read_the_same(train_set, context):
    wanted = batches(train_set, 0, None)  # this process has the shards open now
    assert [len(batch) for batch in wanted] == [5, 5, 5, 5]
    found = batches(train_set, 2, context)
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one, other)


def open_shards(folder: Path) -> int:
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of this very listing
            target = link.readlink()  # pyarrow may take its time to close the index
            count += target.is_relative_to(folder) and target.suffix == ".tar"
    return count


@pytest.fixture
def few_handles(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(packed, "_OPEN_AT_ONCE", 2)
    return 2


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc on this system")
def test_few_shards_are_open_at_once(root, tmp_path, few_handles):
    source = load_image_set(root, "train")
    folder = pack_them(tmp_path / "p", source, shard_bytes=1)
    images = load_packed_set(folder, "train")
    assert open_shards(folder) == 0
    for index in (*range(12), *range(12)):
        np.testing.assert_array_equal(images.read(index)[0], source.read(index)[0])
        assert 1 <= open_shards(folder) <= few_handles
    del images
    assert open_shards(folder) == 0


def test_threads_may_share_few_handles(root, tmp_path, few_handles):
    source = load_image_set(root, "train")
    images = load_packed_set(pack_them(tmp_path / "p", source, shard_bytes=1), "train")
    wanted = [np.asarray(source.read(index)[0]) for index in range(12)]
    order = [7 * i % 12 for i in range(600)]
    found = in_order(lambda i: np.asarray(images.read(order[i])[0]), len(order), 8)
    for index, pixels in zip(order, found, strict=True):
        np.testing.assert_array_equal(pixels, wanted[index])


def test_a_million_images_are_some_arrays():
    n = 10_000
    store = PackedImages(
        folder=Path("/data/train"),
        split="train",
        ids_N=np.array([f"n{index:08d}_{index:05d}".encode() for index in range(n)]),
        shard_N=np.zeros(n, np.int32),
        offset_N=np.zeros(n, np.int64),
        length_N=np.zeros(n, np.int32),
        sizes_N2=np.ones((n, 2), np.int32),
    )
    content = pickle.dumps(store)
    assert len(content) < 40 * n + 1000  # 15 of the name, 24 of five numbers
    assert pickle.loads(content).path(5) == Path("/data/train/train-000000.tar")


@given(count=st.integers(0, 40), threads=st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_results_come_in_order_and_few_wait(count, threads):
    begun = []

    def work(index: int) -> int:
        begun.append(index)
        time.sleep(0.0003 * (index % 3))
        return index * index

    for taken, result in enumerate(in_order(work, count, threads)):
        assert result == taken * taken
        assert len(begun) <= taken + 1 + 4 * threads
    assert sorted(begun) == list(range(count))


# --- what cannot be opened -----------------------------------------------------------------------


def change(path: Path, **keys: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


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
    return r"manifest\.json: packed data of schema 2, this version reads 1; pack it again"


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
    return r"index\.parquet: cannot be read \(.*; copy it again"


def _index_of_others(folder: Path) -> str:
    path = folder / "val/index.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    return r"index\.parquet: is of other shards than manifest\.json"


def _index_beyond_its_shards(folder: Path) -> str:
    path = folder / "val/index.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("shard")
    pq.write_table(table.set_column(place, "shard", [[0, 1, 2, 3, 4, 6]]), path)
    return r"index\.parquet: is of other shards than manifest\.json"


def _index_beyond_a_shards_end(folder: Path) -> str:
    path = folder / "val/index.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("offset")
    pq.write_table(table.set_column(place, "offset", [[512] * 5 + [10_000]]), path)
    return r"index\.parquet: is of other shards than manifest\.json"


def _index_without_a_column(folder: Path) -> str:
    path = folder / "val/index.parquet"
    pq.write_table(pq.read_table(path).drop_columns("offset"), path)
    return r"index\.parquet: cannot be read \(.*offset.*; copy it again"


@pytest.mark.parametrize(
    "damage",
    [
        *(_no_folder, _no_manifest, _manifest_of_a_run, _half_a_manifest, _other_schema),
        *(_no_classes, _other_split, _shard_missing, _shard_cut, _index_missing, _index_cut),
        *(_index_of_others, _index_beyond_its_shards, _index_beyond_a_shards_end),
        _index_without_a_column,
    ],
)
def test_what_is_broken_is_named_at_opening(source, tmp_path, damage):
    folder = pack_them(tmp_path / "p", source, shard_bytes=1)
    assert len(load_packed_set(folder, "val")) == 6
    message = damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        load_packed_set(folder, "val")
    assert "\n" not in str(caught.value)


# --- what cannot be packed -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, "png"), "size=null packs the files as they are: leave format and quality out"),
        ((None, None, 90), "size=null packs the files as they are: leave format and quality out"),
        ((0,), "size=0: must be 1 to 16,383, or null"),
        ((20_000,), "size=20000: must be 1 to 16,383, or null"),
        ((256, "gif"), "format=gif: choose webp, png, jpg"),
        ((256, "png", 95), "format=png keeps every pixel: leave quality out"),
        ((256, None, 95), "format=webp keeps every pixel: leave quality out"),
        ((256, "jpg", 0), "quality=0: must be 1 to 100"),
        ((256, "jpg", 101), "quality=101: must be 1 to 100"),
    ],
)
def test_what_cannot_be_stored(arguments, message):
    with pytest.raises(UserError) as caught:
        Stored(*arguments)
    assert str(caught.value) == message


def test_webp_is_not_in_every_pillow(monkeypatch):
    monkeypatch.setattr("cam_repro.data.packed.write.features.check", lambda name: name != "webp")
    with pytest.raises(UserError, match="format=webp: this Pillow was built without it, choose"):
        Stored(256)
    assert Stored(256, "png").format == "png"


def test_a_folder_that_holds_something_is_left_alone(source, tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p/mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"/p: is not empty; give a new folder with output=DIR"):
        pack_them(tmp_path / "p", source)
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["mine.txt"]
    with pytest.raises(UserError, match=r"mine\.txt: cannot be written"):
        pack_them(tmp_path / "p/mine.txt", source)
    (tmp_path / "p/mine.txt").unlink()
    assert len(load_packed_set(pack_them(tmp_path / "p", source), "val")) == 6  # an empty one does
    with pytest.raises(UserError, match="is not empty"):
        pack_them(tmp_path / "p", source)


@pytest.mark.parametrize("at", ["images", "manifest"])
def test_stopped_it_leaves_nothing(source, tmp_path, monkeypatch, at):
    def stop(*arguments):
        raise KeyboardInterrupt

    place = {"images": "pq.write_table", "manifest": "write_json"}[at]
    monkeypatch.setattr(f"cam_repro.data.packed.write.{place}", stop)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        pack_them(tmp_path / "p", source)
    assert sorted(tmp_path.iterdir()) == before


def test_a_full_disk_is_one_line(source, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(UserError, match=r"/p: cannot be written \(No space left on device\)"):
        pack_them(tmp_path / "p", source)


def test_it_is_no_packed_set_before_it_is_complete(source, tmp_path, monkeypatch):
    real, seen = pq.write_table, []

    def look(*arguments):
        real(*arguments)
        (place,) = (path for path in tmp_path.iterdir() if path.name.startswith(".p-"))
        with pytest.raises(UserError, match=r"has no manifest\.json"):
            load_packed_set(place, "val")
        seen.append((tmp_path / "p").exists())

    monkeypatch.setattr("cam_repro.data.packed.write.pq.write_table", look)
    pack_them(tmp_path / "p", source)
    assert seen == [False]
    assert {path.name for path in tmp_path.iterdir()} == {"p", "small"}


def test_what_is_packed_is_not_packed_again(source, tmp_path):
    images = load_packed_set(pack_them(tmp_path / "p", source), "val")
    bare = ground_truth_set(source.ground_truth(), Path("truth.csv"), "val")
    for other in (images, bare):
        with pytest.raises(UserError, match="no files of images: pack the original data set"):
            pack_them(tmp_path / "q", other)
    assert not (tmp_path / "q").exists()


def test_splits_have_the_same_classes(root, source, tmp_path):
    train = load_image_set(root, "train")
    other = replace(train, classes=classes_of(["n00001000", "n00001010", "n00001021"]))
    with pytest.raises(UserError, match=r"/train: has other classes than .*/val; name one list"):
        pack_them(tmp_path / "p", source, other)
    assert not (tmp_path / "p").exists()
