"""Define ``data=folder``: all images below a folder, as one split."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cam_repro.classes import classes_of, ilsvrc_classes, reading_of_numbers
from cam_repro.data.check import TreeReport
from cam_repro.data.ilsvrc.listing import list_below
from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import ImageFiles
from cam_repro.data.likely import likely_set
from cam_repro.data.sources import DataSource
from cam_repro.errors import UserError
from cam_repro.files import at_home
from cam_repro.formats.names import image_id
from cam_repro.truth import Names, RaggedBoxes
from cam_repro.types import NO_LABEL

log = logging.getLogger(__name__)
# As information, not as a warning, because every process opens the set.

SPLIT = "val"
"""The one split."""


@dataclass
class Folder(DataSource):
    """Open all images at any depth below a folder.

    configs/data/folder.yaml explains the settings. The folder that an image lies in is its class:
    ``a/abbey/1.jpg`` is of the class ``a/abbey``; it may be a link. Where all images lie directly
    in the root they have no labels, and their classes are ILSVRC's. An image's id is its path
    without the suffix.
    """

    root: str | None = None
    name: str | None = None

    def open(self, split: str, with_boxes: bool = True) -> ImageSet:
        if split != SPLIT:
            raise UserError(
                f"split={split}: a plain folder is one split, split={SPLIT}; for several splits "
                f"make {self.root}/train/CLASS and {self.root}/val/CLASS, and use data=ilsvrc "
                f"data.root={self.root}"
            )
        root = self._folder()
        listing = list_below(root)
        files = listing.files
        if not files:
            raise UserError(f"data.root={self.root}: holds no images")
        if listing.left_out:
            log.info("%s: %s", root, listing.left_out)
        if other := likely_set(root):
            log.info(
                "%s: all its images are taken as one split; data=%s data.root=%s seems to fit",
                *(root, other, root),
            )
        ids = [image_id(file, nested=True) for file in files]
        _refuse_repeated(root, ids, files)
        of_class = [str(Path(file).parent) for file in files]
        labels_N, classes = np.full(len(files), NO_LABEL, np.int32), ilsvrc_classes()
        described = "a plain folder, no labels"
        if set(of_class) != {"."}:
            if "." in of_class:
                raise UserError(
                    f"{root / files[of_class.index('.')]}: lies beside the folders of classes, so "
                    "it has no class: move it into one, or away"
                )
            classes = classes_of(of_class)
            labels_N = np.array([classes.index_of(name) for name in of_class], np.int32)
            index_of = {name: index for index, name in enumerate(classes.wnids)}
            described = f"a plain folder, labels from its folders{reading_of_numbers(index_of)}"
        return ImageSet(
            name=self.name or root.resolve().name,
            split=split,
            folder=root,
            classes=classes,
            ids=Names(ids),
            labels_N=labels_N,
            boxes=RaggedBoxes.none(len(files)),
            store=ImageFiles(root, Names(files)),
            described=described,
        )

    def splits(self) -> list[str]:
        return [SPLIT]

    def check(self, decode: bool) -> TreeReport:
        report = super().check(decode)
        if others := list_below(self._folder()).others:
            report.splits[SPLIT].notes["other_files"] = others
        return report

    def _folder(self) -> Path:
        if self.root is None:
            raise UserError("data.root is not given: add data.root=DIR")
        root = at_home(self.root)
        if not root.is_dir():
            raise UserError(f"data.root={self.root}: no such folder")
        return root


def _refuse_repeated(root: Path, ids: list[str], files: list[str]) -> None:
    """Raise UserError where two files differ in their suffix alone."""
    first: dict[str, str] = {}
    for own_id, file in zip(ids, files, strict=True):
        if own_id in first:
            raise UserError(f"{root / file}: is {own_id}, and so is {first[own_id]}; take one away")
        first[own_id] = file
