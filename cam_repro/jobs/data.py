"""Data sets: what ``cam-data`` does."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from cam_repro.config import validate
from cam_repro.data.check import FAULTS, NOTES, SplitReport, TreeReport, check_tree, some_of
from cam_repro.data.layouts import SPLITS, find_layout
from cam_repro.data.sources import places_of
from cam_repro.data.synthetic import demo_root
from cam_repro.data.unpack import unpack
from cam_repro.errors import UserError
from cam_repro.files import check_file_writable, write_json

log = logging.getLogger(__name__)

ACTIONS = ("make", "check", "unpack")

ONLY_EVAL, ONLY_TRAIN = 2, 3
"""Exit statuses of check; 0: cam-train and cam-eval can run, 1: neither can."""


@dataclass
class DataCommandSettings:
    """configs/data_command.yaml"""

    action: str = "check"
    data: dict[str, Any] = field(default_factory=dict)
    decode: bool = True
    tars: str | None = None
    splits: list[str] = field(default_factory=lambda: list(SPLITS))
    verify: bool = True
    runs: str = "runs"
    output: str | None = None

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise UserError(f"cam-data {self.action}: the actions are {', '.join(ACTIONS)}")
        for split in self.splits:
            if split not in SPLITS:
                raise UserError(f"splits={split}: choose among {', '.join(SPLITS)}")


def run_data(cfg: DictConfig) -> int:
    """Make the built-in set, check a tree, or unpack archives; returns the exit status."""
    settings = validate(cfg, DataCommandSettings)
    if settings.action == "unpack":
        _unpack(settings)
        return 0
    if settings.action == "make":
        log.info("data set demo is in %s", _root(settings))
        return 0
    return _check(settings)


def _root(settings: DataCommandSettings) -> Path:
    """The folder of the data set; the built-in one is made if it is not there."""
    data = settings.data
    if "n_train" in data:
        return demo_root(seed=data["seed"], n_train=data["n_train"], n_val=data["n_val"])
    if settings.action == "make":
        raise UserError("cam-data make: makes the built-in set alone (data=demo)")
    if "root" not in data:
        raise UserError("cam-data check: looks at images: data=demo or data=ilsvrc data.root=DIR")
    if data["root"] is None:
        raise UserError("data.root is not given: add data.root=DIR (or set CAM_REPRO_ILSVRC)")
    return Path(data["root"]).expanduser()


def _unpack(settings: DataCommandSettings) -> None:
    if settings.tars is None or settings.output is None:
        raise UserError("cam-data unpack: add tars=DIR, the archives, and output=DIR, the new tree")
    unpack(settings.tars, settings.output, settings.splits, verify=settings.verify)
    log.info("the tree is in %s: cam-data check data=ilsvrc data.root=%s", *2 * [settings.output])


def _check(settings: DataCommandSettings) -> int:
    data = settings.data
    if settings.output is not None:
        check_file_writable(settings.output)
    layout = find_layout(_root(settings), places_of(data))
    cache = data.get("cache")
    report = check_tree(
        layout, data.get("classes"), settings.decode, None if cache is None else Path(cache)
    )
    log.info("%s: layout %s", report.root, report.layout)
    if report.problem:
        log.info("FAULT %s", report.problem)
    log.info("%s, in submissions by %s", report.classes, report.labels)
    if report.is_part_of_ilsvrc:
        log.info(
            "note: all of them are ILSVRC's; if this is an incomplete ILSVRC, data.classes=ilsvrc "
            "takes its 1,000"
        )
    if not settings.decode:
        log.info("note: images were not opened (decode=false): broken ones are not found")
    for split in report.splits.values():
        _say(split, report)
    _say_conclusions(report)
    if settings.output:
        write_json(Path(settings.output), report.as_json())
    if report.can_train is None:
        return 0 if report.can_eval is None else ONLY_TRAIN
    return ONLY_EVAL if report.can_eval is None else 1


def _say(split: SplitReport, report: TreeReport) -> None:
    if not (split.images or split.faults):
        log.info("%-6s none: %s", split.split, split.problem)
        return
    of_complete = f" of {split.complete:,}" if report.is_ilsvrc else ""
    words = [f"{split.images:,}{of_complete} images"]
    counts = [count for count in split.images_by_class.values() if count]
    if counts:
        low, high = min(counts), max(counts)
        each = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        words.append(f"{len(counts):,} of {report.n_classes:,} classes, {each} in each")
        words.append(f"labels from {split.labels}")
    log.info("%-6s %s", split.split, "; ".join(words))
    if split.annotations:
        log.info(
            "       %s boxes from %s (version %s); %s images without a box",
            f"{split.boxes:,}",
            split.annotations,
            (split.annotation_version or "")[:12],
            f"{split.images_without_boxes:,}",
        )
    elif split.images and split.split != "test":
        log.info("       no boxes")
    if split.blacklisted is not None:
        log.info("       %s blacklisted", f"{split.blacklisted:,}")
    if split.problem:
        log.info("       %s", split.problem)
    for names, found in ((FAULTS, split.faults), (NOTES, split.notes)):
        mark = "FAULT" if names is FAULTS else "note:"
        for kind, items in found.items():
            log.info("       %s %s (%s): %s", mark, names[kind], f"{len(items):,}", some_of(items))


def _say_conclusions(report: TreeReport) -> None:
    if not report.is_ilsvrc:
        log.info("not ILSVRC's classes: tables can be made, but none compares with the paper's")
    for table, missing in report.tables.items():
        log.info("%s   %s", table, "lacks " + "; ".join(missing) if missing else "lacks nothing")
    for command, why_not in (("cam-train", report.can_train), ("cam-eval", report.can_eval)):
        log.info("%-9s %s", command, "ready" if why_not is None else f"not ready: {why_not}")
