"""Hold what manifests of several kinds have: data, counts, weights, hardware, origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cam_repro.classes import MOST_CLASSES
from cam_repro.runs.manifest.record import Record


class _OfClasses(Record):
    """Describe a data set of some number of classes."""

    n_classes: int

    def refusal(self) -> str | None:
        """Refuse so many classes that their names would fill the memory, and none."""
        if 1 <= self.n_classes <= MOST_CLASSES:
            return None
        return f"has {self.n_classes} classes, which are 1 to {MOST_CLASSES:,}"


@dataclass(frozen=True, kw_only=True)
class ScoredData(_OfClasses):
    """Describe the data set of a scored pass.

    fingerprint: a hash of its images and labels: sets of one name are the same if it is equal.
    file_sizes: a hash of the sizes of some of its files, which tells other images of the same
        names; None where they are no files of their own, and in runs of older versions.
    layout: how its files are arranged, in words; None in runs of older versions.
    class_names: by class index; None in runs of older versions, and for ILSVRC's 1,000 classes,
        whose names are shipped.
    """

    left_out: ClassVar[tuple[str, ...]] = ("file_sizes",)

    name: str
    is_ilsvrc: bool
    n_classes: int
    fingerprint: str
    file_sizes: str | None = None
    has_labels: bool
    has_boxes: bool = True
    layout: str | None = None
    class_names: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class TrainedData(_OfClasses):
    """Describe the data set of a training run."""

    name: str
    n_train: int
    n_val: int
    n_classes: int
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Counts(Record):
    """Count the images that have a prediction, and those that could not be read."""

    images: int
    skipped: int


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Record):
    """Name the weights of a run: their path, and the SHA-256 of that file.

    sha256: None where the weights are no file, as with ``model.weights=torchvision``.
    """

    left_out: ClassVar[tuple[str, ...]] = ("sha256",)

    path: str
    sha256: str | None = None

    @property
    def described(self) -> str:
        """Name it for messages, with the beginning of the SHA-256 where there is one."""
        return f"{self.path} (SHA-256 {self.sha256[:12]})" if self.sha256 else self.path


@dataclass(frozen=True, kw_only=True)
class Crops(Record):
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
class Hardware(Record):
    """Describe what a run was computed with.

    device: its name. precision: ``fp32`` or ``bf16``. processes: their number.
    """

    beside: ClassVar[bool] = True

    device: str
    precision: str
    processes: int


@dataclass(frozen=True, kw_only=True)
class Provenance(Record):
    """Record where a run comes from.

    command: the command line. git: revision of the source tree, None for an installed wheel.
    versions: of Python and the libraries. created: time in UTC, ISO 8601.
    """

    beside: ClassVar[bool] = True

    command: str
    git: str | None
    versions: dict[str, str]
    created: str
