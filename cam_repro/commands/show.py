"""Explain photographs: what ``cam-show`` does."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from cam_repro.api import Explanation, LoadedNetwork, load_network
from cam_repro.classes import as_typed
from cam_repro.config import validate
from cam_repro.data.images import UnreadableImage, is_turned
from cam_repro.engine.settings import PRECISIONS
from cam_repro.errors import UserError, if_stopped, one_of
from cam_repro.figures.explained import draw_overlay, draw_sheet, png_of
from cam_repro.figures.pictures import check_colours
from cam_repro.figures.style import check_figure_path, save
from cam_repro.figures.terminal import PROTOCOLS, inline, protocol_of
from cam_repro.files import FIGURES, at_home, check_writable, is_figure, path_within
from cam_repro.formats.names import IMAGE_SUFFIXES, is_image, is_junk
from cam_repro.runs.folders import places
from cam_repro.runs.manifest import refuse_to_overwrite

log = logging.getLogger(__name__)

UNNAMED = "default"
"""Stands for the network in ``model.NAME.KEY`` where none is named (words.py)."""


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
        if self.top < 1:
            raise UserError(f"top={self.top}: at least one class is shown")
        check_colours(self.colours, key="colours")


@if_stopped("pictures that are drawn are whole")
def run_show(cfg: DictConfig, overrides: Sequence[str] = ()) -> list[Path]:
    """Do what ``cam-show`` does; return the files written.

    cfg: the composed settings. overrides: the ``key=value`` words that they were composed from.
    """
    settings = validate(cfg, ShowSettings)
    files = list(find_images(settings.image))
    if Path(settings.output).suffix.lower() in {*IMAGE_SUFFIXES, *FIGURES}:
        check_figure_path(settings.output)
        if len(files) > 1:
            raise UserError(
                f"output={settings.output} is one file, and there are {len(files)} images: name a "
                "folder"
            )
        refuse_to_overwrite("output", settings.output, files)
    else:
        check_writable(Path(settings.output))
    networks = {
        name: _load(name, settings, overrides) for name in settings.model or {UNNAMED: None}
    }
    written: list[Path] = []
    for file, place in zip(files, _places(files, settings), strict=True):
        try:
            explained = _explain(file, networks, settings)
        except UnreadableImage as error:
            if len(files) == 1:
                raise
            log.warning("left out: %s", error)
            continue
        _say(file, list(explained.values()))
        written += _draw(explained, place, settings)
    if not written:
        raise UserError(f"none of the {len(files)} images could be read")
    log.info("%s", _written(written))
    return written


def _explain(
    file: Path, networks: Mapping[str, LoadedNetwork], settings: ShowSettings
) -> dict[str, Explanation]:
    """Explain an image by each network and method: by their names, as ``squeezenet-cam``."""
    methods = settings.saliency or {"": None}
    return {
        f"{name}-{method}": network.explain(
            file,
            classes=as_typed(settings.classes),
            saliency=choice,
            view=settings.view,
            box=[{"name": rule, **keys} for rule, keys in settings.box.items()],
            top=settings.top,
        )
        for name, network in networks.items()
        for method, choice in methods.items()
    }


def find_images(wanted: Any) -> Iterator[Path]:
    """Find the images of a file, a folder (those directly in it) or a pattern, or several of these.

    Raises UserError where there is nothing of that name, or no image.
    """
    for one in [wanted] if isinstance(wanted, str) else wanted:
        path = at_home(str(one))
        if path.is_dir():
            there = sorted(file for file in path.iterdir() if not is_junk(file.name))
            found = [file for file in there if is_image(file.name)]
            if not found:
                raise UserError(f"image={one}: no image lies directly in this folder")
            if others := [file.name for file in there if not is_image(file.name)]:
                log.info("%s: left out are %d others (%s)", one, len(others), others[0])
            yield from found
        else:
            found = [file for file in places(str(path)) if not file.is_dir()]
            if not found:
                raise UserError(f"image={one}: there is no such file or folder")
            yield from found


def _load(name: str, settings: ShowSettings, overrides: Sequence[str]) -> LoadedNetwork:
    """Load a network with the settings that were given for it; ``UNNAMED``: the default one."""
    start = f"model.{name}."
    words = OverridesParser.create().parse_overrides(list(overrides))
    given: dict[str, Any] = {
        word.key_or_group.removeprefix(start): word.value()
        for word in words
        if word.key_or_group.startswith(start)
    }
    if given.get("weights", "") is None:
        raise UserError(
            "model.weights=null: a network with random weights shows nothing: leave it out, for the"
            " pretrained ones, or give a file"
        )
    return load_network(
        None if name == UNNAMED else name,
        weights=given.pop("weights", None),
        device=settings.device,
        precision=settings.precision,
        **given,
    )


def _places(files: Sequence[Path], settings: ShowSettings) -> Iterator[Path]:
    """Give each image the file or the folder of its pictures; equal names get numbers."""
    taken: set[str] = set()
    for file in files:
        if is_figure(settings.output):
            yield Path(settings.output)
            continue
        stem = file.stem if file.stem.strip(".") else file.name  # "..", of "...jpg", leads away
        name, number = stem, 1
        while name in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name)
        yield path_within(settings.output, name)


def _draw(
    explained: Mapping[str, Explanation], place: Path, settings: ShowSettings
) -> Iterator[Path]:
    """Draw the pictures of one image, and give their files.

    explained: by network and method, as ``squeezenet-cam``. place: the one file; or a folder, for a
    picture of each class and a sheet.
    """
    first, *more = explained.values()
    sheet = draw_sheet([first, *more], colours=settings.colours)
    protocol = settings.terminal if settings.terminal in PROTOCOLS else None
    if settings.terminal == "auto" and sys.stdout.isatty():
        protocol = protocol_of(os.environ)
    if protocol:
        sys.stdout.write(inline(png_of(sheet), protocol))
    if is_figure(place):
        alone = len(first.classes) == 1 and not more
        save(draw_overlay(first, colours=settings.colours) if alone else sheet, place)
        yield place
        return
    for label, one in explained.items():
        of = f"{label.strip('-')}-" if more else ""
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
    note = " (turned upright by its EXIF data, which scoring ignores)" if is_turned(file) else ""
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
