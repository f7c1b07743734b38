"""Training: what ``cam-train`` does."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from cam_repro.commands.common import announce, log_file, open_data
from cam_repro.config import validate
from cam_repro.engine.compute import processes, seed_everything
from cam_repro.engine.settings import TrainSettings
from cam_repro.engine.train import find_progress, train
from cam_repro.errors import UserError
from cam_repro.models.build import build_model
from cam_repro.models.weights import load_weights
from cam_repro.runs.folders import NO_MODEL, is_complete, run_name, train_folder

log = logging.getLogger(__name__)


def run_training(cfg: DictConfig) -> Path:
    """Train as ``cam-train`` does; returns the run's folder. A finished run is left as it is."""
    settings = validate(cfg, TrainSettings)
    name = run_name(settings.model)
    if name == NO_MODEL:
        raise UserError("model=none is no network: it can be scored, not trained")
    with processes(settings.device) as group:
        train_set = open_data(settings.data, group, "train", with_boxes=False)
        val_set = open_data(settings.data, group, "val", with_boxes=False)
        announce(train_set)
        if not train_set.has_images:
            raise UserError(f"{train_set.folder}: has no images to train on; name others by data=")
        folder = Path(settings.output or train_folder(settings.runs, train_set.name, name))
        progress = find_progress(settings, train_set, folder)
        if progress is not None and is_complete(folder):
            log.info("%s is trained already: %s", name, folder)
            return folder
        seed_everything(settings.seed)
        model = build_model(settings.model, len(train_set.classes))
        with log_file(folder / "train.log", group):
            if progress is None:  # a run that goes on has its own
                load_weights(model, settings.model["weights"], name=name, strict=False)
            manifest = train(
                settings, settings.loader, model, train_set, val_set, folder, group, progress
            )
            final = manifest["final"]
            log.info(
                "%s: top-1/top-5 validation error %.1f/%.1f %%, %d iterations in %.0f s"
                "\n  %s\n  %s",
                name,
                final["val_top1_error"],
                final["val_top5_error"],
                manifest["iterations"],
                manifest["seconds"],
                folder / "last.pt",
                folder / "curves.png",
            )
    return folder
