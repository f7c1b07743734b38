"""Packed data read by several processes and threads, and with few files open."""

from __future__ import annotations

import contextlib
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_helpers import noise, pack_them
from PIL import Image

from cam_repro.data.augment import SquashCrop
from cam_repro.data.ilsvrc.image_set import ImageSet, load_image_set
from cam_repro.data.loading import TrainImages, TrainingOrder, collate_labelled
from cam_repro.data.packed import read as packed
from cam_repro.data.packed.read import PackedImages, load_packed_set
from cam_repro.data.packed.write import Stored, in_order
from cam_repro.truth import Names


@pytest.fixture
def train_set(root, tmp_path):
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
def few_handles(monkeypatch):
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
        ids=Names(f"n{index:08d}_{index:05d}" for index in range(n)),
        shard_N=np.zeros(n, np.int32),
        offset_N=np.zeros(n, np.int64),
        length_N=np.zeros(n, np.int32),
        crc32_N=np.zeros(n, np.uint32),
        sizes_N2=np.ones((n, 2), np.int32),
    )
    content = pickle.dumps(store)
    assert len(content) < 44 * n + 1000  # 15 of the name, 28 of six numbers
    assert pickle.loads(content).path(5) == Path("/data/train/train-000000.tar")


@given(count=st.integers(0, 40), threads=st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_results_come_in_order_and_few_wait(count, threads):
    begun = []

    def work(index):
        begun.append(index)
        time.sleep(0.0003 * (index % 3))
        return index * index

    for taken, result in enumerate(in_order(work, count, threads)):
        assert result == taken * taken
        assert len(begun) <= taken + 1 + 4 * threads
    assert sorted(begun) == list(range(count))
