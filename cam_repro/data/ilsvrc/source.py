"""Define ``data=ilsvrc``: ILSVRC, or any data set in one of its layouts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cam_repro.data.check import TreeReport
from cam_repro.data.ilsvrc.check import check_tree
from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.data.ilsvrc.layouts import Layout, Places, find_layout
from cam_repro.data.image_set import SPLITS, ImageSet
from cam_repro.data.sources import DataSource
from cam_repro.errors import UserError
from cam_repro.files import at_home


class Ilsvrc(DataSource):
    """Open and check a tree in one of ILSVRC's layouts.

    configs/data/ilsvrc.yaml explains the settings. root: the tree's folder. name: of the data set
    in output paths; None: ``ilsvrc`` for a complete split of ILSVRC, else the folder's name.
    classes, cache: as of ``load_image_set``. places: the fields of ``Places``.
    """

    def __init__(
        self,
        root: str | None = None,
        name: str | None = None,
        classes: str | None = None,
        cache: str | None = None,
        **places: str | None,
    ) -> None:
        self.root, self.name, self.classes = root, name, classes
        self.cache = None if cache is None else Path(cache)
        self.places = Places(**places)

    def folder(self) -> Path:
        """Give the root; UserError where none is named."""
        if self.root is None:
            raise UserError("data.root is not given: add data.root=DIR (or set CAM_REPRO_ILSVRC)")
        return at_home(self.root)

    def layout(self) -> Layout:
        """Find the parts of the tree."""
        return find_layout(self.folder(), self.places)

    def open(self, split: str, with_boxes: bool = True) -> ImageSet:
        images = load_image_set(
            self.folder(),
            split,
            with_boxes=with_boxes,
            places=self.places,
            classes=self.classes,
            cache=self.cache,
        )
        return images if self.name is None else replace(images, name=self.name)

    def splits(self) -> list[str]:
        images = self.layout().images
        return [split for split in SPLITS if split in images]

    def check(self, decode: bool) -> TreeReport:
        return check_tree(self.layout(), self.classes, decode, self.cache)
