"""Show the class-specific units of a network: what ``cam-units`` does (the paper, Figure 13)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from cam_repro.api import LoadedNetwork
from cam_repro.boxes.threshold import check_threshold
from cam_repro.classes import as_typed, find_class
from cam_repro.commands.common import announce
from cam_repro.commands.networks import load_named
from cam_repro.config import validate
from cam_repro.data.image_set import SPLITS, ImageSet
from cam_repro.data.sources import open_image_set
from cam_repro.data.views import Squash, resampling_of
from cam_repro.engine.settings import NetworkSettings
from cam_repro.engine.units import (
    Activation,
    Region,
    maps_of_split,
    most_active,
    region_of,
    units_of_class,
)
from cam_repro.errors import UserError, if_stopped, one_of
from cam_repro.figures.class_units import ShownClass, ShownUnit, cut_out, draw_units
from cam_repro.figures.style import check_figure_path, save
from cam_repro.files import write_columns
from cam_repro.resample import resize

log = logging.getLogger(__name__)

MOST_CLASSES = 12
"""Of a network with more classes, some have to be named: so many fit on a page."""


@dataclass
class UnitsSettings(NetworkSettings):
    """Hold the settings of ``cam-units``: configs/units.yaml."""

    data: dict[str, Any] = field(default_factory=dict)
    split: str = "val"
    classes: Any = None
    units: int = 3
    count: int = 8
    threshold: float = 0.5
    checkpoint: str = "last"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("split", self.split, SPLITS)
        one_of("checkpoint", self.checkpoint, ("last", "best"))
        check_threshold("threshold", self.threshold)
        for key in ("units", "count"):
            if getattr(self, key) < 1:
                raise UserError(f"{key}={getattr(self, key)}: must be 1 or more")


@dataclass(frozen=True, eq=False)
class Place:
    """Hold an image in which a unit is active: its id, how active, where, and that cut out."""

    image_id: str
    activation: Activation
    region: Region
    patch_HW3: np.ndarray


Units = list[tuple[int, float]]
"""Units of a class, and the weight of each, the largest first."""


@if_stopped("no figure is written; an older one is kept")
def run_units(cfg: DictConfig, overrides: Sequence[str] = ()) -> Path:
    """Do what ``cam-units`` does; return the figure's file, beside which the table lies.

    cfg: the composed settings. overrides: the ``key=value`` words that they were composed from.
    """
    settings = validate(cfg, UnitsSettings)
    path = Path(settings.output or "units.png")
    check_figure_path(path)
    images = open_image_set(settings.data, settings.split, with_boxes=False)
    announce(images)
    if not images.has_images:
        raise UserError(f"{images.folder}: has no images for a network to see")
    loaded, _ = load_named(settings, images.name, overrides)
    if images.classes.wnids == tuple(loaded.wnids):  # a checkpoint has no readable names
        loaded = replace(loaded, names=images.classes.names)
    units_of = _units_of(loaded, settings)
    view = Squash(loaded.settings["input_size"], loaded.settings["resize_size"])
    view.resampling = resampling_of(loaded.settings)
    wanted = sorted({unit for units in units_of.values() for unit, _ in units})
    maps = maps_of_split(loaded.network, view, images, settings.loader, loaded.compute)
    found, n_images = most_active(maps, wanted, settings.count)
    if not n_images:
        raise UserError(f"no image of {images.folder} could be read; nothing is written")
    places = {
        unit: [_place(one, images, settings.threshold, view.interpolation) for one in active]
        for unit, active in found.items()
    }
    shown = [
        ShownClass(
            loaded.names[index],
            [ShownUnit(u, weight, [place.patch_HW3 for place in places[u]]) for u, weight in units],
        )
        for index, units in units_of.items()
    ]
    title = f"{loaded.settings['row']}: the units of each class, and where they are most active"
    notes = [
        "a row is a unit, a map of the last convolutional layer: its number, and below this its "
        f"weight for the class: up to {settings.units} units, those with the largest weights above "
        "0",
        f"of the {n_images:,} images of {images.name}, {images.split}, up to {settings.count} in "
        "which the unit is active at all, the most active first; light is the region around "
        "the maximum of its map in which it is above "
        f"{100 * settings.threshold:.3g} % of the maximum",
    ]
    save(draw_units(shown, title, notes), path)
    table = path.with_suffix(".csv")
    write_columns(table, _table(loaded.names, units_of, places))
    log.info("drawn: %s, and as a table: %s", path, table)
    return path


def _units_of(loaded: LoadedNetwork, settings: UnitsSettings) -> dict[int, Units]:
    """Find the units of each class that is wanted, by its class index.

    Raises UserError where the network has no weights of classes, or a class is not known.
    """
    w_CK = loaded.network.class_weights()
    if w_CK is None:
        raise UserError(
            f"model={loaded.name}: has no units of a class, as {loaded.network.no_cam}: choose a "
            "network with CAM, such as googlenet_gap"
        )
    given = as_typed(settings.classes)
    if given is None and len(loaded.names) > MOST_CLASSES:
        raise UserError(
            f"the network has {len(loaded.names):,} classes, and all are shown of up to "
            f"{MOST_CLASSES} alone: name those to show, as class=[A,B]"
        )
    wanted = range(len(loaded.names)) if given is None else given
    wanted = wanted if isinstance(wanted, Sequence) and not isinstance(wanted, str) else [wanted]
    indices = dict.fromkeys(find_class(one, loaded.names, loaded.wnids) for one in wanted)
    units_of = {index: units_of_class(w_CK, index, settings.units) for index in indices}
    for index in [index for index, units in units_of.items() if not units]:
        log.warning("%s is left out: no unit has a weight above 0", loaded.names[index])
        del units_of[index]
    if not units_of:
        raise UserError("no class is left to show: name others with class=[A,B]")
    return units_of


def _place(one: Activation, images: ImageSet, threshold: float, interpolation: str) -> Place:
    """Find where in an image a unit is active, in pixels of the original, and cut it out."""
    image = images.original(one.index)
    region = region_of(resize(one.map_hw, *image.size, interpolation), threshold)
    patch_HW3 = cut_out(np.asarray(image), region.mask_HW, region.box)
    return Place(images.ids[one.index], one, region, patch_HW3)


def _table(
    names: Sequence[str], units_of: Mapping[int, Units], places: Mapping[int, Sequence[Place]]
) -> dict[str, list[Any]]:
    """Make the table's columns: a row for each image of a unit of a class.

    A unit that is nowhere active has one row, without an image. names: of all classes.
    """
    columns = [
        *("class", "name", "unit", "weight", "rank", "image", "maximum", "mean"),
        *("x", "y", "x0", "y0", "x1", "y1"),
    ]
    rows: list[tuple[Any, ...]] = []
    for index, units in units_of.items():
        for unit, weight in units:
            start = (index, names[index], unit, _short(weight))
            for rank, place in enumerate(places[unit], start=1):
                one, region = place.activation, place.region
                active = _short(one.maximum), _short(one.mean)
                rows.append((*start, rank, place.image_id, *active, *region.place, *region.box))
            if not places[unit]:
                rows.append((*start, *[None] * (len(columns) - len(start))))
    return dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))


def _short(value: float) -> float:
    """Round to the digits that float32 has."""
    return float(f"{value:.6g}")
