"""Hold, write and read the manifest of a linear SVM on features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cam_repro.runs.manifest.parts import (
    Checkpoint,
    Crops,
    Provenance,
)
from cam_repro.runs.manifest.record import Keys, Manifest, Record, Settings


@dataclass(frozen=True, kw_only=True)
class Accuracy(Record):
    """Say how many percent of the test images an SVM classifies rightly.

    percent: the mean over the repeats. low, high: ends of its 95 % interval; None where there are
    several repeats, as these share images. std: the standard deviation over repeats; None where
    there is one. each: of each repeat. class_mean: the mean over classes, of which each counts the
    same, over repeats. n_train, n_test, n_classes: images of the first repeat, and classes.
    """

    percent: float
    low: float | None
    high: float | None
    std: float | None
    each: list[float]
    class_mean: float
    n_train: int
    n_test: int
    n_classes: int


@dataclass(frozen=True, kw_only=True)
class SvmManifest(Manifest):
    """Hold the manifest of a linear SVM trained and tested on features.

    data: name of the data set; parted: how it was parted, as ``train/val`` or
    ``partition=scene15``. In SVMs of older versions ``data`` too is the name of the partition.
    train, test: the folders of features; test is None where one folder was parted.
    train_crops, crops: what the training and the test images were cropped to. checkpoint: of the
    network that made the features.
    svm: C, seed, and the settings of the partition, if there is one.
    """

    model: str
    view: str
    data: str
    parted: str
    train: str
    test: str | None
    fingerprints: list[str]
    train_crops: Crops | None
    crops: Crops | None
    accuracy: Accuracy
    svm: Settings
    checkpoint: Checkpoint
    seconds: float
    config: Settings
    provenance: Provenance


def read_svm_manifest(folder: Path | str) -> SvmManifest:
    """Read the manifest of an SVM; raises UserError as ``read_eval_manifest`` does."""
    keys = Keys.of_kind(folder, "cam-generic", "svm", "an SVM")
    keys.check_model()
    keys.within("svm").get("C", float)
    keys.within("svm").find("partition", dict)
    return keys.record(SvmManifest)
