"""Train a network: what ``cam-train`` does."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from cam_repro.commands.common import (
    TRAIN_LOG,
    alone_in,
    announce,
    log_file,
    open_data,
    outputs_to_take,
)
from cam_repro.config import validate
from cam_repro.data.check import in_training
from cam_repro.engine.compute import Compute
from cam_repro.engine.processes import join_processes
from cam_repro.engine.resume import LAST, find_earlier
from cam_repro.engine.settings import OptimSettings, TrainSettings
from cam_repro.engine.train import Length, Trained, TrainingData, seed_everything, train
from cam_repro.errors import UserError, if_stopped
from cam_repro.figures.curves import write_curves
from cam_repro.files import check_writable, sha256
from cam_repro.models.base import CamNetwork
from cam_repro.models.build import build_network, complete
from cam_repro.models.weights import load_weights
from cam_repro.runs.folders import NO_MODEL, is_complete, run_name, train_folder
from cam_repro.runs.manifest import (
    Checkpoint,
    Hardware,
    TrainedData,
    TrainManifest,
    read_train_manifest,
    write_manifest,
)
from cam_repro.runs.provenance import provenance
from cam_repro.runs.training_log import TrainingLog, read_log

log = logging.getLogger(__name__)


@if_stopped("no checkpoint of this start yet; those of earlier starts are kept")
def run_training(cfg: DictConfig, overrides: Sequence[str] = ()) -> Path:
    """Do what ``cam-train`` does; return the run's folder. A finished run is left as it is.

    cfg: the composed settings. overrides: the ``key=value`` words that they were composed from.
    """
    settings = validate(cfg, TrainSettings)
    name = run_name(settings.model)
    if name == NO_MODEL:
        raise UserError("model=none is no network: it can be scored, not trained")
    settings.model = complete(settings.model)
    with join_processes(settings.device) as processes:
        with_boxes = settings.objective.masks == "boxes"
        train_set = open_data(settings.data, processes, "train", with_boxes=with_boxes)
        val_set = open_data(settings.data, processes, "val", with_boxes=False)
        announce(train_set)
        if not train_set.has_images:
            raise UserError(f"{train_set.folder}: has no images to train on; name others by data=")
        for images in (train_set, val_set):
            if not images.has_labels:
                raise UserError(
                    f"{images.folder}: not all {images.split} images have a label, which training "
                    "needs"
                )
        if shared := in_training(train_set, val_set):
            log.warning(
                "%d of %d validation images are training images too, such as %s: the validation "
                "error says nothing of other images",
                *(len(shared), len(val_set), shared[0]),
            )
        data = TrainingData(train_set, val_set, settings.loader)
        if not any(word.lstrip("+").startswith("optim.warmup=") for word in overrides):
            settings.optim = _with_fitting_warmup(settings.optim, len(train_set), processes.world)
        folder = Path(settings.output or train_folder(settings.runs, train_set.name, name))
        check_writable(folder)
        with alone_in(folder, processes):
            earlier = find_earlier(settings, train_set, folder)
            if earlier is not None and is_complete(folder):
                read_train_manifest(folder)
                read_log(folder)  # a run that is damaged is said to be, not taken for trained
                log.info("%s is trained already: %s", name, folder)
            else:
                _train(settings, name, data, Compute.of(settings, processes), folder, earlier)
    return folder


def _with_fitting_warmup(optim: OptimSettings, n_images: int, n_processes: int) -> OptimSettings:
    """Shorten the warmup of a recipe to a tenth of a run that would be over before it."""
    iterations = Length.of(optim, n_images, n_processes).iterations
    if optim.warmup < iterations:
        return optim
    warmup = iterations // 10
    log.info(
        "optim.warmup=%d, the recipe's, is longer than the run of %d iterations: %d instead",
        optim.warmup,
        iterations,
        warmup,
    )
    return replace(optim, warmup=warmup)


def _train(
    settings: TrainSettings,
    name: str,
    data: TrainingData,
    compute: Compute,
    folder: Path,
    earlier: dict[str, Any] | None,
) -> None:
    """Train a network and complete its folder. name: the run's; earlier: where it goes on from."""
    processes = compute.processes
    seed_everything(settings.seed)
    network = build_network(settings.model, len(data.train_set.classes))
    with log_file(folder / TRAIN_LOG, processes, data.train_set):
        if earlier is None:  # else the weights come from the checkpoint
            size = settings.model["input_size"]
            outputs = outputs_to_take(settings.model, data.train_set)
            weights = settings.model["weights"]
            load_weights(network, weights, name=name, input_size=size, outputs=outputs)
        trained = train(settings, network, data, compute, folder, earlier)
        with if_stopped(f"the training is done, its last checkpoint is {folder / LAST}"):
            if processes.is_main:
                curves = TrainingLog.of(trained.records)
                write_curves(folder / "curves.png", curves, settings.model["row"])
                # Written last, because a run with a manifest is complete.
                manifest = _manifest(settings, network, data, compute, trained, folder / LAST)
                write_manifest(folder, manifest)
            processes.wait()
        _say(name, trained, folder)


def _manifest(
    settings: TrainSettings,
    network: CamNetwork,
    data: TrainingData,
    compute: Compute,
    trained: Trained,
    checkpoint: Path,
) -> TrainManifest:
    """Describe a run for its manifest: data, settings, final errors, hardware."""
    return TrainManifest(
        model=settings.model["name"],
        data=TrainedData(
            name=data.train_set.name,
            n_train=len(data.train_set),
            n_val=len(data.val_set),
            n_classes=len(data.train_set.classes),
            fingerprint=data.train_set.fingerprint,
        ),
        iterations=trained.iterations,
        epochs=trained.epochs,
        final=trained.final,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        skipped=trained.skipped,
        seconds=round(trained.seconds, 1),
        hardware=Hardware(
            device=compute.hardware,
            precision=compute.precision,
            processes=compute.processes.world,
        ),
        config=asdict(settings),
        provenance=provenance(),
        checkpoint=Checkpoint(path=checkpoint.name, sha256=sha256(checkpoint)),
    )


def _say(name: str, trained: Trained, folder: Path) -> None:
    """Log how a training ended, and where its files are."""
    log.info(
        "%s: validation error, %s, top-1/top-5: %.1f / %.1f %%; %d iterations in %.0f s"
        "\n  %s\n  %s",
        name,
        trained.validated_on,
        trained.final["val_top1_error"],
        trained.final["val_top5_error"],
        trained.iterations,
        trained.seconds,
        folder / LAST,
        folder / "curves.png",
    )
