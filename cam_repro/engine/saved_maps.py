"""Let a protocol score the maps that a run, or anybody, saved. Needs no torch."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cam_repro.engine.memory import freed_memory_kept
from cam_repro.formats.maps import open_maps
from cam_repro.metrics.protocol import Protocol, RunMaps, Scored
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
    path: of the maps, as for ``open_maps``. run: whose maps these are, for a protocol that needs
    it. Raises UserError as ``open_maps`` and the protocol do.
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

    with freed_memory_kept():
        scored = protocol.score(truth, checked() if run is None else RunMaps(run, checked()))
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
