"""Hold, write and read the manifest of the features of a split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cam_repro.runs.manifest.parts import (
    Checkpoint,
    Counts,
    Crops,
    Hardware,
    Provenance,
    ScoredData,
)
from cam_repro.runs.manifest.record import Keys, Manifest, Settings


@dataclass(frozen=True, kw_only=True)
class FeaturesManifest(Manifest):
    """Hold the manifest of the features of a split: what a class layer takes, of each image.

    features: K, how many each image has. classes: of the data set, as their folders are called, by
    class index. folder: of the images, as an absolute path; None in features of older versions.
    crops: None where the network saw whole images.
    seconds, images_per_second: of the last start, where it was stopped and went on.
    """

    model: str
    view: str
    split: str
    features: int
    data: ScoredData
    folder: str | None = None
    classes: list[str]
    counts: Counts
    skipped: list[str]
    crops: Crops | None
    checkpoint: Checkpoint
    seconds: float
    images_per_second: float
    hardware: Hardware
    config: Settings
    provenance: Provenance


def read_features_manifest(folder: Path | str) -> FeaturesManifest:
    """Read the manifest of features; raises UserError as ``read_eval_manifest`` does."""
    keys = Keys.of_kind(folder, "cam-features", "features", "features")
    keys.check_model()
    config = keys.within("config")
    config.within("model").get("name", str)
    config.get("view", dict)
    for group in ("model", "data"):
        config.within(group).get("_target_", str)
    return keys.record(FeaturesManifest)
