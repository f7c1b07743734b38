"""Hold, write and read the manifest of a concept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cam_repro.runs.manifest.parts import (
    Checkpoint,
    Provenance,
)
from cam_repro.runs.manifest.record import Keys, Manifest, Settings


@dataclass(frozen=True, kw_only=True)
class ConceptManifest(Manifest):
    """Hold the manifest of a concept learned from positive and negative images.

    concept: its name. positives, negatives: the folders of features that it was learned from.
    fingerprints: of their images. checkpoint: of the network that made the features. What was found
    stands in ``scores.json``.
    """

    model: str
    view: str
    concept: str
    positives: str
    negatives: str
    fingerprints: list[str]
    checkpoint: Checkpoint
    seconds: float
    config: Settings
    provenance: Provenance


def read_concept_manifest(folder: Path | str) -> ConceptManifest:
    """Read the manifest of a concept; raises UserError as ``read_eval_manifest`` does."""
    keys = Keys.of_kind(folder, "cam-concept", "concept", "a concept")
    keys.check_model()
    return keys.record(ConceptManifest)
