"""Tell image and XML files by their names, and make image ids from file names."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

IMAGE_SUFFIXES = {
    *(".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
}
"""Of the files that are taken for images, in small letters or capitals."""

_ENDINGS = tuple(IMAGE_SUFFIXES)

JUNK = {"__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information"}
"""Folders of operating systems and programs, which hold no images of a data set."""


def is_image(name: str) -> bool:
    """Tell whether a file's name is that of an image; fast, as a million are asked."""
    return name.lower().endswith(_ENDINGS) and not name.startswith(".")


def is_xml(name: str) -> bool:
    """Tell whether a file's name is that of an XML file."""
    return name[-4:].lower() == ".xml" and not name.startswith(".")


def is_junk(name: str) -> bool:
    """Tell whether a folder is hidden, or one of ``JUNK``."""
    return name.startswith(".") or name in JUNK


def files_below(folder: Path, is_wanted: Callable[[str], bool]) -> list[str]:
    """List the files, at any depth in a folder, whose names are wanted: paths below the folder.

    Links to folders are followed, but for those that lead back to where they lie.
    """
    found = []
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(
            name for name in folders if not is_junk(name) and not _leads_back(folder, place, name)
        )
        wanted = sorted(filter(is_wanted, names))
        found += [str((Path(place) / name).relative_to(folder)) for name in wanted]
    return found


def _leads_back(top: Path, place: str, name: str) -> bool:
    """Tell whether ``name`` in ``place`` is a link to a folder by which it was reached."""
    link = Path(place, name)
    if not link.is_symlink():
        return False
    target = link.resolve()
    passed = [link.parent, *link.parent.parents][: len(link.relative_to(top).parts)]
    return any(folder.resolve().is_relative_to(target) for folder in passed)


def image_id(path: str, nested: bool) -> str:
    """Give the id of the image in a file: its name without the suffix of an image.

    path: of the file, below its split's folder. nested: keep the class folder (``cat/001``).
    """
    stem = _stem(path)
    return stem if nested else stem.rpartition("/")[2]


def image_ids(paths: Sequence[str]) -> tuple[list[str], bool]:
    """Give the ids of many images, and whether they keep the class folder.

    They do where two images have the same name without folder. Fast, as there may be a million.
    """
    names = [_stem(path).rpartition("/")[2] for path in paths]
    if len(set(names)) == len(names):
        return names, False
    return [_stem(path) for path in paths], True


def name_of(image_id: str) -> str:
    """Give an image's name without folder and suffix: ``val/a.JPEG`` is ``a``."""
    name = image_id.rpartition("/")[2]
    return name.rpartition(".")[0] if is_image(name) else name


def _stem(name: str) -> str:
    """Give a name without the suffix of an image, if it has one; fast, as ``is_image``."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot + suffix.lower() in IMAGE_SUFFIXES else name
