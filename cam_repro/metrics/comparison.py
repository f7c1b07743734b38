"""Compare two runs over the same images: the difference of their errors, and what it is worth.

The images that both runs scored are paired by their ids. Both runs meet the same hard and easy
images, so the interval of the difference is narrower than the intervals of the two errors suggest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cam_repro.errors import UserError
from cam_repro.metrics.intervals import Number, interval_of_difference
from cam_repro.metrics.scores import cls_outcomes, loc_wrong
from cam_repro.runs.predictions import Predictions


@dataclass(frozen=True)
class Paired:
    """Count how two runs fared on the same ``n`` images; errors and differences are in percent.

    only_first, only_second: images that only this run has wrong. both: images that both have wrong.
    """

    n: int
    only_first: int
    only_second: int
    both: int

    @classmethod
    def of(cls, first_wrong_N: np.ndarray, second_wrong_N: np.ndarray) -> Paired:
        """Count two outcomes of the same images, bool (N,), True = wrong; at least one image."""
        assert len(first_wrong_N) == len(second_wrong_N) > 0
        counts = (
            first_wrong_N & ~second_wrong_N,
            second_wrong_N & ~first_wrong_N,
            first_wrong_N & second_wrong_N,
        )
        return cls(len(first_wrong_N), *(int(np.count_nonzero(wrong_N)) for wrong_N in counts))

    @cached_property
    def first(self) -> Number:
        """The error of the first run, with its own interval."""
        return Number.of_counts(self.only_first + self.both, self.n)

    @cached_property
    def second(self) -> Number:
        """The error of the second run, with its own interval."""
        return Number.of_counts(self.only_second + self.both, self.n)

    @property
    def difference(self) -> float:
        """The second error - the first, in points."""
        return 100 * (self.only_second - self.only_first) / self.n

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the difference, by the paired bootstrap over images."""
        low, high = interval_of_difference(self.only_second, self.only_first, self.n)
        return 100 * low, 100 * high

    @cached_property
    def p(self) -> float:
        """The p value, 0 to 1, of McNemar's exact test, two-sided.

        If both runs were wrong equally often, each image that only one of them has wrong would be
        a toss of a fair coin. 1 where there is no such image.
        """
        from scipy.stats import binomtest  # takes half a second to import

        tosses = self.only_first + self.only_second
        return float(binomtest(self.only_first, tosses).pvalue) if tosses else 1.0

    @property
    def p_text(self) -> str:
        """The p value as tables write it: ``0.012``, ``<0.001``."""
        return "<0.001" if self.p < 0.001 else f"{self.p:.2g}"


@dataclass(frozen=True)
class Pairs:
    """Hold the images that two runs share: rows in each, int64 (N,), in the order of the first.

    n_only_first, n_only_second: how many images the other run does not have.
    """

    first_N: np.ndarray
    second_N: np.ndarray
    n_only_first: int
    n_only_second: int


def pair_images(first: Predictions, second: Predictions, names: tuple[str, str]) -> Pairs:
    """Pair the images of two runs by their ids.

    names: of both runs, for messages. Raises UserError where they share no image, and where their
    truth differs for a shared one: label, boxes, or whether it is blacklisted.
    """
    row_of = {image_id: row for row, image_id in enumerate(second.ids)}
    second_N = np.array([row_of.get(image_id, -1) for image_id in first.ids], np.int64)
    first_N = np.flatnonzero(second_N >= 0)
    second_N = second_N[first_N]
    if not len(first_N):
        raise UserError(
            f"{names[0]} and {names[1]} have no image in common: compare runs over the same images"
        )
    for what, same_N in _same(first, second, first_N, second_N).items():
        different = first_N[~same_N]
        if len(different):
            raise UserError(
                f"{names[0]} and {names[1]} differ in the {what} of {len(different)} of "
                f"{len(first_N)} images (the first: {first.ids[different[0]]}): score both against "
                "the same truth"
            )
    return Pairs(first_N, second_N, len(first) - len(first_N), len(second) - len(first_N))


def compare(
    first: Predictions, second: Predictions, pairs: Pairs, rules: tuple[str, str] | None
) -> dict[str, Paired]:
    """Compare the errors of two runs over the images that they share.

    rules: the box rule of the first run and that of the second, for ``loc top-1``, ``loc top-5``
    and ``GT-known``; None: compare ``cls top-1`` and ``cls top-5``. Errors that only one of the
    runs has are left out. The ``loc`` errors leave blacklisted images out.
    """
    runs = ((first, pairs.first_N), (second, pairs.second_N))
    if not all(table.has_labels for table, _ in runs):
        return {}
    classify = all(table.manifest.classifies for table, _ in runs)
    if rules is None:
        if not classify:
            return {}
        wrong = [cls_outcomes(table) for table, _ in runs]
        names = {"cls top-1": "top1", "cls top-5": "top5"}
    else:
        if not all(table.has_boxes for table, _ in runs):
            return {}
        wrong = [loc_wrong(table, rule) for (table, _), rule in zip(runs, rules, strict=True)]
        names = {"loc top-1": "top1", "loc top-5": "top5"} if classify else {}
        names["GT-known"] = "gt_known"
    found = {}
    for name, key in names.items():
        outcomes = [of_run[key][rows_N] for of_run, (_, rows_N) in zip(wrong, runs, strict=True)]
        if name.startswith("loc") and first.blacklisted_N is not None:
            outcomes = [wrong_N[~first.blacklisted_N[pairs.first_N]] for wrong_N in outcomes]
        if len(outcomes[0]):
            found[name] = Paired.of(*outcomes)
    return found


def _same(
    first: Predictions, second: Predictions, first_N: np.ndarray, second_N: np.ndarray
) -> dict[str, np.ndarray]:
    """Tell for each pair of rows whether the truth is the same in both runs, bool (N,)."""
    boxes = [first.boxes.select(first_N), second.boxes.select(second_N)]
    same_boxes_N = boxes[0].counts_N == boxes[1].counts_N
    alike = [of_run.select(np.flatnonzero(same_boxes_N)) for of_run in boxes]
    different_T = (alike[0].values_T4 != alike[1].values_T4).any(axis=1)
    same_boxes_N[np.flatnonzero(same_boxes_N)[alike[0].image_of_box()[different_T]]] = False
    return {
        "label": first.labels_N[first_N] == second.labels_N[second_N],
        "true boxes": same_boxes_N,
        "blacklist": _blacklisted(first)[first_N] == _blacklisted(second)[second_N],
    }


def _blacklisted(table: Predictions) -> np.ndarray:
    if table.blacklisted_N is None:
        return np.zeros(len(table), bool)
    return table.blacklisted_N
