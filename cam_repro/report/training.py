"""Read the training runs of a data set: their manifests and the lines of their logs."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cam_repro.errors import UserError
from cam_repro.runs.manifest import TrainManifest, read_train_manifest

log = logging.getLogger(__name__)

LOG = "log.csv"
COLUMNS = ("train_loss", "val_loss", "train_top1_error", "val_top1_error", "val_top5_error")


@dataclass(frozen=True)
class Training:
    """Hold a training run: its folder, its manifest, and its log, one value an epoch.

    columns: those of ``COLUMNS``; errors are in percent, of the crops that training validates on.
    """

    folder: str
    manifest: TrainManifest
    epochs: list[float]
    columns: dict[str, list[float]]

    @property
    def model(self) -> str:
        """Name of the network."""
        return self.manifest.model


def read_trainings(folders: Iterable[Path]) -> list[Training]:
    """Read the training runs in these folders; those that cannot be read are left out, and said."""
    trainings = []
    for folder in folders:
        try:
            trainings.append(_read(folder))
        except UserError as error:
            log.warning("left out: %s", error)
    return trainings


def _read(folder: Path) -> Training:
    manifest = read_train_manifest(folder)
    path = folder / LOG
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        columns = {name: [float(line[name]) for line in lines] for name in ("epoch", *COLUMNS)}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): its curves are not drawn") from error
    if not lines:
        raise UserError(f"{path} has no line: its curves are not drawn")
    return Training(folder.as_posix(), manifest, columns.pop("epoch"), columns)
