"""Hard negatives, and what is measured of a concept, on made points whose answer is known."""

import numpy as np
import pytest

from cam_repro.generic.concepts import CONCEPT, Detection, Mining, concept_scores, mine


def points(*values):
    return np.array(values, np.float32)[:, None]


def test_hard_negatives_are_added_until_none_is_left():
    """On a line: the concept from 8 on; negatives at 0, and 4 at 6, of which the sample has none.

    Between 0 and 8 the first SVM draws the border below 6. Then it has all negatives that it took
    for the concept, and the border moves beyond them.
    """
    negatives = np.concatenate([points(*np.linspace(-1, 1, 40)), points(6, 6.1, 6.2, 6.3)])
    positives = points(8, 8.5, 9, 9.5)
    seed = next(
        seed for seed in range(100) if np.random.default_rng(seed).permutation(44)[:10].max() < 40
    )
    first, second = mine(positives, negatives, Mining(sample=10, rounds=5, C=100.0, seed=seed))
    assert (first.n_negatives, first.hard.tolist()) == (10, [40, 41, 42, 43])
    assert (second.n_negatives, second.hard.tolist()) == (14, [])
    assert (concept_scores(second.svm, negatives) < 0).all()
    assert (concept_scores(second.svm, positives) > 0).all()


def test_it_ends_after_the_rounds_and_tells_which_hard_negatives_are_left():
    """Negatives of the very places of the concept stay hard, whatever they are trained on."""
    mixed = points(*[0.0] * 30, *np.linspace(7, 9, 30))
    found = mine(points(*np.linspace(7, 9, 10)), mixed, Mining(sample=5, rounds=0, seed=1))
    assert len(found) == 1
    assert found[0].n_negatives == 5
    assert len(found[0].hard)
    again = mine(points(*np.linspace(7, 9, 10)), mixed, Mining(sample=5, rounds=1, seed=1))
    assert len(again) == 2
    assert again[1].n_negatives == 5 + len(found[0].hard)
    assert again[0].hard.tolist() == found[0].hard.tolist()


def test_a_sample_of_all_negatives_leaves_none_to_be_hard():
    (only,) = mine(points(5, 6), points(0, 1), Mining(sample=9, rounds=3))
    assert (only.n_negatives, only.hard.tolist()) == (2, [])


def test_the_same_seed_gives_the_same_svm():
    rng = np.random.default_rng(0)
    positives, negatives = rng.normal(1, 1, (20, 3)), rng.normal(0, 1, (200, 3))
    one, other = (mine(positives, negatives, Mining(20, 2, seed=3))[-1] for _ in range(2))
    np.testing.assert_array_equal(one.svm.weights_CK, other.svm.weights_CK)


def test_scores_of_many_images_are_those_of_the_svm(monkeypatch):
    """They are computed some at a time."""
    (only,) = mine(points(5, 6), points(0, 1), Mining(sample=2, rounds=0))
    values = points(*range(10))
    whole = concept_scores(only.svm, values)
    monkeypatch.setattr("cam_repro.generic.concepts._ROWS", 3)
    np.testing.assert_array_equal(concept_scores(only.svm, values), whole)
    np.testing.assert_array_equal(whole, only.svm.scores(values)[:, CONCEPT])


def test_precision_recall_and_average_precision():
    """In order of score: right, wrong, right, right | below 0: wrong, right, wrong.

    Precision where a right one comes: 1, 2/3, 3/4 and 4/6; their mean is the average precision.
    """
    found = Detection.of(np.array([9, 7, 6, -2.0]), np.array([8, -1, -3.0]))
    assert found.precision is not None
    assert (found.precision.percent, found.precision.n) == (75, 4)
    assert (found.recall.percent, found.recall.n) == (75, 4)
    assert found.recall.low < 75 < found.recall.high
    assert found.average_precision == pytest.approx(100 * (1 + 2 / 3 + 3 / 4 + 4 / 6) / 4)


def test_where_nothing_is_taken_for_the_concept_there_is_no_precision():
    found = Detection.of(np.array([-1.0]), np.array([-2.0]))
    assert (found.precision, found.recall.percent) == (None, 0)
    assert found.average_precision == 100
