"""Make, check, unpack and pack data sets: what ``cam-data`` does."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from cam_repro.config import validate
from cam_repro.data.check import FAULTS, NOTES, SplitReport, TreeReport, some_of
from cam_repro.data.ilsvrc.unpack import unpack
from cam_repro.data.image_set import SPLITS
from cam_repro.data.images import ErrorPolicy
from cam_repro.data.settings import LoaderSettings
from cam_repro.data.sources import open_source
from cam_repro.errors import UserError, choose, if_stopped, one_of
from cam_repro.files import at_home, check_file_writable, write_json
from cam_repro.metrics.official import warn_about_boxes
from cam_repro.runs.manifest import refuse_to_overwrite
from cam_repro.runs.provenance import provenance

log = logging.getLogger(__name__)

ACTIONS = ("make", "check", "unpack", "pack")

ONLY_EVAL, ONLY_TRAIN = 2, 3
"""Exit statuses of check, if only one command can run; 0: both can, 1: neither can."""


@dataclass
class DataCommandSettings:
    """Hold the settings of ``cam-data``: configs/data_command.yaml."""

    action: str = "check"
    data: dict[str, Any] = field(default_factory=dict)
    loader: LoaderSettings = field(default_factory=LoaderSettings)
    decode: bool = True
    tars: str | None = None
    splits: list[str] | None = None
    verify: bool = True
    size: int | None = 256
    format: str | None = None
    jpg_quality: int | None = None
    shard_bytes: int = 500_000_000
    runs: str = "runs"
    output: str | None = None

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise UserError(f"cam-data {self.action}: {choose(self.action, ACTIONS)}")
        for split in self.splits or []:
            one_of("splits", split, SPLITS)


KEPT = {
    "make": "nothing of the new data set is kept",
    "check": "nothing was written",
    "unpack": "what was unpacked is kept, and not unpacked again",
    "pack": "nothing of the new data set is kept",
}
"""What is kept of each action when it is stopped."""


def run_data(cfg: DictConfig) -> int:
    """Do what ``action`` says: make, check, unpack or pack a data set. Returns the exit status."""
    settings = validate(cfg, DataCommandSettings)
    with if_stopped(KEPT[settings.action]):
        return _run_action(settings)


def _run_action(settings: DataCommandSettings) -> int:
    """Do what the setting ``action`` says. Returns the exit status."""
    if settings.action == "unpack":
        _unpack(settings)
        return 0
    if settings.action == "pack":
        _pack(settings)
        return 0
    if settings.action == "make":
        log.info("the data set is in %s", open_source(settings.data).make())
        return 0
    return _check(settings)


def _unpack(settings: DataCommandSettings) -> None:
    """Unpack the official archives."""
    if settings.tars is None or settings.output is None:
        raise UserError("cam-data unpack: add tars=DIR, the archives, and output=DIR, the new tree")
    splits = settings.splits or list(SPLITS)
    unpack(settings.tars, settings.output, splits, verify=settings.verify)
    log.info("the tree is in %s: cam-data check data=ilsvrc data.root=%s", *2 * [settings.output])


def _pack(settings: DataCommandSettings) -> None:
    """Pack a data set into few large files."""
    # pyarrow takes a tenth of a second to import, and the other actions do not need it.
    from cam_repro.data.packed.read import load_packed_set
    from cam_repro.data.packed.write import Stored, pack

    if settings.output is None:
        raise UserError("cam-data pack: add output=DIR, the new folder")
    output = at_home(settings.output)
    stored = Stored(
        settings.size, settings.format, settings.jpg_quality, settings.shard_bytes, settings.decode
    )
    loader = settings.loader
    data = open_source(settings.data)
    splits = settings.splits or data.splits()
    manifest = pack(
        [data.open(split) for split in splits],
        output,
        stored,
        threads=max(1, (os.cpu_count() or 1) if loader.workers is None else loader.workers),
        policy=ErrorPolicy(loader.on_error),
        provenance={"source": settings.data, **asdict(provenance())},
    )
    for split, packed in manifest["splits"].items():
        log.info(
            "%-6s %s images in %d shard%s, %.1f MB%s",
            split,
            f"{packed['images']:,}",
            len(packed["shards"]),
            "s" * (len(packed["shards"]) != 1),
            sum(packed["shards"]) / 1e6,
            f"; {len(packed['skipped']):,} could not be read" if packed["skipped"] else "",
        )
        warn_about_boxes(load_packed_set(output, split))
    log.info("the packed set is in %s: data=packed data.root=%s", *2 * [settings.output])


def _check(settings: DataCommandSettings) -> int:
    """Check a data set, log the report, and return the exit status."""
    if settings.output is not None:
        check_file_writable(settings.output)
        refuse_to_overwrite("output", settings.output, settings.data.values())
    report = open_source(settings.data).check(settings.decode)
    log.info("%s: layout %s", report.root, report.layout)
    if report.problem:
        log.info("FAULT %s", report.problem)
    log.info("%s, in submissions by %s", report.classes, report.labels)
    if report.advice:
        log.info("note: %s", report.advice)
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
    """Log what was found in a split: counts, then faults and notes."""
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
            "       %s boxes from %s%s; %s images without a box",
            f"{split.boxes:,}",
            split.annotations,
            f" (version {split.annotation_version[:12]})" if split.annotation_version else "",
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
    """Log what each table lacks, and which commands can run."""
    if not report.is_ilsvrc:
        log.info("not ILSVRC's classes: tables can be made, but none compares with the paper's")
    for table, missing in report.tables.items():
        log.info("%s   %s", table, "lacks " + "; ".join(missing) if missing else "lacks nothing")
    for command, why_not in (("cam-train", report.can_train), ("cam-eval", report.can_eval)):
        log.info("%-9s %s", command, "ready" if why_not is None else f"not ready: {why_not}")
