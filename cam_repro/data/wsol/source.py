"""Define ``data=wsol``: a metadata folder of Choe et al. with its images."""

from __future__ import annotations

from dataclasses import dataclass

from cam_repro.data.check import TreeReport, check_image_sets
from cam_repro.data.image_set import SPLITS, ImageSet
from cam_repro.data.sources import DataSource
from cam_repro.data.wsol.image_set import WsolFolders, load_image_set
from cam_repro.errors import UserError, one_of
from cam_repro.files import at_home
from cam_repro.formats.wsol_metadata import IMAGE_IDS

NAMES = {"CUB": "cub", "OpenImages": "openimages30k", "ILSVRC": "ilsvrc-wsol"}
"""The names of data sets by the names of their metadata folders. The last is no ``ilsvrc``, as its
``val`` is ImageNetV2."""


@dataclass
class Wsol(DataSource):
    """Open and check a data set by its metadata. configs/data/wsol.yaml explains the settings."""

    root: str | None = None
    metadata: str | None = None
    masks: str | None = None
    proxy: bool = False
    name: str | None = None

    def folders(self) -> WsolFolders:
        """Find the folders; UserError where one is not named, or not there."""
        found = {}
        for key in ("root", "metadata"):
            value = getattr(self, key)
            if value is None:
                what = "the images" if key == "root" else "the folder with train, val and test"
                raise UserError(f"data.{key} is not given: add data.{key}=DIR, {what}")
            found[key] = at_home(value)
        if (found["metadata"] / IMAGE_IDS).is_file():
            raise UserError(
                f"data.metadata={self.metadata}: is that of one split: give the folder above it"
            )
        masks = found["root"] if self.masks is None else at_home(self.masks)
        return WsolFolders(found["metadata"], found["root"], masks, self.proxy)

    def open(self, split: str, with_boxes: bool = True) -> ImageSet:
        one_of("split", split, SPLITS)
        folders = self.folders()
        if not (folders.metadata / split).is_dir():
            raise UserError(f"{folders.metadata / split}: no such folder of metadata")
        called = folders.metadata.resolve().name
        return load_image_set(folders, self.name or NAMES.get(called, called), split, with_boxes)

    def check(self, decode: bool) -> TreeReport:
        folders = self.folders()
        return check_image_sets(
            "metadata of Choe et al.", str(folders.metadata), self.open, decode, "the metadata"
        )
