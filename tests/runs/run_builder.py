"""Scored runs for tests: small manifests, and folders whose errors are known."""

import functools
import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cam_repro.runs.examples import Example, small_jpeg, write_examples
from cam_repro.runs.manifest import MANIFEST as MANIFEST_FILE
from cam_repro.runs.manifest import (
    Counts,
    EvalManifest,
    Hardware,
    Provenance,
    ScoredData,
    write_manifest,
)
from cam_repro.runs.predictions import to_arrow, write_predictions
from cam_repro.types import Box, Prediction, RuleGuesses

RIGHT, WRONG = (0, 0, 9, 9), (10, 10, 19, 19)
"""The true box of every image of ``write_run``, and one that does not touch it."""

PICTURE = (40, 120, 200)
"""The colour of pictures of ``write_example_run``."""

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
    ids: str = "image{:05d}",
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
        replace(_prediction(i, i < cls_right, i < loc_right, manifest), id=ids.format(i))
        for i in range(manifest.counts.images)
    ]
    for prediction, percents in zip(predictions, right_at or [], strict=bool(right_at)):
        prediction.right_at = percents
    suffix = "" if manifest.view == "squash" else f"-{manifest.view}"
    name = folder or f"{manifest.split}-{saliency}{suffix}"
    path = runs / manifest.data.name / model / "eval" / name
    write_predictions(path, to_arrow(predictions, manifest.rules), manifest)
    write_manifest(path, manifest)
    return path


def edit_manifest(folder: Path, **changes: Any) -> None:
    """Change keys of a run's manifest by hand, which takes its checksum out: ``a.b`` is b in a."""
    path = folder / MANIFEST_FILE
    values = json.loads(path.read_text("utf-8"))
    for key, value in changes.items():
        *places, last = key.split(".")
        functools.reduce(operator.getitem, places, values)[last] = value
    values.pop("checksum", None)
    path.write_text(json.dumps(values), "utf-8")


def write_example_run(
    folder: Path,
    images: Sequence[Prediction],
    heats: Mapping[str, np.ndarray] | None = None,
    why: Mapping[str, tuple[str, ...]] | None = None,
    **changes: Any,
) -> Path:
    """Write a run of these predictions, each with an example; returns the folder.

    Pictures are of the one colour ``PICTURE``, and classes are called ``class 0, also kind 0``.

    heats: maps (R, h, w) by id; else each stands out in the left half alone. why: kinds by id; else
    ``even``. changes: as for ``make_manifest``.
    """
    manifest = make_manifest(n=len(images), rules=list(images[0].rules), **changes)
    write_predictions(folder, to_arrow(images, manifest.rules), manifest)
    examples = []
    for index, one in enumerate(images):
        classes = [*one.classes, *({one.label} - {*one.classes, -1})]
        half = np.zeros((len(classes), 4, 6), np.float32)
        half[..., :3] = 1
        examples.append(
            Example(
                id=one.id,
                index=index,
                width=one.width,
                height=one.height,
                jpeg=small_jpeg(Image.new("RGB", (one.width, one.height), PICTURE)),
                why=(why or {}).get(one.id, ("even",)),
                classes=tuple(classes),
                names=tuple(f"class {index}, also kind {index}" for index in classes),
                probabilities=tuple([*one.probabilities, 0.01][: len(classes)]),
                maps_Rhw=(heats or {}).get(one.id, half),
            )
        )
    write_examples(folder, examples)
    write_manifest(folder, manifest)
    return folder


def prediction(
    name: str = "a",
    label: int = 0,
    classes: Sequence[int] = (0, 1),
    box: Box = (10, 10, 29, 29),
    truth: Sequence[Box] = ((10, 10, 29, 29),),
    size: tuple[int, int] = (60, 40),
) -> Prediction:
    """Make a prediction whose first guess by each of two rules is the class and box given."""
    guess = [(classes[0], box)]
    return Prediction(
        id=name,
        width=size[0],
        height=size[1],
        label=label,
        true_boxes_M4=np.array(truth, np.int32).reshape(-1, 4),
        classes=list(classes),
        probabilities=[0.75, 0.25],
        rules={
            "threshold": RuleGuesses(guess),
            "whole_image": RuleGuesses([(classes[0], (0, 0, size[0] - 1, size[1] - 1))]),
        },
    )


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
