"""The training loop."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from hydra.utils import instantiate
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm

from cam_repro.data.augment import Augmentation
from cam_repro.data.image_set import ImageSet
from cam_repro.data.loading import (
    ErrorPolicy,
    TrainImages,
    TrainingOrder,
    ValidationImages,
    collate_labelled,
)
from cam_repro.data.settings import LoaderSettings
from cam_repro.engine.checkpoint import load_checkpoint, save_checkpoint
from cam_repro.engine.compiling import compiled
from cam_repro.engine.compute import (
    Processes,
    autocast,
    device_name,
    exact_fp32,
    pick_device,
    pick_precision,
    seed_everything,
    workers_for,
)
from cam_repro.engine.evaluate import classification_errors
from cam_repro.engine.memory import freed_memory_kept
from cam_repro.engine.settings import OptimSettings, TrainSettings
from cam_repro.errors import UserError
from cam_repro.figures.curves import draw_curves
from cam_repro.files import atomic_path, sha256, write_json
from cam_repro.models.base import CamNetwork
from cam_repro.models.layers import place_in_batch
from cam_repro.runs.provenance import provenance

log = logging.getLogger(__name__)

CHECK_EVERY = 50
"""Iterations between looks at the loss: each look waits for the GPU."""

NOT_PART_OF_A_RUN = (
    "loader",
    "device",
    "compile",
    "checkpoint_every",
    "tensorboard",
    "overwrite",
    "runs",
    "output",
)
"""Settings that may differ when a run is resumed: they do not change what it computes."""


def learning_rate(optim: OptimSettings, iteration: int, iterations: int) -> float:
    """Learning rate of an iteration, counted from 0, of ``iterations`` in all.

    ``step``: x gamma every ``step`` iterations, as the authors' solver. ``cosine``: falls to 0
    along half a cosine. The first ``warmup`` iterations rise linearly.
    """
    rate = optim.lr
    if optim.schedule == "step":
        rate *= optim.gamma ** (iteration // optim.step)
    elif optim.schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * iteration / iterations))
    return rate * min(1.0, (iteration + 1) / (optim.warmup + 1))


def make_optimizer(model: nn.Module, optim: OptimSettings) -> torch.optim.SGD:
    """SGD as the authors' solver: biases at ``bias_lr`` times the rate and without weight decay.

    Scales of normalisation layers, which their networks do not have, are not decayed either.
    Each group's ``scale`` multiplies the scheduled learning rate.
    """
    weights: list[nn.Parameter] = []
    scales: list[nn.Parameter] = []
    biases: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            biases.append(parameter)
        else:
            (scales if parameter.ndim == 1 else weights).append(parameter)
    groups = [
        {"params": weights, "weight_decay": optim.weight_decay, "scale": 1.0},
        {"params": scales, "weight_decay": 0.0, "scale": 1.0},
        {"params": biases, "weight_decay": 0.0, "scale": optim.bias_lr},
    ]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=optim.lr,
        momentum=optim.momentum,
        fused=True,  # one pass over each parameter instead of three
    )


class StopRequest:
    """Turns signals that end a job into a flag, so that the loop can leave a checkpoint first.

    Besides Ctrl-C and SIGTERM these are SIGUSR1 and SIGUSR2, one of which SLURM sends some time
    before it ends a job if it is asked to (``--signal``; submitit asks for SIGUSR2). When the loop
    then stops by KeyboardInterrupt, whoever listened before is told: submitit puts the job back
    into the queue.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

    def __init__(self) -> None:
        self.received: list[int] = []

    @property
    def made(self) -> bool:
        return bool(self.received)

    @contextlib.contextmanager
    def listening(self) -> Iterator[StopRequest]:
        def note(signum: int, frame: object) -> None:
            self.received.append(signum)

        try:
            before = {number: signal.signal(number, note) for number in self.SIGNALS}
        except ValueError:  # not the main thread: signals go elsewhere
            yield self
            return
        try:
            try:
                yield self
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
        except KeyboardInterrupt:
            for signum in self.received:
                listener = before[signal.Signals(signum)]
                if callable(listener):
                    listener(signum, None)
            raise


def run_identity(settings: TrainSettings, train_set: ImageSet) -> dict[str, Any]:
    """What decides the outcome of a run; resuming needs all of it unchanged."""
    identity = {k: v for k, v in asdict(settings).items() if k not in NOT_PART_OF_A_RUN}
    augment = {key: value for key, value in settings.augment.items() if key != "_target_"}
    # By its name alone where it has no settings, as in the checkpoints of earlier versions.
    identity["augment"] = augment if len(augment) > 1 else augment.get("name")
    weights = settings.model.get("weights")
    if weights is not None and Path(weights).is_file():  # by content: a folder may be moved
        identity["model"] = {**identity["model"], "weights": sha256(weights)}
    return {**identity, "data": {"name": train_set.name, "fingerprint": train_set.fingerprint}}


def find_progress(
    settings: TrainSettings, train_set: ImageSet, folder: Path
) -> dict[str, Any] | None:
    """The last checkpoint of an earlier start of this very run, None where there is none.

    Raises UserError where the folder holds a run with other settings.
    """
    path = folder / "last.pt"
    if settings.overwrite or not path.is_file():
        return None
    progress = load_checkpoint(path)
    old = json.loads(progress["identity"])
    new = json.loads(json.dumps(run_identity(settings, train_set)))
    if old != new:
        differing = _first_difference(old, new)
        raise UserError(
            f"{folder} holds a run with other settings ({differing}); "
            "choose another folder with output=DIR, or replace it with overwrite=true"
        )
    return progress


def _first_difference(old: Any, new: Any, key: str = "") -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *new]:
            if old.get(name) != new.get(name):
                inner = f"{key}.{name}" if key else str(name)
                return _first_difference(old.get(name), new.get(name), inner)
    return f"{key}: {old} there, {new} now"


@dataclass
class Progress:
    """How far a run has come: all that a checkpoint holds besides the network and its solver.

    iteration: how many are done. records: the lines of log.csv. sums: loss, wrong guesses and
    images of the epoch so far, float64 (3,). best_error: lowest validation top-1 error, percent.
    """

    iteration: int = 0
    records: list[dict[str, float]] = field(default_factory=list)
    sums: torch.Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64))
    best_error: float = math.inf


def train(
    settings: TrainSettings,
    loading: LoaderSettings,
    model: CamNetwork,
    train_set: ImageSet,
    val_set: ImageSet,
    folder: Path,
    group: Processes,
    earlier: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train ``model`` and leave checkpoints, log and curves in ``folder``; returns the manifest.

    earlier: the checkpoint of an unfinished start of this run (``find_progress``), to go on from
    exactly as if it had never stopped. The batch size is that of all processes together.
    """
    optim = settings.optim
    if optim.batch_size % (group.world * optim.accumulate):
        raise UserError(
            f"optim.batch_size={optim.batch_size} must be divisible by processes x "
            f"optim.accumulate = {group.world} x {optim.accumulate}"
        )
    device = pick_device(settings.device, group.local_rank)
    precision = pick_precision(settings.precision, device)
    memory_format = torch.channels_last if settings.channels_last else torch.contiguous_format
    batch_size = min(optim.batch_size, len(train_set))
    per_epoch = len(train_set) // batch_size
    iterations = optim.iterations or max(1, round((optim.epochs or 0) * per_epoch))

    model.to(device).to(memory_format=memory_format)
    optimizer = make_optimizer(model, optim)
    progress = Progress()
    if earlier is not None:
        model.load_state_dict(earlier["model"])
        optimizer.load_state_dict(earlier["optimizer"])
        progress = Progress(**earlier["progress"])
        log.info("goes on from iteration %d of %d in %s", progress.iteration, iterations, folder)
    elif group.is_main:
        for stale in ("manifest.json", "last.pt", "best.pt"):
            (folder / stale).unlink(missing_ok=True)
    if not group.is_main:  # a checkpoint has the sums of all processes
        progress.sums.zero_()
    progress.sums = progress.sums.to(device)

    order = TrainingOrder(
        n_images=len(train_set),
        batch_size=batch_size,
        iterations=iterations,
        seed=settings.seed,
        start=progress.iteration,
        rank=group.rank,
        world=group.world,
    )
    policy = ErrorPolicy(loading.on_error)
    train_batches, val_batches = _batches(
        settings, loading, train_set, val_set, order, policy, group, device
    )
    network: nn.Module = DistributedDataParallel(model) if group.world > 1 else model
    writer = _tensorboard_writer(folder) if settings.tensorboard and group.is_main else None

    def save(name: str) -> None:
        sums = group.sum(progress.sums)
        if group.is_main:
            save_checkpoint(
                folder / name,
                {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "progress": {**vars(progress), "sums": sums},
                    "identity": json.dumps(run_identity(settings, train_set)),
                    "model_config": settings.model,
                    "classes": list(train_set.classes.wnids),
                },
            )

    started = epoch_started = time.perf_counter()
    epoch_first = progress.iteration
    bar = tqdm(
        total=iterations * batch_size,
        initial=progress.iteration * batch_size,
        desc=f"train {settings.model['name']}",
        unit=" images",
        disable=not group.is_main,
        dynamic_ncols=True,
    )
    model.train()
    with (
        StopRequest().listening() as stop,
        freed_memory_kept(),
        exact_fp32(precision),
        compiled(model, settings.compile, gradients=True),
        bar,
    ):
        for iteration, batch in enumerate(train_batches, start=progress.iteration):
            policy.handle(batch.unreadable)
            if not len(batch.labels_N):
                raise UserError(f"no image of a whole batch could be read: {batch.unreadable[0]}")
            rate = learning_rate(optim, iteration, iterations)
            for parameters in optimizer.param_groups:
                parameters["lr"] = rate * parameters["scale"]
            optimizer.zero_grad(set_to_none=True)
            images = batch.images_N3HW.to(device, non_blocking=True)
            labels = batch.labels_N.to(device, non_blocking=True)
            rows = torch.arange(group.rank, batch_size, group.world, device=device)[: len(labels)]
            parts = optim.accumulate
            chunks = [tensor.chunk(parts) for tensor in (images, labels, rows)]
            for number, (images_N3HW, labels_N, rows_N) in enumerate(zip(*chunks, strict=True), 1):
                # Dropout depends on the iteration alone, so that a resumed run draws the same, and
                # on the place in the batch, so that processes and parts do.
                seed_everything(settings.seed, iteration)
                place_in_batch(model, batch_size, rows_N)
                x_NCHW = model.normalize(images_N3HW).contiguous(memory_format=memory_format)
                # Gradients are exchanged between processes once, with the last part of a batch.
                wait = group.world > 1 and number < len(chunks[0])
                with network.no_sync() if wait else contextlib.nullcontext():  # type: ignore[operator]
                    with autocast(device, precision):
                        logits_NC = network(x_NCHW).float()
                    loss = cross_entropy(logits_NC, labels_N, label_smoothing=optim.label_smoothing)
                    (loss * (len(labels_N) / len(labels))).backward()
                count = torch.full_like(loss, len(labels_N))
                wrong = (logits_NC.detach().argmax(1) != labels_N).sum()
                progress.sums += torch.stack([loss.detach() * count, wrong, count])
            optimizer.step()

            progress.iteration = done = iteration + 1
            bar.update(batch_size)
            if done % CHECK_EVERY == 0:
                bar.set_postfix_str(f"loss {_finite_loss(progress, optim):.3f}", refresh=False)
            stopping = group.any(stop.made)  # by all at the same iteration, or some would wait
            if done % per_epoch == 0 or done == iterations:
                errors = classification_errors(model, val_batches, policy, device, precision, group)
                seconds, epoch_started = time.perf_counter() - epoch_started, time.perf_counter()
                speed, epoch_first = (done - epoch_first) * batch_size / seconds, done
                progress.records.append(
                    {
                        "epoch": done / per_epoch,
                        "iteration": done,
                        "lr": rate,
                        **_training_means(progress, optim, group),
                        **errors,
                        "images_per_second": speed,
                    }
                )
                is_best = errors["val_top1_error"] < progress.best_error
                progress.best_error = min(progress.best_error, errors["val_top1_error"])
                progress.sums.zero_()
                save("last.pt")
                if is_best:
                    save("best.pt")
                if group.is_main:
                    _write_log(folder, progress.records, writer)
                bar.set_postfix_str(f"val top-1 error {errors['val_top1_error']:.1f} %")
            elif done % settings.checkpoint_every == 0 or stopping:
                save("last.pt")
            if stopping and done < iterations:
                group.wait()  # for the checkpoint, before any process ends
                raise KeyboardInterrupt

    manifest = {
        "model": settings.model["name"],
        "data": {
            "name": train_set.name,
            "n_train": len(train_set),
            "n_val": len(val_set),
            "n_classes": len(train_set.classes),
            "fingerprint": train_set.fingerprint,
        },
        "iterations": iterations,
        "epochs": iterations / per_epoch,
        "final": progress.records[-1],
        "parameters": sum(p.numel() for p in model.parameters()),
        "skipped": policy.skipped,
        "seconds": round(time.perf_counter() - started, 1),
        "device": device_name(device),
        "precision": precision,
        "processes": group.world,
        "config": asdict(settings),
        **provenance(),
    }
    if group.is_main:
        draw_curves(folder / "curves.png", pd.DataFrame(progress.records), settings.model["row"])
        manifest["checkpoint"] = {"path": "last.pt", "sha256": sha256(folder / "last.pt")}
        write_json(folder / "manifest.json", manifest)  # last: a run with a manifest is complete
    group.wait()
    return manifest


def _batches(
    settings: TrainSettings,
    loading: LoaderSettings,
    train_set: ImageSet,
    val_set: ImageSet,
    order: TrainingOrder,
    policy: ErrorPolicy,
    group: Processes,
    device: torch.device,
) -> tuple[DataLoader, DataLoader]:
    """Loaders of this process's training batches and of its share of the validation images."""
    sizes = {key: settings.model[key] for key in ("input_size", "resize_size")}
    of_augment = {key: value for key, value in settings.augment.items() if key != "name"}
    augmentation: Augmentation = instantiate(of_augment, **sizes)
    options: dict[str, Any] = {
        "workers": workers_for(loading.workers, device),
        "collate_fn": collate_labelled,
        "pin_memory": device.type == "cuda",
    }
    train_images = TrainImages(train_set, augmentation, settings.seed, loading.preload)
    val_images = ValidationImages(val_set, augmentation.validation_view(), loading.preload)
    policy.handle(train_images.unreadable + val_images.unreadable)
    share = range(group.rank, len(val_set), group.world)
    return (
        train_images.loader(batch_sampler=order, **options),
        val_images.loader(sampler=share, batch_size=order.batch_size, **options),
    )


def _finite_loss(progress: Progress, optim: OptimSettings) -> float:
    """Mean training loss of the epoch so far in this process; a UserError where it is no number."""
    loss_sum, _, count = progress.sums.tolist()
    if not math.isfinite(loss_sum):
        raise UserError(
            f"the loss is no longer a number at iteration {progress.iteration}: "
            f"lower optim.lr (now {optim.lr}) or add optim.warmup"
        )
    return loss_sum / count


def _training_means(progress: Progress, optim: OptimSettings, group: Processes) -> dict[str, float]:
    """Mean loss and top-1 error (percent) of the epoch, over all processes."""
    _finite_loss(progress, optim)
    loss_sum, wrong, count = group.sum(progress.sums).tolist()
    return {"train_loss": loss_sum / count, "train_top1_error": 100 * wrong / count}


def _write_log(folder: Path, records: list[dict[str, float]], writer: Any | None) -> None:
    """One line an epoch as CSV, and the last one to TensorBoard."""
    with atomic_path(folder / "log.csv") as temporary:
        pd.DataFrame(records).round(5).to_csv(temporary, index=False)
    if writer is not None:
        for key, value in records[-1].items():
            if key not in ("epoch", "iteration"):
                writer.add_scalar(key, value, records[-1]["iteration"])


def _tensorboard_writer(folder: Path) -> Any | None:
    """A TensorBoard writer where the package is installed, else None."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
