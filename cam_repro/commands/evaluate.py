"""Scoring: what ``cam-eval`` does."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from cam_repro.commands.baseline import score_baseline
from cam_repro.commands.common import announce, describe_blacklist, describe_data, open_data
from cam_repro.config import validate
from cam_repro.data.image_set import ImageSet
from cam_repro.data.views import View
from cam_repro.engine.checkpoint import load_checkpoint
from cam_repro.engine.compute import (
    Processes,
    device_name,
    pick_device,
    pick_precision,
    processes,
)
from cam_repro.engine.evaluate import Evaluation, evaluate
from cam_repro.engine.settings import EvalSettings
from cam_repro.errors import UserError
from cam_repro.figures.contact_sheet import draw_contact_sheet
from cam_repro.files import check_writable, sha256, write_json
from cam_repro.metrics.scores import score
from cam_repro.models.base import CamNetwork
from cam_repro.models.build import build_model
from cam_repro.models.weights import load_weights
from cam_repro.runs.folders import (
    DEFAULT_VARIANT,
    NO_MODEL,
    eval_folder,
    is_complete,
    is_scored,
    refuse_to_replace,
    run_name,
    train_folder,
    trained_models,
)
from cam_repro.runs.predictions import MAPS, SCORES, read_predictions, write_predictions
from cam_repro.runs.provenance import provenance
from cam_repro.saliency.backprop import Backprop
from cam_repro.saliency.base import Saliency
from cam_repro.saliency.cam import Cam
from cam_repro.tables.paper import runs_of_the_tables
from cam_repro.types import Sample

log = logging.getLogger(__name__)


def run_evaluation(cfg: DictConfig, overrides: Sequence[str] = ()) -> list[Path]:
    """Score as ``cam-eval`` does; returns the folders written.

    overrides: the ``key=value`` words that led to ``cfg``. A checkpoint of ours says how its
    network is built; of the network's settings only those named here are put over that.
    """
    settings = validate(cfg, EvalSettings)
    model_overrides = [word for word in overrides if word.lstrip("+").startswith("model.")]
    with processes(settings.device) as group:
        images = open_data(settings.data, group, settings.split, with_boxes=True)
        announce(images)
        if settings.model is not None and settings.model["name"] == NO_MODEL:
            return [score_baseline(settings, images, group)]
        if not images.has_images:
            raise UserError(
                f"{images.folder}: has no images for a network to see: name a data set with "
                "images, or model=none"
            )
        folders = []
        for model_config, saliency in _what_to_score(settings, images, model_overrides):
            folders.append(_score_model(settings, model_config, saliency, images, group))
        return folders


def _what_to_score(
    settings: EvalSettings, images: ImageSet, overrides: list[str]
) -> Iterator[tuple[dict[str, Any], Saliency | None]]:
    """The model named, or every trained run of the data set that has no result yet."""
    wanted = instantiate(settings.saliency) if settings.saliency else None
    if settings.model is not None:
        yield _network_config(settings, images, overrides), wanted
        return
    trained = trained_models(settings.runs, images.name)
    if not trained:
        raise UserError(
            f"no trained run of {images.name} under {settings.runs}: run cam-train model=NAME "
            "first, or name a network with weights (model=NAME model.weights=FILE)"
        )
    nothing_left = True
    for name in trained:
        config = _checkpoint_config(settings, images, name)
        methods = [wanted] if wanted else _table_methods(config["name"])
        for saliency in methods:
            probe = build_model({**config, "weights": None}, len(images.classes))
            method = saliency or default_saliency(probe)
            folder = _result_folder(settings, images, name, method)
            if method.supports(probe) and not is_scored(
                folder, Path(config["weights"]), asdict(settings), images.fingerprint
            ):
                nothing_left = False
                yield config, method
    if nothing_left:
        log.info("every trained run of %s has its results: %s", images.name, ", ".join(trained))


def _table_methods(name: str) -> list[Saliency | None]:
    """The saliency methods that the tables want of a model, or its default one."""
    makers = {"cam": Cam, "backprop": Backprop}
    wanted = [s for model, s in runs_of_the_tables() if model == name]
    return [makers[saliency]() for saliency in wanted] or [None]


def default_saliency(model: CamNetwork) -> Saliency:
    """CAM where the network allows it, else Backprop: as in the paper's Table 2."""
    return Cam() if Cam().supports(model) else Backprop()


def _network_config(
    settings: EvalSettings, images: ImageSet, overrides: list[str]
) -> dict[str, Any]:
    """Settings of the network named, from the checkpoint where that is one of ours."""
    assert settings.model is not None
    weights = settings.model["weights"]
    name = run_name(settings.model)
    if weights is None:
        return _checkpoint_config(settings, images, name, overrides)
    if str(weights).endswith(".pt") and Path(weights).is_file():
        stored = None
        with contextlib.suppress(UserError):  # a state dict of another program
            stored = load_checkpoint(Path(weights))
        if stored is not None:
            return _merge(stored, Path(weights), name, images, overrides)
    return settings.model


def _checkpoint_config(
    settings: EvalSettings, images: ImageSet, name: str, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    folder = train_folder(settings.runs, images.name, name)
    path = folder / f"{settings.checkpoint}.pt"
    if not path.is_file():
        raise UserError(
            f"no trained {name} for the data set {images.name} ({path} is not there): train it "
            f"with cam-train, or give model.weights=FILE or model.weights=torchvision"
        )
    return _merge(load_checkpoint(path), path, name, images, overrides)


def _merge(
    stored: dict[str, Any], path: Path, name: str, images: ImageSet, overrides: Sequence[str]
) -> dict[str, Any]:
    config = stored["model_config"]
    if run_name(config) != name:
        variant = config.get("variant", DEFAULT_VARIANT)
        more = "" if variant == DEFAULT_VARIANT else f" model.variant={variant}"
        raise UserError(
            f"{path} holds the network {run_name(config)}, not {name}: use "
            f"model={config['name']}{more}"
        )
    if len(stored["classes"]) != len(images.classes):
        raise UserError(
            f"{path} has {len(stored['classes'])} classes, the data set {images.name} has "
            f"{len(images.classes)}: give a checkpoint trained on it"
        )
    if stored["classes"] != list(images.classes.wnids):
        raise UserError(f"{path} was trained on other classes than those of {images.name}")
    over = OmegaConf.from_dotlist([word.lstrip("+") for word in overrides])
    merged = OmegaConf.merge(config, over.get("model") or {}, {"weights": str(path)})
    result = OmegaConf.to_container(merged)
    assert isinstance(result, dict)
    return {str(key): value for key, value in result.items()}


def _result_folder(
    settings: EvalSettings, images: ImageSet, model: str, saliency: Saliency
) -> Path:
    view = settings.view["name"]
    if settings.output is None:
        return eval_folder(settings.runs, images.name, model, settings.split, saliency.name, view)
    if settings.model is not None:
        return Path(settings.output)
    return eval_folder(settings.output, images.name, model, settings.split, saliency.name, view)


def _score_model(
    settings: EvalSettings,
    model_config: dict[str, Any],
    saliency: Saliency | None,
    images: ImageSet,
    group: Processes,
) -> Path:
    """One network, one pass: predictions, manifest, scores and contact sheet in its folder."""
    device = pick_device(settings.device, group.local_rank)
    precision = pick_precision(settings.precision, device)
    name, weights = run_name(model_config), model_config["weights"]
    model = build_model(model_config, len(images.classes))
    load_weights(model, weights, name=name, strict=True)
    saliency = saliency or default_saliency(model)
    if not saliency.supports(model):
        raise UserError(
            f"saliency={saliency.name} does not work on model={name}, which has no linear layer "
            "over pooled maps: use saliency=backprop"
        )
    view: View = instantiate(
        {k: v for k, v in settings.view.items() if k != "name"},
        input_size=model_config["input_size"],
        resize_size=model_config["resize_size"],
    )
    rules = instantiate(settings.box)
    folder = _result_folder(settings, images, name, saliency)
    check_writable(folder)
    refuse_to_replace(folder, asdict(settings))

    shown = _spread(images, settings.contact_sheet)
    with _maps_folder(folder, settings.save_maps, group) as maps_folder:
        found = evaluate(
            model,
            images,
            saliency,
            view,
            rules,
            settings,
            settings.loader,
            device,
            precision,
            group,
            keep_frames_of=frozenset(sample.id for sample in shown),
            maps_folder=maps_folder,
        )
        if not group.is_main:
            return folder
        if not found.predictions.num_rows:
            raise UserError(f"no image of {images.folder} could be read; nothing is written")
        manifest = {
            "model": name,
            "saliency": saliency.name,
            "view": view.name,
            "covered": round(view.covered, 4),
            "split": images.split,
            "rules": list(rules),
            "data": describe_data(images),
            "counts": {"images": found.predictions.num_rows, "skipped": len(found.skipped)},
            "skipped": found.skipped,
            "submission_labels": images.classes.labels_are,
            "blacklist": describe_blacklist(images),
            "maps": settings.save_maps,
            "checkpoint": _describe_weights(weights),
            "seconds": round(found.seconds, 2),
            "images_per_second": round(found.predictions.num_rows / found.seconds, 2),
            "device": device_name(device),
            "precision": precision,
            "processes": group.world,
            "config": {**asdict(settings), "model": model_config},
            **provenance(),
        }
        missing = sorted(set(images.ids).difference(found.predictions["id"].to_pylist()))
        write_predictions(folder, found.predictions, manifest, images.classes, missing, maps_folder)
    # They are on disk, and to score them they are read: not twice in memory.
    n_images, found.predictions = found.predictions.num_rows, found.predictions.schema.empty_table()
    pass_name = f"{saliency.name}, view {view.name}"
    _summarise(folder, images, found, n_images, model_config, pass_name, shown, list(rules))
    return folder


@contextlib.contextmanager
def _maps_folder(folder: Path, wanted: bool, group: Processes) -> Iterator[Path | None]:
    """Where the maps of a pass are collected, if they are wanted.

    Beside those of an older run, which stay valid until the pass is through.
    """
    if not wanted:
        yield None
        return
    if (folder / MAPS).exists() and not is_complete(folder):
        raise UserError(
            f"{folder / MAPS}: is there already, but is no run's: take it away, or choose another "
            "output="
        )
    collected = folder / f".{MAPS}"
    if group.is_main:
        shutil.rmtree(collected, ignore_errors=True)
    group.wait()
    try:
        yield collected
    finally:
        if group.is_main:
            shutil.rmtree(collected, ignore_errors=True)


def _describe_weights(weights: str | None) -> dict[str, str] | None:
    if weights is None:
        return None
    path = Path(weights)
    return {"path": str(weights), **({"sha256": sha256(path)} if path.is_file() else {})}


def _spread(images: ImageSet, count: int) -> list[Sample]:
    """``count`` images spread evenly over the split."""
    count = min(count, len(images))
    return [images[i * len(images) // count] for i in range(count)]


def _summarise(
    folder: Path,
    images: ImageSet,
    found: Evaluation,
    n_images: int,
    model_config: dict[str, Any],
    pass_name: str,
    shown: list[Sample],
    rules: list[str],
) -> None:
    """scores.json (where there are labels), the contact sheet, and a few lines on the terminal."""
    log.info(
        "%s: %d images in %.1f s (%.1f images/s)%s",
        model_config["row"],
        n_images,
        found.seconds,
        n_images / found.seconds,
        f", {len(found.skipped)} unreadable images skipped" if found.skipped else "",
    )
    if images.has_labels:
        scores = score(read_predictions(folder))
        write_json(folder / SCORES, scores)
        log.info(
            "  classification error, top-1/top-5: %.2f / %.2f %%",
            scores["cls"]["top1"],
            scores["cls"]["top5"],
        )
        for rule, errors in scores.get("loc", {}).items():
            log.info(
                "  localization error, %s, top-1/top-5/GT-known: %.2f / %.2f / %.2f %%",
                rule,
                errors["top1"],
                errors["top5"],
                errors["gt_known"],
            )
        if "loc" not in scores:
            log.info("  no true boxes in this split: no localization errors")
    else:
        log.info("  no labels in this split: predictions and submissions only")
    if found.shown:
        indices = {sample.id: sample.index for sample in shown}
        drawn = [prediction for prediction, _ in found.shown]
        draw_contact_sheet(
            folder / "contact_sheet.png",
            drawn,
            {prediction.id: images.original(indices[prediction.id]) for prediction in drawn},
            {prediction.id: frame for prediction, frame in found.shown},
            images.classes.names,
            rules[0],
            f"{model_config['row']} on {images.name}, {images.split}: {pass_name}, {rules[0]}",
        )
    log.info("  %s", folder)
