"""Define what a protocol is: a metric with its thresholds, scoring guesses or maps by the truth.

Each protocol is a class in a file of its own, with a YAML in ``configs/protocol`` that names it.
``cam-score protocol=NAME`` loads what the class says that it needs, and has no list of protocols.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from cam_repro.errors import UserError
from cam_repro.metrics.intervals import Number
from cam_repro.truth import Truth

if TYPE_CHECKING:  # pyarrow, which submissions of text do without
    from cam_repro.runs.predictions import Predictions


Result = TypeVar("Result")


class Needs(Enum):
    """List what a protocol can score: what ``Protocol.score`` is given besides the truth.

    GUESSES: labels and boxes of up to five guesses an image (``runs.guesses.Guesses``).
    KNOWN_BOXES: one box an image, for its true class: int (N, 4), a row of -1 where there is none.
    MAPS: the map of each image's true class, one after another, float (h, w) of any size.
    IMAGE_MAPS: such maps, each resized to its image, float32 (H, W).
    RUN_MAPS: such maps of a scored run, and the run's own predictions (``RunMaps``).
    CUES: the cues of each image, one after another (``runs.cues.Cues``).
    ANSWERS: what a run's network was asked by ``cam-eval quality=[NAME]``, NAME being that of the
        protocol (``runs.answers.Answers``).
    """

    GUESSES = "guesses"
    KNOWN_BOXES = "known boxes"
    MAPS = "maps"
    IMAGE_MAPS = "maps at the size of their images"
    RUN_MAPS = "maps of a run"
    CUES = "cues"
    ANSWERS = "answers of a run's network"


class Maps(ABC):
    """Give the map of each image's true class, in the order of the truth."""

    @abstractmethod
    def measured(self, measure: Callable[[int, np.ndarray], Result]) -> Iterator[Result]:
        """Yield ``measure(row, map)`` of each map, in order; several processes may compute it."""

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield each map."""
        return self.measured(lambda _, map_hw: map_hw)


def measured(
    given: Iterable[np.ndarray], measure: Callable[[int, np.ndarray], Result]
) -> Iterator[Result]:
    """Yield ``measure(row, map)`` of each map, in order: by several processes if ``given`` can.

    So ``measure`` must give something that can be pickled, and change nothing.
    """
    if isinstance(given, Maps):
        return given.measured(measure)
    return (measure(row, map_hw) for row, map_hw in enumerate(given))


@dataclass(frozen=True)
class RunMaps:
    """Hold a run of ``cam-eval save_maps=true``, in the order of the truth.

    run: its predictions. maps: the map of each image's true class, one after another, as the view
    merged it.
    """

    run: Predictions
    maps: Iterable[np.ndarray]


@dataclass(frozen=True)
class Curves:
    """Hold errors over a threshold, to be drawn.

    thresholds_T: shares of the map's maximum. errors: by name, percent at each threshold, (T,).
    own: the threshold that the run itself used; None where it used none.
    """

    thresholds_T: np.ndarray
    errors: dict[str, np.ndarray]
    own: float | None = None

    @property
    def best(self) -> dict[str, dict[str, float]]:
        """For each error its lowest value, and the lowest threshold that reaches it."""
        best = {name: int(error_T.argmin()) for name, error_T in self.errors.items()}
        return {
            name: {
                "threshold": float(self.thresholds_T[index]),
                "error": float(self.errors[name][index]),
            }
            for name, index in best.items()
        }


@dataclass(frozen=True)
class ProbabilityCurve:
    """Hold the mean probability of a class while images are changed, to be drawn.

    shares_K: of the pixels that are changed, 0 to 1. mean_K, low_K, high_K: in percent, with the
    95 % interval. changed: what is done to the pixels: ``put back``. area: under the mean, percent.
    n_images: over how many images it is.
    """

    shares_K: np.ndarray
    mean_K: np.ndarray
    low_K: np.ndarray
    high_K: np.ndarray
    changed: str
    area: float
    n_images: int


FIXED = "fixed"
"""Of a threshold: it was set before any image was scored."""

ORACLE = "oracle"
"""Of a threshold: it is the best on the scored images themselves, as no one can choose it."""

CHOSEN_ON = "chosen on "
"""Of a threshold, followed by where: it was chosen on other images, as in ``chosen on train``."""


@dataclass(frozen=True)
class Scored:
    """Hold what a protocol found.

    numbers: in percent, as the JSON has them. lines: a table for the terminal; each line says
    whether it is of errors or of accuracies, and names an oracle or a chosen threshold as such.
    thresholds_are: for each key of ``numbers`` that has thresholds, and for ``iou``, what they are:
    ``FIXED``, ``ORACLE``, or ``CHOSEN_ON`` and where. It is written into the JSON. curves: to be
    drawn beside the JSON, or None.

    Raises UserError for other words of a threshold.
    """

    numbers: dict[str, Any]
    lines: list[str]
    thresholds_are: dict[str, str]
    curves: Curves | ProbabilityCurve | None = None

    def __post_init__(self) -> None:
        for key, how in self.thresholds_are.items():
            if how not in (FIXED, ORACLE) and not how.startswith(CHOSEN_ON):
                raise UserError(
                    f"thresholds_are of {key} is {how!r}: say {FIXED}, {ORACLE} or {CHOSEN_ON}SPLIT"
                )

    def as_json(self) -> dict[str, Any]:
        """Give the JSON: the numbers, and what their thresholds are."""
        return {**self.numbers, "thresholds_are": self.thresholds_are}


@dataclass(frozen=True)
class Chosen:
    """Hold thresholds that were chosen on other images.

    thresholds: by what they were best for, as the numbers of the protocol name it: shares of the
    map's maximum. where: on which images.
    """

    thresholds: dict[str, float]
    where: str

    @classmethod
    def of(cls, thresholds: Mapping[str, Any], names: Iterable[str], where: str) -> Chosen:
        """Take the thresholds of ``names``; raises UserError where one is missing or no share."""
        names = list(names)
        found = {
            name: float(at)
            for name in names
            if isinstance(at := thresholds.get(name), float | int) and 0 <= at < 1
        }
        if len(found) < len(names):
            raise UserError(
                f"threshold_from has no thresholds for {', '.join(names)}: give the JSON "
                "that the same protocol wrote, or a run"
            )
        return cls(found, where)

    @property
    def word(self) -> str:
        """What these thresholds are, for ``Scored.thresholds_are``."""
        return CHOSEN_ON + self.where


class Protocol(ABC):
    """Score guesses or maps by a metric with its thresholds.

    It is built from the settings of its YAML; ``__init__`` raises UserError for a value that it
    cannot use, naming ``protocol.KEY``.

    name: what ``protocol=NAME`` calls it. needs: what ``score`` is given.
    heeds_blacklist: whether any of its numbers leaves the images of ``blacklist=`` out.
    takes_masks: whether it compares with masks of any size, as those of ``masks=`` are.
    chooses: whether it finds the best threshold; then ``take_thresholds`` gives it others.
    draws: whether it gives curves, which are drawn beside the JSON.
    odd_maps: what it does with maps that have values that are NaN or infinite, for a message.
    flat_maps: what it does with constant maps, which point nowhere; None: what with all others.
    """

    name: ClassVar[str]
    needs: ClassVar[Needs]
    heeds_blacklist: ClassVar[bool] = False
    takes_masks: ClassVar[bool] = False
    chooses: ClassVar[bool] = False
    draws: ClassVar[bool] = False
    odd_maps: ClassVar[str] = "what becomes of them is up to the protocol"
    flat_maps: ClassVar[str | None] = None

    @abstractmethod
    def score(self, truth: Truth, given: Any) -> Scored:
        """Score what was given against the truth.

        given: as ``needs`` says, image by image in the truth's order. Raises UserError where the
        truth lacks what the protocol needs, or where there is no image to score.
        """

    def take_thresholds(self, numbers: Mapping[str, Any], where: str) -> None:
        """Score at the thresholds that were best on other images besides.

        numbers: what ``score`` found on those. where: which they are, for ``thresholds_are``.
        Raises UserError where these are not numbers of this protocol.
        """
        raise NotImplementedError


def known_sizes(truth: Truth, name: str) -> np.ndarray:
    """Give width and height of each image, (N, 2); raises UserError where one is not known.

    name: of the protocol that needs them, for the message.
    """
    sizes_N2 = truth.sizes_N2
    if sizes_N2 is None or not (sizes_N2 > 0).all():
        raise UserError(
            f"the ground truth does not say how large each image is, which {name} needs: give a "
            "CSV with width and height, a metadata folder, XML files with <size>, or a run"
        )
    return sizes_N2


def row_of_ious(name: str, values: dict[str, float], form: str) -> str:
    """Write a line of a table with a column for each IoU threshold.

    form: how a cell is written, given the IoU threshold as {0} and the value as {1}: ``{1:.2f}``.
    """
    return f"{name:22}" + "".join(f"{form.format(iou, value):>9}" for iou, value in values.items())


def accuracy_intervals(accuracy: dict[str, float], n: int) -> dict[str, list[float]]:
    """Give the 95 % interval ``[low, high]`` of each accuracy over ``n`` images, in percent."""
    return {key: Number.of_percent(value, n).ends for key, value in accuracy.items()}


def rows_of_intervals(intervals: dict[str, list[float]]) -> list[str]:
    """Write two lines of a table: the low and the high ends of the 95 % intervals."""
    low, high = ({key: ends[i] for key, ends in intervals.items()} for i in (0, 1))
    return [row_of_ious("  95 % from", low, "{1:.2f}"), row_of_ious("  95 % to", high, "{1:.2f}")]
