"""Batches: which images, in which order, with which pixels, and what becomes of bad files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cam_repro.data import loading as pipeline
from cam_repro.data.augment import RandomResizedCrop, SquashCrop
from cam_repro.data.ilsvrc.image_set import ImageSet, load_image_set
from cam_repro.data.images import UnreadableImage, read_image
from cam_repro.data.loading import (
    LabelledImage,
    TrainImages,
    TrainingOrder,
    ValidationImages,
    ViewImages,
    collate_labelled,
    view_loader,
)
from cam_repro.data.views import Center, Squash, Ten


@pytest.fixture
def images(make_tree, tmp_path):
    """Twelve training images, four of each of three classes."""
    return load_image_set(make_tree(tmp_path / "small"), "train")


def spoil(images: ImageSet, index: int) -> Path:
    path = images[index].path
    path.write_bytes(path.read_bytes()[:200])
    return path


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


# --- the order of training -----------------------------------------------------------------------

ORDERS = {
    "n": st.integers(1, 30),
    "batch": st.integers(1, 12),
    "iterations": st.integers(0, 25),
    "seed": st.integers(0, 5),
}


@given(**ORDERS)
def test_an_epoch_is_the_beginning_of_a_permutation(n, batch, iterations, seed):
    order = TrainingOrder(n, batch, iterations, seed)
    batches = list(order)
    assert len(batches) == len(order) == iterations
    epochs: dict[int, list[list[int]]] = {}
    for keys in batches:
        (epoch,) = {epoch for epoch, _ in keys}
        epochs.setdefault(epoch, []).append([index for _, index in keys])
    assert list(epochs) == list(range(len(epochs)))
    for epoch, parts in epochs.items():
        assert all(len(part) == min(batch, n) for part in parts)
        indices = [index for part in parts for index in part]
        assert len(set(indices)) == len(indices)
        assert set(indices) <= set(range(n))
        if epoch < len(epochs) - 1:  # a complete one: less than a batch is left out
            assert n - batch < len(indices) <= n or (n < batch and len(indices) == n)


@given(**ORDERS, world=st.integers(2, 3))
def test_processes_deal_out_the_batch_of_one_process(n, batch, iterations, seed, world):
    alone = TrainingOrder(n, batch, iterations, seed)
    shares = [TrainingOrder(n, batch, iterations, seed, rank=r, world=world) for r in range(world)]
    for whole, *parts in zip(alone, *shares, strict=True):
        assert sorted(key for part in parts for key in part) == sorted(whole)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(**ORDERS, start=st.integers(0, 25), rank=st.integers(0, 1))
def test_a_resumed_order_is_the_rest_of_the_order(n, batch, iterations, seed, start, rank):
    start = min(start, iterations)
    whole = TrainingOrder(n, batch, iterations, seed, rank=rank, world=2)
    rest = TrainingOrder(n, batch, iterations, seed, start=start, rank=rank, world=2)
    assert list(rest) == list(whole)[start:]
    assert len(rest) == iterations - start


def test_seed_and_epoch_change_the_order():
    def epochs(seed):
        return [[index for _, index in keys] for keys in TrainingOrder(40, 40, 3, seed)]

    orders = epochs(0) + epochs(1)
    assert len({tuple(order) for order in orders}) == 6
    assert list(range(40)) not in orders
    assert epochs(0) == orders[:3]


# --- augmentation --------------------------------------------------------------------------------


def test_squash_crop_of_the_whole_is_the_image_or_its_mirror():
    pixels = noise(6, 6)
    results = [SquashCrop(6, 6).vary(pixels, np.random.default_rng(seed)) for seed in range(60)]
    mirrored = [np.array_equal(result, pixels[:, ::-1]) for result in results]
    plain = [np.array_equal(result, pixels) for result in results]
    assert [m != p for m, p in zip(mirrored, plain, strict=True)] == [True] * 60
    assert 15 <= sum(mirrored) <= 45


def test_squash_crop_takes_every_place_with_and_without_mirror():
    pixels = noise(5, 5)
    wanted = {
        part[:, ::step].tobytes()
        for y in (0, 1)
        for x in (0, 1)
        for part in [pixels[y : y + 4, x : x + 4]]
        for step in (1, -1)
    }
    assert len(wanted) == 8
    augmentation = SquashCrop(4, 5)
    found = {
        np.ascontiguousarray(augmentation.vary(pixels, np.random.default_rng(seed))).tobytes()
        for seed in range(200)
    }
    assert found == wanted


def test_squash_crop_prepares_by_squashing():
    image = Image.fromarray(noise(9, 13))
    expected = image.resize((8, 8), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(SquashCrop(6, 8).prepare(image), np.asarray(expected))


def test_random_resized_crop_draws_area_and_ratio_in_the_stated_ranges(monkeypatch):
    pixels = noise(60, 90)
    parts = []

    def record(self, image, size):
        parts.append(image)
        return np.zeros((size, size, 3), np.uint8)

    monkeypatch.setattr(RandomResizedCrop, "squash", record)
    augmentation = RandomResizedCrop(8, 16)
    for seed in range(300):
        augmentation.vary(pixels, np.random.default_rng(seed))
    areas = np.array([part.width * part.height for part in parts]) / (60 * 90)
    ratios = np.array([part.width / part.height for part in parts])
    # A side is rounded to whole pixels, of 20 at the least: 2.5 % a side.
    assert 0.076 <= areas.min() < 0.12
    assert 0.75 < areas.max() <= 1
    assert 0.71 <= ratios.min() < 0.78
    assert 1.28 < ratios.max() <= 1.40
    everywhere = {np.asarray(part)[0, 0].tobytes() for part in parts}
    assert len(everywhere) > 200  # the upper left corners differ


def test_random_resized_crop_is_resized_to_the_input_and_mirrored_half_the_time():
    # Red grows to the right and green downwards, over any part of the image.
    y, x = np.mgrid[:60, :90]
    pixels = np.stack([2 * x, 4 * y, np.full_like(x, 77)], -1).astype(np.uint8)
    mirrored = 0
    for seed in range(60):
        result = RandomResizedCrop(8, 16).vary(pixels, np.random.default_rng(seed)).astype(int)
        assert result.shape == (8, 8, 3)
        assert (result[..., 2] == 77).all()
        assert (np.diff(result[..., 1], axis=0) > 0).all()
        steps = np.diff(result[..., 0], axis=1)
        assert (steps > 0).all() or (steps < 0).all()
        mirrored += int(steps[0, 0] < 0)
    assert 15 <= mirrored <= 45


def test_random_resized_crop_takes_the_whole_of_an_image_that_no_part_fits():
    # 1 x 200: the smallest part of 8 % would be 16 pixels in shape of at most 4:3.
    pixels = noise(1, 200)
    whole = np.asarray(Image.fromarray(pixels).resize((4, 4), Image.Resampling.BILINEAR))
    for seed in range(10):
        result = RandomResizedCrop(4, 8).vary(pixels, np.random.default_rng(seed))
        assert np.array_equal(result, whole) or np.array_equal(result, whole[:, ::-1])


@pytest.mark.parametrize("augmentation", [SquashCrop(12, 20), RandomResizedCrop(12, 20)])
def test_augmentation_depends_on_seed_epoch_and_index_alone(images, augmentation):
    def one(seed, key):
        pixels = TrainImages(images, augmentation, seed, "no")[key].pixels_HW3
        assert pixels.shape == (12, 12, 3)
        return pixels.tobytes()

    used = TrainImages(images, augmentation, 7, "yes")
    for index in (5, 2, 9):  # what was drawn before does not count
        used[(0, index)]
    keys = [(epoch, index) for epoch in (0, 1) for index in (3, 8)]
    assert [used[key][0].tobytes() for key in keys] == [one(7, key) for key in keys]
    # Twelve draws of one image: other epochs, other seeds.
    draws = [one(seed, (epoch, 3)) for seed in (7, 8) for epoch in range(6)]
    assert len(set(draws)) > 8


def test_images_of_a_batch_are_not_all_varied_alike(images):
    for index in range(12):
        Image.fromarray(noise(20, 20)).save(images[index].path)
    train = TrainImages(images, SquashCrop(12, 20), 0, "no")
    assert len({train[(0, index)][0].tobytes() for index in range(12)}) > 8


def test_training_images_know_their_labels(images):
    train = TrainImages(images, SquashCrop(12, 12), 0, "no")
    assert [train[(0, index)][1] for index in range(12)] == [0] * 4 + [1] * 4 + [2] * 4
    # Classes are told apart by hue: red, green and blue lead where the object is.
    for index in range(12):
        pixels = train[(0, index)][0].astype(int)
        assert (pixels - pixels.min(2, keepdims=True)).sum((0, 1)).argmax() == index // 4


# --- loaders -------------------------------------------------------------------------------------


def train_batches(
    images: ImageSet, *, preload: str, workers: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    train = TrainImages(images, SquashCrop(16, 20), 3, preload)
    order = TrainingOrder(len(images), 5, 4, 3)
    loader = train.loader(workers=workers, batch_sampler=order, collate_fn=collate_labelled)
    assert loader.num_workers == (0 if preload == "yes" else workers)
    return [(batch.images_N3HW, batch.labels_N) for batch in loader]


def test_memory_and_workers_change_nothing(images):
    wanted = train_batches(images, preload="no", workers=0)
    assert [len(labels_N) for _, labels_N in wanted] == [5, 5, 5, 5]
    for other in (
        train_batches(images, preload="yes", workers=2),
        train_batches(images, preload="no", workers=2),
    ):
        for (pixels, labels), (wanted_pixels, wanted_labels) in zip(other, wanted, strict=True):
            assert torch.equal(pixels, wanted_pixels)
            assert torch.equal(labels, wanted_labels)


def test_a_batch_holds_the_images_of_its_keys(images):
    train = TrainImages(images, SquashCrop(16, 20), 3, "no")
    batch = collate_labelled([train[(0, 1)], train[(2, 9)]])
    assert batch.images_N3HW.dtype == torch.uint8
    assert batch.labels_N.tolist() == [0, 2]
    assert batch.labels_N.dtype == torch.int64
    for row, key in enumerate([(0, 1), (2, 9)]):
        pixels_HW3 = batch.images_N3HW[row].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(pixels_HW3, train[key][0])
    assert batch.images_N3HW.is_contiguous(memory_format=torch.channels_last)


def test_preload_auto_keeps_what_is_small(images, monkeypatch):
    assert TrainImages(images, SquashCrop(16, 20), 0, "yes").kept is not None
    assert TrainImages(images, SquashCrop(16, 20), 0, "no").kept is None
    assert TrainImages(images, SquashCrop(16, 20), 0, "auto").kept is not None
    monkeypatch.setattr(pipeline, "PRELOAD_LIMIT_BYTES", 12 * 20 * 20 * 3)
    assert TrainImages(images, SquashCrop(16, 20), 0, "auto").kept is None
    monkeypatch.setattr(pipeline, "PRELOAD_LIMIT_BYTES", 12 * 20 * 20 * 3 + 1)
    assert TrainImages(images, SquashCrop(16, 20), 0, "auto").kept is not None


@pytest.mark.parametrize("preload", ["yes", "no"])
def test_validation_shows_the_views_first_crop(images, preload):
    view = Center(12, 16)
    validation = ValidationImages(images, view, preload)
    assert len(validation) == 12
    for index in (0, 6, 11):
        pixels, label, *_ = validation[index]
        np.testing.assert_array_equal(pixels, view.crops(read_image(images[index].path))[0])
        assert label == index // 4


@pytest.mark.parametrize(
    ("view", "n", "shares"),
    [
        (Squash(16, 16), 5, [[0, 1, 2, 3, 4, 10, 11], [5, 6, 7, 8, 9]]),
        (Ten(12, 16), 2, [[0, 1, 4, 5, 8, 9], [2, 3, 6, 7, 10, 11]]),
        (Ten(12, 16), 1, [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11]]),
    ],
)
def test_view_loader_deals_whole_batches_to_the_processes(images, view, n, shares):
    for rank in (0, 1):
        loader = view_loader(
            ViewImages(images, view),
            at_a_time=n,
            workers=0,
            pin=False,
            rank=rank,
            world=2,
        )
        batches = list(loader)
        share = shares[rank]
        expected = [share[start : start + n] for start in range(0, len(share), n)]
        assert [[image.index for image in batch.seen] for batch in batches] == expected
        for batch in batches:
            assert batch.labels_N.tolist() == [images[i.index].label for i in batch.seen]
            for crops_V3HW, image in zip(batch.crops_NV3HW, batch.seen, strict=True):
                assert image.size == (32, 24)
                assert image.pixels_HW3 is None
                crops = view.crops(read_image(images[image.index].path))
                np.testing.assert_array_equal(crops_V3HW.permute(0, 2, 3, 1).numpy(), crops)


def test_view_loader_gives_each_images_own_size(images):
    Image.new("RGB", (50, 7)).save(images[1].path)
    (batch,) = view_loader(ViewImages(images, Squash(8, 8)), at_a_time=12, workers=0, pin=False)
    assert [image.size for image in batch.seen] == [(32, 24), (50, 7)] + [(32, 24)] * 10


def test_view_loader_hands_on_the_pixels_where_they_are_asked_for(images):
    Image.fromarray(noise(7, 50)).save(images[1].path)
    options = {"at_a_time": 12, "workers": 0, "pin": False}
    (batch,) = view_loader(ViewImages(images, Squash(8, 8), keep_pixels=True), **options)
    (without,) = view_loader(ViewImages(images, Squash(8, 8)), **options)
    assert torch.equal(batch.crops_NV3HW, without.crops_NV3HW)
    assert batch.seen[1].pixels_HW3.shape == (7, 50, 3)
    for image in batch.seen:
        assert image.pixels_HW3.dtype == np.uint8
        np.testing.assert_array_equal(
            image.pixels_HW3, np.asarray(read_image(images[image.index].path))
        )


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 12), world=st.integers(1, 5))
def test_view_loader_shares_without_padding(n, world):
    class Fake:
        def __len__(self):
            return n

    options = {"at_a_time": 4, "workers": 0, "pin": False, "world": world}
    loaders = [
        view_loader(ViewImages(Fake(), Squash(8, 8)), rank=rank, **options) for rank in range(world)
    ]
    batches = [batch for loader in loaders for batch in loader.batch_sampler]
    assert sorted(index for batch in batches for index in batch) == list(range(n))


def test_batches_are_pinned_for_a_gpu(images, monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x: pinned.append(x.shape) or x + 0)
    labelled = collate_labelled([LabelledImage(noise(4, 4), 2), UnreadableImage("x")])
    (batch,) = view_loader(ViewImages(images, Squash(8, 8)), at_a_time=12, workers=0, pin=False)
    for one in (labelled, batch):
        again = one.pin_memory()
        assert vars(again).keys() == vars(one).keys()
        assert torch.equal(again.labels_N, one.labels_N)
        assert again.unreadable is one.unreadable
    assert pinned == [(1, 3, 4, 4), (1,), (12, 1, 3, 8, 8), (12,)]


# --- unreadable images ---------------------------------------------------------------------------


@pytest.mark.parametrize("preload", ["yes", "no"])
def test_an_unreadable_image_leaves_the_others_in_the_batch(images, preload):
    path = spoil(images, 4)
    train = TrainImages(images, SquashCrop(16, 20), 0, preload)
    batch = collate_labelled([train[(0, index)] for index in (0, 4, 8)])
    assert batch.labels_N.tolist() == [0, 2]
    assert batch.images_N3HW.shape == (2, 3, 16, 16)
    assert [str(error).startswith(f"{path}: ") for error in batch.unreadable] == [True]
    assert isinstance(ValidationImages(images, Squash(8, 8), preload)[4], UnreadableImage)


def test_a_batch_of_unreadable_images_is_empty(images):
    spoil(images, 4)
    train = TrainImages(images, SquashCrop(16, 20), 0, "no")
    batch = collate_labelled([train[(0, 4)]])
    assert len(batch.images_N3HW) == len(batch.labels_N) == 0
    assert len(batch.unreadable) == 1


def test_view_loader_reports_an_unreadable_image(images):
    path = spoil(images, 4)
    path_missing = images[5].path
    path_missing.unlink()
    first, second = view_loader(ViewImages(images, Ten(12, 16)), at_a_time=6, workers=0, pin=False)
    seen = [image.index for image in first.seen + second.seen]
    assert seen == [0, 1, 2, 3, 6, 7, 8, 9, 10, 11]
    assert [len(batch.crops_NV3HW) for batch in (first, second)] == [4, 6]
    assert [str(e).partition(": ")[0] for e in first.unreadable] == [str(path), str(path_missing)]
    assert second.unreadable == []
