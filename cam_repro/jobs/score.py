"""Scoring anybody's guesses and maps: what ``cam-score`` does. Needs no torch."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from cam_repro.config import validate
from cam_repro.data.sources import open_image_set
from cam_repro.devkit import PAD, read_blacklist
from cam_repro.engine.settings import LoaderSettings
from cam_repro.errors import UserError
from cam_repro.files import check_file_writable, write_json
from cam_repro.ground_truth import GroundTruth, read_ground_truth, run_folder
from cam_repro.guesses import read_guesses
from cam_repro.map_files import open_maps
from cam_repro.metrics.gt_known import gt_known_accuracy
from cam_repro.metrics.official import errors, hits, warn_without_box
from cam_repro.types import NO_LABEL

log = logging.getLogger(__name__)

Scored = tuple[dict[str, Any], list[str]]
"""The result as JSON, and lines for the terminal."""


@dataclass
class ScoreSettings:
    """configs/score.yaml"""

    submission: str | None = None
    ground_truth: str | None = None
    data: dict[str, Any] | None = None
    split: str = "val"
    protocol: str = "clsloc"
    strategy: str | None = None
    blacklist: str | None = None
    maps: str | None = None
    multi_contour: bool = False
    runs: str = "runs"
    output: str | None = None

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise UserError(f"protocol={self.protocol}: choose one of {', '.join(PROTOCOLS)}")
        scores_maps = self.protocol == "max_box_acc"
        needed = "maps" if scores_maps else "submission"
        if getattr(self, needed) is None:
            raise UserError(f"{needed} not given: add {needed}=VALUE (see --help)")
        others = {
            "submission": not scores_maps,
            "strategy": not scores_maps,
            "blacklist": self.protocol == "clsloc",
            "maps": scores_maps,
            "multi_contour": scores_maps,
        }
        for key, used in others.items():
            if getattr(self, key) and not used:
                raise UserError(f"{key} is not used by protocol={self.protocol}: leave it out")
        if self.ground_truth is not None and self.data is not None:
            raise UserError("ground_truth and data are both given: leave one of them out")
        if self.split != "val" and self.data is None:
            raise UserError(
                "split is of a data set: leave it out, or give data= in place of ground_truth"
            )
        brings_its_own = self.submission is not None and run_folder(Path(self.submission))
        if self.ground_truth is None and self.data is None and not brings_its_own:
            raise UserError(
                "ground_truth not given: add ground_truth=VALUE or data=ilsvrc data.root=DIR "
                "(see --help)"
            )


def run_score(cfg: DictConfig) -> None:
    """Score a submission or maps; JSON on standard output, a table on standard error."""
    settings = validate(cfg, ScoreSettings)
    if settings.output is not None:
        check_file_writable(settings.output)
    truth, source = _open_ground_truth(settings)
    result, table = PROTOCOLS[settings.protocol](settings, truth)
    log.info("%s: %d images, %d boxes", source, len(truth), len(truth.gt_boxes_T4))
    for line in table:
        log.info("%s", line)
    print(json.dumps(result, indent=2))
    if settings.output:
        write_json(settings.output, result)


# --- protocols: the JSON, and lines for the terminal ---------------------------------------------


def _score_clsloc(settings: ScoreSettings, truth: GroundTruth) -> Scored:
    assert settings.submission is not None
    guesses = read_guesses(Path(settings.submission), truth, settings.strategy, with_labels=True)
    n_images = len(truth)
    blacklisted_N = truth.blacklisted_N
    if settings.blacklist is not None:
        blacklisted_N = read_blacklist(settings.blacklist, n_images)
    unknown = int((truth.labels_N == NO_LABEL).sum())
    if n_images and unknown == n_images:
        raise UserError("the ground truth has no labels, so there is nothing to score")
    _warn(unknown, n_images, "have no label: each counts as an error")
    warn_without_box(truth.gt_offsets)
    right = hits(
        guesses.labels_N5, guesses.boxes_N54, truth.labels_N, truth.gt_boxes_T4, truth.gt_offsets
    )
    rows = errors(*right, blacklisted_N)
    result = {
        "n_images": n_images,
        "n_blacklisted": 0 if blacklisted_N is None else int(blacklisted_N.sum()),
        "n_without_guess": int((guesses.labels_N5 == PAD).all(1).sum()),
        "n_without_box": int((np.diff(truth.gt_offsets) == 0).sum()),
        "guesses": [dataclasses.asdict(row) for row in rows],
    }
    return result, [
        "guesses  cls error %  cls-loc error %",
        *(f"{row.k:7d}  {row.cls_error:11.2f}  {row.clsloc_error:15.2f}" for row in rows),
    ]


def _score_gt_known(settings: ScoreSettings, truth: GroundTruth) -> Scored:
    assert settings.submission is not None
    guesses = read_guesses(Path(settings.submission), truth, settings.strategy, with_labels=False)
    warn_without_box(truth.gt_offsets)
    accuracy = gt_known_accuracy(guesses.known_N4, truth.gt_boxes_T4, truth.gt_offsets)
    result = {"n_images": len(truth), "gt_known": accuracy}
    return result, [_row("", accuracy, "IoU {0}"), _row("GT-known %", accuracy, "{1:.2f}")]


def _score_max_box_acc(settings: ScoreSettings, truth: GroundTruth) -> Scored:
    assert settings.maps is not None
    sizes_N2 = truth.sizes_N2
    if sizes_N2 is None or not (sizes_N2 > 0).all():
        raise UserError(
            "the ground truth does not say how large each image is, which max_box_acc needs: give "
            "a CSV with width and height, a metadata folder, XML files with <size>, or a run"
        )
    from cam_repro.metrics.max_box_acc import MaxBoxAccAccumulator  # cv2, for this protocol alone

    maps = open_maps(Path(settings.maps), truth.images)
    warn_without_box(truth.gt_offsets)
    accumulator = MaxBoxAccAccumulator(settings.multi_contour)
    bar = tqdm(range(len(truth)), desc="max_box_acc", unit=" images", leave=False, disable=None)
    for i in bar:
        boxes_M4 = truth.gt_boxes_T4[truth.gt_offsets[i] : truth.gt_offsets[i + 1]]
        accumulator.add(maps[i], boxes_M4, *sizes_N2[i].tolist())
    found = accumulator.result()
    result = found.as_json()
    return result, [
        _row("", result["max_box_acc"], "IoU {0}"),
        _row("MaxBoxAcc %", result["max_box_acc"], "{1:.2f}"),
        _row("at threshold", result["best_threshold"], "{1:.3f}"),
        f"{'mean (V2) %':14}{found.mean:9.2f}",
    ]


PROTOCOLS: dict[str, Callable[[ScoreSettings, GroundTruth], Scored]] = {
    "clsloc": _score_clsloc,
    "gt_known": _score_gt_known,
    "max_box_acc": _score_max_box_acc,
}


def _row(name: str, values: dict[str, float], form: str) -> str:
    """A line of the table. form: of a value {1} and its IoU threshold {0}."""
    return f"{name:14}" + "".join(f"{form.format(iou, value):>9}" for iou, value in values.items())


def _warn(count: int, n_images: int, what: str) -> None:
    if count:
        log.warning("%d of %d images %s", count, n_images, what)


def _open_ground_truth(settings: ScoreSettings) -> tuple[GroundTruth, str]:
    """The ground truth, and what it is called."""
    if settings.data is not None:
        source_keys = {
            key: value
            for key, value in settings.data.items()
            if key not in LoaderSettings.__dataclass_fields__
        }
        images = open_image_set(source_keys, settings.split, with_boxes=True)
        return images.ground_truth(), f"data set {images.name}, {images.split}"
    source = settings.ground_truth or settings.submission
    assert source is not None
    return read_ground_truth(source, cache=Path(settings.runs) / ".cache"), source
