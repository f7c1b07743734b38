"""Define ``data=cub``: CUB-200-2011, read in place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cam_repro.data.check import TreeReport, check_image_sets
from cam_repro.data.cub.image_set import FILES, SPLIT, load_image_set
from cam_repro.data.image_set import SPLITS, ImageSet
from cam_repro.data.likely import likely
from cam_repro.data.sources import DataSource
from cam_repro.errors import UserError, one_of
from cam_repro.files import at_home

MASKS = "segmentations"


@dataclass
class Cub(DataSource):
    """Open and check CUB-200-2011.

    configs/data/cub.yaml explains the settings. It has training images and test images alone: both
    ``val`` and ``test`` are the test images.
    """

    root: str | None = None
    masks: str | None = None
    name: str = "cub"

    def folder(self) -> Path:
        """Find the folder with the text files; UserError where it is not there."""
        if self.root is None:
            raise UserError("data.root is not given: add data.root=DIR (or set CAM_REPRO_CUB)")
        root = at_home(self.root)
        for place in (root, root / "CUB_200_2011"):
            if (place / FILES).is_file():
                return place
        raise UserError(
            f"data.root={self.root}: has no {FILES}: give the folder CUB_200_2011"
            f"{likely(root, 'cub')}"
        )

    def masks_folder(self) -> Path | None:
        """Find the folder of masks, which has an archive of its own; None where there is none."""
        if self.masks is not None:
            folder = at_home(self.masks)
            if not folder.is_dir():
                raise UserError(f"data.masks={self.masks}: no such folder")
            return folder
        top = self.folder()
        return next((p for p in (top / MASKS, top.parent / MASKS) if p.is_dir()), None)

    def open(self, split: str, with_boxes: bool = True) -> ImageSet:
        one_of("split", split, SPLITS)
        return load_image_set(self.folder(), self.masks_folder(), self.name, split, with_boxes)

    def splits(self) -> list[str]:
        """Name the splits that hold different images."""
        self.open("train", with_boxes=False)
        return ["train", "val"]

    def check(self, decode: bool) -> TreeReport:
        return check_image_sets("CUB-200-2011", str(self.folder()), self.open, decode, SPLIT)
