"""Find the maps that a run saved (``cam-eval save_maps=true``)."""

from __future__ import annotations

from pathlib import Path

from cam_repro.errors import UserError
from cam_repro.runs.predictions import MAPS, Predictions
from cam_repro.truth import Truth


def maps_folder(run: Predictions, folder: Path, truth: Truth | None = None) -> Path:
    """Give the folder of a run's maps, one of each image's true class.

    folder: the run's. truth: what they are scored against; None: the run's own.
    Raises UserError if the run has no maps or labels, or the truth neither boxes nor masks.
    """
    truth = run if truth is None else truth
    if not run.manifest.classifies:
        raise UserError(f"{folder}: made without a network, it has no maps")
    if not (run.manifest.maps and (folder / MAPS).is_dir()):
        raise UserError(f"{folder}: has no maps: score it again with cam-eval save_maps=true")
    if not run.has_labels:
        raise UserError(f"{folder}: the true classes are not known: score a labelled split")
    if not (truth.has_boxes or truth.masks is not None):
        raise UserError(f"{folder}: no image has a true box, so there is no localization error")
    return folder / MAPS
