"""Compute the features of a split: what a network's class layer takes, of each image."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import ErrorPolicy
from cam_repro.data.loading import ViewImages, view_loader
from cam_repro.data.settings import LoaderSettings
from cam_repro.data.views import View
from cam_repro.data.workers import watched_workers
from cam_repro.engine.compute import Compute
from cam_repro.engine.evaluate import BATCH_SIZE, check_finite
from cam_repro.engine.memory import freed_memory_kept
from cam_repro.models.base import CamNetwork
from cam_repro.models.class_layer import without_class_layer
from cam_repro.models.modes import evaluation_mode, frozen
from cam_repro.progress import Bar
from cam_repro.runs.features import FeatureFile


@dataclass(frozen=True)
class FeaturePass:
    """Hold by what features are computed: a network, and the view that it has of an image.

    batch_size: crops in a batch; None: the device's ``BATCH_SIZE``.
    """

    network: CamNetwork
    view: View
    compute: Compute
    batch_size: int | None = None

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """Prepare the network for a ``with`` block: evaluation mode, frozen, no class layer."""
        self.compute.place(self.network)
        with (
            evaluation_mode(self.network),
            frozen(self.network),
            without_class_layer(self.network),
            self.compute.exact_fp32(),
            torch.no_grad(),
        ):
            yield

    def __call__(self, crops_NV3HW: Tensor) -> np.ndarray:
        """Compute the features of a batch, float32 (N, K): the mean over an image's crops."""
        x_XCHW = self.network.normalize(self.compute.move(crops_NV3HW).flatten(0, 1))
        with self.compute.autocast():
            features_XK: Tensor = self.network(self.compute.lay_out(x_XCHW))
        features_NVK = features_XK.float().unflatten(0, crops_NV3HW.shape[:2])
        values_NK: np.ndarray = features_NVK.mean(1).cpu().numpy()
        return values_NK


@dataclass
class Extracted:
    """Say how a start went: images computed, lines about unreadable ones, seconds of the loop."""

    n_images: int
    skipped: list[str]
    seconds: float

    @property
    def images_per_second(self) -> float:
        """Give the speed; of a start that had nothing left to do, 0."""
        return self.n_images / max(self.seconds, 0.01)


def extract(
    features_of: FeaturePass, images: ImageSet, file: FeatureFile, loading: LoaderSettings
) -> Extracted | None:
    """Compute the features that are not written yet, and write them.

    With several processes each takes its share of the batches and writes its rows; the main one
    says how all went, the others return None. Where the loop is stopped, what is written is kept.
    """
    compute = features_of.compute
    loader = _loader(features_of, images, file, loading)
    policy = ErrorPolicy(loading.on_error)
    started, n_images = time.perf_counter(), 0
    bar = Bar(
        total=sum(map(len, loader.batch_sampler)),  # type: ignore[arg-type]
        what=f"{images.split}, features",
        disable=not compute.processes.is_main,
    )
    with freed_memory_kept(), features_of.ready(), watched_workers(), file.writing(), bar:
        for batch in loader:
            policy.handle(batch.unreadable)
            if batch.seen:
                values_NK = features_of(batch.crops_NV3HW)
                rows = [image.index for image in batch.seen]
                check_finite("features", values_NK, [images.ids[row] for row in rows])
                file.put(rows, values_NK)
                n_images += len(rows)
            bar.update(len(batch.seen) + len(batch.unreadable))
    seconds = time.perf_counter() - started
    shares = compute.processes.gather((n_images, policy.skipped))
    if not compute.processes.is_main:
        return None
    skipped = [line for _, lines in shares for line in lines]
    return Extracted(sum(count for count, _ in shares), skipped, seconds)


def _loader(
    features_of: FeaturePass, images: ImageSet, file: FeatureFile, loading: LoaderSettings
) -> DataLoader:
    """Make the loader for this process's share of the images that are left."""
    compute, view = features_of.compute, features_of.view
    crops = features_of.batch_size or BATCH_SIZE[compute.on_gpu]
    return view_loader(
        Subset(ViewImages(images, view), file.todo),
        at_a_time=max(1, crops // view.n_crops),
        workers=compute.loader_workers(loading.workers) if file.todo else 0,
        pin=compute.on_gpu,
        rank=compute.processes.rank,
        world=compute.processes.world,
    )
