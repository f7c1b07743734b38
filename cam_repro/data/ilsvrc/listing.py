"""List the images of a split's folder, and what lies there and is not taken."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from cam_repro.classes import in_class_order
from cam_repro.formats.names import files_below, is_image, is_junk, is_xml

_WNID = re.compile(r"n\d{8}", re.ASCII)


@dataclass
class Listing:
    """Hold what is in a folder and its sub-folders, as paths below the folder.

    files: the images. by_list: whether a list names them, of what may be in the folder. Not taken
    are
    deeper: images in folders of sub-folders, which would belong to no class for certain;
    others: files that are no images by their names;
    empty: sub-folders without images, and those of programs.
    Hidden files and XML files are not listed.
    """

    files: list[str] = field(default_factory=list)
    deeper: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    by_list: bool = False

    @property
    def left_out(self) -> str:
        """Say what is not taken, with the first of each kind; "" where nothing is."""
        kinds = {
            "images left out, in deeper folders": self.deeper,
            "files left out, no images by their names": self.others,
            "folders without images": self.empty,
        }
        return "; ".join(
            f"{len(found):,} {what} ({found[0]})" for what, found in kinds.items() if found
        )


def list_folder(folder: Path) -> Listing:
    """List the images in a folder and in its sub-folders."""
    found = Listing()
    with os.scandir(folder) as entries:
        names = [(entry.name, entry.is_dir()) for entry in entries]
    for name, is_folder in names:
        if not is_folder:
            if is_image(name):
                found.files.append(name)
            else:
                _enter_other(name, name, found)
        elif is_junk(name):
            found.empty += [] if name.startswith(".") else [name]
        else:
            _enter_folder(folder / name, name, found)
    for paths in (found.deeper, found.others, found.empty):
        paths.sort()
    return found


def list_below(folder: Path) -> Listing:
    """List the images at any depth in a folder, none of which lies too deep."""
    every = sorted(files_below(folder, lambda name: not name.startswith(".")))
    found = Listing(list(filter(is_image, every)))
    for path in every:
        if not is_image(path):
            _enter_other(path, path, found)
    return found


def _enter_folder(folder: Path, name: str, found: Listing) -> None:
    """Enter in ``found`` what a sub-folder holds."""
    with os.scandir(folder) as listed:
        entries = list(listed)
    images = [f"{name}/{entry.name}" for entry in entries if is_image(entry.name)]
    found.files += images
    found.empty += [] if images else [name]
    if len(images) == len(entries):  # nothing more is asked of images: they may be a million
        return
    for entry in entries:
        if is_image(entry.name):
            continue
        if not entry.is_dir():
            _enter_other(entry.name, f"{name}/{entry.name}", found)
        elif not is_junk(entry.name):
            below = files_below(Path(entry.path), is_image)
            found.deeper += [f"{name}/{entry.name}/{image}" for image in below]


def _enter_other(name: str, path: str, found: Listing) -> None:
    if not (name.startswith(".") or is_xml(name)):
        found.others.append(path)


def class_folders(folder: Path) -> list[str]:
    """List the sub-folders that are classes, in class order; none where images lie side by side.

    A sub-folder is a class if it holds an image. If any name is a WordNet id, such names alone are
    classes, with images or without. Where more images lie beside the folders than in them, none is.
    """
    with os.scandir(folder) as listed:
        entries = list(listed)
    names = [entry.name for entry in entries if entry.is_dir() and not is_junk(entry.name)]
    if not names:
        return []
    beside = sum(is_image(entry.name) for entry in entries if not entry.is_dir())
    wnids = [name for name in names if _WNID.fullmatch(name)]
    inside, classes = 0, []
    for name in in_class_order(wnids or names):
        if wnids and inside >= beside:  # what the folder holds makes no difference
            classes.append(name)
            continue
        count = _count_images(folder / name, enough=max(1, beside - inside))
        inside += count
        classes += [name] if count or wnids else []
    return classes if inside >= beside else []


def _count_images(folder: Path, enough: int) -> int:
    """Count the images directly in a folder, up to ``enough``."""
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            count += is_image(entry.name)
            if count == enough:
                break
    return count
