"""Load images into batches of uint8 pixels, for training and for evaluation.

Random choices for an image depend on (seed, epoch, index) alone. So the number of worker processes
and of GPUs does not matter, and a resumed run sees the same pixels as one that never stopped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset

from cam_repro.data.augment import Augmentation
from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import UnreadableImage, at_size
from cam_repro.data.masks import UNKNOWN, TrainMasks, augmented
from cam_repro.data.views import View
from cam_repro.data.workers import loader_with_workers
from cam_repro.progress import Bar
from cam_repro.threads import thread_pool

PRELOAD_LIMIT_BYTES = 2 * 2**30
"""``preload=auto`` keeps the prepared images in memory if they take less than this."""


class LabelledImage(NamedTuple):
    """Hold an image as the network is shown it, with what is known of it.

    pixels_HW3: uint8. label: class index. has_C: bool, all classes of the image, where they were
    asked for and it may have several. mask_HW: of the same pixels, int32, as ``TrainMasks``; None
    where none was asked for.
    """

    pixels_HW3: np.ndarray
    label: int
    has_C: np.ndarray | None = None
    mask_HW: np.ndarray | None = None


class PreparedImages(Dataset):
    """Prepare images by the steps that never change, and keep the results in memory if asked.

    An unreadable file is no exception here: its error takes the place of its pixels, so that the
    training or evaluation loop can decide whether to stop, and count such files.
    """

    def __init__(self, images: ImageSet, preload: str, all_classes: bool = False) -> None:
        """Read all images now, or none.

        preload: ``yes``, ``no``, or ``auto``: yes if they take less than ``PRELOAD_LIMIT_BYTES``.
        all_classes: give all classes of images that may have several, beside the label.
        """
        self.images = images
        self.label_sets = images.label_sets if all_classes else None
        self.kept: list[np.ndarray | UnreadableImage] | None = None
        if preload == "yes" or (preload == "auto" and self._bytes_needed() < PRELOAD_LIMIT_BYTES):
            self.kept = self._read_all()

    @property
    def unreadable(self) -> list[UnreadableImage]:
        """List the unreadable images; empty if the images are not kept in memory."""
        return [image for image in self.kept or [] if isinstance(image, UnreadableImage)]

    def prepare(self, image: Image.Image) -> np.ndarray:
        """Do the part of the preparation that never changes; give uint8 (H, W, 3)."""
        raise NotImplementedError

    def prepared(self, index: int) -> np.ndarray | UnreadableImage:
        """Give the prepared pixels of one image, from memory or from its file; or its error."""
        if self.kept is not None:
            return self.kept[index]
        try:
            return self.prepare(self.images.read(index)[0])
        except UnreadableImage as error:
            return error

    def labelled(
        self, index: int, pixels_HW3: np.ndarray, mask_HW: np.ndarray | None = None
    ) -> LabelledImage:
        """Give pixels of an image with what is known of it."""
        has_C = None
        if self.label_sets is not None:
            has_C = self.label_sets.multi_hot([index], len(self.images.classes))[0]
        return LabelledImage(pixels_HW3, int(self.images.labels_N[index]), has_C, mask_HW)

    def _bytes_needed(self) -> int:
        """Estimate how many bytes all prepared images take, from a sample of them."""
        step = max(1, len(self.images) // 16)
        sample = [self.prepared(index) for index in range(0, len(self.images), step)]
        sizes = [pixels.nbytes for pixels in sample if isinstance(pixels, np.ndarray)]
        return int(np.mean(sizes) * len(self.images)) if sizes else 0

    def _read_all(self) -> list[np.ndarray | UnreadableImage]:
        with thread_pool(os.cpu_count()) as pool:
            every = pool.map(self.prepared, range(len(self.images)))
            what = f"reading {self.images.split} images"
            return list(Bar(len(self.images), what, iterable=every, leave=False))

    def __len__(self) -> int:
        return len(self.images)

    def loader(self, *, workers: int, **options: Any) -> DataLoader:
        """Make a DataLoader; it has no worker processes where the pixels are in memory."""
        workers = 0 if self.kept is not None else workers
        return loader_with_workers(self, workers=workers, persistent_workers=workers > 0, **options)


class TrainImages(PreparedImages):
    """Give augmented training images by (epoch, index), S x S pixels.

    all_classes: as of the base class. masks: give the masks of images too.
    """

    def __init__(
        self,
        images: ImageSet,
        augmentation: Augmentation,
        seed: int,
        preload: str,
        *,
        all_classes: bool = False,
        masks: TrainMasks | None = None,
    ) -> None:
        self.augmentation = augmentation
        self.seed = seed
        self.masks = masks
        super().__init__(images, preload, all_classes)

    @property
    def item_bytes(self) -> int:
        """Give the size of an augmented image in memory, with its mask."""
        return (3 if self.masks is None else 3 + 4) * self.augmentation.input_size**2

    def prepare(self, image: Image.Image) -> np.ndarray:
        return self.augmentation.prepare(image)

    def __getitem__(self, key: tuple[int, int]) -> LabelledImage | UnreadableImage:
        epoch, index = key
        pixels = self.prepared(index)
        if isinstance(pixels, UnreadableImage):
            return pixels
        seed = (self.seed, epoch, index)
        varied = self.augmentation.vary(pixels, np.random.default_rng(seed))
        if self.masks is None:
            return self.labelled(index, varied)
        try:
            mask_HW = self.masks.of(index)
        except UnreadableImage as error:
            return error
        if mask_HW is None:
            return self.labelled(index, varied, np.full(varied.shape[:2], UNKNOWN, np.int32))
        size, rng = (pixels.shape[1], pixels.shape[0]), np.random.default_rng(seed)
        return self.labelled(index, varied, augmented(self.augmentation, mask_HW, size, rng))


@dataclass(frozen=True)
class TrainingOrder:
    """Give the keys (epoch, index) of each batch of this process, from iteration ``start`` on.

    Each epoch is shuffled, then cut into batches; each batch is divided among the processes. So
    the images of an iteration are the same for any number of processes. Images left over at the
    end of an epoch, too few for a batch, are left out; a set smaller than a batch is one batch.

    rank, world: number of this process, and number of all processes.
    """

    n_images: int
    batch_size: int
    iterations: int
    seed: int
    start: int = 0
    rank: int = 0
    world: int = 1

    @property
    def per_epoch(self) -> int:
        return max(1, self.n_images // self.batch_size)

    def __len__(self) -> int:
        return self.iterations - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order_epoch, order = -1, np.empty(0, np.int64)
        for iteration in range(self.start, self.iterations):
            epoch, position = divmod(iteration, self.per_epoch)
            if epoch != order_epoch:
                order_epoch = epoch
                order = np.random.default_rng((self.seed, epoch)).permutation(self.n_images)
            batch = order[position * self.batch_size : (position + 1) * self.batch_size]
            yield [(epoch, int(index)) for index in batch[self.rank :: self.world]]


class BatchTruth(NamedTuple):
    """Hold what is known of the images of a batch, or of a part of one.

    labels_N: int64. has_NC: bool, all classes of each image; None where each has its label alone.
    masks_NHW: int32, as of ``LabelledImage``; None where the training uses none.
    """

    labels_N: torch.Tensor
    has_NC: torch.Tensor | None = None
    masks_NHW: torch.Tensor | None = None

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> BatchTruth:
        """Change each tensor that there is."""
        return BatchTruth(*(None if tensor is None else change(tensor) for tensor in self))  # type: ignore[arg-type]

    def chunk(self, n_parts: int) -> list[BatchTruth]:
        """Split it as ``Tensor.chunk`` splits the images."""
        n = len(self.labels_N.chunk(n_parts))  # fewer where there are fewer images
        parts = [[None] * n if t is None else t.chunk(n_parts) for t in self]
        return [BatchTruth(*part) for part in zip(*parts, strict=True)]

    def are_true(self, classes_NR: torch.Tensor) -> torch.Tensor:
        """Tell which of these classes the images have, bool (N, R)."""
        if self.has_NC is None:
            return classes_NR == self.labels_N[:, None]
        return self.has_NC.gather(1, classes_NR)


@dataclass
class LabelledBatch:
    """Hold a batch of images with labels.

    images_N3HW: uint8, channels last in memory. truth: what is known of them. unreadable: the
    errors of images that could not be read, which are not in the batch.
    """

    images_N3HW: torch.Tensor
    truth: BatchTruth
    unreadable: list[UnreadableImage]

    @property
    def labels_N(self) -> torch.Tensor:  # noqa: N802
        """Give the label of each image, int64."""
        return self.truth.labels_N

    def pin_memory(self) -> LabelledBatch:
        """Move the tensors to pinned memory, from which a GPU copies without waiting.

        A DataLoader calls this if ``pin_memory=True``.
        """
        images_N3HW = self.images_N3HW.pin_memory()
        truth = self.truth.each(torch.Tensor.pin_memory)
        return LabelledBatch(images_N3HW, truth, self.unreadable)


def collate_labelled(items: list[LabelledImage | UnreadableImage]) -> LabelledBatch:
    """Make a batch of the images that could be read; it may be empty."""
    good = [item for item in items if not isinstance(item, UnreadableImage)]
    bad = [item for item in items if isinstance(item, UnreadableImage)]
    pixels = np.stack([i.pixels_HW3 for i in good]) if good else np.zeros((0, 1, 1, 3), np.uint8)
    truth = BatchTruth(
        torch.tensor([item.label for item in good], dtype=torch.int64),
        _stacked([item.has_C for item in good]),
        _stacked([item.mask_HW for item in good]),
    )
    return LabelledBatch(torch.from_numpy(pixels).permute(0, 3, 1, 2), truth, bad)


def _stacked(arrays: list[np.ndarray | None]) -> torch.Tensor | None:
    """Stack what is known of each image, if it is known of any."""
    known = [array for array in arrays if array is not None]
    assert len(known) in (0, len(arrays)), "of all images or of none"
    return torch.from_numpy(np.stack(known)) if known else None


class ValidationImages(PreparedImages):
    """Give the first crop of a view of each image, by index, S x S pixels."""

    def __init__(
        self, images: ImageSet, view: View, preload: str, all_classes: bool = False
    ) -> None:
        self.view = view
        super().__init__(images, preload, all_classes)

    @property
    def item_bytes(self) -> int:
        """Give the size of a crop in memory."""
        return 3 * self.view.input_size**2

    def prepare(self, image: Image.Image) -> np.ndarray:
        return self.view.crops(image)[0]

    def __getitem__(self, index: int) -> LabelledImage | UnreadableImage:
        pixels = self.prepared(index)
        return pixels if isinstance(pixels, UnreadableImage) else self.labelled(index, pixels)


@dataclass
class SeenImage:
    """Hold what evaluation needs to know of an image, besides its crops.

    index: its position in the split. label: ``NO_LABEL`` where unknown.
    size: (width, height) of the original, which boxes refer to.
    pixels_HW3: the image at that size, uint8, if it was asked for.
    """

    index: int
    label: int
    size: tuple[int, int]
    pixels_HW3: np.ndarray | None


class ViewImages(Dataset):
    """Give each image with its crops under a view, uint8 (V, S, S, 3), or its error.

    keep_pixels: give the pixels of the whole image too (``SeenImage.pixels_HW3``).
    """

    def __init__(self, images: ImageSet, view: View, keep_pixels: bool = False) -> None:
        self.images = images
        self.view = view
        self.keep_pixels = keep_pixels

    @property
    def item_bytes(self) -> int:
        """Give the size of an image's crops in memory."""
        return 3 * self.view.input_size**2 * self.view.n_crops

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[SeenImage, np.ndarray] | UnreadableImage:
        try:
            image, size = self.images.read(index)
        except UnreadableImage as error:
            return error
        pixels = np.asarray(at_size(image, size)) if self.keep_pixels else None
        label = int(self.images.labels_N[index])
        return SeenImage(index, label, size, pixels), self.view.crops(image)


@dataclass
class ViewBatch:
    """Hold a batch of crops.

    crops_NV3HW: uint8, the V crops of each image in ``seen``, in that order.
    labels_N: int64, ``NO_LABEL`` where unknown.
    unreadable: the errors of images that could not be read, which are not in the batch.
    """

    crops_NV3HW: torch.Tensor
    labels_N: torch.Tensor
    seen: list[SeenImage]
    unreadable: list[UnreadableImage]

    def pin_memory(self) -> ViewBatch:
        """Move the tensors to pinned memory; called by a DataLoader if ``pin_memory=True``."""
        return ViewBatch(
            self.crops_NV3HW.pin_memory(), self.labels_N.pin_memory(), self.seen, self.unreadable
        )


def collate_views(items: list[tuple[SeenImage, np.ndarray] | UnreadableImage]) -> ViewBatch:
    """Make a batch of the images that could be read; it may be empty."""
    good = [item for item in items if not isinstance(item, UnreadableImage)]
    bad = [item for item in items if isinstance(item, UnreadableImage)]
    crops = np.stack([c for _, c in good]) if good else np.zeros((0, 1, 1, 1, 3), np.uint8)
    seen = [seen for seen, _ in good]
    labels_N = torch.tensor([image.label for image in seen], dtype=torch.int64)
    return ViewBatch(torch.from_numpy(crops).permute(0, 1, 4, 2, 3), labels_N, seen, bad)


def view_loader(
    images: ViewImages | Subset,
    *,
    at_a_time: int,
    workers: int,
    pin: bool,
    rank: int = 0,
    world: int = 1,
) -> DataLoader:
    """Make a loader that gives each image of this process exactly once, in order.

    Batches are cut first, then divided among the processes, so that every batch is the one that a
    single process would compute.

    images: all of a split, or some. at_a_time: images in a batch. pin: use pinned memory.
    rank, world: number of this process, and number of all processes.
    """
    every = range(len(images))
    batches = [every[start : start + at_a_time] for start in range(0, len(every), at_a_time)]
    return loader_with_workers(
        images,
        workers=workers,
        collate_fn=collate_views,
        batch_sampler=batches[rank::world],
        pin_memory=pin,
    )
