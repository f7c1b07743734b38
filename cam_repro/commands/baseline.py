"""Score boxes that need no network (``model=none``), which any other method has to beat."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from cam_repro.boxes.base import BoxRule, RankedMaps
from cam_repro.boxes.build import build_rules
from cam_repro.boxes.center import Center
from cam_repro.commands.common import (
    EVAL_LOG,
    alone_in,
    announce,
    describe_data,
    log_file_of_pass,
    new_results,
    open_data,
    read_sizes,
)
from cam_repro.config import validate
from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import ErrorPolicy
from cam_repro.engine.processes import Processes, join_processes
from cam_repro.engine.settings import EvalSettings
from cam_repro.errors import UserError, if_stopped
from cam_repro.files import check_writable, write_json
from cam_repro.metrics.gt_known import centred_box_sweep, gt_known_accuracy
from cam_repro.metrics.official import warn_about_boxes
from cam_repro.metrics.protocol import FIXED, ORACLE
from cam_repro.runs.folders import NO_MODEL, baseline_folder, refuse_to_replace
from cam_repro.runs.manifest import Counts, EvalManifest, write_manifest
from cam_repro.runs.predictions import (
    SCORES,
    Predictions,
    boxes_to_arrow,
    read_predictions,
    write_predictions,
)
from cam_repro.runs.provenance import provenance

log = logging.getLogger(__name__)


def is_baseline(cfg: DictConfig) -> bool:
    """Tell whether ``cam-eval``'s settings name no network on purpose (``model=none``)."""
    return bool(OmegaConf.select(cfg, "model.name") == NO_MODEL)


@if_stopped("nothing of the new results is kept")
def run_baseline(cfg: DictConfig) -> Path:
    """Score boxes that do not depend on pixels, for the true class of every image, without torch.

    Without a network nothing is classified: predictions have a box for the true class but no
    guesses, and scores.json has the accuracy in percent at IoU 0.3, 0.5 and 0.7. With
    ``box=center`` it also has, for each IoU, the best of the scales 0.05, 0.10 ... 1 on these very
    images: an oracle.
    Returns the folder written. Raises UserError if a box rule needs maps, there are no true boxes,
    or no image can be read.
    """
    settings = validate(cfg, EvalSettings)
    with join_processes(settings.device) as processes:
        images = open_data(settings.data, processes, settings.split, with_boxes=True)
        announce(images)
        return _score_in_folder(settings, images, processes)


def _score_in_folder(settings: EvalSettings, images: ImageSet, processes: Processes) -> Path:
    """Score the boxes of a data set, and give the folder with the results."""
    rules = build_rules(settings.box)
    _refuse_what_needs_a_network(settings, rules)
    if not images.has_boxes:
        raise UserError(f"{images.folder}: no true boxes, so nothing to score ({images.described})")
    folder = Path(settings.output or baseline_folder(settings.runs, images.name, settings.split))
    check_writable(folder)
    refuse = partial(refuse_to_replace, folder, asdict(settings), images.which)
    with alone_in(folder, processes), new_results(folder, processes, refuse) as new:
        if processes.is_main:
            with log_file_of_pass(new / EVAL_LOG, processes, images):
                manifest = _score(settings, images, rules, new)
                log.info("  %s", folder)
            write_manifest(new, manifest)
    return folder


def _score(
    settings: EvalSettings, images: ImageSet, rules: dict[str, BoxRule], folder: Path
) -> EvalManifest:
    """Make the boxes of all images, and write them and their scores to ``folder``."""
    policy = ErrorPolicy(settings.loader.on_error)
    sizes_N2, read_N = _sizes(images, policy)
    if not read_N.any():
        raise UserError(f"no image of {images.folder} could be read; nothing is written")
    images.warn_of_other_sizes(sizes_N2)
    truth = replace(images.select(np.flatnonzero(read_N).tolist()), sizes_N2=sizes_N2[read_N])
    boxes = {name: _boxes(rule, sizes_N2[read_N]) for name, rule in rules.items()}
    manifest = _manifest(settings, rules, images, len(truth), policy.skipped)
    write_predictions(folder, boxes_to_arrow(truth, boxes), manifest, images.classes)
    table = read_predictions(folder, manifest)
    _write_scores(folder, table, sweep=any(isinstance(rule, Center) for rule in rules.values()))
    return manifest


def _refuse_what_needs_a_network(settings: EvalSettings, rules: dict[str, BoxRule]) -> None:
    """Raise UserError for box rules and settings that need maps."""
    for name, rule in rules.items():
        if rule.needs_maps or rule.needs_image:
            raise UserError(
                f"box={name} needs maps, and model=none has none: use box=[whole_image,center]"
            )
    if settings.saliency or settings.save_maps or settings.quality or settings.cues:
        raise UserError("model=none makes no maps: leave saliency, save_maps, quality and cues out")


def _manifest(
    settings: EvalSettings,
    rules: dict[str, BoxRule],
    images: ImageSet,
    n_images: int,
    skipped: list[str],
) -> EvalManifest:
    """Describe for the manifest what was scored, and how."""
    return EvalManifest(
        model=NO_MODEL,
        saliency=NO_MODEL,
        view=NO_MODEL,
        classifies=False,
        split=images.split,
        rules=list(rules),
        data=describe_data(images),
        counts=Counts(images=n_images, skipped=len(skipped)),
        skipped=skipped,
        submission_labels=images.classes.labels_are,
        config=asdict(settings),
        provenance=provenance(),
    )


def _write_scores(folder: Path, table: Predictions, sweep: bool) -> None:
    """Score predictions, write scores.json to their folder, and log the accuracies.

    sweep: whether to search for the best scale of a centred box too.
    """
    known = {
        name: gt_known_accuracy(found.gt_known_N4, table.boxes)
        for name, found in table.rules.items()
    }
    thresholds_are = {"iou": FIXED, "gt_known": FIXED}
    scores: dict[str, Any] = {"n_images": len(table), "gt_known": known}
    warn_about_boxes(table)
    log.info("accuracy, %%, of one box for the true class (%d images)", len(table))
    log.info("  %-38s IoU 0.3    0.5    0.7", "")
    for name, accuracy in known.items():
        log.info("  %-38s %7.2f %6.2f %6.2f", name, *accuracy.values())
    if sweep:
        assert table.sizes_N2 is not None
        best = centred_box_sweep(table.sizes_N2, table.boxes)
        scores["best_center"] = best
        thresholds_are["best_center"] = ORACLE
        scales = ", ".join(f"{b['scale']:.2f}" for b in best.values())
        log.info(
            "  %-38s %7.2f %6.2f %6.2f",
            f"center, oracle scale ({scales})",
            *(b["accuracy"] for b in best.values()),
        )
    write_json(folder / SCORES, {**scores, "thresholds_are": thresholds_are})


def _sizes(images: ImageSet, policy: ErrorPolicy) -> tuple[np.ndarray, np.ndarray]:
    """Read the width and height of every image, int64 (N, 2), and which could be read, bool (N,).

    They come from the images, or from the annotations if the data set has no images.
    """
    if not images.has_images:
        assert images.sizes_N2 is not None, "a data set without images has sizes"
        unknown = np.flatnonzero((images.sizes_N2 < 1).any(1))
        if len(unknown):
            raise UserError(
                f"{images.folder}: does not say how large {images.ids[unknown[0]]} is "
                f"({len(unknown)} such images); give the sizes, or leave the images out"
            )
        return images.sizes_N2.astype(np.int64), np.ones(len(images), bool)

    sizes_N2, unreadable = read_sizes(images)
    policy.handle(unreadable)
    return sizes_N2, np.any(sizes_N2 > 0, axis=1)


def _boxes(rule: BoxRule, sizes_N2: np.ndarray) -> np.ndarray:
    """Give the box that a rule guesses in images of these sizes, int64 (N, 4).

    The rules here look at the size alone, so each size is asked about once.
    """
    sizes_S2, size_of_N = np.unique(sizes_N2, axis=0, return_inverse=True)
    no_map = np.zeros((1, 1, 1), np.float32)
    boxes_S4 = [rule(RankedMaps([0], no_map, *size))[0][1] for size in sizes_S2.tolist()]
    return np.array(boxes_S4)[size_of_N]
