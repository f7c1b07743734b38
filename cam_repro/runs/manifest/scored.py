"""Hold, write and read the manifest of a scored pass."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from cam_repro.errors import UserError, choose
from cam_repro.runs.manifest.parts import Checkpoint, Counts, Hardware, Provenance, ScoredData
from cam_repro.runs.manifest.record import Keys, Manifest, Record, Settings, is_a

DEFAULT_VIEW = "squash"
"""The view that folder names and labels leave out."""

_OF_NETWORKS = (
    *("covered", "blacklist", "maps", "checkpoint", "seconds", "images_per_second"),
    *("device", "precision", "processes"),
)
"""Keys that only the manifest of a pass with a network has."""


@dataclass(frozen=True, kw_only=True)
class CuesMade(Record):
    """Describe the cues of a run: how many images have some, and how they agree with masks.

    miou: mean IoU, its interval's ends and the oracle, in percent, and the number of images with
    cues and a mask, by the keys of the protocol ``miou``; None where the data set has no masks.
    Runs of older versions do not say that number.
    """

    images: int
    miou: dict[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Blacklist(Record):
    """List the images that the official localization error leaves out: number and ids."""

    images: int
    ids: list[str]


@dataclass(frozen=True, kw_only=True)
class EvalManifest(Manifest):
    """Hold the manifest of one pass of a network over a split, or of boxes without a network.

    model, saliency, view: their names; rules: those of the box rules, in the order asked for.
    submission_labels: what the numbers in the submissions stand for, in words.
    config: all settings of the pass, as a plain dictionary.
    skipped: a line for each image that could not be read.
    classifies: False for boxes without a network; what a network alone has is None or false then.
    covered: share of an image's area that the view shows the network.
    maps: whether the maps of the true classes were kept. cues: None where none were made.
    seconds, images_per_second: of the pass.
    """

    left_out: ClassVar[tuple[str, ...]] = ("cues",)

    model: str
    saliency: str
    view: str
    covered: float | None = None
    classifies: bool = True
    split: str
    rules: list[str]
    data: ScoredData
    counts: Counts
    skipped: list[str] = field(default_factory=list)
    submission_labels: str
    blacklist: Blacklist | None = None
    maps: bool = False
    cues: CuesMade | None = None
    checkpoint: Checkpoint | None = None
    seconds: float | None = None
    images_per_second: float | None = None
    hardware: Hardware | None = None
    config: Settings = field(default_factory=dict)
    provenance: Provenance

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
        return value if is_a(value, float) else None

    def refusal(self) -> str | None:
        """Refuse a pass without a box rule, of which it has one or more."""
        return None if self.rules else "has no box rule: rules is empty"

    def check_rule(self, name: str, where: Path | str) -> None:
        """Raise UserError where the run lacks a box rule. where: the run, for the message."""
        if name not in self.rules:
            raise UserError(f"box={name}: not in {where}; {choose(name, self.rules)}")

    def as_json(self) -> dict[str, Any]:
        """Give what ``manifest.json`` holds, in its order."""
        left_out = ("classifies",) if self.classifies else _OF_NETWORKS
        return {key: value for key, value in super().as_json().items() if key not in left_out}


def read_eval_manifest(folder: Path | str) -> EvalManifest:
    """Read the manifest of a scored pass.

    Raises UserError where it is missing, broken, of another kind or schema, and where a key is
    missing or of a wrong type.
    """
    keys = Keys.of_folder(folder, "cam-eval", "score the run again with cam-eval overwrite=true")
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
    _check_config(keys.within("config"))
    keys.check_model()
    if keys.find("classifies", bool) is not False:
        for key in ("covered", "seconds", "images_per_second"):
            keys.get(key, float)
        keys.get("device", str)
    return keys.record(EvalManifest)


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


def _check_config(keys: Keys) -> None:
    """Check the types of those settings that ``EvalManifest`` has properties for."""
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
