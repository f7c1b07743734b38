"""Let a protocol score the maps that a run, or anybody, saved. Few maps need no torch."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cam_repro.engine.memory import freed_memory_kept
from cam_repro.engine.processes import cpus
from cam_repro.errors import UserError
from cam_repro.files import check_writable, path_within, says_if_full
from cam_repro.formats.maps import open_maps
from cam_repro.metrics.protocol import (
    Maps,
    Needs,
    Protocol,
    Result,
    RunMaps,
    Scored,
    known_sizes,
)
from cam_repro.progress import Bar
from cam_repro.runs.manifest import MANIFEST
from cam_repro.truth import Truth

if TYPE_CHECKING:  # imports pyarrow, which maps of others do without
    from cam_repro.runs.predictions import Predictions

log = logging.getLogger(__name__)

MANY = 2000
"""From how many maps on several processes measure them: these take seconds to start."""

ODD, FLAT = "odd", "flat"
"""Of a map: it has values that are NaN or infinite; it is constant."""

AT_A_TIME = 32
"""How many maps a process measures before it hands the results over."""


def score_maps(
    protocol: Protocol, truth: Truth, path: Path, run: Predictions | None = None
) -> Scored:
    """Score the map of each image's true class, with a progress bar.

    Maps with values that are NaN or infinite are counted, in a warning and in the JSON, and
    constant maps by protocols for which these are a case of their own.
    path: of the maps, as for ``open_maps``. run: whose maps these are; None for those of others.
    For a protocol that needs maps at the size of their images, they are resized as the run's view
    resized them, those of others bilinearly.
    Raises UserError as ``open_maps`` and the protocol do.
    """
    at_size = protocol.needs is Needs.IMAGE_MAPS
    maps = SavedMaps(
        open_maps(path, truth.ids, _checksums(path, run)),
        len(truth),
        protocol.name,
        known_sizes(truth, protocol.name) if at_size else None,
        "linear" if run is None else run.manifest.interpolation,
    )
    given: SavedMaps | RunMaps = maps
    if protocol.needs is Needs.RUN_MAPS:
        assert run is not None, "only a run has what this protocol needs"
        given = RunMaps(run, maps)
    with freed_memory_kept():
        scored = protocol.score(truth, given)
    for key, rows, what, then in (
        ("odd_maps", maps.odd, "have values that are NaN or infinite", protocol.odd_maps),
        ("flat_maps", maps.flat, "are constant", protocol.flat_maps),
    ):
        if rows and then is not None:
            n, first = len(rows), truth.ids[rows[0]]
            log.warning("%d of %d maps %s (the first: %s): %s", n, len(truth), what, first, then)
            scored = dataclasses.replace(scored, numbers={**scored.numbers, key: n})
    return scored


@dataclass
class SavedMaps(Maps):
    """Read the maps of a truth's images one after another, with a progress bar.

    maps: item i is the map of image i. n: how many. what: the bar's name. sizes_N2: width and
    height of each image, if each map is to be resized to its image by ``interpolation``; else None.
    odd, flat: numbers of the images, of those read, whose maps have values that are NaN or
    infinite, or are constant.
    """

    maps: Any
    n: int
    what: str
    sizes_N2: np.ndarray | None
    interpolation: str
    odd: list[int] = field(default_factory=list)
    flat: list[int] = field(default_factory=list)

    def measured(self, measure: Callable[[int, np.ndarray], Result]) -> Iterator[Result]:
        """Yield ``measure(row, map)`` of each map, in order.

        Of ``MANY`` maps or more by a process for each processor.
        """
        workers = cpus() if self.n >= MANY else 0
        if workers > 1 and sys.platform == "linux":  # where processes are forked
            found = _by_processes(self, measure, workers)
        else:
            found = (self.measure(row, measure) for row in range(self.n))
        bar = Bar(self.n, self.what, iterable=found, leave=False)
        for row, (result, kind) in enumerate(bar):
            if kind is not None:
                {ODD: self.odd, FLAT: self.flat}[kind].append(row)
            yield result

    def measure(
        self, row: int, measure: Callable[[int, np.ndarray], Result]
    ) -> tuple[Result, str | None]:
        """Read a map and measure it; also tell whether it is ``ODD``, ``FLAT`` or neither."""
        map_hw = self.maps[row]
        kind = FLAT if map_hw.min() == map_hw.max() else None
        if self.sizes_N2 is not None:
            from cam_repro.resample import resize  # cv2, which scoring of guesses does without

            width, height = self.sizes_N2[row].tolist()
            with np.errstate(over="ignore"):  # beyond single precision is infinite
                map_hw = resize(map_hw, width, height, self.interpolation)
        if not np.isfinite(map_hw).all():
            kind = ODD
        return measure(row, map_hw), kind


@dataclass(frozen=True)
class _Measuring:
    """Hold what a DataLoader asks for the measure of each map."""

    maps: SavedMaps
    measure: Callable[[int, np.ndarray], Any]

    def __len__(self) -> int:
        return self.maps.n

    def __getitem__(self, row: int) -> tuple[Any, str | None]:
        return self.maps.measure(row, self.measure)


@dataclass(frozen=True)
class _Batch:
    """Hold measures of several maps."""

    found: list[tuple[Any, str | None]]


def _by_processes(
    maps: SavedMaps, measure: Callable[[int, np.ndarray], Result], workers: int
) -> Iterator[tuple[Result, str | None]]:
    """Measure maps in several processes; yield as ``SavedMaps.measure`` gives, in order."""
    from cam_repro.data.workers import loader_with_workers, watched_workers  # torch

    with watched_workers("measures maps", "let it use fewer processors (taskset -c 0 ...)"):
        for batch in loader_with_workers(
            _Measuring(maps, measure),
            workers=workers,
            collate_fn=_Batch,
            batch_size=AT_A_TIME,
            multiprocessing_context="fork",  # what measures need not be pickled
        ):
            yield from batch.found


def check_scoremaps(folder: Path) -> None:
    """Raise UserError where the folder for ``write_scoremaps`` is there, or cannot be written."""
    if os.path.lexists(folder):
        raise UserError(f"scoremaps={folder}: exists already: name a new folder")
    check_writable(folder)


def write_scoremaps(folder: Path, truth: Truth, path: Path, run: Predictions | None = None) -> int:
    """Write maps as the program of Choe et al. reads them; give how many are 0 everywhere.

    ``<folder>/<id>.npy`` of each image, 224 x 224, its minimum 0 and its maximum 1; 0 everywhere
    where the map is constant or not finite. They are float64: protocols that bring maps to that
    size themselves then give the very score of the maps they came from.

    folder: a new one. path, run: as for ``score_maps``.
    Raises UserError as ``check_scoremaps`` does.
    """
    from cam_repro.metrics.max_box_acc import SIZE, normalised  # cv2

    check_scoremaps(folder)
    maps = open_maps(path, truth.ids, _checksums(path, run))
    folder.parent.mkdir(parents=True, exist_ok=True)
    n_flat = 0
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        new = Path(scratch, folder.name)
        for row in Bar(len(truth), "maps", iterable=range(len(truth)), leave=False):
            map_HW = normalised(maps[row], SIZE)
            n_flat += map_HW is None
            file = path_within(new, *f"{truth.ids[row]}.npy".split("/"))
            with says_if_full(file):
                file.parent.mkdir(parents=True, exist_ok=True)
                np.save(file, np.zeros((SIZE, SIZE)) if map_HW is None else map_HW)
        new.rename(folder)
    return n_flat


def _checksums(path: Path, run: Predictions | None) -> dict[str, int] | None:
    """Give the CRC-32 of a run's maps by the names of their files; None of maps of others."""
    if run is None and not (path.parent / MANIFEST).is_file():
        return None
    from cam_repro.runs.predictions import MAPS, read_predictions

    if path.name != MAPS:
        return None
    run = run or read_predictions(path.parent)
    if run.map_crc32_N is None:
        return None
    return {f"{name}.npy": crc for name, crc in zip(run.ids, run.map_crc32_N.tolist(), strict=True)}
