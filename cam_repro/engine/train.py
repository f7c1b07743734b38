"""The training loop."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from cam_repro.data.ilsvrc import ImageSet
from cam_repro.data.pipeline import (
    AUGMENTATIONS,
    ErrorPolicy,
    TrainImages,
    TrainingOrder,
    ValidationImages,
    collate_labelled,
)
from cam_repro.data.views import Center, Squash, View
from cam_repro.engine.checkpoint import load_checkpoint, save_checkpoint
from cam_repro.engine.device import (
    Processes,
    autocast,
    device_name,
    pick_device,
    pick_precision,
    seed_everything,
    workers_for,
)
from cam_repro.engine.evaluate import classification_errors
from cam_repro.engine.provenance import provenance
from cam_repro.engine.settings import LoaderSettings, OptimSettings, TrainSettings
from cam_repro.errors import UserError
from cam_repro.figures.curves import draw_curves
from cam_repro.files import atomic_path, sha256, write_json
from cam_repro.models.base import CamNetwork

log = logging.getLogger(__name__)

NOT_PART_OF_A_RUN = ("device", "checkpoint_every", "tensorboard", "overwrite", "runs", "output")
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
    weights, scales, biases = [], [], []
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
        [group for group in groups if group["params"]], lr=optim.lr, momentum=optim.momentum
    )


def validation_view(settings: TrainSettings) -> View:
    """One crop that matches what training showed: the centre of the squash, or the whole image."""
    kind = Center if settings.augment == "squash_crop" else Squash
    return kind(settings.model["input_size"], settings.model["resize_size"])


class StopRequest:
    """Turns Ctrl-C and SIGTERM into a flag, so that the loop can leave a checkpoint first."""

    def __init__(self) -> None:
        self.made = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[StopRequest]:
        def note(signum: int, frame: object) -> None:
            self.made = True

        signals = (signal.SIGINT, signal.SIGTERM)
        try:
            before = [signal.signal(number, note) for number in signals]
        except ValueError:  # not the main thread: signals go elsewhere
            yield self
            return
        try:
            yield self
        finally:
            for number, handler in zip(signals, before, strict=True):
                signal.signal(number, handler)


def run_identity(settings: TrainSettings, train_set: ImageSet) -> dict[str, Any]:
    """What decides the outcome of a run; resuming needs all of it unchanged."""
    identity = {k: v for k, v in asdict(settings).items() if k not in NOT_PART_OF_A_RUN}
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


def train(
    settings: TrainSettings,
    loading: LoaderSettings,
    model: CamNetwork,
    train_set: ImageSet,
    val_set: ImageSet,
    folder: Path,
    group: Processes,
    progress: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train ``model`` and leave checkpoints, log and curves in ``folder``; returns the manifest.

    progress: an unfinished start of this run (``find_progress``), to go on from exactly as if it
    had never stopped. The batch size is that of all processes together.
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

    augmentation = AUGMENTATIONS[settings.augment](
        settings.model["input_size"], settings.model["resize_size"]
    )
    per_epoch = max(1, len(train_set) // batch_size)
    iterations = optim.iterations or max(1, round((optim.epochs or 0) * per_epoch))

    if group.is_main and settings.overwrite:
        for stale in ("manifest.json", "last.pt", "best.pt"):
            (folder / stale).unlink(missing_ok=True)
    model.to(device=device, memory_format=memory_format)
    optimizer = make_optimizer(model, optim)
    start, records, sums, best_error = 0, [], [0.0, 0, 0], math.inf
    if progress is not None:
        model.load_state_dict(progress["model"])
        optimizer.load_state_dict(progress["optimizer"])
        start, records, sums = progress["iteration"], progress["records"], progress["sums"]
        best_error = progress["best_error"]
        log.info("goes on from iteration %d of %d in %s", start, iterations, folder)

    order = TrainingOrder(
        len(train_set), batch_size, iterations, settings.seed, start, group.rank, group.world
    )
    options = {
        "workers": workers_for(loading.workers, device),
        "collate_fn": collate_labelled,
        "pin_memory": device.type == "cuda",
    }
    preload = loading.preload
    train_batches = TrainImages(train_set, augmentation, settings.seed, preload).loader(
        batch_sampler=order, **options
    )
    val_batches = ValidationImages(val_set, validation_view(settings), preload).loader(
        sampler=range(group.rank, len(val_set), group.world), batch_size=128, **options
    )
    network: nn.Module = model
    if group.world > 1:
        network = DistributedDataParallel(model)
    policy = ErrorPolicy(loading.on_error)
    writer = tensorboard_writer(folder) if settings.tensorboard and group.is_main else None

    def save(name: str, iteration: int) -> None:
        if group.is_main:
            save_checkpoint(
                folder / name,
                {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "iteration": iteration,
                    "records": records,
                    "sums": sums,
                    "best_error": best_error,
                    "identity": json.dumps(run_identity(settings, train_set)),
                    "model_config": settings.model,
                    "classes": train_set.wnids,
                },
            )

    started = epoch_started = time.perf_counter()
    images_seen = 0
    bar = tqdm(
        total=iterations * batch_size,
        initial=start * batch_size,
        desc=f"train {settings.model['name']}",
        unit=" images",
        disable=not group.is_main,
        dynamic_ncols=True,
    )
    model.train()
    with StopRequest().listening() as stop, bar:
        for iteration, batch in enumerate(train_batches, start=start):
            policy.handle(batch.unreadable)
            if not len(batch.labels_N):
                raise UserError(f"no image of a whole batch could be read: {batch.unreadable[0]}")
            rate = learning_rate(optim, iteration, iterations)
            for parameters in optimizer.param_groups:
                parameters["lr"] = rate * parameters["scale"]
            # Dropout depends on the iteration alone, so a resumed run draws the same.
            seed_everything(settings.seed, iteration, group.rank)

            optimizer.zero_grad(set_to_none=True)
            images = batch.images_N3HW.to(device, non_blocking=True)
            labels = batch.labels_N.to(device, non_blocking=True)
            chunks = list(
                zip(images.chunk(optim.accumulate), labels.chunk(optim.accumulate), strict=True)
            )
            for number, (images_N3HW, labels_N) in enumerate(chunks, start=1):
                x_NCHW = model.normalize(images_N3HW).contiguous(memory_format=memory_format)
                # Gradients are exchanged between processes once, with the last part of a batch.
                wait = group.world > 1 and number < len(chunks)
                with network.no_sync() if wait else contextlib.nullcontext():  # type: ignore[operator]
                    with autocast(device, precision):
                        logits_NC = network(x_NCHW).float()
                    loss = cross_entropy(logits_NC, labels_N, label_smoothing=optim.label_smoothing)
                    (loss * (len(labels_N) / len(labels))).backward()
                sums[0] += loss.detach() * len(labels_N)
                sums[1] += (logits_NC.argmax(1) != labels_N).sum()
                sums[2] += len(labels_N)
            optimizer.step()

            done = iteration + 1
            images_seen += batch_size
            bar.update(batch_size)
            if done % per_epoch == 0 or done == iterations:
                totals = _add_up(sums, group, device)
                if not math.isfinite(totals[0]):
                    raise UserError(
                        f"the loss is no longer a number at iteration {done}; "
                        f"lower optim.lr (now {optim.lr}) or add optim.warmup"
                    )
                errors = classification_errors(model, val_batches, policy, device, precision, group)
                epoch_seconds = time.perf_counter() - epoch_started
                record = {
                    "epoch": done / per_epoch,
                    "iteration": done,
                    "lr": rate,
                    "train_loss": totals[0] / totals[2],
                    "train_top1_error": 100 * totals[1] / totals[2],
                    **errors,
                    "images_per_second": images_seen / epoch_seconds,
                }
                records.append(record)
                sums, images_seen = [0.0, 0, 0], 0
                is_best = errors["val_top1_error"] < best_error
                best_error = min(best_error, errors["val_top1_error"])
                if group.is_main:
                    write_log(folder, records)
                    save("last.pt", done)
                    if is_best:
                        save("best.pt", done)
                    if writer is not None:
                        for key in record.keys() - {"epoch", "iteration"}:
                            writer.add_scalar(key, record[key], done)
                    bar.set_postfix_str(
                        f"loss {record['train_loss']:.3f}, "
                        f"val top-1 error {record['val_top1_error']:.1f} %"
                    )
                epoch_started = time.perf_counter()
            elif done % settings.checkpoint_every == 0 or stop.made:
                sums = _as_numbers(sums)
                save("last.pt", done)
            if stop.made and done < iterations:
                raise KeyboardInterrupt

    group.wait()
    seconds = time.perf_counter() - started
    manifest = {
        "model": settings.model["name"],
        "data": {
            "name": train_set.name,
            "n_train": len(train_set),
            "n_val": len(val_set),
            "n_classes": len(train_set.wnids),
            "fingerprint": train_set.fingerprint,
        },
        "iterations": iterations,
        "epochs": iterations / per_epoch,
        "final": records[-1],
        "parameters": sum(p.numel() for p in model.parameters()),
        "skipped": policy.skipped,
        "seconds": round(seconds, 1),
        "device": device_name(device),
        "precision": precision,
        "processes": group.world,
        "config": asdict(settings),
        **provenance(),
    }
    if group.is_main:
        draw_curves(folder / "curves.png", pd.DataFrame(records), settings.model["row"])
        manifest["checkpoint"] = {"path": "last.pt", "sha256": sha256(folder / "last.pt")}
        write_json(folder / "manifest.json", manifest)  # last: a run with a manifest is complete
    group.wait()
    return manifest


def _as_numbers(sums: list[Any]) -> list[float]:
    return [float(value) for value in sums]


def _add_up(sums: list[Any], group: Processes, device: torch.device) -> list[float]:
    """Sums over all processes."""
    totals = torch.tensor(_as_numbers(sums), dtype=torch.float64, device=device)
    if group.world > 1:
        torch.distributed.all_reduce(totals)
    return totals.tolist()


def write_log(folder: Path, records: list[dict[str, float]]) -> None:
    """One line an epoch, as CSV."""
    with atomic_path(folder / "log.csv") as temporary:
        pd.DataFrame(records).round(5).to_csv(temporary, index=False)


def tensorboard_writer(folder: Path) -> Any | None:
    """A TensorBoard writer where the package is installed, else None."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
