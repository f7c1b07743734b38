"""Train a network: the loop, and the steps that it is made of."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from hydra.utils import instantiate
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm

from cam_repro.data.augment import Augmentation
from cam_repro.data.image_set import ImageSet
from cam_repro.data.loading import (
    ErrorPolicy,
    LabelledBatch,
    TrainImages,
    TrainingOrder,
    ValidationImages,
    collate_labelled,
)
from cam_repro.data.settings import LoaderSettings
from cam_repro.engine.checkpoint import save_checkpoint
from cam_repro.engine.compute import Compute
from cam_repro.engine.evaluate import classification_errors
from cam_repro.engine.memory import freed_memory_kept
from cam_repro.engine.optim import learning_rate, make_optimizer, set_learning_rate
from cam_repro.engine.resume import BEST, LAST, Progress, run_identity
from cam_repro.engine.settings import OptimSettings, TrainSettings
from cam_repro.engine.signals import StopRequest
from cam_repro.errors import UserError
from cam_repro.files import atomic_path
from cam_repro.models.base import CamNetwork
from cam_repro.models.layers import place_in_batch

log = logging.getLogger(__name__)

CHECK_EVERY = 50
"""Iterations between looks at the loss: each look waits for the GPU."""


@dataclass(frozen=True)
class TrainingData:
    """The images to learn from, those to test on after each epoch, and how both are read."""

    train_set: ImageSet
    val_set: ImageSet
    loading: LoaderSettings


@dataclass(frozen=True)
class Trained:
    """How a run ended.

    iterations, epochs: in all, those of earlier starts included. records: the lines of log.csv,
    unrounded. skipped: messages about images that could not be read, seconds: both of this start.
    """

    iterations: int
    epochs: float
    records: list[dict[str, float]]
    skipped: list[str]
    seconds: float

    @property
    def final(self) -> dict[str, float]:
        """The line of log.csv for the end of the run."""
        return self.records[-1]


def train(
    settings: TrainSettings,
    network: CamNetwork,
    data: TrainingData,
    compute: Compute,
    folder: Path,
    earlier: dict[str, Any] | None = None,
) -> Trained:
    """Train ``network``; leave checkpoints and log.csv in ``folder``.

    earlier: the checkpoint of an unfinished start of this run (``find_earlier``), to go on from
    exactly as if it had never stopped. The batch size is that of all processes together.
    Raises KeyboardInterrupt after a checkpoint where a signal asks for the end (``StopRequest``).
    """
    run = Run(settings, network, data, compute, folder)
    run.start(earlier)
    policy = ErrorPolicy(data.loading.on_error)
    train_batches, val_batches = _batches(run, policy)
    started = time.perf_counter()
    run.begin_epoch()
    network.train()
    with (
        StopRequest().listening() as stop,
        freed_memory_kept(),
        compute.exact_fp32(),
        compute.compiled(network, gradients=True),
        run.progress_bar() as bar,
    ):
        for batch in train_batches:
            policy.handle(batch.unreadable)
            run.step(batch)
            bar.update(run.length.batch_size)
            if run.done % CHECK_EVERY == 0:
                bar.set_postfix_str(f"loss {run.mean_loss():.3f}", refresh=False)
            # All processes stop at the same iteration, or some would wait for the others.
            stopping = compute.processes.any(stop.made)
            if run.is_at_end_of_epoch:
                error = run.end_epoch(val_batches, policy)
                bar.set_postfix_str(f"val top-1 error {error:.1f} %")
            elif run.done % settings.checkpoint_every == 0 or stopping:
                run.save(LAST)
            if stopping and not run.is_over:
                compute.processes.wait()  # for the checkpoint, before any process ends
                raise KeyboardInterrupt
    return Trained(
        iterations=run.length.iterations,
        epochs=run.length.iterations / run.length.per_epoch,
        records=run.progress.records,
        skipped=policy.skipped,
        seconds=time.perf_counter() - started,
    )


def seed_everything(*numbers: int) -> None:
    """Seed torch from several numbers at once, so that (seed, iteration, rank) never repeat."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]))


@dataclass(frozen=True)
class Length:
    """How long a run is. batch_size: of all processes together; per_epoch: iterations."""

    batch_size: int
    per_epoch: int
    iterations: int

    @classmethod
    def of(cls, optim: OptimSettings, n_images: int, n_processes: int) -> Length:
        """Compute it for a training set of ``n_images``; an epoch's rest fills no batch."""
        if optim.batch_size % (n_processes * optim.accumulate):
            raise UserError(
                f"optim.batch_size={optim.batch_size} must be divisible by processes x "
                f"optim.accumulate = {n_processes} x {optim.accumulate}"
            )
        batch_size = min(optim.batch_size, n_images)
        per_epoch = n_images // batch_size
        iterations = optim.iterations or max(1, round((optim.epochs or 0) * per_epoch))
        return cls(batch_size, per_epoch, iterations)


class Run:
    """A network that is being trained: what its steps share."""

    def __init__(
        self,
        settings: TrainSettings,
        network: CamNetwork,
        data: TrainingData,
        compute: Compute,
        folder: Path,
    ) -> None:
        self.settings, self.network, self.data = settings, network, data
        self.compute, self.folder = compute, folder
        optim, processes = settings.optim, compute.processes
        self.length = Length.of(optim, len(data.train_set), processes.world)
        compute.place(network)
        self.optimizer = make_optimizer(network, optim)
        self.progress = Progress()

    def start(self, earlier: dict[str, Any] | None) -> None:
        """Take up an earlier start's checkpoint, or clear the folder of another run's files."""
        processes = self.compute.processes
        if earlier is not None:
            self.network.load_state_dict(earlier["model"])
            self.optimizer.load_state_dict(earlier["optimizer"])
            self.progress = Progress(**earlier["progress"])
            done, total = self.done, self.length.iterations
            log.info("goes on from iteration %d of %d in %s", done, total, self.folder)
        elif processes.is_main:
            for stale in ("manifest.json", LAST, BEST):
                (self.folder / stale).unlink(missing_ok=True)
        if not processes.is_main:  # a checkpoint has the sums of all processes
            self.progress.sums.zero_()
        self.progress.sums = self.progress.sums.to(self.compute.device)
        self.shared: nn.Module = self.network  # exchanges gradients between processes
        if processes.world > 1:
            self.shared = DistributedDataParallel(self.network)
        wants_writer = self.settings.tensorboard and processes.is_main
        self.writer = _tensorboard_writer(self.folder) if wants_writer else None

    def begin_epoch(self) -> None:
        """Start the clock that images a second are counted by."""
        self.epoch_started, self.epoch_first = time.perf_counter(), self.done

    @property
    def done(self) -> int:
        """How many iterations are done."""
        return self.progress.iteration

    @property
    def is_over(self) -> bool:
        """Whether all iterations are done."""
        return self.done == self.length.iterations

    @property
    def is_at_end_of_epoch(self) -> bool:
        """Whether an epoch ends here; the last one may be shorter."""
        return self.done % self.length.per_epoch == 0 or self.is_over

    def progress_bar(self) -> tqdm:
        """Make a bar that counts images, those of earlier starts included."""
        size = self.length.batch_size
        return tqdm(
            total=self.length.iterations * size,
            initial=self.done * size,
            desc=f"train {self.settings.model['name']}",
            unit=" images",
            disable=not self.compute.processes.is_main,
            dynamic_ncols=True,
        )

    def step(self, batch: LabelledBatch) -> None:
        """Update the weights by one batch, taken in ``optim.accumulate`` parts."""
        optim, compute, size = self.settings.optim, self.compute, self.length.batch_size
        n_images, n_parts = len(batch.labels_N), optim.accumulate
        if not n_images:
            raise UserError(f"no image of a whole batch could be read: {batch.unreadable[0]}")
        self.rate = learning_rate(optim, self.done, self.length.iterations)
        set_learning_rate(self.optimizer, self.rate)
        self.optimizer.zero_grad(set_to_none=True)
        images, labels = compute.move(batch.images_N3HW), compute.move(batch.labels_N)
        processes = compute.processes
        rows = torch.arange(processes.rank, size, processes.world, device=compute.device)
        parts = [tensor.chunk(n_parts) for tensor in (images, labels, rows[:n_images])]
        for number, (images_N3HW, labels_N, rows_N) in enumerate(zip(*parts, strict=True), 1):
            # Dropout depends on the iteration alone, so that a resumed run draws the same, and on
            # the place in the batch, so that processes and parts do.
            seed_everything(self.settings.seed, self.done)
            place_in_batch(self.network, size, rows_N)
            with self._exchange(number == len(parts[0])):
                self._add_gradients(images_N3HW, labels_N, share=len(labels_N) / n_images)
        self.optimizer.step()
        self.progress.iteration += 1

    def _exchange(self, now: bool) -> contextlib.AbstractContextManager[None]:
        """Exchange gradients between processes inside: once a batch, with its last part."""
        if now or not isinstance(self.shared, DistributedDataParallel):
            return contextlib.nullcontext()
        exchange: contextlib.AbstractContextManager[None] = self.shared.no_sync()
        return exchange

    def _add_gradients(self, images_N3HW: Tensor, labels_N: Tensor, share: float) -> None:
        """Pass part of a batch forward and back. share: of the batch's images, 0 to 1."""
        x_NCHW = self.compute.lay_out(self.network.normalize(images_N3HW))
        smoothing = self.settings.optim.label_smoothing
        with self.compute.autocast():
            logits_NC = self.shared(x_NCHW).float()
        loss = cross_entropy(logits_NC, labels_N, label_smoothing=smoothing)
        (loss * share).backward()
        count = torch.full_like(loss, len(labels_N))
        wrong = (logits_NC.detach().argmax(1) != labels_N).sum()
        self.progress.sums += torch.stack([loss.detach() * count, wrong, count])

    def mean_loss(self) -> float:
        """Compute the mean loss of the epoch so far in this process.

        Raises UserError where it is no number.
        """
        loss_sum, _, count = self.progress.sums.tolist()
        if not math.isfinite(loss_sum):
            raise UserError(
                f"the loss is no longer a number at iteration {self.done}: "
                f"lower optim.lr (now {self.settings.optim.lr}) or add optim.warmup"
            )
        return loss_sum / count

    def end_epoch(self, val_batches: Iterable[LabelledBatch], policy: ErrorPolicy) -> float:
        """Test the network, log a line and write checkpoints; returns the top-1 error, percent."""
        progress, done = self.progress, self.done
        errors = classification_errors(self.network, val_batches, policy, self.compute)
        seconds = time.perf_counter() - self.epoch_started
        speed = (done - self.epoch_first) * self.length.batch_size / seconds
        self.begin_epoch()
        progress.records.append(
            {
                "epoch": done / self.length.per_epoch,
                "iteration": done,
                "lr": self.rate,
                **self._training_means(),
                **errors,
                "images_per_second": speed,
            }
        )
        error = errors["val_top1_error"]
        is_best = error < progress.best_error
        progress.best_error = min(progress.best_error, error)
        progress.sums.zero_()
        self.save(LAST)
        if is_best:
            self.save(BEST)
        if self.compute.processes.is_main:
            _write_log(self.folder, progress.records, self.writer)
        return error

    def _training_means(self) -> dict[str, float]:
        """Compute the mean loss and the top-1 error (percent) of the epoch, of all processes."""
        self.mean_loss()  # which must be a number
        loss_sum, wrong, count = self.compute.processes.sum(self.progress.sums).tolist()
        return {"train_loss": loss_sum / count, "train_top1_error": 100 * wrong / count}

    def save(self, name: str) -> None:
        """Write a checkpoint; the main process does, with the sums of all."""
        sums = self.compute.processes.sum(self.progress.sums)
        if not self.compute.processes.is_main:
            return
        train_set = self.data.train_set
        save_checkpoint(
            self.folder / name,
            {
                "model": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "progress": {**vars(self.progress), "sums": sums},
                "identity": json.dumps(run_identity(self.settings, train_set)),
                "model_config": self.settings.model,
                "classes": list(train_set.classes.wnids),
            },
        )


def _batches(run: Run, policy: ErrorPolicy) -> tuple[DataLoader, DataLoader]:
    """Make loaders of this process's training batches and of its share of the validation images."""
    settings, loading, compute = run.settings, run.data.loading, run.compute
    sizes = {key: settings.model[key] for key in ("input_size", "resize_size")}
    of_augment = {key: value for key, value in settings.augment.items() if key != "name"}
    augmentation: Augmentation = instantiate(of_augment, **sizes)
    view = augmentation.validation_view()
    options: dict[str, Any] = {
        "workers": compute.loader_workers(loading.workers),
        "collate_fn": collate_labelled,
        "pin_memory": compute.on_gpu,
    }
    order = TrainingOrder(
        n_images=len(run.data.train_set),
        batch_size=run.length.batch_size,
        iterations=run.length.iterations,
        seed=settings.seed,
        start=run.done,
        rank=compute.processes.rank,
        world=compute.processes.world,
    )
    train_images = TrainImages(run.data.train_set, augmentation, settings.seed, loading.preload)
    val_images = ValidationImages(run.data.val_set, view, loading.preload)
    policy.handle(train_images.unreadable + val_images.unreadable)
    share = range(compute.processes.rank, len(val_images), compute.processes.world)
    return (
        train_images.loader(batch_sampler=order, **options),
        val_images.loader(sampler=share, batch_size=order.batch_size, **options),
    )


def _write_log(folder: Path, records: list[dict[str, float]], writer: Any | None) -> None:
    """Write one line an epoch as CSV, and the last one to TensorBoard."""
    with atomic_path(folder / "log.csv") as temporary:
        pd.DataFrame(records).round(5).to_csv(temporary, index=False)
    if writer is not None:
        for key, value in records[-1].items():
            if key not in ("epoch", "iteration"):
                writer.add_scalar(key, value, records[-1]["iteration"])


def _tensorboard_writer(folder: Path) -> Any | None:
    """Make a TensorBoard writer where the package is installed; None elsewhere."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
