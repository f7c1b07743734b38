import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_builder import make_manifest

from cam_repro.errors import UserError
from cam_repro.metrics.comparison import Paired, compare, pair_images
from cam_repro.metrics.intervals import interval_of_difference
from cam_repro.runs.predictions import Predictions, RuleTable
from cam_repro.truth import RaggedBoxes

RIGHT, WRONG, NONE = (0, 0, 9, 9), (10, 10, 19, 19), (-1, -1, -1, -1)
NAMES = ("A", "B")


def run(ids, classes, boxes, truth=None, blacklisted=None, rules=("threshold",), **manifest):
    """A run over images of class 7 with the true box RIGHT: one guess an image."""
    n = len(ids)
    guessed = np.array([[c, 1, 2, 3, 4] for c in classes])
    guesses = RuleTable(guessed, np.array([[b] + [NONE] * 4 for b in boxes]), np.array(boxes))
    return Predictions(
        ids=list(ids),
        sizes_N2=np.full((n, 2), 20),
        labels_N=np.full(n, 7) if truth is None else np.array(truth["labels"]),
        boxes=RaggedBoxes.from_lists([[RIGHT]] * n if truth is None else truth["boxes"]),
        blacklisted_N=None if blacklisted is None else np.array(blacklisted),
        classes_N5=guessed,
        probabilities_N5=np.full((n, 5), 0.2),
        rules=dict.fromkeys(rules, guesses),
        manifest=make_manifest(**manifest),
    )


def test_literal_comparison_by_id():
    first = run("abcd", [7, 7, 0, 7], [RIGHT, WRONG, RIGHT, RIGHT])
    second = run("dcbx", [7, 7, 7, 7], [WRONG, RIGHT, RIGHT, WRONG])
    pairs = pair_images(first, second, NAMES)
    assert (pairs.first_N.tolist(), pairs.second_N.tolist()) == ([1, 2, 3], [2, 1, 0])
    assert (pairs.n_only_first, pairs.n_only_second) == (1, 1)
    # b, c, d: of the class the first has c wrong; of the boxes b, and of both b and c; the second d
    assert compare(first, second, pairs, None) == {
        "cls top-1": Paired(n=3, only_first=1, only_second=0, both=0),
        "cls top-5": Paired(n=3, only_first=1, only_second=0, both=0),
    }
    assert compare(first, second, pairs, ("threshold", "threshold")) == {
        "loc top-1": Paired(n=3, only_first=2, only_second=1, both=0),
        "loc top-5": Paired(n=3, only_first=2, only_second=1, both=0),
        "GT-known": Paired(n=3, only_first=1, only_second=1, both=0),
    }


def test_localization_leaves_blacklisted_images_out():
    blacklisted = [False, True, False]
    first = run("abc", [7, 7, 7], [RIGHT, RIGHT, WRONG], blacklisted=blacklisted)
    second = run("abc", [7, 7, 7], [WRONG, WRONG, WRONG], blacklisted=blacklisted)
    found = compare(first, second, pair_images(first, second, NAMES), ("threshold", "threshold"))
    assert found == {
        "loc top-1": Paired(n=2, only_first=0, only_second=1, both=1),
        "loc top-5": Paired(n=2, only_first=0, only_second=1, both=1),
        "GT-known": Paired(n=3, only_first=0, only_second=2, both=1),
    }


def test_errors_that_one_of_them_lacks_are_left_out():
    ab = {"ids": "ab", "classes": [7, 7], "boxes": [RIGHT, WRONG]}
    both = ("threshold", "threshold")
    boxes_alone, boxless, unlabelled = (
        run(**ab, classifies=False),
        run(**ab, truth={"labels": [7, 7], "boxes": [[], []]}),
        run(**ab, truth={"labels": [-1, -1], "boxes": [[], []]}),
    )
    pairs = pair_images(run(**ab), boxes_alone, NAMES)
    assert compare(run(**ab), boxes_alone, pairs, None) == {}
    assert list(compare(run(**ab), boxes_alone, pairs, both)) == ["GT-known"]
    assert list(compare(boxless, boxless, pairs, None)) == ["cls top-1", "cls top-5"]
    assert compare(boxless, boxless, pairs, both) == {}
    assert compare(unlabelled, unlabelled, pairs, None) == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ids": "xyz"}, "A and B have no image in common: compare runs over the same images"),
        (
            {"truth": {"labels": [7, 6, 5], "boxes": [[RIGHT]] * 3}},
            "A and B differ in the label of 2 of 3 images (the first: b): score both against the "
            "same truth",
        ),
        (
            {"truth": {"labels": [7, 7, 7], "boxes": [[RIGHT], [RIGHT], [(0, 0, 9, 8)]]}},
            "A and B differ in the true boxes of 1 of 3 images (the first: c)",
        ),
        (
            {"truth": {"labels": [7, 7, 7], "boxes": [[RIGHT, RIGHT], [WRONG], [RIGHT]]}},
            "A and B differ in the true boxes of 2 of 3 images (the first: a)",
        ),
        (
            {"blacklisted": [False, False, True]},
            "A and B differ in the blacklist of 1 of 3 images (the first: c)",
        ),
    ],
)
def test_other_truth_is_refused(changes, said):
    usual = {"ids": "abc", "classes": [7, 7, 7], "boxes": [RIGHT] * 3}
    with pytest.raises(UserError) as refused:
        pair_images(run(**usual), run(**usual | changes), NAMES)
    assert str(refused.value).startswith(said)


# --- differences


def test_literal_numbers():
    paired = Paired(n=1000, only_first=155, only_second=72, both=449)
    assert (paired.first.error, paired.second.error) == (60.4, 52.1)
    assert paired.difference == pytest.approx(-8.3)
    assert paired.interval == pytest.approx((-11.1, -5.4))
    assert paired.p == pytest.approx(3.74e-8, rel=1e-3)
    assert paired.p_text == "<0.001"


outcomes = st.integers(1, 40).flatmap(
    lambda n: st.tuples(*(st.lists(st.booleans(), min_size=n, max_size=n) for _ in range(2)))
)


@settings(max_examples=30)
@given(outcomes)
def test_a_run_beside_itself_and_two_runs_the_other_way_round(both):
    first, second = map(np.array, both)
    same = Paired.of(first, first)
    assert (same.difference, same.interval, same.p_text) == (0, (0, 0), "1")
    there, back = Paired.of(first, second), Paired.of(second, first)
    assert there.difference == -back.difference
    assert there.difference == pytest.approx(100 * (second.mean() - first.mean()))
    assert there.p == back.p
    low, high = there.interval
    assert low <= there.difference <= high
    assert -100 <= low <= high <= 100


@given(st.integers(0, 60), st.integers(0, 60))
def test_p_is_that_of_tossing_a_coin(more, less):
    n = more + less
    tail = sum(math.comb(n, k) for k in range(min(more, less) + 1)) / 2**n
    assert Paired(200, more, less, 3).p == pytest.approx(min(1, 2 * tail))


def test_the_interval_equals_resampling_the_images():
    difference = np.repeat([1, -1, 0], [50, 20, 130])
    rng = np.random.default_rng(1)
    means = difference[rng.integers(0, 200, (20_000, 200))].mean(axis=1)
    expected = np.quantile(means, [0.025, 0.975])
    np.testing.assert_allclose(interval_of_difference(50, 20, 200), expected, atol=0.0051)


def test_the_interval_is_narrower_than_that_of_unpaired_images():
    paired = Paired(n=1000, only_first=30, only_second=20, both=400)
    width = paired.interval[1] - paired.interval[0]
    assert width < 0.5 * (paired.first.high - paired.first.low)
    assert width == pytest.approx(2 * 1.96 * 100 * (0.05 - 0.01**2) ** 0.5 / 1000**0.5, abs=0.1)


@pytest.mark.parametrize("counts", [(0, 0, 0), (-1, 0, 5), (3, 3, 5)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(AssertionError):
        interval_of_difference(*counts)
