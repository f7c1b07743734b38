"""Train a network: the loop and its steps."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from cam_repro.data.augment import build_augmentation
from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import ErrorPolicy
from cam_repro.data.loading import (
    BatchTruth,
    LabelledBatch,
    TrainImages,
    TrainingOrder,
    ValidationImages,
    collate_labelled,
)
from cam_repro.data.masks import TrainMasks
from cam_repro.data.settings import LoaderSettings
from cam_repro.data.workers import check_shared_memory, watched_workers
from cam_repro.engine.checkpoint import save_checkpoint
from cam_repro.engine.compute import Compute
from cam_repro.engine.evaluate import classification_errors
from cam_repro.engine.memory import freed_memory_kept
from cam_repro.engine.optim import learning_rate, make_optimizer, set_learning_rate
from cam_repro.engine.processes import started_here
from cam_repro.engine.resume import BEST, LAST, Progress, run_identity
from cam_repro.engine.settings import OptimSettings, TrainSettings
from cam_repro.errors import Stopped, UserError
from cam_repro.files import atomic_path
from cam_repro.models.base import CamNetwork
from cam_repro.models.layers import place_in_batch
from cam_repro.objectives.base import Losses, Objective
from cam_repro.objectives.build import refuse_unfit
from cam_repro.progress import Bar
from cam_repro.runs.manifest import MANIFEST
from cam_repro.runs.training_log import LOG
from cam_repro.signals import StopRequest

log = logging.getLogger(__name__)

CHECK_EVERY = 50
"""Iterations between checks of the numbers; not each time, because a check waits for the GPU."""

STOPPING = "stops after this iteration"
"""What is said when a signal comes: an iteration and its checkpoint may take a while."""


@dataclass(frozen=True)
class TrainingData:
    """Hold the training images, the validation images, and how both are read."""

    train_set: ImageSet
    val_set: ImageSet
    loading: LoaderSettings


@dataclass(frozen=True)
class Trained:
    """Hold the result of a training.

    iterations, epochs: in all, including earlier starts. records: the lines of log.csv, unrounded.
    skipped: messages about images that could not be read, and seconds: duration; both of this
    start only. validated_on: what the network was shown of validation images, in words.
    """

    iterations: int
    epochs: float
    records: list[dict[str, float]]
    skipped: list[str]
    seconds: float
    validated_on: str

    @property
    def final(self) -> dict[str, float]:
        """Give the last line of log.csv, with the final errors."""
        return self.records[-1]


def train(
    settings: TrainSettings,
    network: CamNetwork,
    data: TrainingData,
    compute: Compute,
    folder: Path,
    earlier: dict[str, Any] | None = None,
) -> Trained:
    """Train ``network``; write checkpoints and log.csv to ``folder``.

    earlier: a checkpoint of the same run (see ``find_earlier``), to go on from exactly as if it had
    never stopped. The batch size is that of all processes together.
    Raises ``Stopped`` if a signal asks to stop (``StopRequest``), after writing a checkpoint.
    """
    training = Training(settings, network, data, compute, folder)
    training.start(earlier)
    policy = ErrorPolicy(data.loading.on_error)
    train_batches, val_batches = _batches(training, policy)
    n_validated = len(val_batches.sampler)  # type: ignore[arg-type]
    # Only now: what is wrong with images or settings is known.
    training.remove_old_files() if earlier is None else training.complete_files()
    started = time.perf_counter()
    training.begin_epoch()
    network.train()
    with (
        StopRequest(STOPPING if compute.processes.is_main else "").listening() as stop,
        watched_workers(),
        freed_memory_kept(),
        compute.exact_fp32(),
        compute.compiled(network, gradients=True),
        training.progress_bar(n_validated) as bar,
    ):

        def end_epoch() -> None:
            bar.say(f"validates {training.epoch}")
            training.end_epoch(_counted(training.until(stop, val_batches), bar), policy)
            bar.say(training.epoch)

        if training.owes_validation:
            end_epoch()
        for batch in training.until(stop, train_batches):
            policy.handle(batch.unreadable)
            training.step(batch)
            bar.update(training.length.batch_size)
            if training.done % CHECK_EVERY == 0:
                training.check_numbers()
            if not bar.disable and training.loss_is_due():
                bar.say(f"{training.epoch}, {training.mean_losses()}")
            if training.validation_is_due:
                end_epoch()
            elif training.checkpoint_is_due:
                training.save(LAST)
        if compute.processes.any(stop.made):  # while the last checkpoint was written
            raise Stopped(training.kept)
    return Trained(
        iterations=training.length.iterations,
        epochs=training.length.iterations / training.length.per_epoch,
        records=training.progress.records,
        skipped=policy.skipped,
        seconds=time.perf_counter() - started,
        validated_on=training.validation_view.words,
    )


def seed_everything(*numbers: int) -> None:
    """Seed torch from several numbers, so that each combination of them gives another seed."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]))


@dataclass(frozen=True)
class Length:
    """Hold how long a training is.

    batch_size: images of all processes together. per_epoch: iterations of an epoch. iterations: in
    all.
    """

    batch_size: int
    per_epoch: int
    iterations: int

    @classmethod
    def of(cls, optim: OptimSettings, n_images: int, n_processes: int) -> Length:
        """Compute the length for a training set of ``n_images``.

        Images at the end of an epoch that do not fill a batch are not used in this epoch.
        Raises UserError if the batch cannot be divided among processes and parts.
        """
        if optim.batch_size % (n_processes * optim.accumulate):
            raise UserError(
                f"optim.batch_size={optim.batch_size} must be divisible by processes x "
                f"optim.accumulate = {n_processes} x {optim.accumulate}"
            )
        batch_size = min(optim.batch_size, n_images)
        per_epoch = n_images // batch_size
        iterations = optim.iterations or max(1, round((optim.epochs or 0) * per_epoch))
        return cls(batch_size, per_epoch, iterations)


def _check_schedule(optim: OptimSettings, length: Length, n_images: int) -> None:
    """Refuse a warmup that the run does not reach the end of; say what else has no effect."""
    n = length.iterations
    if optim.warmup >= n:
        by = "iterations" if optim.iterations else "epochs"
        raise UserError(
            f"optim.warmup={optim.warmup}: the run is over before, after {n} iterations "
            f"(optim.{by}={getattr(optim, by)}): lower optim.warmup or raise optim.{by}"
        )
    if optim.schedule == "step" and optim.step >= n:
        log.info(
            "optim.step=%d: the run has %d iterations, so the learning rate never falls",
            optim.step,
            n,
        )
    if optim.batch_size > n_images:
        log.info(
            "optim.batch_size=%d: the training set has %d images, so a batch has as many",
            optim.batch_size,
            n_images,
        )


def _check_classes(objective: Objective, images: ImageSet, compute: Compute) -> None:
    """Say what becomes of images with several classes.

    Raises UserError for what cannot be compiled then, and for label smoothing where it has no
    meaning.
    """
    several = images.label_sets is not None
    if objective.label_smoothing and objective.asks_each_class(several):
        raise UserError(
            f"optim.label_smoothing={objective.label_smoothing}: train={objective.name} asks for "
            "each class by itself, and has none then; set it to 0"
        )
    if not several:
        return
    if not objective.all_classes:
        log.info(
            "train=%s: images have several classes, and each counts by its label alone; "
            "train=multi_label takes all",
            objective.name,
        )
    if compute.compile and objective.repeats_images:
        raise UserError(
            f"compile=true: train={objective.name} shows an image once for each of its classes, so "
            "that batches differ in size, for which networks are not compiled: compile=false"
        )


class Minimised(nn.Module):
    """Compute an objective's losses of a network in one call, as torch wants it to be called.

    Several processes exchange the gradients of such a call, whatever runs within it.
    """

    def __init__(self, network: CamNetwork, objective: Objective) -> None:
        super().__init__()
        self.network, self.objective = network, objective

    def forward(self, x_NCHW: Tensor, truth: BatchTruth) -> Losses:
        """Compute the losses of normalised input."""
        return self.objective.losses(self.network, x_NCHW, truth)


class Training:
    """Hold a network in training, with all that the steps of the loop share."""

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
        _check_schedule(optim, self.length, len(data.train_set))
        self.objective = settings.objective
        refuse_unfit(self.objective, network, settings.model["name"])
        _check_classes(self.objective, data.train_set, compute)
        self.augmentation = build_augmentation(settings.augment, settings.model)
        self.validation_view = self.augmentation.validation_view()
        compute.place(network)
        self.optimizer = make_optimizer(network, optim)
        n_sums = 3 + len(self.objective.terms)
        self.progress = Progress(sums=torch.zeros(n_sums, dtype=torch.float64))
        self.overwrites = settings.overwrite

    def start(self, earlier: dict[str, Any] | None) -> None:
        """Restore an earlier start from its checkpoint, if there is one."""
        processes = self.compute.processes
        if earlier is not None:
            try:
                self.network.load_state_dict(earlier["model"])
                self.optimizer.load_state_dict(earlier["optimizer"])
                self.progress = Progress(**earlier["progress"])
            except (KeyError, RuntimeError, TypeError, ValueError) as error:
                raise UserError(
                    f"{self.folder / LAST}: does not hold the network, optimizer and progress of"
                    " this run: remove it to start anew"
                ) from error
            self.overwrites = self.overwrites or bool(earlier.get("overwrites"))
            done, total = self.done, self.length.iterations
            self.rate = learning_rate(self.settings.optim, max(0, done - 1), total)
            log.info("goes on from iteration %d of %d in %s", done, total, self.folder)
            if self.settings.overwrite:
                log.info("  (overwrite=true began this run; to begin it anew remove %s)", LAST)
        if not processes.is_main:  # the main process keeps the sums, which are of all processes
            self.progress.sums.zero_()
        self.progress.sums = self.progress.sums.to(self.compute.device)
        # Exchanges gradients between processes.
        self.shared: nn.Module = Minimised(self.network, self.objective)
        if processes.world > 1:
            self.shared = DistributedDataParallel(self.shared)
        wants_writer = self.settings.tensorboard and processes.is_main
        self.writer = _tensorboard_writer(self.folder) if wants_writer else None

    def remove_old_files(self) -> None:
        """Remove the manifest, the checkpoints and the log of an old run in the folder."""
        if self.compute.processes.is_main:
            for stale in (MANIFEST, LAST, BEST, LOG):
                (self.folder / stale).unlink(missing_ok=True)

    def complete_files(self) -> None:
        """Write what an earlier start that was killed may not have written after its checkpoint."""
        if self.progress.is_best:
            self.save(BEST)
        if self.progress.records and self.compute.processes.is_main:
            _write_log(self.folder, self.progress.records)

    def begin_epoch(self) -> None:
        """Note time and iteration, to compute the speed in images per second later."""
        self.epoch_started, self.epoch_first = time.perf_counter(), self.done
        self.loss_said = -math.inf

    @property
    def done(self) -> int:
        """Give the number of iterations done."""
        return self.progress.iteration

    @property
    def is_over(self) -> bool:
        """Tell whether all iterations are done."""
        return self.done == self.length.iterations

    @property
    def validation_is_due(self) -> bool:
        """Tell whether the epoch that has just ended is to be validated; the last one always is."""
        return self.done % (self.length.per_epoch * self.settings.validate_every) == 0 or (
            self.is_over
        )

    @property
    def checkpoint_is_due(self) -> bool:
        """Tell whether an epoch has just ended, or ``checkpoint_every`` iterations have."""
        every = (self.length.per_epoch, self.settings.checkpoint_every)
        return any(self.done % iterations == 0 for iterations in every)

    @property
    def owes_validation(self) -> bool:
        """Tell whether an earlier start was stopped while it validated the last epoch."""
        records = self.progress.records
        validated = int(records[-1]["iteration"]) if records else 0
        return self.validation_is_due and validated != self.done

    @property
    def epoch(self) -> str:
        """Say in which epoch the last iteration was, of how many."""
        per_epoch = self.length.per_epoch
        epochs = math.ceil(self.length.iterations / per_epoch)
        return f"epoch {max(1, math.ceil(self.done / per_epoch))}/{epochs}"

    @property
    def kept(self) -> str:
        """Say which checkpoint is kept if the training stops now."""
        done, length = self.done, self.length
        return (
            f"the checkpoint of iteration {done} of {length.iterations} (epoch "
            f"{done / length.per_epoch:.1f} of {length.iterations / length.per_epoch:.1f}) is kept "
            f"in {self.folder / LAST}"
        )

    def progress_bar(self, n_validated: int) -> Bar:
        """Make a progress bar of all images, for training and validating, with earlier starts'.

        n_validated: images that this process validates on each time.
        """
        size, length = self.length.batch_size, self.length
        validations = math.ceil(
            length.iterations / (length.per_epoch * self.settings.validate_every)
        )
        return Bar(
            total=length.iterations * size + validations * n_validated,
            what=f"train {self.settings.model['name']}",
            counts=False,  # of no meaning to a reader
            initial=self.done * size + len(self.progress.records) * n_validated,
            smoothing=0,  # validating is faster: the time left must not swing with it
            disable=not self.compute.processes.is_main,
        )

    def loss_is_due(self) -> bool:
        """Tell whether the loss was last said a second ago or more, or not yet in this epoch."""
        now = time.perf_counter()
        due = now - self.loss_said >= 1
        if due:
            self.loss_said = now
        return due

    def until(self, stop: StopRequest, loader: DataLoader) -> Iterator[LabelledBatch]:
        """Yield a loader's batches, unless a signal asks to stop.

        In that case, write a checkpoint and raise ``Stopped``. Signals are heard while this waits
        for a batch, too.
        """
        batches, processes = iter(loader), self.compute.processes
        # Processes may have one batch more or less to validate on, but must ask equally often.
        for _ in range(processes.most(len(loader))):
            batch = stop.unless_made(lambda: next(batches, None))
            # All processes must stop at the same iteration, or some would wait for ever.
            if processes.any(stop.made):
                self.save(LAST)
                processes.wait()  # for the checkpoint, before any process ends
                raise Stopped(self.kept)
            if batch is not None:
                yield batch

    def step(self, batch: LabelledBatch) -> None:
        """Update the weights once, from a batch that is computed in ``optim.accumulate`` parts.

        Raises UserError if no image of the batch could be read.
        """
        optim, compute, size = self.settings.optim, self.compute, self.length.batch_size
        n_images, n_parts = len(batch.labels_N), optim.accumulate
        if not n_images:
            raise UserError(f"no image of a whole batch could be read: {batch.unreadable[0]}")
        self.rate = learning_rate(optim, self.done, self.length.iterations)
        set_learning_rate(self.optimizer, self.rate)
        self.optimizer.zero_grad(set_to_none=True)
        images, truth = compute.move(batch.images_N3HW), batch.truth.each(compute.move)
        processes = compute.processes
        rows = torch.arange(processes.rank, size, processes.world, device=compute.device)
        parts = list(
            zip(
                images.chunk(n_parts),
                truth.chunk(n_parts),
                rows[:n_images].chunk(n_parts),
                strict=True,
            )
        )
        for number, (images_N3HW, part_truth, rows_N) in enumerate(parts, 1):
            # Seeded by the iteration, so that a resumed run drops the same units. The rows make
            # dropout the same however the batch is divided among processes and parts.
            seed_everything(self.settings.seed, self.done)
            place_in_batch(self.network, size, rows_N)
            with self._exchange(number == len(parts)):
                self._add_gradients(images_N3HW, part_truth, share=len(rows_N) / n_images)
        self.optimizer.step()
        self.progress.iteration += 1

    def _exchange(self, now: bool) -> contextlib.AbstractContextManager[None]:
        """Give a ``with`` block in which processes exchange their gradients only if ``now``."""
        if now or not isinstance(self.shared, DistributedDataParallel):
            return contextlib.nullcontext()
        exchange: contextlib.AbstractContextManager[None] = self.shared.no_sync()
        return exchange

    def _add_gradients(self, images_N3HW: Tensor, truth: BatchTruth, share: float) -> None:
        """Compute the gradients of a part of a batch, and add them to those of earlier parts.

        share: the part's images over the batch's, 0 to 1, which weights the part's mean loss.
        """
        x_NCHW = self.compute.lay_out(self.network.normalize(images_N3HW))
        with self.compute.autocast(), self._norms_need_images(len(x_NCHW)):
            losses: Losses = self.shared(x_NCHW, truth)
        (losses.total * share).backward()
        loss = losses.total.detach()
        count = torch.full_like(loss, len(x_NCHW))
        wrong = (~truth.are_true(losses.logits_NC.detach().argmax(1)[:, None])).sum()
        terms = [losses.terms[name].detach() * count for name in self.objective.terms]
        self.progress.sums += torch.stack([loss * count, wrong, count, *terms])

    @contextlib.contextmanager
    def _norms_need_images(self, count: int) -> Iterator[None]:
        """Say what to do if batch norm has a single number for each channel to normalise."""
        try:
            yield
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            optim, world = self.settings.optim, self.compute.processes.world
            raise UserError(
                f"optim.batch_size={optim.batch_size}: batch norm cannot normalise {count} image "
                f"of which a map has one pixel: a batch must have 2 images or more for each of "
                f"{world} processes x {optim.accumulate} parts (optim.accumulate), so raise "
                "optim.batch_size or model.input_size"
            ) from None

    def mean_losses(self) -> str:
        """Say the mean loss since the last validation in this process, and those of its terms."""
        loss_sum, _, count, *term_sums = self.progress.sums.tolist()
        terms = zip(self.objective.terms, term_sums, strict=True)
        said = [("loss", loss_sum), *terms]
        return ", ".join(f"{name} {total / count:.3f}" for name, total in said)

    def check_numbers(self, val_loss: float = 0.0) -> None:
        """Raise UserError if a loss or a weight is not finite; all processes must call this.

        The running statistics of batch norm count as weights.
        """
        loss_sum = float(self.compute.processes.sum(self.progress.sums)[0])
        # The extremes are NaN if any weight is; they take a twentieth of the time of isfinite.
        weights = [t for t in self.network.state_dict().values() if t.is_floating_point()]
        extremes = [torch.stack(tensor.aminmax()) for tensor in weights]
        if not math.isfinite(loss_sum):
            what = "the loss"
        elif not torch.stack(extremes).isfinite().all():
            what = "a weight"
        elif not math.isfinite(val_loss):
            what = "the validation loss"
        else:
            return
        last = self.folder / LAST
        raise UserError(
            f"{what} is no longer a number at iteration {self.done}: lower optim.lr (now "
            f"{self.settings.optim.lr}) or add optim.warmup; "
            + (f"the last good checkpoint is {last}" if last.is_file() else "no checkpoint is kept")
        )

    def end_epoch(self, val_batches: Iterable[LabelledBatch], policy: ErrorPolicy) -> None:
        """Validate the network; write checkpoints and the log, and log how it went."""
        progress, done = self.progress, self.done
        errors = classification_errors(
            self.network, val_batches, policy, self.compute, self.objective
        )
        self.check_numbers(errors["val_loss"])
        seconds = time.perf_counter() - self.epoch_started
        speed = (done - self.epoch_first) * self.length.batch_size / seconds
        self.begin_epoch()
        means, terms = self._training_means()
        progress.records.append(
            {
                "epoch": done / self.length.per_epoch,
                "iteration": done,
                "lr": self.rate,
                **means,
                **errors,
                "images_per_second": speed,
                **terms,
            }
        )
        error = errors["val_top1_error"]
        progress.best_error = min(progress.best_error, error)
        progress.sums.zero_()
        self.save(LAST)
        if progress.is_best:
            self.save(BEST)
        if self.compute.processes.is_main:
            _write_log(self.folder, progress.records)
            self._add_to_tensorboard(progress.records[-1])
        log.info(
            "%s: loss %.3f, training error %.1f %%; validation error, %s, top-1/top-5: "
            "%.1f / %.1f %%; %.0f images/s",
            self.epoch,
            progress.records[-1]["train_loss"],
            progress.records[-1]["train_top1_error"],
            self.validation_view.words,
            error,
            errors["val_top5_error"],
            speed,
        )

    def _training_means(self) -> tuple[dict[str, float], dict[str, float]]:
        """Compute means since the last validation, over all processes.

        Gives training loss and top-1 error, percent, and beside them the terms of the loss.
        """
        sums = self.compute.processes.sum(self.progress.sums).tolist()
        loss_sum, wrong, count, *term_sums = sums
        terms = zip(self.objective.terms, term_sums, strict=True)
        return (
            {"train_loss": loss_sum / count, "train_top1_error": 100 * wrong / count},
            {f"train_{name}": total / count for name, total in terms},
        )

    def _add_to_tensorboard(self, record: dict[str, float]) -> None:
        """Add the last line of log.csv to TensorBoard, if that is wanted."""
        if self.writer is not None:
            for key, value in record.items():
                if key not in ("epoch", "iteration"):
                    self.writer.add_scalar(key, value, record["iteration"])

    def save(self, name: str) -> None:
        """Write a checkpoint, from the main process; all must call this, to add up their sums.

        Raises UserError if loss or weights are not finite.
        """
        self.check_numbers()
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
                "overwrites": self.overwrites,
            },
        )


def _batches(training: Training, policy: ErrorPolicy) -> tuple[DataLoader, DataLoader]:
    """Make loaders for this process's share of the training and of the validation images."""
    settings, loading, compute = training.settings, training.data.loading, training.compute
    options: dict[str, Any] = {
        "workers": compute.loader_workers(loading.workers),
        "collate_fn": collate_labelled,
        "pin_memory": compute.on_gpu,
    }
    order = TrainingOrder(
        n_images=len(training.data.train_set),
        batch_size=training.length.batch_size,
        iterations=training.length.iterations,
        seed=settings.seed,
        start=training.done,
        rank=compute.processes.rank,
        world=compute.processes.world,
    )
    augmentation, data = training.augmentation, training.data
    objective, masks = training.objective, None
    if objective.masks != "none":
        share = objective.masks_share
        masks = TrainMasks(data.train_set, objective.masks, share, settings.seed)
    train_images = TrainImages(
        data.train_set,
        augmentation,
        settings.seed,
        loading.preload,
        all_classes=objective.all_classes,
        masks=masks,
    )
    val_images = ValidationImages(
        data.val_set, training.validation_view, loading.preload, objective.all_classes
    )
    policy.handle(train_images.unreadable + val_images.unreadable)
    validated = range(compute.processes.rank, len(val_images), compute.processes.world)
    train_batches = train_images.loader(batch_sampler=order, **options)
    val_batches = val_images.loader(sampler=validated, batch_size=order.batch_size, **options)
    check_shared_memory(train_batches, val_batches, processes=started_here())
    return train_batches, val_batches


def _counted(batches: Iterable[LabelledBatch], bar: Bar) -> Iterator[LabelledBatch]:
    """Yield batches, and move the bar by each when it has been used."""
    for batch in batches:
        yield batch
        bar.update(len(batch.labels_N) + len(batch.unreadable))


def _write_log(folder: Path, records: list[dict[str, float]]) -> None:
    """Write log.csv with a line for each validation."""
    with atomic_path(folder / LOG) as temporary:
        pd.DataFrame(records).round(5).to_csv(temporary, index=False)


def _tensorboard_writer(folder: Path) -> Any | None:
    """Make a TensorBoard writer; None if the package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
