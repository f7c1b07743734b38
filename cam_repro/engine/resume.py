"""Resume a run that was stopped: check that it is the same run, and load its progress."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from cam_repro.data.image_set import ImageSet
from cam_repro.engine.checkpoint import load_checkpoint
from cam_repro.engine.settings import CLASSIFICATION, TrainSettings
from cam_repro.errors import UserError
from cam_repro.files import sha256
from cam_repro.runs.folders import is_complete
from cam_repro.runs.manifest import MANIFEST

LAST, BEST = "last.pt", "best.pt"
"""A run's checkpoints: the newest, and the one with the lowest validation error."""

REMEDY = (
    f"restore {LAST}, choose another folder with output=DIR, or train again with overwrite=true"
)
"""What to do where a run cannot go on from its last checkpoint."""

NOT_PART_OF_A_RUN = (
    "loader",
    "device",
    "compile",
    "validate_every",
    "checkpoint_every",
    "tensorboard",
    "overwrite",
    "runs",
    "output",
)
"""Settings that may differ when a run is resumed: they do not change how weights are trained.

``validate_every`` says which epochs have a line of the log, and which of them the best is of.
"""


EARLIER_AUGMENTATIONS = [
    {"_target_": f"cam_repro.data.augment.{cls}", "name": name}
    for cls, name in (("SquashCrop", "squash_crop"), ("RandomResizedCrop", "random_resized_crop"))
]
"""Augmentations that checkpoints of earlier versions know, by their name alone."""


EARLIER_INTERPOLATION = "bilinear"
"""How all images were squashed before there was a setting for it."""


def run_identity(settings: TrainSettings, train_set: ImageSet) -> dict[str, Any]:
    """Collect everything that the result of a run depends on.

    A run can be resumed only if all of this is unchanged.
    """
    identity = {k: v for k, v in asdict(settings).items() if k not in NOT_PART_OF_A_RUN}
    if settings.augment in EARLIER_AUGMENTATIONS:
        identity["augment"] = settings.augment["name"]
    # What a network may start from is no part of it; checkpoints of earlier versions lack it all.
    unsaid = {"pixel_mean": None, "pixel_std": None, "take_classes": None}.items()
    model = {k: v for k, v in settings.model.items() if k != "pretrained" and (k, v) not in unsaid}
    if model.get("interpolation") == EARLIER_INTERPOLATION:
        del model["interpolation"]
    weights = model.get("weights")
    if weights is not None and Path(weights).is_file():  # by content: the file may be moved
        model["weights"] = sha256(weights)
    identity["model"] = model
    return {**identity, "data": {"name": train_set.name, "fingerprint": train_set.fingerprint}}


def find_earlier(
    settings: TrainSettings, train_set: ImageSet, folder: Path
) -> dict[str, Any] | None:
    """Load the last checkpoint of an earlier start of the same run; None if there is none.

    With ``overwrite`` it is ignored, unless ``overwrite`` began that run and it did not end: then
    this is the same start once more, as SLURM's of a job that it put back into the queue.
    Raises UserError if the folder has a run with other settings, or one that cannot go on as its
    last checkpoint is gone, and no ``overwrite``.
    """
    path = folder / LAST
    if not settings.overwrite and not path.is_file():
        kept = [name for name in (MANIFEST, BEST) if (folder / name).is_file()]
        if kept:
            raise UserError(
                f"{folder} holds a run without its {LAST}, but with {' and '.join(kept)}: {REMEDY}"
            )
    if not path.is_file() or (settings.overwrite and is_complete(folder)):
        return None
    try:
        checkpoint = load_checkpoint(path)
    except UserError as error:
        if settings.overwrite:
            return None
        raise UserError(f"{error}; {REMEDY}") from error
    # Earlier versions had one objective, and did not say which.
    old = {"train": CLASSIFICATION, **json.loads(checkpoint.get("identity", "{}"))}
    new = json.loads(json.dumps(run_identity(settings, train_set)))
    if settings.overwrite:
        return checkpoint if old == new and checkpoint.get("overwrites") else None
    if old != new:
        differing = _first_difference(old, new)
        raise UserError(
            f"{folder} holds a run with other settings ({differing}); "
            "choose another folder with output=DIR, or replace it with overwrite=true"
        )
    return checkpoint


def _first_difference(old: Any, new: Any, key: str = "") -> str:
    """Say for a message in which key two identities differ first, and how."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *new]:
            if old.get(name) != new.get(name):
                inner = f"{key}.{name}" if key else str(name)
                return _first_difference(old.get(name), new.get(name), inner)
    return f"{key}: {old} there, {new} now"


@dataclass
class Progress:
    """Hold how far a run has come: what a checkpoint has besides network and optimizer.

    iteration: number of iterations done. records: the lines of log.csv. sums: loss, wrong guesses,
    images, and the terms of the loss if it has any, added up since the last validation, float64.
    best_error: lowest validation top-1 error so far, percent.
    """

    iteration: int = 0
    records: list[dict[str, float]] = field(default_factory=list)
    sums: torch.Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64))
    best_error: float = math.inf

    @property
    def is_best(self) -> bool:
        """Tell whether the epoch that ended with the last iteration is the best so far."""
        if not self.records or self.records[-1]["iteration"] != self.iteration:
            return False
        *before, last = (record["val_top1_error"] for record in self.records)
        return last == self.best_error and last not in before
