"""Scoring anybody's guesses and maps: what ``cam-score`` does. Needs no torch."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from cam_repro.config import validate
from cam_repro.data.ground_truth.read import read_truth
from cam_repro.engine.memory import freed_memory_kept
from cam_repro.errors import UserError
from cam_repro.files import check_file_writable, write_text
from cam_repro.formats.devkit import read_blacklist
from cam_repro.formats.maps import open_maps
from cam_repro.metrics.gt_known import gt_known_accuracy
from cam_repro.metrics.official import errors, hits, warn_without_box
from cam_repro.runs.folders import DEFAULT_VIEW, run_folder
from cam_repro.runs.guesses import read_guesses
from cam_repro.runs.manifest import EvalManifest
from cam_repro.truth import Truth
from cam_repro.types import NO_LABEL, PAD

if TYPE_CHECKING:  # cv2 and pyarrow, which other protocols do without
    from cam_repro.metrics.threshold_curve import ThresholdCurve
    from cam_repro.runs.predictions import Predictions

log = logging.getLogger(__name__)

N_THRESHOLDS, MAX_THRESHOLDS = 100, 10_000
"""Of protocol=threshold_curve: how many thresholds are tried, and how many may be."""

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
    rule: str | None = None
    blacklist: str | None = None
    maps: str | None = None
    multi_contour: bool = False
    thresholds: int | None = None
    runs: str = "runs"
    output: str | None = None

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise UserError(f"protocol={self.protocol}: choose one of {', '.join(PROTOCOLS)}")
        needed = "maps" if self.protocol == "max_box_acc" else "submission"
        if getattr(self, needed) is None:
            raise UserError(f"{needed} not given: add {needed}=VALUE (see --help)")
        others = {
            "submission": self.protocol != "max_box_acc",
            "rule": self.protocol in ("clsloc", "gt_known"),
            "blacklist": self.protocol == "clsloc",
            "maps": self.protocol == "max_box_acc",
            "multi_contour": self.protocol == "max_box_acc",
            "thresholds": self.protocol == "threshold_curve",
            "ground_truth": self.protocol != "threshold_curve",
            "data": self.protocol != "threshold_curve",
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
        if self.protocol == "threshold_curve" and not brings_its_own:
            raise UserError(
                f"submission={self.submission}: protocol=threshold_curve takes a folder that "
                "cam-eval wrote with save_maps=true"
            )
        if self.protocol == "threshold_curve" and Path(self.output or "").suffix == ".png":
            raise UserError(
                f"output={self.output}: is the JSON's name, so end it in .json; the curve is drawn "
                "beside it as .png"
            )
        if self.thresholds is not None and not 2 <= self.thresholds <= MAX_THRESHOLDS:
            raise UserError(f"thresholds={self.thresholds}: is a number from 2 to {MAX_THRESHOLDS}")
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
    log.info("%s: %d images, %d boxes", source, len(truth), len(truth.boxes.values_T4))
    for line in table:
        log.info("%s", line)
    text = _as_text(result)
    print(text)
    if settings.output:
        write_text(settings.output, text + "\n")


def _as_text(result: dict[str, Any]) -> str:
    """Indented JSON with each list of numbers on a line of its own: curves have hundreds."""
    text = json.dumps(result, indent=2)
    return re.sub(r"\[([^\[\]{}]*)\]", lambda found: f"[{' '.join(found[1].split())}]", text)


# --- protocols: the JSON, and lines for the terminal ---------------------------------------------


def _score_clsloc(settings: ScoreSettings, truth: Truth) -> Scored:
    assert settings.submission is not None
    guesses = read_guesses(Path(settings.submission), truth, settings.rule, with_labels=True)
    n_images = len(truth)
    blacklisted_N = truth.blacklisted_N
    if settings.blacklist is not None:
        blacklisted_N = read_blacklist(settings.blacklist, n_images)
    unknown = int((truth.labels_N == NO_LABEL).sum())
    if n_images and unknown == n_images:
        raise UserError("the ground truth has no labels, so there is nothing to score")
    _warn(unknown, n_images, "have no label: each counts as an error")
    warn_without_box(truth.boxes)
    right = hits(truth, guesses.labels_N5, guesses.boxes_N54)
    rows = errors(*right, blacklisted_N)
    result = {
        "n_images": n_images,
        "n_blacklisted": 0 if blacklisted_N is None else int(blacklisted_N.sum()),
        "n_without_guess": int((guesses.labels_N5 == PAD).all(1).sum()),
        "n_without_box": int((truth.boxes.counts_N == 0).sum()),
        "guesses": [dataclasses.asdict(row) for row in rows],
    }
    return result, [
        "guesses  cls error %  cls-loc error %",
        *(f"{row.k:7d}  {row.cls_error:11.2f}  {row.clsloc_error:15.2f}" for row in rows),
    ]


def _score_gt_known(settings: ScoreSettings, truth: Truth) -> Scored:
    assert settings.submission is not None
    guesses = read_guesses(Path(settings.submission), truth, settings.rule, with_labels=False)
    warn_without_box(truth.boxes)
    accuracy = gt_known_accuracy(guesses.known_N4, truth.boxes)
    result = {"n_images": len(truth), "gt_known": accuracy}
    return result, [_row("", accuracy, "IoU {0}"), _row("GT-known %", accuracy, "{1:.2f}")]


def _score_max_box_acc(settings: ScoreSettings, truth: Truth) -> Scored:
    assert settings.maps is not None
    sizes_N2 = truth.sizes_N2
    if sizes_N2 is None or not (sizes_N2 > 0).all():
        raise UserError(
            "the ground truth does not say how large each image is, which max_box_acc needs: give "
            "a CSV with width and height, a metadata folder, XML files with <size>, or a run"
        )
    from cam_repro.metrics.max_box_acc import MaxBoxAccAccumulator  # cv2, for this protocol alone

    maps = open_maps(Path(settings.maps), truth.ids)
    warn_without_box(truth.boxes)
    accumulator = MaxBoxAccAccumulator(settings.multi_contour)
    for i in _each(len(truth), "max_box_acc"):
        accumulator.add(maps[i], truth.boxes.of(i), *sizes_N2[i].tolist())
    found = accumulator.result()
    result = found.as_json()
    return result, [
        _row("", result["max_box_acc"], "IoU {0}"),
        _row("MaxBoxAcc %", result["max_box_acc"], "{1:.2f}"),
        _row("at threshold", result["best_threshold"], "{1:.3f}"),
        f"{'mean (V2) %':14}{found.mean:9.2f}",
    ]


def _each(count: int, what: str) -> Iterator[int]:
    """The numbers of all images, behind a progress bar."""
    with freed_memory_kept():
        yield from tqdm(range(count), desc=what, unit=" images", leave=False, disable=None)


def _score_threshold_curve(settings: ScoreSettings, truth: Truth) -> Scored:
    from cam_repro.metrics.threshold_curve import (  # cv2, for this protocol alone
        ThresholdCurveAccumulator,
        boxes_over_thresholds,
    )
    from cam_repro.resample import resize

    run, folder = _run_with_maps(settings)
    maps = open_maps(folder, run.ids)
    warn_without_box(run.boxes)
    interpolation, own = run.manifest.interpolation, run.manifest.threshold
    n_thresholds = settings.thresholds or N_THRESHOLDS
    thresholds_T = np.arange(n_thresholds) / n_thresholds
    thresholds_T = np.union1d(thresholds_T, [] if own is None else [own])

    accumulator = ThresholdCurveAccumulator(thresholds_T)
    differ = []  # images
    for i in _each(len(run), "threshold_curve"):
        assert run.sizes_N2 is not None
        width, height = run.sizes_N2[i].tolist()
        map_HW = resize(maps[i], width, height, interpolation)
        boxes_T4 = boxes_over_thresholds(map_HW, thresholds_T)
        places = np.flatnonzero(run.classes_N5[i] == run.labels_N[i]).tolist()
        place = places[0] if places else None
        is_blacklisted = run.blacklisted_N is not None and bool(run.blacklisted_N[i])
        accumulator.add(boxes_T4, run.boxes.of(i), place, is_blacklisted)
        if own is not None:
            recorded_4 = run.rules["threshold"].gt_known_N4[i]
            if (boxes_T4[thresholds_T == own] != recorded_4).any():
                differ.append(run.ids[i])
    if differ:
        log.warning(
            "%d of %d boxes at threshold %g are not those of the run (the first: %s): maps of "
            "another pass, or another version of OpenCV",
            len(differ),
            len(run),
            own,
            differ[0],
        )

    curve = accumulator.result()
    result = curve.as_json()
    if own is not None:
        result["run"] = {"threshold": own, **curve.at(own)}
    table = _curve_table(curve, n_thresholds, own)
    if settings.output is not None:
        from cam_repro.figures.threshold_curve import draw_threshold_curve

        drawn = Path(settings.output).with_suffix(".png")
        draw_threshold_curve(drawn, curve, _title(run.manifest, len(run)), own)
        table.append(f"drawn in {drawn}")
    return result, table


def _run_with_maps(settings: ScoreSettings) -> tuple[Predictions, Path]:
    """The run whose thresholds are tried, which needs labels and true boxes, and its maps."""
    from cam_repro.runs.predictions import MAPS, read_predictions

    assert settings.submission is not None
    folder = run_folder(Path(settings.submission))
    assert folder is not None
    run = read_predictions(folder)
    if not run.manifest.classifies:
        raise UserError(f"{folder}: made without a network, it has no maps")
    if not (run.manifest.maps and (folder / MAPS).is_dir()):
        raise UserError(f"{folder}: has no maps: score it again with cam-eval save_maps=true")
    if (run.labels_N == NO_LABEL).any():
        raise UserError(f"{folder}: the true classes are not known: score a labelled split")
    if not run.has_boxes:
        raise UserError(f"{folder}: no image has a true box, so there is no localization error")
    return run, folder / MAPS


def _title(manifest: EvalManifest, n_images: int) -> str:
    """Which run a figure is of."""
    of_view = "" if manifest.view == DEFAULT_VIEW else f", view {manifest.view}"
    return (
        f"{manifest.model}, {manifest.saliency}{of_view}: {manifest.data.name}, "
        f"{manifest.split} ({n_images:,} images)"
    )


def _curve_table(curve: ThresholdCurve, n_thresholds: int, own: float | None) -> list[str]:
    """Ten thresholds or so, the run's own, and the best of each error."""

    def row(name: str, values: Iterable[float], form: str = "{:.2f}") -> str:
        return f"{name:>12}" + "".join(f"{form.format(value):>10}" for value in values)

    tenths = np.arange(0, n_thresholds, -(-n_thresholds // 10)) / n_thresholds
    lines = [
        "localization error, %, by the box's threshold",
        f"{'threshold':>12}     top-1     top-5  GT-known",
    ]
    lines += [row(f"{at:.3g}", curve.at(at).values()) for at in tenths.tolist()]
    if own is not None:
        lines.append(row(f"run's {own:g}", curve.at(own).values()))
    best = curve.best.values()
    lines.append(row("lowest", [each["error"] for each in best]))
    lines.append(row("at threshold", [each["threshold"] for each in best], "{:.3g}"))
    return lines


PROTOCOLS: dict[str, Callable[[ScoreSettings, Truth], Scored]] = {
    "clsloc": _score_clsloc,
    "gt_known": _score_gt_known,
    "max_box_acc": _score_max_box_acc,
    "threshold_curve": _score_threshold_curve,
}


def _row(name: str, values: dict[str, float], form: str) -> str:
    """A line of the table. form: of a value {1} and its IoU threshold {0}."""
    return f"{name:14}" + "".join(f"{form.format(iou, value):>9}" for iou, value in values.items())


def _warn(count: int, n_images: int, what: str) -> None:
    if count:
        log.warning("%d of %d images %s", count, n_images, what)


def _open_ground_truth(settings: ScoreSettings) -> tuple[Truth, str]:
    """The ground truth, and what it is called."""
    if settings.data is not None:
        # These bring Pillow, and no other way to name the ground truth needs it.
        from cam_repro.data.sources import open_image_set
        from cam_repro.engine.settings import LoaderSettings

        source_keys = {
            key: value
            for key, value in settings.data.items()
            if key not in LoaderSettings.__dataclass_fields__
        }
        images = open_image_set(source_keys, settings.split, with_boxes=True)
        return images, f"data set {images.name}, {images.split}"
    source = settings.ground_truth or settings.submission
    assert source is not None
    return read_truth(source, cache=Path(settings.runs) / ".cache"), source
