"""Hold, write and read the manifest of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cam_repro.runs.manifest.parts import (
    Checkpoint,
    Hardware,
    Provenance,
    TrainedData,
)
from cam_repro.runs.manifest.record import Keys, Manifest, Settings


@dataclass(frozen=True, kw_only=True)
class TrainManifest(Manifest):
    """Hold the manifest of a training run.

    iterations, epochs: how long it trained. final: the last line of log.csv, by column.
    parameters: number of weights. skipped: a line for each image that could not be read.
    checkpoint: the last one, as a path within the folder.
    """

    model: str
    data: TrainedData
    iterations: int
    epochs: float
    final: dict[str, float]
    parameters: int
    skipped: list[str] = field(default_factory=list)
    seconds: float
    hardware: Hardware
    config: Settings
    provenance: Provenance
    checkpoint: Checkpoint


def read_train_manifest(folder: Path | str) -> TrainManifest:
    """Read the manifest of a training run; raises UserError as ``read_eval_manifest`` does."""
    keys = Keys.of_folder(folder, "cam-train", "train it again with cam-train overwrite=true")
    if "saliency" in keys:
        raise keys.error("is of a scored run: give a folder that cam-train wrote", remedy=False)
    # A folder of packed data has a manifest too, without "schema" and without "iterations".
    keys.expect_schema(keys.values.get("schema", 1 if "iterations" in keys else None))
    keys.check_model()
    return keys.record(TrainManifest)
