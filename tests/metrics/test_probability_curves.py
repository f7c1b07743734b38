import numpy as np
import pytest

from cam_repro.metrics.probability_curves import Deletion, Insertion, areas
from cam_repro.runs.answers import Answers


def answers(values):
    values = np.array(values, np.float32)
    ids = [f"i{i}" for i in range(len(values))]
    labels = [str(k) for k in range(values.shape[1])]
    return Answers(ids, np.zeros(len(ids), np.int32), values, labels)


@pytest.mark.parametrize(("protocol", "word"), [(Insertion, "put back"), (Deletion, "taken away")])
def test_literal(truth_of, protocol, word):
    """(0 + 1) / 2 for two intervals of 1/2: 0.75 if it rises at once, 0.25 if late."""
    given = answers([[0, 1, 1], [0, 0, 1]])
    scored = protocol().score(truth_of([(2, 2)] * 5, [[]] * 5), given)
    assert scored.numbers == {
        "n_images": 5,
        "n_asked": 2,
        protocol.name: 50,
        f"{protocol.name}_95": [25, 75],
        "curve": {"pixels": [0, 0.5, 1], "probability": [0, 50, 100]},
    }
    assert (scored.curves.changed, scored.curves.area, scored.curves.n_images) == (word, 50, 2)
    assert scored.curves.low_K.tolist() == [0, 0, 100]
    assert scored.curves.high_K.tolist() == [0, 100, 100]
    assert max(map(len, scored.lines)) < 80


def test_areas_agree_with_those_of_the_authors_program():
    """auc in their evaluation.py: (arr.sum() - arr[0] / 2 - arr[-1] / 2) / (arr.shape[0] - 1)."""
    rng = np.random.default_rng(0)
    for k in (2, 3, 29):
        values = rng.random((1000, k))
        expected = [(arr.sum() - arr[0] / 2 - arr[-1] / 2) / (len(arr) - 1) for arr in values]
        np.testing.assert_allclose(areas(values), expected, rtol=1e-12)
