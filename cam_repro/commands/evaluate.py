"""Score networks: what ``cam-eval`` does."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from omegaconf import DictConfig, OmegaConf

from cam_repro.boxes.build import build_rules
from cam_repro.boxes.cues import CueRule
from cam_repro.classes import ilsvrc_classes
from cam_repro.commands.baseline import is_baseline, run_baseline
from cam_repro.commands.common import (
    EVAL_LOG,
    alone_in,
    announce,
    describe_blacklist,
    describe_data,
    log_file_of_pass,
    new_results,
    open_data,
    outputs_to_take,
)
from cam_repro.config import build, name_of, validate
from cam_repro.data.image_set import ImageSet
from cam_repro.data.views import View, build_view
from cam_repro.engine.checkpoint import load_checkpoint, load_if_ours
from cam_repro.engine.compute import Compute
from cam_repro.engine.cues import check_cues, make_cues
from cam_repro.engine.evaluate import Evaluation, Pass, evaluate
from cam_repro.engine.examples import choose_examples, make_examples
from cam_repro.engine.processes import join_processes
from cam_repro.engine.quality import ask, refuse_crops
from cam_repro.engine.settings import EvalSettings
from cam_repro.errors import UserError, if_stopped
from cam_repro.figures.shown import ShownRun, show_examples
from cam_repro.files import check_writable, sha256, write_json
from cam_repro.metrics.miou import MeanIou
from cam_repro.metrics.scores import score
from cam_repro.models.build import build_network, check_stored_class, complete
from cam_repro.models.weights import load_weights
from cam_repro.quality.build import build_measures
from cam_repro.runs.answers import write_answers
from cam_repro.runs.cues import open_cues
from cam_repro.runs.examples import read_examples, write_examples
from cam_repro.runs.folders import (
    CUES,
    DEFAULT_VARIANT,
    eval_folder,
    is_scored,
    network_name,
    refuse_to_replace,
    run_name,
    train_folder,
    trained_models,
)
from cam_repro.runs.manifest import (
    Checkpoint,
    Counts,
    CuesMade,
    EvalManifest,
    Hardware,
    check_unchanged,
    write_manifest,
)
from cam_repro.runs.predictions import (
    MAPS,
    SCORES,
    Predictions,
    read_predictions,
    to_arrow,
    write_predictions,
)
from cam_repro.runs.provenance import provenance
from cam_repro.saliency.base import Saliency
from cam_repro.saliency.build import (
    build_saliency,
    default_saliency,
    refuse_unfit,
    saliency_of,
)
from cam_repro.tables.paper import runs_of_the_tables
from cam_repro.truth import Truth

log = logging.getLogger(__name__)

TRAIN_AGAIN = "restore it, or train the network again with cam-train overwrite=true"
"""What to do where a checkpoint is not the one that its training wrote."""

PACKAGE = "package"
"""``model.weights`` of a network whose weights an installed package has."""


@if_stopped("what was scored before is kept, the pass under way is not")
def run_evaluation(cfg: DictConfig, overrides: Sequence[str] = ()) -> list[Path]:
    """Do what ``cam-eval`` does; return the folders written.

    cfg: the composed settings. overrides: the ``key=value`` words that they were composed from.
    A checkpoint of ours contains the settings of its network. Those are used, and of ``cfg``'s
    settings of the network only the ones that the user gave (in ``overrides``) replace them.
    """
    if is_baseline(cfg):
        return [run_baseline(cfg)]
    settings = validate(cfg, EvalSettings)
    model_overrides = [word for word in overrides if word.lstrip("+").startswith("model.")]
    with join_processes(settings.device) as processes:
        images = open_data(settings.data, processes, settings.split, with_boxes=True)
        announce(images)
        if not images.has_images:
            raise UserError(
                f"{images.folder}: has no images for a network to see: name a data set with "
                "images, or model=none"
            )
        compute = Compute.of(settings, processes)
        folders = []
        for config, saliency in _what_to_score(settings, images, model_overrides):
            model_config = complete(config)
            weights = describe_weights(model_config["weights"])
            this_pass = _build(settings, model_config, saliency, images)
            if describe_weights(model_config["weights"]) != weights:
                raise UserError(
                    f"{model_config['weights']}: was replaced while it was read, as by a training "
                    "that is under way: run the command again"
                )
            folder = _result_folder(settings, images, run_name(model_config), this_pass.saliency)
            check_writable(folder)
            found_by = {**asdict(settings), "model": model_config}
            refuse = partial(refuse_to_replace, folder, found_by, images.which, weights)
            with (
                alone_in(folder, processes),
                new_results(folder, processes, refuse, _folders(settings)) as new,
            ):
                with log_file_of_pass(new / EVAL_LOG, processes, images):
                    log.debug("weights %s", model_config["weights"])
                    manifest = _score(settings, model_config, this_pass, images, compute, new)
                    log.info("  %s", folder)
                if manifest is not None:
                    write_manifest(new, replace(manifest, checkpoint=weights))
            folders.append(folder)
        return folders


def _what_to_score(
    settings: EvalSettings, images: ImageSet, overrides: list[str]
) -> Iterator[tuple[dict[str, Any], Saliency | None]]:
    """Yield the network named by ``model=``, or every trained one that has no result yet.

    Each comes as its settings and the saliency method to use; None is the network's default method.
    overrides: the ``model.KEY=value`` words of the command line.
    """
    wanted = saliency_of(settings.saliency) if settings.saliency else None
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
            probe = build_network({**config, "weights": None}, len(images.classes))
            method = saliency or default_saliency(probe)
            folder = _result_folder(settings, images, name, method)
            if method.refusal(probe) is None and not is_scored(
                folder, Path(config["weights"]), asdict(settings), images.which
            ):
                nothing_left = False
                yield config, method
    if nothing_left:
        log.info("every trained run of %s has its results: %s", images.name, ", ".join(trained))


def _table_methods(name: str) -> list[Saliency | None]:
    """List the saliency methods that the tables show for a network; None is its default method."""
    wanted = [s for model, s in runs_of_the_tables() if model == name]
    return [build_saliency(saliency) for saliency in wanted] or [None]


def _network_config(
    settings: EvalSettings, images: ImageSet, overrides: list[str]
) -> dict[str, Any]:
    """Give the settings of the network named by ``model=``; from its checkpoint if it is ours."""
    assert settings.model is not None
    weights = settings.model["weights"]
    name = run_name(settings.model)
    if weights is None:
        trained = train_folder(settings.runs, images.name, name) / f"{settings.checkpoint}.pt"
        packaged = settings.model.get("pretrained") == PACKAGE
        if packaged and not trained.is_file() and images.classes.wnids == ilsvrc_classes().wnids:
            log.info("%s is not trained here: it is scored with model.weights=%s", name, PACKAGE)
            return {**settings.model, "weights": PACKAGE}
        return _checkpoint_config(settings, images, name, overrides)
    check_unchanged(Path(weights), TRAIN_AGAIN)
    stored = load_if_ours(weights)
    if stored is None:
        return settings.model
    return _merge(stored, Path(weights), name, settings, images, overrides)


def _checkpoint_config(
    settings: EvalSettings, images: ImageSet, name: str, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Read the settings of a network from the checkpoint of its training run."""
    folder = train_folder(settings.runs, images.name, name)
    path = folder / f"{settings.checkpoint}.pt"
    if not path.is_file():
        pretrained = (settings.model or {}).get("pretrained")
        raise UserError(
            f"no trained {name} for the data set {images.name} ({path} is not there): train it "
            f"with cam-train, or give model.weights=FILE"
            + (f" or model.weights={pretrained}" if pretrained else "")
        )
    check_unchanged(path, TRAIN_AGAIN)
    return _merge(load_checkpoint(path), path, name, settings, images, overrides)


def _merge(
    stored: dict[str, Any],
    path: Path,
    name: str,
    settings: EvalSettings,
    images: ImageSet,
    overrides: Sequence[str],
) -> dict[str, Any]:
    """Give the network's settings in a checkpoint, changed by the overrides.

    stored: content of the checkpoint at ``path``, which becomes ``weights``.
    Raises UserError if it holds another network than ``name``, one of another class than
    ``model=NAME``, or one for other classes of images.
    """
    config = stored["model_config"]
    if network_name(config) != name:
        variant = config.get("variant", DEFAULT_VARIANT)
        more = "" if variant == DEFAULT_VARIANT else f" model.variant={variant}"
        raise UserError(
            f"{path} holds the network {network_name(config)}, not {name}: use "
            f"model={config['name']}{more}"
        )
    check_stored_class(config, path, settings.model)
    over = OmegaConf.from_dotlist([word.lstrip("+") for word in overrides]).get("model") or {}
    takes_classes = over.get("take_classes")  # what the training started from does not matter
    merged = OmegaConf.merge(config, over, {"weights": str(path), "take_classes": takes_classes})
    result = OmegaConf.to_container(merged)
    assert isinstance(result, dict)
    if not takes_classes:
        _refuse_other_classes(stored, path, images)
    return {str(key): value for key, value in result.items()}


def _refuse_other_classes(stored: dict[str, Any], path: Path, images: ImageSet) -> None:
    """Raise UserError unless a checkpoint is for the classes of the images."""
    if len(stored["classes"]) != len(images.classes):
        raise UserError(
            f"{path} has {len(stored['classes'])} classes, the data set {images.name} has "
            f"{len(images.classes)}: give a checkpoint trained on it, or model.take_classes=true"
        )
    if stored["classes"] != list(images.classes.wnids):
        raise UserError(f"{path} was trained on other classes than those of {images.name}")


def _folders(settings: EvalSettings) -> list[str]:
    """Name the folders with a file for each image that the run will have."""
    wanted = {MAPS: settings.save_maps, CUES: settings.cues is not None}
    return [name for name, is_wanted in wanted.items() if is_wanted]


def _result_folder(
    settings: EvalSettings, images: ImageSet, model: str, saliency: Saliency
) -> Path:
    """Name the folder of a pass.

    With ``output`` it is that folder; or one below it, if no model is named and there may be many.
    """
    view = name_of("view", settings.view)
    if settings.output is None:
        return eval_folder(settings.runs, images.name, model, settings.split, saliency.name, view)
    if settings.model is not None:
        return Path(settings.output)
    return eval_folder(settings.output, images.name, model, settings.split, saliency.name, view)


def _build(
    settings: EvalSettings,
    model_config: dict[str, Any],
    saliency: Saliency | None,
    images: ImageSet,
) -> Pass:
    """Build network and weights, saliency method, view, box rules, measures and the cue rule.

    Raises UserError if the method does not work on the network.
    """
    name = run_name(model_config)
    network = build_network(model_config, len(images.classes))
    load_weights(
        network,
        model_config["weights"],
        name=name,
        strict=True,
        input_size=model_config["input_size"],
        outputs=outputs_to_take(model_config, images),
    )
    saliency = saliency or default_saliency(network)
    refuse_unfit(saliency, network, name)
    if settings.compile and not saliency.compiles:
        named = getattr(saliency, "layer", None)
        raise UserError(
            f"saliency={saliency.name} "
            + (f"saliency.layer={named} " if named else "")
            + "works on single layers, which compiled code does not have: set compile=false"
        )
    view = build_view(settings.view, model_config)
    rules = build_rules(settings.box)
    measures = build_measures(settings.quality)
    refuse_crops(measures, view)
    cues = None if settings.cues is None else build(CueRule, "cues", settings.cues)
    return Pass(network, saliency, view, rules, settings.batch_size, measures, cues)


def _score(
    settings: EvalSettings,
    model_config: dict[str, Any],
    this_pass: Pass,
    images: ImageSet,
    compute: Compute,
    folder: Path,
) -> EvalManifest | None:
    """Run a pass; write maps, predictions, scores, answers, cues and examples to ``folder``.

    Returns the manifest, to which the weights have to be added; None in processes other than the
    main one.
    """
    maps_folder = folder / MAPS if settings.save_maps else None
    if this_pass.cues is not None:
        check_cues(images, folder / CUES)
    found = evaluate(
        *(this_pass, images, settings.loader, compute, maps_folder),
        # Compiled code rounds otherwise: examples are all made without it.
        keep_maps=bool(settings.examples) and not settings.compile,
    )
    answers = {
        name: ask(name, measure, this_pass, images, settings.loader, compute)
        for name, measure in this_pass.measures.items()
    }
    n_cued = None
    if this_pass.cues is not None:
        n_cued = make_cues(this_pass, images, settings.loader, compute, folder / CUES)
    if not compute.processes.is_main:
        return None
    n_images = found.predictions.num_rows
    if not n_images:
        raise UserError(f"no image of {images.folder} could be read; nothing is written")
    manifest = _manifest(settings, model_config, this_pass, images, found, compute)
    missing = sorted(set(images.ids).difference(found.predictions["id"].to_pylist()))
    write_predictions(folder, found.predictions, manifest, images.classes, missing)
    # The predictions are on disk, and scoring reads them from there: free them here.
    found.predictions = to_arrow([], list(this_pass.rules))
    pa.default_memory_pool().release_unused()
    _say_speed(model_config["row"], found, n_images)
    predictions = read_predictions(folder, manifest)
    _warn_of_other_sizes(images, predictions)
    _write_scores(folder, predictions, this_pass.view)
    for name, of_measure in answers.items():
        assert of_measure is not None, "the main process has the answers of all"
        write_answers(folder, name, of_measure)
        log.info("  %s of %d images: cam-score protocol=%s", name, len(of_measure.ids), name)
    if n_cued is not None:
        row_of = {image_id: row for row, image_id in enumerate(images.ids)}
        truth = images.select([row_of[image_id] for image_id in predictions.ids])
        manifest = replace(manifest, cues=_describe_cues(this_pass, truth, n_cued, folder / CUES))
    if settings.examples:
        chosen = choose_examples(predictions, images, settings.examples)
        examples = make_examples(this_pass, images, predictions, chosen, compute, found.maps)
        write_examples(folder, examples)
        rule = manifest.rules[0]
        examples = read_examples(folder)  # as figures of the run will show them
        shown = ShownRun(folder, manifest, rule, show_examples(examples, predictions, rule))
        del predictions  # and its memory, before Matplotlib takes some
        from cam_repro.figures import contact_sheet  # slow: imports Matplotlib

        contact_sheet.write_sheet(shown)
    return manifest


def _manifest(
    settings: EvalSettings,
    model_config: dict[str, Any],
    this_pass: Pass,
    images: ImageSet,
    found: Evaluation,
    compute: Compute,
) -> EvalManifest:
    """Describe a pass for its manifest, all but its weights."""
    n_images = found.predictions.num_rows
    return EvalManifest(
        model=run_name(model_config),
        saliency=this_pass.saliency.name,
        view=this_pass.view.name,
        covered=round(this_pass.view.covered, 4),
        split=images.split,
        rules=list(this_pass.rules),
        data=describe_data(images),
        counts=Counts(images=n_images, skipped=len(found.skipped)),
        skipped=found.skipped,
        submission_labels=images.classes.labels_are,
        blacklist=describe_blacklist(images),
        maps=settings.save_maps,
        seconds=round(found.seconds, 2),
        images_per_second=round(n_images / found.seconds, 2),
        hardware=Hardware(
            device=compute.hardware,
            precision=compute.precision,
            processes=compute.processes.world,
        ),
        config={**asdict(settings), "model": model_config},
        provenance=provenance(),
    )


def _describe_cues(this_pass: Pass, truth: Truth, n_images: int, folder: Path) -> CuesMade:
    """Describe cues for the manifest, and log how well they agree with masks, if there are any.

    truth: of the images that could be read. n_images: how many have cues.
    Where that cannot be told, as by a broken mask, a warning says so: the cues are kept.
    """
    log.info("  cues of %d images: %s", n_images, CUES)
    if truth.masks is None:
        return CuesMade(images=n_images)
    try:
        cues = open_cues(folder, truth.ids, this_pass.view.interpolation)
        scored = MeanIou().score(truth, cues)
    except UserError as error:
        log.warning("no mean IoU of the cues: %s", error)
        return CuesMade(images=n_images)
    for line in scored.lines[:2]:
        log.info("  %s", line)
    kept = ("miou", "oracle", "oracle_threshold", "n_images")
    low, high = scored.numbers["miou_95"]
    numbers = {key: scored.numbers[key] for key in kept} | {"miou_low": low, "miou_high": high}
    return CuesMade(images=n_images, miou=numbers)


def describe_weights(weights: str | None) -> Checkpoint | None:
    """Describe the weights for the manifest; the hash is None if they are not a file."""
    if weights is None:
        return None
    path = Path(weights)
    return Checkpoint(path=str(weights), sha256=sha256(path) if path.is_file() else None)


def _say_speed(row: str, found: Evaluation, n_images: int) -> None:
    """Log how long a pass took. row: the network's name in tables."""
    log.info(
        "%s: %d images in %.1f s (%.1f images/s)%s",
        row,
        n_images,
        found.seconds,
        n_images / found.seconds,
        f", {len(found.skipped)} unreadable images skipped" if found.skipped else "",
    )


def _warn_of_other_sizes(images: ImageSet, predictions: Predictions) -> None:
    """Warn of images that have another size than their annotation states."""
    assert predictions.sizes_N2 is not None, "a run has the sizes of its images"
    row_of = {image_id: row for row, image_id in enumerate(images.ids)}
    sizes_N2 = np.zeros((len(images), 2), np.int32)
    sizes_N2[[row_of[image_id] for image_id in predictions.ids]] = predictions.sizes_N2
    images.warn_of_other_sizes(sizes_N2)


def _write_scores(folder: Path, predictions: Predictions, view: View) -> None:
    """Score the predictions if there are labels: write scores.json, log the errors.

    view: said beside the error, because training validates on another.
    """
    if not predictions.manifest.data.has_labels:
        log.info("  no labels in this split: predictions and submissions only")
        return
    scores = score(predictions)
    write_json(folder / SCORES, scores)
    log.info(
        "  classification error, %s, top-1/top-5: %.2f / %.2f %%",
        view.words,
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
