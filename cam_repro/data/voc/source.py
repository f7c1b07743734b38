"""Define ``data=voc``: PASCAL VOC, read in place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cam_repro.data.check import TreeReport, check_image_sets
from cam_repro.data.image_set import SPLITS, ImageSet
from cam_repro.data.likely import likely
from cam_repro.data.sources import DataSource
from cam_repro.data.voc.image_set import IMAGES, VocList, load_image_set
from cam_repro.errors import UserError, one_of
from cam_repro.files import at_home

LISTS = {"main": "Main", "segmentation": "Segmentation"}
"""The folder of ImageSets for each value of ``data.images``."""


@dataclass
class Voc(DataSource):
    """Open and check one year of VOC.

    configs/data/voc.yaml explains the settings.
    """

    root: str | None = None
    year: int = 2012
    images: str = "main"
    train: str = "train"
    val: str = "val"
    test: str = "test"
    pairs: bool = False
    masks: str = "SegmentationClass"
    cache: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        one_of("data.images", self.images, LISTS)
        if not isinstance(self.pairs, bool):
            raise UserError(f"data.pairs={self.pairs}: must be true or false")

    def folder(self) -> Path:
        """Find the folder of the year; UserError where it is not there."""
        if self.root is None:
            raise UserError("data.root is not given: add data.root=DIR (or set CAM_REPRO_VOC)")
        root, wanted = at_home(self.root), f"VOC{self.year}"
        for place in (root / "VOCdevkit" / wanted, root / wanted):
            if (place / IMAGES).is_dir():
                return place
        own_year = re.fullmatch(r"VOC(\d{4})", root.resolve().name)
        if not (root / IMAGES).is_dir():
            raise UserError(
                f"data.root={self.root}: has no {wanted}/{IMAGES}: give the folder VOCdevkit, and "
                f"the year by data.year={likely(root, 'voc')}"
            )
        if own_year and own_year[1] != str(self.year):
            raise UserError(
                f"data.root={self.root}: is not of {self.year}: add data.year={own_year[1]}"
            )
        return root

    def open(self, split: str, with_boxes: bool = True) -> ImageSet:
        one_of("split", split, SPLITS)
        folder, kind = self.folder(), LISTS[self.images]
        of_split = {"train": self.train, "val": self.val, "test": self.test}[split]
        suffixes = ["-segmentation"] * (self.images == "segmentation") + ["-pairs"] * self.pairs
        wanted = VocList(
            folder=folder,
            file=folder / "ImageSets" / kind / f"{of_split}.txt",
            masks=folder / self.masks,
            pairs=self.pairs,
            cache=None if self.cache is None else Path(self.cache),
        )
        name = self.name or "".join([f"voc{self.year}", *suffixes])
        return load_image_set(wanted, name, split, with_boxes)

    def check(self, decode: bool) -> TreeReport:
        return check_image_sets(
            f"VOC {self.year}", str(self.folder()), self.open, decode, "Annotations"
        )
