"""Train and test linear SVMs on features: what ``cam-generic`` does."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from cam_repro.commands.common import refuse_another
from cam_repro.config import build, validate
from cam_repro.errors import UserError, if_stopped
from cam_repro.files import check_writable, sha256, write_json
from cam_repro.generic.partitions import Labelled, Partition, refuse_unlabelled
from cam_repro.generic.svm import LinearSvm, train_svm
from cam_repro.locks import sole_writer
from cam_repro.metrics.intervals import Number
from cam_repro.progress import Bar, duration
from cam_repro.runs.features import Features, read_features, refuse_unlike, shared_images
from cam_repro.runs.folders import NETWORK, is_complete, svm_folder
from cam_repro.runs.manifest import (
    MANIFEST,
    Accuracy,
    FeaturesManifest,
    SvmManifest,
    read_svm_manifest,
    write_manifest,
)
from cam_repro.runs.predictions import SCORES
from cam_repro.runs.provenance import provenance
from cam_repro.runs.replacing import new_run

log = logging.getLogger(__name__)


@dataclass
class GenericSettings:
    """Hold the settings of ``cam-generic``: configs/generic.yaml."""

    features: str | None = None
    test: str | None = None
    partition: dict[str, Any] | None = None
    C: float = 1.0
    seed: int = 0
    network: bool = True
    overwrite: bool = False
    runs: str = "runs"
    output: str | None = None

    def __post_init__(self) -> None:
        if self.features is None:
            raise UserError("features is not given: add features=DIR, which cam-features wrote")
        if (self.test is None) == (self.partition is None):
            raise UserError(
                "give one of test=DIR (features of test images) and partition=NAME (how the images "
                "of features= are parted)"
            )
        if not 0 < self.C < math.inf:
            raise UserError(f"C={self.C}: must be a number over 0")
        if self.seed < 0:
            raise UserError(f"seed={self.seed}: must be 0 or more")


@dataclass(frozen=True, eq=False)
class _Part:
    """Hold what an SVM is trained on and tested on: features, labels, and what classes are called.

    train_NK, test_MK: float32. train_N, test_M: class indices.
    """

    train_NK: np.ndarray
    train_N: np.ndarray
    test_MK: np.ndarray
    test_M: np.ndarray
    classes: Sequence[str]


@dataclass(frozen=True, eq=False)
class _Tested:
    """Hold an SVM, what its classes are called, how many images it had, which it got wrong."""

    svm: LinearSvm
    classes: Sequence[str]
    n_train: int
    wrong_M: np.ndarray
    class_mean: float


@if_stopped("nothing was written")
def run_generic(cfg: DictConfig) -> Path:
    """Do what ``cam-generic`` does; return the folder written."""
    settings = validate(cfg, GenericSettings)
    assert settings.features is not None, "it is checked"
    train = read_features(settings.features)
    test = None if settings.test is None else read_features(settings.test)
    partition = None
    if settings.partition is not None:
        partition = build(Partition, "partition", settings.partition)  # type: ignore[type-abstract]
    _refuse_unfit(train, test)
    folder = _folder(settings, train.manifest, partition)
    check_writable(folder)
    if settings.network:
        check_weights(train.manifest)
    started = time.perf_counter()
    tested = [
        _tested(part, settings)
        for part in Bar(
            1 if partition is None else partition.repeats,
            "SVMs",
            unit=" parts",
            iterable=_parts(train, test, partition),
            leave=False,
        )
    ]
    seconds = time.perf_counter() - started
    manifest = _manifest(settings, train, test, partition, tested, seconds)
    with sole_writer(folder):
        _refuse_to_replace(folder, manifest, settings.overwrite)
        with new_run(folder) as new:
            write_json(new / SCORES, asdict(manifest.accuracy))
            if settings.network:
                write_network(new / NETWORK, train.manifest, tested[0].svm, tested[0].classes)
            write_manifest(new, manifest)
    _say(manifest)
    log.info("  %s", folder)
    return folder


def _folder(
    settings: GenericSettings, features: FeaturesManifest, partition: Partition | None
) -> Path:
    """Name the folder of the result."""
    if settings.output is not None:
        return Path(settings.output)
    tested = Path(settings.test or "").resolve().name if partition is None else partition.name
    return svm_folder(settings.runs, features.data.name, features.model, tested)


# --- parts ---------------------------------------------------------------------------------------


def _refuse_unfit(train: Features, test: Features | None) -> None:
    """Raise UserError where two folders of features are not of one network, view and classes."""
    if test is None:
        return
    one, other = train.manifest, test.manifest
    refuse_unlike(one, other, "features= and test=")
    if one.classes != other.classes:
        raise UserError("features= and test= are of other classes: give features of one data set")
    if shared := shared_images(train, test):
        raise UserError(
            f"features= and test= are of the same images ({shared} of {len(test)} test images are "
            "trained on): give features of two splits"
        )
    kinds = [None if each.crops is None else each.crops.boxes == "truth" for each in (one, other)]
    if kinds[0] != kinds[1]:
        log.warning("the images of features= are cropped otherwise than those of test=")


def _parts(train: Features, test: Features | None, partition: Partition | None) -> Iterator[_Part]:
    """Yield what each SVM is trained and tested on."""
    classes = train.manifest.classes
    if test is not None:
        for features in (train, test):
            refuse_unlabelled(features.ids, features.labels_N)
        yield _Part(train.values_NK, train.labels_N, test.values_NK, test.labels_N, classes)
        return
    assert partition is not None, "one of the two is given"
    images = Labelled(train.ids, train.labels_N, classes)
    for repeat in range(partition.repeats):
        parted = partition.part(images, repeat)
        labels_N = parted.images.labels_N
        yield _Part(
            train.values_NK[parted.train],
            labels_N[parted.train],
            train.values_NK[parted.test],
            labels_N[parted.test],
            parted.images.classes,
        )


def _tested(part: _Part, settings: GenericSettings) -> _Tested:
    """Train an SVM and test it. Raises UserError where a class has no image to train on."""
    there = set(np.unique(part.train_N).tolist())
    if missing := [name for index, name in enumerate(part.classes) if index not in there]:
        raise UserError(
            f"class {missing[0]} has no training image ({len(missing)} of {len(part.classes)} "
            "classes have none): an SVM needs images of each"
        )
    svm = train_svm(part.train_NK, part.train_N, len(part.classes), settings.C, settings.seed)
    wrong_M = svm.classify(part.test_MK) != part.test_M
    means = [1 - wrong_M[part.test_M == index].mean() for index in np.unique(part.test_M)]
    return _Tested(svm, part.classes, len(part.train_N), wrong_M, 100 * float(np.mean(means)))


# --- results -------------------------------------------------------------------------------------


def _accuracy(tested: Sequence[_Tested]) -> Accuracy:
    """Describe how many test images are classified rightly."""
    errors = [Number.of(each.wrong_M) for each in tested]
    each = [100 - number.error for number in errors]
    is_one = len(each) == 1
    return Accuracy(
        percent=float(np.mean(each)),
        low=100 - errors[0].high if is_one else None,
        high=100 - errors[0].low if is_one else None,
        std=None if is_one else float(np.std(each, ddof=1)),
        each=each,
        class_mean=float(np.mean([one.class_mean for one in tested])),
        n_train=tested[0].n_train,
        n_test=len(tested[0].wrong_M),
        n_classes=len(tested[0].classes),
    )


def _manifest(
    settings: GenericSettings,
    train: Features,
    test: Features | None,
    partition: Partition | None,
    tested: Sequence[_Tested],
    seconds: float,
) -> SvmManifest:
    """Describe the SVM and how it was tested, for the manifest."""
    of_train = train.manifest
    of_test = of_train if test is None else test.manifest
    config = {key: value for key, value in asdict(settings).items() if key != "partition"}
    return SvmManifest(
        model=of_train.model,
        view=of_train.view,
        data=of_train.data.name,
        parted=(
            f"{of_train.split}/{of_test.split}"
            if partition is None
            else f"partition={partition.name}"
        ),
        train=str(settings.features),
        test=settings.test,
        fingerprints=[of_train.data.fingerprint, of_test.data.fingerprint],
        train_crops=of_train.crops,
        crops=of_test.crops,
        accuracy=_accuracy(tested),
        svm={"C": settings.C, "seed": settings.seed, "partition": settings.partition},
        checkpoint=of_train.checkpoint,
        seconds=round(seconds, 2),
        config={**config, "model": of_train.config.get("model")},
        provenance=provenance(),
    )


def _refuse_to_replace(folder: Path, new: SvmManifest, overwrite: bool) -> None:
    """Raise UserError where an SVM lies in the folder that is of other features or settings."""
    if overwrite or not is_complete(folder):
        return
    before, after = (_decides(each) for each in (read_svm_manifest(folder), new))
    refuse_another(folder, "an SVM", before, after)


def _decides(svm: SvmManifest) -> dict[str, object]:
    """Collect what decides an SVM, each under what it is called where it differs."""
    folders = [None if each is None else Path(each).resolve() for each in (svm.train, svm.test)]
    return {
        "other features": (svm.fingerprints, folders),
        "another network": svm.model,
        "other weights": svm.checkpoint.sha256 or svm.checkpoint.path,
        "another view": svm.view,
        "other settings": svm.svm,
    }


def _say(manifest: SvmManifest) -> None:
    """Log the accuracy."""
    accuracy = manifest.accuracy
    if accuracy.std is None:
        spread = f"95 % interval {accuracy.low:.2f} to {accuracy.high:.2f}"
    else:
        spread = f"standard deviation {accuracy.std:.2f} over {len(accuracy.each)} repeats"
    log.info(
        "%s, %s, %s: linear SVM, accuracy %.2f %% (%s; mean over classes %.2f %%)",
        manifest.row,
        manifest.data,
        manifest.parted,
        accuracy.percent,
        spread,
        accuracy.class_mean,
    )
    log.info(
        "  %d classes, %d training and %d test images, C=%g, %s",
        accuracy.n_classes,
        accuracy.n_train,
        accuracy.n_test,
        manifest.svm["C"],
        duration(manifest.seconds),
    )


def check_weights(features: FeaturesManifest) -> None:
    """Raise UserError where weights that ``write_network`` needs are not there, or are others."""
    weights = features.checkpoint
    if weights.sha256 is None:  # of no file: torchvision's, a package's
        return
    there = Path(weights.path)
    if not there.is_file() or sha256(there) != weights.sha256:
        raise UserError(
            f"{weights.path}: is not there, or not what the features were computed with, so no "
            "network can be made: restore it, or leave the network out (network=false)"
        )


def write_network(
    path: Path, features: FeaturesManifest, svm: LinearSvm, classes: Sequence[str]
) -> None:
    """Write a checkpoint of the network that made the features, with the SVM as its class layer.

    It is read wherever one of cam-train is, so that the SVM's classes have maps and boxes. classes:
    what the SVM's classes are called, as a data set calls them. Raises UserError as
    ``check_weights``.
    """
    import torch  # slow, and only needed here

    from cam_repro.api import load_network
    from cam_repro.engine.checkpoint import save_checkpoint
    from cam_repro.models.build import build_network, check_stored_class

    check_weights(features)
    check_stored_class(features.config["model"], f"the {MANIFEST} of the features")
    loaded = load_network(features.config["model"], weights=features.checkpoint.path, device="cpu")
    own = loaded.network
    row = f"{loaded.settings['row'].removesuffix(' + SVM')} + SVM"  # the features may be of such
    of_svm = {"row": row, "svm": True, "class_layer_bias": True}
    config = {**loaded.settings, "weights": None, **of_svm}
    network = build_network(config, len(classes))
    layer = network.get_submodule(network.class_layer_name)
    of_layer = {f"{network.class_layer_name}.{name}" for name, _ in layer.named_parameters()}
    kept = {name: value for name, value in own.state_dict().items() if name not in of_layer}
    missing, unexpected = network.load_state_dict(kept, strict=False)
    assert (set(missing), unexpected) == (of_layer, []), "the networks differ in the class layer"
    with torch.no_grad():
        for name, values in (("weight", svm.weights_CK), ("bias", svm.bias_C)):
            parameter = layer.get_parameter(name)
            parameter.copy_(torch.from_numpy(values).view(parameter.shape))
    state = {"model": network.state_dict(), "model_config": config, "classes": list(classes)}
    save_checkpoint(path, {**state, "optimizer": {}, "progress": {}, "identity": "SVM"})
