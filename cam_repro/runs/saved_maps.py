"""Find the maps that a run saved (``cam-eval save_maps=true``)."""

from __future__ import annotations

from pathlib import Path

from cam_repro.errors import UserError
from cam_repro.runs.predictions import MAPS, Predictions


def maps_folder(run: Predictions, folder: Path) -> Path:
    """Give the folder of a run's maps, one of each image's true class.

    folder: the run's. Raises UserError if it has no maps, labels or true boxes.
    """
    if not run.manifest.classifies:
        raise UserError(f"{folder}: made without a network, it has no maps")
    if not (run.manifest.maps and (folder / MAPS).is_dir()):
        raise UserError(f"{folder}: has no maps: score it again with cam-eval save_maps=true")
    if not run.has_labels:
        raise UserError(f"{folder}: the true classes are not known: score a labelled split")
    if not run.has_boxes:
        raise UserError(f"{folder}: no image has a true box, so there is no localization error")
    return folder / MAPS
