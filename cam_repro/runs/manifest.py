"""Write and read the manifest of a run: what was run, on which data, how, and by what.

``manifest.json`` is written last, so a folder that has one holds a complete run. It names the
SHA-256 of the run's other files, which ``check_unchanged`` compares where they are read, and has a
checksum of its own. There are several kinds: ``TrainManifest`` of a training run, ``EvalManifest``
of a scored pass over a split, ``FeaturesManifest`` of the features of a split, ``SvmManifest`` of a
linear SVM on features, ``ConceptManifest`` of a concept. Only this module knows the keys of the
JSON; all others use the records. Needs no torch.

This version writes schema 2 and reads 1 as well (``_from_schema_1`` says what differs). In schema 1
a training run's manifest did not name a schema.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cam_repro.classes import MOST_CLASSES
from cam_repro.errors import UserError, choose
from cam_repro.files import CHECKSUM, checksum_holds, sha256, with_checksum, write_json

MANIFEST = "manifest.json"

CHECKED = ("*.parquet", "*.npy", "scores.json", "submission_*", "*.pt", "log.csv")
"""Names, as patterns, of a run's files that numbers come from."""

SCHEMA = 2
"""Version of the manifest that is written; version 1 is read too, any other is refused."""

Settings = dict[str, Any]
"""Settings as their YAML file has them, defaults included."""


# --- the records ---------------------------------------------------------------------------------


DEFAULT_VIEW = "squash"
"""The view that folder names and labels leave out."""


@dataclass(frozen=True, kw_only=True)
class ScoredData:
    """Describe the data set of a scored pass.

    fingerprint: a hash of its images and labels: sets of one name are the same if it is equal.
    layout: how its files are arranged, in words; None in runs of older versions.
    class_names: by class index; None in runs of older versions, and for ILSVRC's 1,000 classes,
        whose names are shipped.
    """

    name: str
    is_ilsvrc: bool
    n_classes: int
    fingerprint: str
    has_labels: bool
    has_boxes: bool = True
    layout: str | None = None
    class_names: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class TrainedData:
    """Describe the data set of a training run."""

    name: str
    n_train: int
    n_val: int
    n_classes: int
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Count the images that have a prediction, and those that could not be read."""

    images: int
    skipped: int


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Name the weights of a run: their path, and the SHA-256 of that file.

    sha256: None where the weights are no file, as with ``model.weights=torchvision``.
    """

    path: str
    sha256: str | None = None

    @property
    def described(self) -> str:
        """Name it for messages, with the beginning of the SHA-256 where there is one."""
        return f"{self.path} (SHA-256 {self.sha256[:12]})" if self.sha256 else self.path

    def as_json(self) -> dict[str, str]:
        """Give what the manifest has of it; the SHA-256 only where there is one."""
        return {"path": self.path, **({"sha256": self.sha256} if self.sha256 else {})}


@dataclass(frozen=True, kw_only=True)
class CuesMade:
    """Describe the cues of a run: how many images have some, and how they agree with masks.

    miou: mean IoU, its interval's ends and the oracle, in percent, and the number of images with
    cues and a mask, by the keys of the protocol ``miou``; None where the data set has no masks.
    Runs of older versions do not say that number.
    """

    images: int
    miou: dict[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Blacklist:
    """List the images that the official localization error leaves out: number and ids."""

    images: int
    ids: list[str]


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Describe what a run was computed with.

    device: its name. precision: ``fp32`` or ``bf16``. processes: their number.
    """

    device: str
    precision: str
    processes: int


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Record where a run comes from.

    command: the command line. git: revision of the source tree, None for an installed wheel.
    versions: of Python and the libraries. created: time in UTC, ISO 8601.
    """

    command: str
    git: str | None
    versions: dict[str, str]
    created: str


@dataclass(frozen=True, kw_only=True)
class EvalManifest:
    """Hold the manifest of one pass of a network over a split, or of boxes without a network.

    model, saliency, view: their names; rules: those of the box rules, in the order asked for.
    submission_labels: what the numbers in the submissions stand for, in words.
    config: all settings of the pass, as a plain dictionary.
    skipped: a line for each image that could not be read.
    classifies: False for boxes without a network; all fields after it keep their defaults then.
    covered: share of an image's area that the view shows the network.
    maps: whether the maps of the true classes were kept. cues: None where none were made.
    seconds, images_per_second: of the pass.
    """

    model: str
    saliency: str
    view: str
    split: str
    rules: list[str]
    data: ScoredData
    counts: Counts
    submission_labels: str
    provenance: Provenance
    config: Settings = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    classifies: bool = True
    covered: float | None = None
    blacklist: Blacklist | None = None
    maps: bool = False
    cues: CuesMade | None = None
    checkpoint: Checkpoint | None = None
    seconds: float | None = None
    images_per_second: float | None = None
    hardware: Hardware | None = None

    @property
    def row(self) -> str:
        """What tables and figures call the network."""
        return _row(self.config, self.model)

    @property
    def label(self) -> str:
        """Name the network and saliency method, and the view unless it is the default."""
        if not self.classifies:
            return self.row
        view = "" if self.view == DEFAULT_VIEW else f", view {self.view}"
        return f"{self.row}, {self.saliency}{view}"

    @property
    def title(self) -> str:
        """Name the pass, and the images that it was scored on."""
        return f"{self.label} on {self.data.name}, {self.split}"

    @property
    def view_settings(self) -> Settings | None:
        """The settings of the view; None where the manifest names none."""
        return self.config.get("view")

    @property
    def saliency_settings(self) -> Settings | None:
        """The settings of the saliency method; None where it was left to the network."""
        return self.config.get("saliency")

    @property
    def box_settings(self) -> dict[str, Settings] | None:
        """The settings of each box rule by its name; None where the manifest names none."""
        return self.config.get("box")

    @property
    def quality_settings(self) -> dict[str, Settings]:
        """The settings of each measure that was asked for, by its name."""
        return self.config.get("quality") or {}

    @property
    def cue_settings(self) -> Settings | None:
        """The settings by which cues were made; None where none were."""
        return self.config.get("cues")

    @property
    def interpolation(self) -> str:
        """How the view resized its maps: ``linear`` unless it was set otherwise."""
        return str((self.view_settings or {}).get("interpolation", "linear"))

    @property
    def threshold(self) -> float | None:
        """The threshold of ``box=threshold``, a share of the maximum; None without that rule."""
        value = (self.box_settings or {}).get("threshold", {}).get("threshold")
        return value if _is_a(value, float) else None

    def check_rule(self, name: str, where: Path | str) -> None:
        """Raise UserError where the run lacks a box rule. where: the run, for the message."""
        if name not in self.rules:
            raise UserError(f"box={name}: not in {where}; {choose(name, self.rules)}")

    def as_json(self) -> dict[str, Any]:
        """Give what ``manifest.json`` holds, in its order."""
        whole = {
            "model": self.model,
            "saliency": self.saliency,
            "view": self.view,
            "covered": self.covered,
            "classifies": self.classifies,
            "split": self.split,
            "rules": self.rules,
            "data": asdict(self.data),
            "counts": asdict(self.counts),
            "skipped": self.skipped,
            "submission_labels": self.submission_labels,
            "blacklist": None if self.blacklist is None else asdict(self.blacklist),
            "maps": self.maps,
            **({} if self.cues is None else {"cues": asdict(self.cues)}),
            "checkpoint": None if self.checkpoint is None else self.checkpoint.as_json(),
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            **(asdict(self.hardware) if self.hardware else {}),
            "config": self.config,
            **asdict(self.provenance),
            "schema": SCHEMA,
        }
        left_out = ("classifies",) if self.classifies else _OF_NETWORKS
        return {key: value for key, value in whole.items() if key not in left_out}


@dataclass(frozen=True, kw_only=True)
class TrainManifest:
    """Hold the manifest of a training run.

    iterations, epochs: how long it trained. final: the last line of log.csv, by column.
    parameters: number of weights. skipped: a line for each image that could not be read.
    checkpoint: the last one, as a path within the folder.
    """

    model: str
    data: TrainedData
    iterations: int
    epochs: float
    final: dict[str, float]
    parameters: int
    seconds: float
    hardware: Hardware
    config: Settings
    provenance: Provenance
    checkpoint: Checkpoint
    skipped: list[str] = field(default_factory=list)

    @property
    def row(self) -> str:
        """What tables and figures call the network."""
        return _row(self.config, self.model)

    def as_json(self) -> dict[str, Any]:
        """Give what ``manifest.json`` holds, in its order."""
        return {
            "model": self.model,
            "data": asdict(self.data),
            "iterations": self.iterations,
            "epochs": self.epochs,
            "final": self.final,
            "parameters": self.parameters,
            "skipped": self.skipped,
            "seconds": self.seconds,
            **asdict(self.hardware),
            "config": self.config,
            **asdict(self.provenance),
            "checkpoint": self.checkpoint.as_json(),
            "schema": SCHEMA,
        }


@dataclass(frozen=True, kw_only=True)
class Crops:
    """Say what the images of a split were cropped to before the network saw them.

    boxes: ``truth``, or the run that they are of. rule, of_class: its box rule, and whether the box
    is of the first guess (``guess``) or of the true class (``truth``); None for true boxes. right,
    n: for how many percent of the ``n`` images with a true box it overlaps one by an IoU of 0.5 or
    more; None where no true box is known.
    """

    boxes: str
    rule: str | None = None
    of_class: str | None = None
    right: float | None = None
    n: int = 0


@dataclass(frozen=True, kw_only=True)
class FeaturesManifest:
    """Hold the manifest of the features of a split: what a class layer takes, of each image.

    features: K, how many each image has. classes: of the data set, as their folders are called, by
    class index. folder: of the images, as an absolute path; None in features of older versions.
    crops: None where the network saw whole images.
    seconds, images_per_second: of the last start, where it was stopped and went on.
    """

    model: str
    view: str
    split: str
    features: int
    data: ScoredData
    classes: list[str]
    counts: Counts
    skipped: list[str]
    crops: Crops | None
    checkpoint: Checkpoint
    seconds: float
    images_per_second: float
    hardware: Hardware
    config: Settings
    provenance: Provenance
    folder: str | None = None

    @property
    def row(self) -> str:
        """What tables and messages call the network."""
        return _row(self.config, self.model)

    def as_json(self) -> dict[str, Any]:
        """Give what ``manifest.json`` holds, in its order."""
        return {
            "model": self.model,
            "view": self.view,
            "split": self.split,
            "features": self.features,
            "data": asdict(self.data),
            "folder": self.folder,
            "classes": self.classes,
            "counts": asdict(self.counts),
            "skipped": self.skipped,
            "crops": None if self.crops is None else asdict(self.crops),
            "checkpoint": self.checkpoint.as_json(),
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            **asdict(self.hardware),
            "config": self.config,
            **asdict(self.provenance),
            "schema": SCHEMA,
        }


@dataclass(frozen=True, kw_only=True)
class Accuracy:
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
class SvmManifest:
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

    @property
    def row(self) -> str:
        """What tables call the network."""
        return _row(self.config, self.model)

    def as_json(self) -> dict[str, Any]:
        """Give what ``manifest.json`` holds, in its order."""
        return {
            "model": self.model,
            "view": self.view,
            "data": self.data,
            "parted": self.parted,
            "train": self.train,
            "test": self.test,
            "fingerprints": self.fingerprints,
            "train_crops": None if self.train_crops is None else asdict(self.train_crops),
            "crops": None if self.crops is None else asdict(self.crops),
            "accuracy": asdict(self.accuracy),
            "svm": self.svm,
            "checkpoint": self.checkpoint.as_json(),
            "seconds": self.seconds,
            "config": self.config,
            **asdict(self.provenance),
            "schema": SCHEMA,
        }


@dataclass(frozen=True, kw_only=True)
class ConceptManifest:
    """Hold the manifest of a concept learned from positive and negative images.

    concept: its name. positives, negatives: the folders of features that it was learned from.
    fingerprints: of their images. checkpoint: of the network that made the features. What was found
    stands in ``scores.json``.
    """

    model: str
    view: str
    concept: str
    positives: str
    negatives: str
    fingerprints: list[str]
    checkpoint: Checkpoint
    seconds: float
    config: Settings
    provenance: Provenance

    def as_json(self) -> dict[str, Any]:
        """Give what ``manifest.json`` holds, in its order."""
        return {
            "model": self.model,
            "view": self.view,
            "concept": self.concept,
            "positives": self.positives,
            "negatives": self.negatives,
            "fingerprints": self.fingerprints,
            "checkpoint": self.checkpoint.as_json(),
            "seconds": self.seconds,
            "config": self.config,
            **asdict(self.provenance),
            "schema": SCHEMA,
        }


def _row(config: Settings, model: str) -> str:
    """Give the name of a network's row in its settings; that of its YAML where there is none."""
    return str((config.get("model") or {}).get("row") or model)


_OF_NETWORKS = (
    *("covered", "blacklist", "maps", "checkpoint", "seconds", "images_per_second"),
    *("device", "precision", "processes"),
)
"""Keys that only the manifest of a pass with a network has."""


# --- files ---------------------------------------------------------------------------------------


def write_manifest(
    folder: Path | str,
    manifest: EvalManifest | TrainManifest | FeaturesManifest | SvmManifest | ConceptManifest,
) -> None:
    """Write ``manifest.json``, whole or not at all: the run in ``folder`` is complete with it.

    It holds the SHA-256 of the files there that numbers come from, as ``files``.
    """
    named = sorted({path for pattern in CHECKED for path in Path(folder).glob(pattern)})
    kept = [path for path in named if path.is_file() and not path.name.startswith(".")]
    sums = {path.name: sha256(path) for path in kept}
    values = {**manifest.as_json(), **({"files": sums} if sums else {})}
    write_json(Path(folder) / MANIFEST, with_checksum(values))


def check_unchanged(path: Path, remedy: str) -> None:
    """Raise UserError where a file is not as the manifest beside it says; remedy: what to do then.

    Files that no manifest names, as in runs of older versions, are not compared.
    """
    try:
        stated = json.loads((path.parent / MANIFEST).read_text(encoding="utf-8"))
        sums = stated["files"] if "files" in stated else _sums_before_files(stated["checkpoint"])
        expected = sums.get(path.name)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return  # no manifest of ours; who reads it says what is wrong
    if expected is not None and path.is_file() and sha256(path) != expected:
        raise UserError(
            f"{path} is not as it was written: its SHA-256 is not the one in {MANIFEST}: {remedy}"
        )


def _sums_before_files(checkpoint: dict[str, str]) -> dict[str, str]:
    """Give what the manifest of a training run of an older version says: of one checkpoint."""
    return {checkpoint["path"]: checkpoint["sha256"]}


def is_of_scored_run(folder: Path | str) -> bool:
    """Tell whether a folder has a manifest that may be of a scored run, broken ones included.

    False where it is of a training run, of features, of an SVM, of a concept or of packed data.
    """
    path = Path(folder) / MANIFEST
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return False
    except (ValueError, RecursionError):
        return True  # whoever reads it says what is wrong
    return not isinstance(values, dict) or not _OTHERS & values.keys()


_OTHERS = {"iterations", "splits", "features", "svm", "concept"}
"""Keys that only manifests of training runs, packed data, features, SVMs and concepts have."""


def is_of_svm(folder: Path | str) -> bool:
    """Tell whether a folder has the manifest of an SVM."""
    try:
        values = json.loads((Path(folder) / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and "svm" in values


def read_eval_manifest(folder: Path | str) -> EvalManifest:
    """Read the manifest of a scored pass.

    Raises UserError where it is missing, broken, of another kind or schema, and where a key is
    missing or of a wrong type.
    """
    keys = _Keys.of_folder(folder, "cam-eval", "score the run again with cam-eval overwrite=true")
    others = {
        "iterations": "a training run",
        "features": "features",
        "svm": "an SVM",
        "concept": "a concept",
    }
    for key, what in others.items():
        if key in keys:
            raise keys.error(f"is of {what}: give a folder that cam-eval wrote", remedy=False)
    keys.expect_schema(keys.values.get("schema"))
    if keys.values["schema"] == 1:
        _from_schema_1(keys.values)
    return _eval_manifest(keys)


def read_train_manifest(folder: Path | str) -> TrainManifest:
    """Read the manifest of a training run; raises UserError as ``read_eval_manifest`` does."""
    keys = _Keys.of_folder(folder, "cam-train", "train it again with cam-train overwrite=true")
    if "saliency" in keys:
        raise keys.error("is of a scored run: give a folder that cam-train wrote", remedy=False)
    # A folder of packed data has a manifest too, without "schema" and without "iterations".
    keys.expect_schema(keys.values.get("schema", 1 if "iterations" in keys else None))
    return _train_manifest(keys)


def read_features_manifest(folder: Path | str) -> FeaturesManifest:
    """Read the manifest of features; raises UserError as ``read_eval_manifest`` does."""
    return _features_manifest(_keys_of_kind(folder, "cam-features", "features", "features"))


def read_svm_manifest(folder: Path | str) -> SvmManifest:
    """Read the manifest of an SVM; raises UserError as ``read_eval_manifest`` does."""
    return _svm_manifest(_keys_of_kind(folder, "cam-generic", "svm", "an SVM"))


def read_concept_manifest(folder: Path | str) -> ConceptManifest:
    """Read the manifest of a concept; raises UserError as ``read_eval_manifest`` does."""
    return _concept_manifest(_keys_of_kind(folder, "cam-concept", "concept", "a concept"))


def _keys_of_kind(folder: Path | str, command: str, key: str, what: str) -> _Keys:
    """Read a manifest that must have ``key``, as only those of ``command`` have.

    what: the folder then holds, for the message of the UserError that is raised where it does not.
    """
    keys = _Keys.of_folder(folder, command, f"run {command} again, with overwrite=true")
    if key not in keys:
        raise keys.error(f"is not of {what}: give a folder that {command} wrote", remedy=False)
    keys.expect_schema(keys.values.get("schema"))
    return keys


# --- from JSON to records ------------------------------------------------------------------------

Kind = TypeVar("Kind")

_NAMES: dict[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


def _is_a(value: Any, kind: type) -> bool:
    """Tell whether a value read from JSON is of a type.

    A whole number is also a float; true and false are bool alone, although Python takes them as
    int.
    """
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


@dataclass
class _Keys:
    """Give the values of an object in a manifest by key, checking their types.

    values: the object. path: of the manifest, which errors name; remedy: what they advise.
    prefix: the keys that lead to the object, as ``data.``.
    """

    values: dict[str, Any]
    path: Path
    remedy: str
    prefix: str = ""

    @classmethod
    def of_folder(cls, folder: Path | str, command: str, remedy: str) -> _Keys:
        """Read the outermost object of the manifest in a folder.

        command: the one that writes such folders. Raises UserError where there is none.
        """
        path = Path(folder) / MANIFEST
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(
                f"{folder}: has no {MANIFEST}, so {command} did not write it, or did not end: give "
                f"a folder that {command} wrote, or run the same command again"
            ) from None
        except (ValueError, OSError, RecursionError) as error:
            raise UserError(f"{path} cannot be read ({error}): {remedy}") from error
        if not isinstance(values, dict):
            raise UserError(f"{path} is not a manifest: {remedy}")
        if not checksum_holds(values):
            raise UserError(
                f"{path} is not as it was written, by its checksum: {remedy}; or take its key "
                f"{CHECKSUM} out if you changed it and know what you do"
            )
        return cls(values, path, remedy)

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def error(self, what: str, remedy: bool = True) -> UserError:
        """Make a UserError that says ``what`` of this manifest, and then the remedy if wanted."""
        return UserError(f"{self.path} {what}" + (f": {self.remedy}" if remedy else ""))

    def expect_schema(self, schema: Any) -> None:
        """Raise UserError for a schema that this version does not read."""
        if not _is_a(schema, int) or schema not in range(1, SCHEMA + 1):
            raise self.error(f"has schema {schema}, this version reads 1 to {SCHEMA}")

    def get(self, key: str, kind: type[Kind]) -> Kind:
        """Give a value. Raises UserError where it is missing or of another type."""
        if key not in self.values:
            raise UserError(f"{self.path}: {self.prefix}{key} is missing: {self.remedy}")
        return self._checked(key, self.values[key], kind)

    def find(self, key: str, kind: type[Kind]) -> Kind | None:
        """Give a value, or None where it is missing or null. Raises UserError for another type."""
        value = self.values.get(key)
        return None if value is None else self._checked(key, value, kind)

    def list_of(self, key: str, kind: type[Kind]) -> list[Kind]:
        """Give a list whose values are all of one type."""
        values: list[Any] = self.get(key, list)
        return [self._checked(f"{key}[{i}]", value, kind) for i, value in enumerate(values)]

    def dict_of(self, key: str, kind: type[Kind]) -> dict[str, Kind]:
        """Give an object whose values are all of one type."""
        values: dict[str, Any] = self.get(key, dict)
        return {name: self._checked(f"{key}.{name}", v, kind) for name, v in values.items()}

    def numbers(self, key: str) -> dict[str, float]:
        """Give an object of numbers; null, as ``write_json`` writes what is none, is NaN."""
        values: dict[str, Any] = self.get(key, dict)
        known = {name: math.nan if value is None else value for name, value in values.items()}
        return {name: self._checked(f"{key}.{name}", v, float) for name, v in known.items()}

    def within(self, key: str) -> _Keys:
        """Give an object inside this one."""
        return _Keys(self.get(key, dict), self.path, self.remedy, f"{self.prefix}{key}.")

    def _checked(self, key: str, value: Any, kind: type[Kind]) -> Kind:
        if not _is_a(value, kind):
            key = self.prefix + key
            raise UserError(f"{self.path}: {key} is not {_NAMES[kind]}: {self.remedy}")
        return value


def _from_schema_1(values: dict[str, Any]) -> None:
    """Bring settings of schema 1 into the form of schema 2, in place.

    The saliency method's settings did not repeat its name. The box rules' names stood under
    ``strategies``, now ``rules``; their settings under ``config.box.strategies``, now
    ``config.box``, and the keys of some began with the rule's name.
    """
    if "strategies" in values:
        values["rules"] = values.pop("strategies")
    config = values.get("config")
    if not isinstance(config, dict):
        return  # the error is raised later, where the value is read
    if isinstance(config.get("saliency"), dict):
        config["saliency"] = {"name": values.get("saliency"), **config["saliency"]}
    box = config.get("box")
    rules = box.get("strategies") if isinstance(box, dict) else None
    if isinstance(rules, dict):
        config["box"] = {name: _short_keys(rule) for name, rule in rules.items()}


def _short_keys(rule: Any) -> Any:
    """Take the rule's name off its keys: ``dt_thresholds`` becomes ``thresholds``."""
    if not isinstance(rule, dict):
        return rule  # the error is raised later, where the value is read
    return {re.sub("^(dt|graphcut)_", "", key): value for key, value in rule.items()}


def _eval_manifest(keys: _Keys) -> EvalManifest:
    classifies = keys.find("classifies", bool) is not False
    blacklist = keys.within("blacklist") if keys.find("blacklist", dict) is not None else None
    checkpoint = keys.within("checkpoint") if keys.find("checkpoint", dict) is not None else None
    return EvalManifest(
        model=keys.get("model", str),
        saliency=keys.get("saliency", str),
        view=keys.get("view", str),
        split=keys.get("split", str),
        rules=_rules(keys),
        data=_scored_data(keys.within("data")),
        counts=_counts(keys.within("counts")),
        submission_labels=keys.get("submission_labels", str),
        provenance=_provenance(keys),
        config=_pass_config(keys.within("config")),
        skipped=keys.list_of("skipped", str),
        classifies=classifies,
        covered=keys.get("covered", float) if classifies else None,
        blacklist=None if blacklist is None else _blacklist(blacklist),
        maps=keys.find("maps", bool) or False,
        cues=_cues(keys.within("cues")) if keys.find("cues", dict) is not None else None,
        checkpoint=None if checkpoint is None else _checkpoint(checkpoint),
        seconds=keys.get("seconds", float) if classifies else None,
        images_per_second=keys.get("images_per_second", float) if classifies else None,
        hardware=_hardware(keys) if classifies else None,
    )


def _train_manifest(keys: _Keys) -> TrainManifest:
    return TrainManifest(
        model=keys.get("model", str),
        data=_trained_data(keys.within("data")),
        iterations=keys.get("iterations", int),
        epochs=keys.get("epochs", float),
        final=keys.numbers("final"),
        parameters=keys.get("parameters", int),
        seconds=keys.get("seconds", float),
        hardware=_hardware(keys),
        config=_model_config(keys.within("config")),
        provenance=_provenance(keys),
        skipped=keys.list_of("skipped", str),
        checkpoint=_checkpoint(keys.within("checkpoint")),
    )


def _features_manifest(keys: _Keys) -> FeaturesManifest:
    has_crops = keys.find("crops", dict) is not None
    return FeaturesManifest(
        model=keys.get("model", str),
        view=keys.get("view", str),
        split=keys.get("split", str),
        features=keys.get("features", int),
        data=_scored_data(keys.within("data")),
        folder=keys.find("folder", str),
        classes=keys.list_of("classes", str),
        counts=_counts(keys.within("counts")),
        skipped=keys.list_of("skipped", str),
        crops=_crops(keys.within("crops")) if has_crops else None,
        checkpoint=_checkpoint(keys.within("checkpoint")),
        seconds=keys.get("seconds", float),
        images_per_second=keys.get("images_per_second", float),
        hardware=_hardware(keys),
        config=_model_config(keys.within("config")),
        provenance=_provenance(keys),
    )


def _svm_manifest(keys: _Keys) -> SvmManifest:
    train_crops, crops = (
        None if keys.find(key, dict) is None else _crops(keys.within(key))
        for key in ("train_crops", "crops")
    )
    return SvmManifest(
        model=keys.get("model", str),
        view=keys.get("view", str),
        data=keys.get("data", str),
        parted=keys.get("parted", str),
        train=keys.get("train", str),
        test=keys.find("test", str),
        fingerprints=keys.list_of("fingerprints", str),
        train_crops=train_crops,
        crops=crops,
        accuracy=_accuracy(keys.within("accuracy")),
        svm=keys.get("svm", dict),
        checkpoint=_checkpoint(keys.within("checkpoint")),
        seconds=keys.get("seconds", float),
        config=_model_config(keys.within("config")),
        provenance=_provenance(keys),
    )


def _concept_manifest(keys: _Keys) -> ConceptManifest:
    return ConceptManifest(
        model=keys.get("model", str),
        view=keys.get("view", str),
        concept=keys.get("concept", str),
        positives=keys.get("positives", str),
        negatives=keys.get("negatives", str),
        fingerprints=keys.list_of("fingerprints", str),
        checkpoint=_checkpoint(keys.within("checkpoint")),
        seconds=keys.get("seconds", float),
        config=_model_config(keys.within("config")),
        provenance=_provenance(keys),
    )


def _accuracy(keys: _Keys) -> Accuracy:
    return Accuracy(
        percent=keys.get("percent", float),
        low=keys.find("low", float),
        high=keys.find("high", float),
        std=keys.find("std", float),
        each=keys.list_of("each", float),
        class_mean=keys.get("class_mean", float),
        n_train=keys.get("n_train", int),
        n_test=keys.get("n_test", int),
        n_classes=keys.get("n_classes", int),
    )


def _crops(keys: _Keys) -> Crops:
    return Crops(
        boxes=keys.get("boxes", str),
        rule=keys.find("rule", str),
        of_class=keys.find("of_class", str),
        right=keys.find("right", float),
        n=keys.get("n", int),
    )


def _scored_data(keys: _Keys) -> ScoredData:
    has_boxes = keys.find("has_boxes", bool)  # runs of older versions lack it, as layout
    names = keys.find("class_names", list)
    return ScoredData(
        name=keys.get("name", str),
        is_ilsvrc=keys.get("is_ilsvrc", bool),
        n_classes=_n_classes(keys),
        fingerprint=keys.get("fingerprint", str),
        has_labels=keys.get("has_labels", bool),
        has_boxes=has_boxes is not False,
        layout=keys.find("layout", str),
        class_names=None if names is None else keys.list_of("class_names", str),
    )


def _trained_data(keys: _Keys) -> TrainedData:
    return TrainedData(
        name=keys.get("name", str),
        n_train=keys.get("n_train", int),
        n_val=keys.get("n_val", int),
        n_classes=_n_classes(keys),
        fingerprint=keys.get("fingerprint", str),
    )


def _n_classes(keys: _Keys) -> int:
    """Read how many classes there are; so many that their names would fill the memory are none."""
    count = keys.get("n_classes", int)
    if not 1 <= count <= MOST_CLASSES:
        raise keys.error(f"has {count} classes, which are 1 to {MOST_CLASSES:,}")
    return count


def _counts(keys: _Keys) -> Counts:
    return Counts(images=keys.get("images", int), skipped=keys.get("skipped", int))


def _cues(keys: _Keys) -> CuesMade:
    miou = keys.numbers("miou") if keys.find("miou", dict) is not None else None
    return CuesMade(images=keys.get("images", int), miou=miou)


def _blacklist(keys: _Keys) -> Blacklist:
    return Blacklist(images=keys.get("images", int), ids=keys.list_of("ids", str))


def _checkpoint(keys: _Keys) -> Checkpoint:
    return Checkpoint(path=keys.get("path", str), sha256=keys.find("sha256", str))


def _hardware(keys: _Keys) -> Hardware:
    return Hardware(
        device=keys.get("device", str),
        precision=keys.get("precision", str),
        processes=keys.get("processes", int),
    )


def _provenance(keys: _Keys) -> Provenance:
    return Provenance(
        command=keys.get("command", str),
        git=keys.find("git", str),
        versions=keys.dict_of("versions", str),
        created=keys.get("created", str),
    )


def _rules(keys: _Keys) -> list[str]:
    """Give the names of the box rules, of which a pass has one or more."""
    rules = keys.list_of("rules", str)
    if not rules:
        raise keys.error("has no box rule: rules is empty")
    return rules


def _model_config(keys: _Keys) -> Settings:
    """Check the types of the settings that ``row`` looks for."""
    if keys.find("model", dict) is not None:
        keys.within("model").find("row", str)
    return keys.values


def _pass_config(keys: _Keys) -> Settings:
    """Check the types of those settings that ``EvalManifest`` has properties for."""
    _model_config(keys)
    keys.find("saliency", dict)
    keys.find("cues", dict)
    if keys.find("view", dict) is not None:
        interpolation = keys.within("view").find("interpolation", str)
        if interpolation is not None:
            from cam_repro.resample import INTERPOLATIONS  # cv2, which is slow

            if interpolation not in INTERPOLATIONS:
                there = choose(interpolation, INTERPOLATIONS)
                raise keys.error(f"has config.view.interpolation={interpolation}; {there}")
    for group in ("box", "quality"):
        if keys.find(group, dict) is not None:
            keys.dict_of(group, dict)
    return keys.values
