"""Read the training runs of a data set: their manifests and the lines of their logs."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cam_repro.errors import UserError
from cam_repro.runs.manifest import TrainManifest, read_train_manifest
from cam_repro.runs.training_log import TrainingLog, read_log

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """Hold a training run: its folder, its manifest, and its log."""

    folder: str
    manifest: TrainManifest
    log: TrainingLog

    @property
    def model(self) -> str:
        """Name of the network."""
        return self.manifest.model


def read_trainings(folders: Iterable[Path]) -> list[Training]:
    """Read the training runs in these folders; those that cannot be read are left out, and said."""
    trainings = []
    for folder in folders:
        try:
            manifest = read_train_manifest(folder)
            trainings.append(Training(folder.as_posix(), manifest, read_log(folder)))
        except UserError as error:
            log.warning("left out: %s", error)
    return trainings
