"""Hold the settings of training and evaluation, and check them when a command starts.

Each dataclass has the keys of one YAML file, which explains them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cam_repro.data.settings import LoaderSettings
from cam_repro.errors import UserError, one_of
from cam_repro.runs.features import FORMATS

if TYPE_CHECKING:  # imports torch, which settings do without
    from cam_repro.objectives.base import Objective

PRECISIONS = ("auto", "fp32", "bf16")
"""What ``precision=`` takes; ``engine.hardware.pick_precision`` says what ``auto`` is."""


def _require(ok: bool, message: str) -> None:
    """Raise a UserError with the message unless ``ok``."""
    if not ok:
        raise UserError(message)


@dataclass
class OptimSettings:
    """Hold how weights are updated: configs/optim/*.yaml."""

    lr: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 0.0005
    bias_lr: float = 2.0
    schedule: str = "step"
    step: int = 40_000
    gamma: float = 0.1
    warmup: int = 0
    batch_size: int = 64
    accumulate: int = 1
    epochs: float | None = None
    iterations: int | None = 160_000
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        one_of("optim.schedule", self.schedule, ("step", "cosine", "constant"))
        for key in ("lr", "bias_lr", "step", "gamma", "batch_size", "accumulate"):
            _require(getattr(self, key) > 0, f"optim.{key}={getattr(self, key)}: must be over 0")
        for key in ("momentum", "label_smoothing"):
            value = getattr(self, key)
            _require(0 <= value < 1, f"optim.{key}={value}: must be at least 0 and under 1")
        _require(self.weight_decay >= 0, "optim.weight_decay: must be 0 or more")
        _require(self.warmup >= 0, "optim.warmup: must be 0 or more")
        _require(
            (self.epochs is None) != (self.iterations is None),
            "optim.epochs and optim.iterations: give one, and set the other to null "
            "(optim.epochs=10 optim.iterations=null)",
        )
        for key in ("epochs", "iterations"):
            value = getattr(self, key)
            _require(value is None or value > 0, f"optim.{key}={value}: must be over 0")


CLASSIFICATION = {
    "_target_": "cam_repro.objectives.classification.Classification",
    "name": "classification",
}
"""The default objective, the keys of configs/train/classification.yaml."""


@dataclass
class TrainSettings:
    """Hold the settings of ``cam-train``: configs/train.yaml."""

    data: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=lambda: dict(CLASSIFICATION))
    optim: OptimSettings = field(default_factory=OptimSettings)
    augment: dict[str, Any] = field(default_factory=dict)
    loader: LoaderSettings = field(default_factory=LoaderSettings)
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    compile: bool = False
    channels_last: bool = True
    validate_every: int = 1
    checkpoint_every: int = 5000
    tensorboard: bool = True
    overwrite: bool = False
    runs: str = "runs"
    output: str | None = None

    def __post_init__(self) -> None:
        _require("name" in self.model, "model is not given: add model=NAME; --help lists them")
        one_of("precision", self.precision, PRECISIONS)
        _require(self.validate_every > 0, "validate_every: must be over 0 epochs")
        _require(self.checkpoint_every > 0, "checkpoint_every: must be over 0 iterations")

    @cached_property
    def objective(self) -> Objective:
        """Build what the training minimises; raises UserError as ``objective_of`` does."""
        from cam_repro.objectives.build import objective_of

        return objective_of(self.train, self.optim.label_smoothing)


@dataclass
class EvalSettings:
    """Hold the settings of ``cam-eval``: configs/eval.yaml."""

    data: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] | None = None
    saliency: dict[str, Any] | None = None
    view: dict[str, Any] = field(default_factory=dict)
    box: dict[str, Any] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    cues: dict[str, Any] | None = None
    loader: LoaderSettings = field(default_factory=LoaderSettings)
    split: str = "val"
    checkpoint: str = "last"
    batch_size: int | None = None
    device: str = "auto"
    precision: str = "auto"
    compile: bool = False
    channels_last: bool = True
    examples: int = 8
    save_maps: bool = False
    overwrite: bool = False
    runs: str = "runs"
    output: str | None = None

    def __post_init__(self) -> None:
        one_of("split", self.split, ("train", "val", "test"))
        one_of("checkpoint", self.checkpoint, ("last", "best"))
        one_of("precision", self.precision, PRECISIONS)
        _require(self.batch_size is None or self.batch_size > 0, "batch_size: must be over 0")
        _require(self.examples >= 0, "examples: must be 0 or more images")


@dataclass
class NetworkSettings:
    """Hold what the commands share that run one network over images, as their settings."""

    model: dict[str, Any] = field(default_factory=dict)
    loader: LoaderSettings = field(default_factory=LoaderSettings)
    device: str = "auto"
    precision: str = "auto"
    runs: str = "runs"
    output: str | None = None

    def __post_init__(self) -> None:
        _require("name" in self.model, "model is not given: add model=NAME; --help lists them")
        one_of("precision", self.precision, PRECISIONS)


CROPS = ("none", "truth")
"""What ``crop=`` of ``cam-features`` takes, besides a run."""


@dataclass
class FeaturesSettings(NetworkSettings):
    """Hold the settings of ``cam-features``: configs/features.yaml."""

    data: dict[str, Any] = field(default_factory=dict)
    view: dict[str, Any] = field(default_factory=dict)
    split: str = "val"
    crop: str = "none"
    crop_class: str = "guess"
    crop_rule: str | None = None
    format: str = "npy"
    checkpoint: str = "last"
    batch_size: int | None = None
    channels_last: bool = True
    overwrite: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("split", self.split, ("train", "val", "test"))
        one_of("checkpoint", self.checkpoint, ("last", "best"))
        one_of("crop_class", self.crop_class, ("guess", "truth"))
        one_of("format", self.format, FORMATS)
        _require(self.batch_size is None or self.batch_size > 0, "batch_size: must be over 0")
        is_of_run = self.crop not in CROPS
        _require(
            is_of_run or (self.crop_class == "guess" and self.crop_rule is None),
            "crop_class and crop_rule say which box of a run to crop to: add crop=RUN",
        )

    @property
    def compile(self) -> bool:
        """Whether the network is compiled: never, as it changes its last layer."""
        return False
