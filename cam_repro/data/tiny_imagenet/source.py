"""Define ``data=tiny_imagenet``: Tiny ImageNet, read in place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from cam_repro.data.check import TreeReport, check_image_sets
from cam_repro.data.image_set import SPLITS, ImageSet
from cam_repro.data.likely import likely
from cam_repro.data.sources import DataSource
from cam_repro.data.tiny_imagenet.image_set import WNIDS, load_image_set
from cam_repro.errors import UserError, one_of
from cam_repro.files import at_home
from cam_repro.truth import RaggedBoxes


@dataclass
class TinyImageNet(DataSource):
    """Open and check Tiny ImageNet. configs/data/tiny_imagenet.yaml explains the settings."""

    root: str | None = None
    classes: str | None = None
    name: str = "tiny-imagenet-200"

    def __post_init__(self) -> None:
        if self.classes is not None:
            one_of("data.classes", self.classes, ["ilsvrc"])

    def folder(self) -> Path:
        """Find the folder with the lists; UserError where it is not there."""
        if self.root is None:
            raise UserError("data.root is not given: add data.root=DIR, tiny-imagenet-200")
        root = at_home(self.root)
        for place in (root, root / "tiny-imagenet-200"):
            if (place / WNIDS).is_file():
                return place
        raise UserError(
            f"data.root={self.root}: has no {WNIDS}: give the folder tiny-imagenet-200"
            f"{likely(root, 'tiny_imagenet')}"
        )

    def open(self, split: str, with_boxes: bool = True) -> ImageSet:
        one_of("split", split, SPLITS)
        images = load_image_set(self.folder(), self.name, split, self.classes is not None)
        return images if with_boxes else replace(images, boxes=RaggedBoxes.none(len(images)))

    def check(self, decode: bool) -> TreeReport:
        return check_image_sets("Tiny ImageNet", str(self.folder()), self.open, decode, "its lists")
