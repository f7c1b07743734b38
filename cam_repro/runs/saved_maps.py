"""Open a run whose maps were saved (``cam-eval save_maps=true``)."""

from __future__ import annotations

from pathlib import Path

from cam_repro.errors import UserError
from cam_repro.runs.predictions import MAPS, Predictions, read_predictions


def read_with_maps(folder: Path) -> tuple[Predictions, Path]:
    """Read a run, and give the folder of its maps, one of each image's true class.

    Raises UserError if it has no maps, labels or true boxes.
    """
    run = read_predictions(folder)
    if not run.manifest.classifies:
        raise UserError(f"{folder}: made without a network, it has no maps")
    if not (run.manifest.maps and (folder / MAPS).is_dir()):
        raise UserError(f"{folder}: has no maps: score it again with cam-eval save_maps=true")
    if not run.has_labels:
        raise UserError(f"{folder}: the true classes are not known: score a labelled split")
    if not run.has_boxes:
        raise UserError(f"{folder}: no image has a true box, so there is no localization error")
    return run, folder / MAPS
