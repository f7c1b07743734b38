"""Let a protocol score the maps that a run, or anybody, saved. Needs no torch."""

from __future__ import annotations

import dataclasses
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cam_repro.engine.memory import freed_memory_kept
from cam_repro.errors import UserError
from cam_repro.files import check_writable, path_within, says_if_full
from cam_repro.formats.maps import open_maps
from cam_repro.metrics.protocol import Needs, Protocol, RunMaps, Scored, known_sizes
from cam_repro.progress import Bar
from cam_repro.runs.manifest import MANIFEST
from cam_repro.truth import Truth

if TYPE_CHECKING:  # imports pyarrow, which maps of others do without
    from cam_repro.runs.predictions import Predictions

log = logging.getLogger(__name__)


def score_maps(
    protocol: Protocol, truth: Truth, path: Path, run: Predictions | None = None
) -> Scored:
    """Score the map of each image's true class, with a progress bar.

    Maps with values that are NaN or infinite are counted, in a warning and in the JSON.
    path: of the maps, as for ``open_maps``. run: whose maps these are; None for those of others.
    For a protocol that needs maps at the size of their images, they are resized as the run's view
    resized them, those of others bilinearly.
    Raises UserError as ``open_maps`` and the protocol do.
    """
    maps = open_maps(path, truth.ids, _checksums(path, run))
    rows = Bar(len(truth), protocol.name, iterable=range(len(truth)), leave=False)
    odd: list[str] = []  # ids of images

    def checked() -> Iterator[np.ndarray]:
        for row in rows:
            map_hw = maps[row]
            if not np.isfinite(map_hw).all():
                odd.append(truth.ids[row])
            yield map_hw

    given: Iterator[np.ndarray] | RunMaps = checked()
    if protocol.needs is Needs.IMAGE_MAPS:
        given = _at_image_size(checked(), known_sizes(truth, protocol.name), run)
    elif protocol.needs is Needs.RUN_MAPS:
        assert run is not None, "only a run has what this protocol needs"
        given = RunMaps(run, checked())
    with freed_memory_kept():
        scored = protocol.score(truth, given)
    if odd:
        log.warning(
            "%d of %d maps have values that are NaN or infinite (the first: %s): %s",
            len(odd),
            len(truth),
            odd[0],
            protocol.odd_maps,
        )
        scored = dataclasses.replace(scored, numbers={**scored.numbers, "odd_maps": len(odd)})
    return scored


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


def _at_image_size(
    maps: Iterator[np.ndarray], sizes_N2: np.ndarray, run: Predictions | None
) -> Iterator[np.ndarray]:
    """Yield each map resized to its image, float32 (H, W)."""
    from cam_repro.resample import resize  # cv2, which scoring of guesses does without

    interpolation = "linear" if run is None else run.manifest.interpolation
    for map_hw, (width, height) in zip(maps, sizes_N2.tolist(), strict=True):
        yield resize(map_hw, width, height, interpolation)


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
