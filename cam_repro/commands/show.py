"""Explain photographs: what ``cam-show`` does."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from PIL import Image

from cam_repro.api import Explanation, LoadedNetwork, load_network
from cam_repro.config import validate
from cam_repro.engine.settings import PRECISIONS
from cam_repro.errors import UserError, if_stopped, one_of
from cam_repro.figures.explained import draw_overlay, draw_sheet, png_of
from cam_repro.figures.pictures import check_colours
from cam_repro.figures.style import check_figure_path, save
from cam_repro.figures.terminal import PROTOCOLS, inline, protocol_of
from cam_repro.files import FIGURES, check_writable, is_figure
from cam_repro.runs.folders import places

log = logging.getLogger(__name__)

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm"}
"""Of the files that are taken from a folder, in small letters or capitals."""

EXIF_ORIENTATION, EXIF_UPRIGHT = 0x0112, 1


@dataclass
class ShowSettings:
    """Hold the settings of ``cam-show``: configs/show.yaml."""

    image: Any = None
    classes: Any = None
    top: int = 5
    model: dict[str, Any] = field(default_factory=dict)
    saliency: dict[str, Any] = field(default_factory=dict)
    view: dict[str, Any] = field(default_factory=dict)
    box: dict[str, Any] = field(default_factory=dict)
    output: str = "shown"
    format: str = "png"
    colours: str = "inferno"
    terminal: str = "auto"
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        images = self.image if isinstance(self.image, list) else [self.image]
        if not images or not all(images) or images == ["???"]:
            raise UserError("no image is given: cam-show FILE, or a folder of images")
        one_of("format", self.format, [suffix.removeprefix(".") for suffix in FIGURES])
        one_of("terminal", self.terminal, ("auto", "no", *PROTOCOLS))
        one_of("precision", self.precision, PRECISIONS)
        check_colours(self.colours, key="colours")


@if_stopped("pictures that are drawn are whole")
def run_show(cfg: DictConfig, overrides: Sequence[str] = ()) -> list[Path]:
    """Do what ``cam-show`` does; return the files written.

    cfg: the composed settings. overrides: the ``key=value`` words that they were composed from.
    """
    settings = validate(cfg, ShowSettings)
    files = list(find_images(settings.image))
    if Path(settings.output).suffix.lower() in {*SUFFIXES, *FIGURES}:
        check_figure_path(settings.output)
        if len(files) > 1:
            raise UserError(
                f"output={settings.output} is one file, and there are {len(files)} images: name a "
                "folder"
            )
    else:
        check_writable(Path(settings.output))
    networks = [_load(name, settings, overrides) for name in settings.model]
    written: list[Path] = []
    for file, place in zip(files, _places(files, settings), strict=True):
        explained = [
            network.explain(
                file,
                classes=settings.classes,
                saliency=method,
                view=settings.view,
                box=[{"name": name, **rule} for name, rule in settings.box.items()],
                top=settings.top,
            )
            for network in networks
            for method in list(settings.saliency.values()) or [None]
        ]
        _say(file, explained)
        written += _draw(explained, place, settings)
    log.info("%s", _written(written))
    return written


def find_images(wanted: Any) -> Iterator[Path]:
    """Find the images of a file, a folder (those directly in it) or a pattern, or several of these.

    Raises UserError where there is nothing of that name, or no image.
    """
    for one in [wanted] if isinstance(wanted, str) else wanted:
        path = Path(str(one)).expanduser()
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
            if not found:
                raise UserError(f"image={one}: no image lies directly in this folder")
            yield from found
        else:
            found = [file for file in places(str(path)) if not file.is_dir()]
            if not found:
                raise UserError(f"image={one}: there is no such file or folder")
            yield from found


def _load(name: str, settings: ShowSettings, overrides: Sequence[str]) -> LoadedNetwork:
    """Load a network with the settings that were given for it."""
    start = f"model.{name}."
    words = [word.removeprefix(start) for word in overrides if word.startswith(start)]
    given = OmegaConf.to_container(OmegaConf.from_dotlist(words))
    assert isinstance(given, dict)
    weights = given.pop("weights", None)
    return load_network(
        name,
        weights=weights,
        device=settings.device,
        precision=settings.precision,
        **{str(key): value for key, value in given.items()},
    )


def _places(files: Sequence[Path], settings: ShowSettings) -> Iterator[Path]:
    """Give each image the file or the folder of its pictures; equal names get numbers."""
    taken: set[str] = set()
    for file in files:
        if is_figure(settings.output):
            yield Path(settings.output)
            continue
        name, number = file.stem, 1
        while name in taken:
            number += 1
            name = f"{file.stem}-{number}"
        taken.add(name)
        yield Path(settings.output) / name


def _draw(explained: Sequence[Explanation], place: Path, settings: ShowSettings) -> Iterator[Path]:
    """Draw the pictures of one image, and give their files.

    place: the one file; or a folder, for a picture of each class and a sheet.
    """
    sheet = draw_sheet(explained, colours=settings.colours)
    protocol = settings.terminal if settings.terminal in PROTOCOLS else None
    if settings.terminal == "auto" and sys.stdout.isatty():
        protocol = protocol_of(os.environ)
    if protocol:
        sys.stdout.write(inline(png_of(sheet), protocol))
    if is_figure(place):
        alone = len(explained) == len(explained[0].classes) == 1
        save(draw_overlay(explained[0], colours=settings.colours) if alone else sheet, place)
        yield place
        return
    for one in explained:
        of = f"{_file_name(one.network)}-{one.saliency}-" if len(explained) > 1 else ""
        for rank, name in enumerate(one.names):
            path = place / f"{of}{rank + 1}-{_file_name(name)}.{settings.format}"
            save(draw_overlay(one, rank, colours=settings.colours), path)
            yield path
    path = place / f"sheet.{settings.format}"
    save(sheet, path)
    yield path


def _file_name(name: str) -> str:
    """Turn a name into one that any file system takes."""
    return re.sub(r"[^\w.-]+", "_", name).strip("_") or "class"


def _say(file: Path, explained: Sequence[Explanation]) -> None:
    """Print the classes and boxes of an image."""
    with Image.open(file) as image:
        turned = image.getexif().get(EXIF_ORIENTATION, EXIF_UPRIGHT) != EXIF_UPRIGHT
    note = " (turned upright by its EXIF data, which scoring ignores)" if turned else ""
    print(f"{file}{note}")
    for one in explained:
        print(one)


def _written(files: Sequence[Path]) -> str:
    """Say where the pictures are."""
    if len(files) == 1:
        return f"drawn: {files[0]}"
    sheets = [file for file in files if file.stem == "sheet"]
    more = f" and {len(sheets) - 1} more" if len(sheets) > 1 else ""
    return f"drawn: {sheets[0]}{more}, and beside it a picture of each class ({len(files)} files)"
