"""Data sets: what ``cam-data`` does."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from cam_repro.config import validate
from cam_repro.data.ilsvrc import SPLITS, ImageSet
from cam_repro.data.images import UnreadableImage, read_image
from cam_repro.engine.device import Processes
from cam_repro.errors import UserError
from cam_repro.files import write_json
from cam_repro.jobs.common import open_data

log = logging.getLogger(__name__)

SHOWN = 5
"""How many of the images with a fault are named."""


@dataclass
class DataCommandSettings:
    """configs/data_command.yaml"""

    action: str = "check"
    data: dict[str, Any] = field(default_factory=dict)
    decode: bool = True
    output: str | None = None

    def __post_init__(self) -> None:
        if self.action not in ("make", "check"):
            raise UserError(f"cam-data {self.action}: the actions are make and check")


def run_data(cfg: DictConfig) -> None:
    """Make the built-in set, or check a tree; UserError where the tree has faults."""
    settings = validate(cfg, DataCommandSettings)
    if settings.action == "make":
        images, _ = open_data(settings.data, Processes(), "val", with_boxes=False)
        log.info("data set %s is in %s", images.name, images.folder.parents[2])
        return
    report: dict[str, Any] = {}
    for split in SPLITS:
        try:
            images, _ = open_data(settings.data, Processes(), split, with_boxes=True)
        except UserError as error:
            if split == "val":  # nothing can be scored without it
                raise
            log.info("%-5s  %s", split, error)
            report[split] = {"missing": str(error)}
            continue
        report[split] = check_split(images, settings.decode)
        _say(images, report[split])
    if settings.output:
        write_json(Path(settings.output), report)
    faults = sum(len(r.get(kind, ())) for r in report.values() for kind in FAULTS)
    if faults:
        raise UserError(f"{faults} faults in the data set, named above; mend or remove those files")


FAULTS = {"unreadable": "unreadable images", "boxes_outside": "images with a box outside them"}


def check_split(images: ImageSet, decode: bool) -> dict[str, Any]:
    """Counts of one split, and its faults. decode: read every pixel, to find broken files."""
    labels, counts = np.unique(images.labels_N, return_counts=True)
    n_boxes = np.diff(images.box_offsets)
    report: dict[str, Any] = {
        "images": len(images),
        "classes": int((labels >= 0).sum()),
        "images_per_class": [int(counts.min()), int(counts.max())],
        "boxes": int(n_boxes.sum()),
        "images_without_boxes": int((n_boxes == 0).sum()),
        "complete_ilsvrc": images.is_ilsvrc,
        "unreadable": [],
        "boxes_outside": [],
    }
    if not decode:
        return report

    def look(index: int) -> tuple[str, str] | None:
        sample = images[index]
        try:
            width, height = read_image(sample.path).size
        except UnreadableImage as error:
            return "unreadable", str(error)
        boxes = sample.boxes_M4
        if len(boxes) and (
            boxes[:, :2].min() < 0 or boxes[:, 2].max() >= width or boxes[:, 3].max() >= height
        ):
            return "boxes_outside", f"{sample.path} ({width}x{height}): {boxes.tolist()}"
        return None

    with ThreadPoolExecutor() as pool:
        looks = pool.map(look, range(len(images)))
        for fault in tqdm(looks, total=len(images), desc=images.split, unit=" images", leave=False):
            if fault is not None:
                report[fault[0]].append(fault[1])
    return report


def _say(images: ImageSet, report: dict[str, Any]) -> None:
    low, high = report["images_per_class"]
    log.info(
        "%-5s  %d images, %d classes (%d to %d images each), %d boxes, %d images without a box%s",
        images.split,
        report["images"],
        report["classes"],
        low,
        high,
        report["boxes"],
        report["images_without_boxes"],
        ", the complete ILSVRC split" if report["complete_ilsvrc"] else "",
    )
    for kind, name in FAULTS.items():
        faults = report[kind]
        if faults:
            more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
            log.info("       %d %s: %s%s", len(faults), name, "; ".join(faults[:SHOWN]), more)
