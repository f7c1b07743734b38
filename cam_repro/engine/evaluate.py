"""Evaluate a network: run it over a split, and search boxes by several box rules at once."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import tempfile
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from cam_repro.boxes.base import BoxRule, RankedMaps
from cam_repro.boxes.cues import CueRule
from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import ErrorPolicy
from cam_repro.data.loading import (
    LabelledBatch,
    SeenImage,
    ViewImages,
    view_loader,
)
from cam_repro.data.settings import LoaderSettings
from cam_repro.data.views import View
from cam_repro.data.workers import check_shared_memory, watched_workers
from cam_repro.engine.compiling import pad_batch
from cam_repro.engine.compute import Compute
from cam_repro.engine.memory import freed_memory_kept
from cam_repro.engine.processes import started_here
from cam_repro.errors import UserError
from cam_repro.files import path_within, says_if_full
from cam_repro.metrics.threshold_curve import right_percents
from cam_repro.models.base import CamNetwork
from cam_repro.models.modes import evaluation_mode, frozen
from cam_repro.objectives.base import Objective
from cam_repro.progress import Bar
from cam_repro.quality.base import Measure
from cam_repro.runs.predictions import to_arrow
from cam_repro.saliency.base import Saliency
from cam_repro.threads import thread_pool
from cam_repro.types import MAX_GUESSES, NO_LABEL, Prediction, RuleGuesses

log = logging.getLogger(__name__)

BATCH_SIZE = {False: 16, True: 64}
"""Default number of crops in a batch, by whether a GPU computes. 16 fit a CPU's cache."""

BATCHES_WAITING = 3
"""How many batches of maps may wait for a free thread to search boxes; this limits memory."""

KEPT_BYTES = 2 * 2**20
"""How much memory the maps may take that are kept for examples."""

BYTES_OF_OBJECTS = 1024
"""About how much memory the arrays of an image take besides their numbers."""

TABLES_AT_A_TIME = 200
"""How many small tables of rows are put together at once; this limits memory."""


@dataclass(frozen=True)
class Pass:
    """Hold what is run over a split: a network, a saliency method, a view and box rules.

    rules: box rules by name. batch_size: crops in a batch; None: the device's ``BATCH_SIZE``.
    measures: what the network is asked about its maps afterwards, by name (``engine.quality``).
    cues: how cues are made of maps (``engine.cues``); None: none are.
    """

    network: CamNetwork
    saliency: Saliency
    view: View
    rules: Mapping[str, BoxRule]
    batch_size: int | None = None
    measures: Mapping[str, Measure] = field(default_factory=dict)
    cues: CueRule | None = None

    def crops_at_a_time(self, compute: Compute) -> int:
        """Give the number of crops in a batch."""
        return self.batch_size or BATCH_SIZE[compute.on_gpu]

    def images_at_a_time(self, compute: Compute) -> int:
        """Give the number of images in a batch, which has all crops of each of them."""
        return max(1, self.crops_at_a_time(compute) // self.view.n_crops)


class ImageMaps(NamedTuple):
    """Hold what the network computed for an image, as arrays.

    classes_R: the best classes, then those that were asked for. probabilities_R: of each of them,
    the mean over the crops. maps_VRhw: the map of each of them, float32; V are the crops of the
    view.
    """

    classes_R: np.ndarray
    probabilities_R: np.ndarray
    maps_VRhw: np.ndarray

    def copy(self) -> ImageMaps:
        """Copy the arrays out of those of a batch."""
        return ImageMaps(*(part.copy() for part in self))


@dataclass
class Evaluation:
    """Hold the results of one pass.

    predictions: one row an image, as ``predictions.to_arrow`` makes them.
    skipped: messages about images that could not be read. seconds: duration of the loop.
    maps: if they were to be kept, those of the first images of the split that this process saw, by
    index: as many as ``KEPT_BYTES`` hold. The true class, or 0, comes behind the best.
    """

    predictions: pa.Table
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0
    maps: dict[int, ImageMaps] = field(default_factory=dict)


def evaluate(
    this_pass: Pass,
    images: ImageSet,
    loading: LoaderSettings,
    compute: Compute,
    maps_folder: Path | None = None,
    keep_maps: bool = False,
) -> Evaluation:
    """Predict classes and boxes for every image of ``images``.

    keep_maps: whether to give maps back (``Evaluation.maps``).

    maps_folder: where to save a map of each image as ``<id>.npy``, float32 (h, w), over the whole
    image as the view merged it: the true class's map, or the best class's if the label is unknown.

    Class probabilities are averaged over the crops of the view, and the five best classes are
    those of the mean. Maps are made for these five and for the true class (for the GT-known
    protocol), from the same forward pass. While the device works on the next batch, threads merge
    maps and search boxes. With several processes each takes its share of the batches; the main one
    returns the rows of all, the others return an empty Evaluation.
    """
    loader = _loader(this_pass, images, loading, compute)
    explain = Explainer(this_pass, compute)
    boxes = BoxSearch(images, this_pass.view, this_pass.rules, maps_folder, keep_maps)
    policy = ErrorPolicy(loading.on_error)
    rows = RowsOnDisk(to_arrow([], list(this_pass.rules)))
    started = time.perf_counter()
    bar = _progress_bar(this_pass, images, loader, compute)
    threads = compute.box_threads
    with (
        freed_memory_kept(),
        explain.ready(),
        watched_workers(),
        boxes.threads(threads) as pool,
        bar,
    ):
        waiting: deque[Future] = deque()

        def take() -> None:
            some_rows = waiting.popleft().result()
            rows.add(some_rows)
            bar.update(some_rows.num_rows)

        for batch in loader:
            policy.handle(batch.unreadable)
            bar.update(len(batch.unreadable))
            if batch.seen:
                true_N1 = batch.labels_N.clamp(min=0)[:, None]  # class 0 where it is unknown
                explained = explain(batch.crops_NV3HW, true_N1)
                waiting.append(pool.submit(boxes.of_batch, batch.seen, explained))
            while waiting and (waiting[0].done() or len(waiting) >= threads + BATCHES_WAITING):
                take()
        while waiting:
            take()
    seconds = time.perf_counter() - started

    shares = compute.processes.gather((rows.table(), policy.skipped))
    return Evaluation(
        predictions=pa.concat_tables([share[0] for share in shares] or [rows.none]),
        skipped=[message for share in shares for message in share[1]],
        seconds=seconds,
        maps=boxes.kept,
    )


def _loader(
    this_pass: Pass, images: ImageSet, loading: LoaderSettings, compute: Compute
) -> DataLoader:
    """Make the loader for this process's share of the batches."""
    needs_pixels = any(rule.needs_image for rule in this_pass.rules.values())
    loader = view_loader(
        ViewImages(images, this_pass.view, keep_pixels=needs_pixels),
        at_a_time=this_pass.images_at_a_time(compute),
        workers=compute.loader_workers(loading.workers),
        pin=compute.on_gpu,
        rank=compute.processes.rank,
        world=compute.processes.world,
    )
    check_shared_memory(loader, processes=started_here())
    return loader


def _progress_bar(this_pass: Pass, images: ImageSet, loader: DataLoader, compute: Compute) -> Bar:
    """Make a progress bar that counts this process's images, when their boxes are found."""
    return Bar(
        total=sum(map(len, loader.batch_sampler)),  # type: ignore[arg-type]
        what=f"{images.split}, {this_pass.saliency.name}",
        disable=not compute.processes.is_main,
    )


class RowsOnDisk:
    """Collect rows in a temporary file, a few at a time, and read all of them at the end.

    In memory, the small rows would be placed between the large arrays of the batches. When those
    arrays are freed, the gaps that they leave are too small for other large arrays, so the process
    would grow with the number of images.

    none: a table without rows that has the same columns.
    """

    def __init__(self, none: pa.Table) -> None:
        self.none = none
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the object)
        self._writer = pa.ipc.new_stream(self._file, none.schema)

    def add(self, rows: pa.Table) -> None:
        """Append rows of the same columns."""
        with says_if_full(tempfile.gettempdir()):
            self._writer.write_table(rows)

    def table(self) -> pa.Table:
        """Read all rows, in the order in which they were added; afterwards none can be added.

        The tables that were added take several times as much memory as one of all their rows, so
        they are put together some at a time.
        """
        with says_if_full(tempfile.gettempdir()):
            self._writer.close()
            self._file.seek(0)
        tables, batches = [self.none], iter(pa.ipc.open_stream(self._file))
        while some := list(itertools.islice(batches, TABLES_AT_A_TIME)):
            tables.append(pa.Table.from_batches(some).combine_chunks())
        table = pa.concat_tables(tables)
        del tables
        columns = {}
        for name in table.column_names:
            columns[name] = table[name].combine_chunks()
            table = table.drop_columns(name)  # and its memory
        return pa.table(columns, self.none.schema)


class Explained(NamedTuple):
    """Hold what the network computed for a batch, on its device.

    A GPU may still be computing it; copying it to the CPU waits until it is done.

    classes_NR: the best classes of each image, then those that were asked for.
    probabilities_NR: the probability of each of them, the mean over the crops.
    maps_NVRhw: the map of each of them, float32; V are the crops of the view.
    """

    classes_NR: Tensor
    probabilities_NR: Tensor
    maps_NVRhw: Tensor

    def on_cpu(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Copy all three to the CPU, as arrays.

        names: of the images, for messages. Raises UserError naming the first image of which the
        network computed probabilities or maps that are NaN or infinite: no score can be made of it.
        """
        classes_NR, probabilities_NR, maps_NVRhw = (part.cpu().numpy() for part in self)
        check_finite("class scores", probabilities_NR, names)
        check_finite("maps", maps_NVRhw, names)
        return classes_NR, probabilities_NR, maps_NVRhw

    def of_images(self, names: Sequence[str]) -> list[ImageMaps]:
        """Copy what is of each image to the CPU; names and errors as of ``on_cpu``."""
        return list(map(ImageMaps, *self.on_cpu(names)))


def check_finite(what: str, values_NX: np.ndarray, names: Sequence[str]) -> None:
    """Raise UserError, naming the first image, where what a network computed is NaN or infinite.

    what: it is, for the message. values_NX: of N images, in any number of dimensions. names: of
    these images.
    """
    is_bad_N = ~np.isfinite(values_NX.reshape(len(values_NX), -1)).all(1)
    if is_bad_N.any():
        raise UserError(
            f"{names[int(is_bad_N.argmax())]}: the network's {what} of this image are NaN or"
            " infinite: if it computes in half precision, set precision=fp32; else its weights are"
            " broken"
        )


@dataclass(frozen=True)
class Explainer:
    """Compute classes, probabilities and maps of batches, with one forward pass for each batch.

    n_best: how many of the best classes of an image are explained.
    """

    this_pass: Pass
    compute: Compute
    n_best: int = MAX_GUESSES

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """Prepare the network for a ``with`` block: evaluation mode, frozen, compiled if wanted."""
        network, saliency = self.this_pass.network, self.this_pass.saliency
        self.compute.place(network)
        with (
            evaluation_mode(network),
            frozen(network),
            self.compute.exact_fp32(),
            self.compute.compiled(network, saliency.needs_gradients),
        ):
            yield

    def __call__(self, crops_NV3HW: Tensor, asked_NA: Tensor) -> Explained:
        """Compute classes, probabilities and maps of a batch; on a GPU, do not wait for them.

        crops_NV3HW: uint8. asked_NA: classes to explain besides the best; A may be 0.
        """
        network, compute = self.this_pass.network, self.compute
        crops_NV3HW, asked_NA = compute.move(crops_NV3HW), compute.move(asked_NA)
        n_images, n_crops = crops_NV3HW.shape[:2]
        top: dict[str, Tensor] = {}

        def select(logits_XC: Tensor) -> Tensor:
            """Choose the classes to explain; X are the crops of all images, then any padding."""
            logits_NVC = logits_XC[: n_images * n_crops].unflatten(0, (n_images, n_crops))
            mean_NC = logits_NVC.float().softmax(2).mean(1)
            # A stable sort, so that classes of equal probability have the same order everywhere.
            order_NC = mean_NC.argsort(dim=1, descending=True, stable=True)
            classes_NR = torch.cat([order_NC[:, : self.n_best], asked_NA], 1)
            top.update(classes_NR=classes_NR, probabilities_NR=mean_NC.gather(1, classes_NR))
            return pad_batch(classes_NR.repeat_interleave(n_crops, 0), len(logits_XC))

        x_XCHW = network.normalize(crops_NV3HW.flatten(0, 1))
        if compute.compile:  # the compiled code takes batches of one size
            x_XCHW = pad_batch(x_XCHW, self.this_pass.images_at_a_time(compute) * n_crops)
        with compute.autocast():
            _, maps_XRhw = self.this_pass.saliency.explain(network, compute.lay_out(x_XCHW), select)
        maps_NVRhw = maps_XRhw[: n_images * n_crops].unflatten(0, (n_images, n_crops))
        return Explained(**top, maps_NVRhw=maps_NVRhw)


@dataclass(frozen=True)
class BoxSearch:
    """Search boxes in the maps of a batch, while the device works on the next batch.

    keep_maps: whether maps are kept. kept: those that are, as ``Evaluation.maps``.
    given_up: set when nobody wants the boxes any more.
    """

    images: ImageSet
    view: View
    rules: Mapping[str, BoxRule]
    maps_folder: Path | None
    keep_maps: bool = False
    kept: dict[int, ImageMaps] = field(default_factory=dict)
    given_up: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        if self.maps_folder is not None:
            for image_id in self.images.ids:  # before hours of work
                _map_path(self.maps_folder, image_id)

    @contextlib.contextmanager
    def threads(self, count: int) -> Iterator[ThreadPoolExecutor]:
        """Provide threads that search boxes; if the ``with`` block fails, they leave their batch.

        They leave it when they are done with an image.
        """
        with thread_pool(count) as pool:
            try:
                yield pool
            except BaseException:
                self.given_up.set()
                raise

    def of_batch(self, seen: list[SeenImage], explained: Explained) -> pa.Table:
        """Make the predictions of a batch, as rows."""
        found = explained.of_images([self.images.ids[image.index] for image in seen])
        predictions = [
            self._of_image(image, of_image)
            for image, of_image in zip(seen, found, strict=True)
            if not self.given_up.is_set()
        ]
        return to_arrow(predictions, list(self.rules))

    def _of_image(self, image: SeenImage, found: ImageMaps) -> Prediction:
        """Make the prediction of an image. found: of the best classes, then the true one."""
        # By the index, not by what there is already: the same ones in every run.
        if self.keep_maps and image.index < KEPT_BYTES // (
            found.maps_VRhw.nbytes + BYTES_OF_OBJECTS
        ):
            self.kept[image.index] = found.copy()
        classes, probabilities = found.classes_R.tolist(), found.probabilities_R.tolist()
        frames = self.view.merge(found.maps_VRhw)
        sample = self.images[image.index]
        width, height = image.size
        maps = RankedMaps(classes, frames, width, height, image.pixels_HW3, self.view.interpolation)
        n_best = len(classes) - 1
        # If the true class is among the best, its map there is used: it is resized only once.
        best, true_class = maps.first(n_best), maps.only(classes.index(classes[n_best]))
        is_known = sample.label != NO_LABEL
        guesses = {}
        for name, rule in self.rules.items():
            known = rule(true_class) if is_known else []
            guesses[name] = RuleGuesses(rule(best), known[0][1] if known else None)
        right_at = map_crc32 = None
        if self.maps_folder is not None:
            kept = frames[n_best if is_known else 0]
            map_crc32 = _save_map(self.maps_folder, sample.id, kept)
            if is_known:
                right_at = right_percents(true_class.at_image_size(0), sample.boxes_M4)
        return Prediction(
            id=sample.id,
            width=width,
            height=height,
            label=sample.label,
            true_boxes_M4=sample.boxes_M4,
            classes=classes[:n_best],
            probabilities=probabilities[:n_best],
            rules=guesses,
            right_at=right_at,
            map_crc32=map_crc32,
            label_set=self.images.label_set(image.index),
        )


def _map_path(folder: Path, image_id: str) -> Path:
    """Name the file of an image's map; ids may name subfolders, but none outside ``folder``."""
    return path_within(folder, *f"{image_id}.npy".split("/"))


def _save_map(folder: Path, image_id: str, map_hw: np.ndarray) -> int:
    """Write a map, and give the CRC-32 of the file; raises UserError where the disk is full."""
    path = _map_path(folder, image_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    np.save(file, map_hw.astype(np.float32))
    with says_if_full(path):
        path.write_bytes(file.getvalue())
    return zlib.crc32(file.getvalue())


def classification_errors(
    network: CamNetwork,
    batches: Iterable[LabelledBatch],
    policy: ErrorPolicy,
    compute: Compute,
    objective: Objective,
) -> dict[str, float]:
    """Compute mean loss and top-1 and top-5 classification error, percent, over all processes.

    Of an image whose classes are all given, any is right.
    batches: this process's share of the validation images. objective: whose validation loss it is.
    """
    sums = torch.zeros(4, dtype=torch.float64, device=compute.device)
    with evaluation_mode(network), torch.no_grad():
        for batch in batches:
            policy.handle(batch.unreadable)
            if not len(batch.labels_N):
                continue
            truth = batch.truth.each(compute.move)
            x_NCHW = network.normalize(compute.move(batch.images_N3HW))
            with compute.autocast():
                logits_NC = network(x_NCHW).float()
            best_NR = logits_NC.topk(min(MAX_GUESSES, logits_NC.shape[1])).indices
            hits_NR = truth.are_true(best_NR)
            loss = objective.validation_loss(logits_NC, truth)
            count = torch.full_like(loss, len(hits_NR))
            sums += torch.stack([loss, hits_NR[:, 0].sum(), hits_NR.any(1).sum(), count])
    loss_sum, top1, top5, count = compute.processes.sum(sums).tolist()
    if not count:
        raise UserError("no validation image could be read: cam-data check names the broken files")
    return {
        "val_loss": loss_sum / count,
        "val_top1_error": 100 * (1 - top1 / count),
        "val_top5_error": 100 * (1 - top5 / count),
    }
