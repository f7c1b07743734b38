"""Scored runs for tests: small manifests, and folders whose errors are known."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from cam_repro.runs.manifest import (
    Counts,
    EvalManifest,
    Hardware,
    Provenance,
    ScoredData,
)
from cam_repro.runs.predictions import to_arrow, write_predictions
from cam_repro.types import Prediction, RuleGuesses

RIGHT, WRONG = (0, 0, 9, 9), (10, 10, 19, 19)
"""The true box of every image of ``write_run``, and one that does not touch it."""

MANIFEST = EvalManifest(
    model="nin",
    saliency="cam",
    view="squash",
    covered=1.0,
    split="val",
    rules=["threshold", "heuristic"],
    data=ScoredData(
        name="demo", is_ilsvrc=False, n_classes=6, fingerprint="f", has_labels=True, layout="flat"
    ),
    counts=Counts(images=4, skipped=0),
    submission_labels="class index + 1",
    seconds=0.5,
    images_per_second=8.0,
    hardware=Hardware(device="a CPU", precision="fp32", processes=1),
    provenance=Provenance(
        command="cam-eval",
        git=None,
        versions={"cam_repro": "0.1.0"},
        created="2025-01-01T00:00:00+00:00",
    ),
)

_OF_DATA = {field.name for field in fields(ScoredData)}


def make_manifest(data: str = "demo", **changes: Any) -> EvalManifest:
    """Make a small manifest of a scored pass.

    data: name of the data set. changes: fields of the manifest or of its data set, besides ``n``
    (number of images) and ``created``.
    """
    of_data = {key: changes.pop(key) for key in _OF_DATA & changes.keys()}
    n = changes.pop("n", MANIFEST.counts.images)
    created = changes.pop("created", MANIFEST.provenance.created)
    return replace(
        MANIFEST,
        data=replace(MANIFEST.data, name=data, **of_data),
        counts=replace(MANIFEST.counts, images=n),
        provenance=replace(MANIFEST.provenance, created=created),
        **changes,
    )


def write_run(
    runs: Path,
    model: str,
    saliency: str = "cam",
    cls_right: int = 0,
    loc_right: int = 0,
    folder: str | None = None,
    right_at: list[list[int]] | None = None,
    **changes: Any,
) -> Path:
    """Write a run over images of 20 x 20 pixels under ``runs``; returns its folder.

    The first ``cls_right`` images are classified right at the first guess, the others not at all;
    of the first ``loc_right`` images every box rule's boxes are right.

    folder: its name, in place of the one that cam-eval would give it. right_at: of each image, as
    in ``Prediction``. changes: as for ``make_manifest``.
    """
    manifest = make_manifest(model=model, saliency=saliency, **changes)
    predictions = [
        _prediction(i, i < cls_right, i < loc_right, manifest)
        for i in range(manifest.counts.images)
    ]
    for prediction, percents in zip(predictions, right_at or [], strict=bool(right_at)):
        prediction.right_at = percents
    suffix = "" if manifest.view == "squash" else f"-{manifest.view}"
    name = folder or f"{manifest.split}-{saliency}{suffix}"
    path = runs / manifest.data.name / model / "eval" / name
    write_predictions(path, to_arrow(predictions, manifest.rules), manifest)
    return path


def _prediction(i: int, class_right: bool, box_right: bool, manifest: EvalManifest) -> Prediction:
    classes = [0, 1, 2, 3, 4] if class_right else [1, 2, 3, 4, 5]
    box = RIGHT if box_right else WRONG
    is_labelled = manifest.data.has_labels
    guesses = RuleGuesses([(c, box) for c in classes], box if is_labelled else None)
    return Prediction(
        id=f"image{i:05d}",
        width=20,
        height=20,
        label=0 if is_labelled else -1,
        true_boxes_M4=np.array([RIGHT], np.int32),
        classes=classes,
        probabilities=[0.5, 0.2, 0.1, 0.1, 0.1],
        rules=dict.fromkeys(manifest.rules, guesses),
    )
