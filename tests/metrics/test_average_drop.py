import numpy as np
import pytest

from cam_repro.metrics.average_drop import AverageDrop
from cam_repro.runs.answers import Answers


def score(truth_of, values):
    values = np.array(values, np.float32)
    ids = [f"i{i}" for i in range(len(values))]
    given = Answers(ids, np.zeros(len(ids), np.int32), values, ["image", "image times map"])
    return AverageDrop().score(truth_of([(2, 2)] * len(ids), [[]] * len(ids)), given)


def test_literal(truth_of):
    """Half of it is lost, all, nothing, nothing as it rises."""
    scored = score(truth_of, [[0.5, 0.25], [1, 0], [0.5, 0.5], [0.25, 0.75]])
    assert scored.numbers == {
        "n_images": 4,
        "n_asked": 4,
        "average_drop": 37.5,
        "average_drop_95": [pytest.approx(0), pytest.approx(87.5, abs=13)],
        "increase": 25,
        "increase_95": [0, 75],
    }
    assert max(map(len, scored.lines)) < 80


def test_agrees_with_a_second_coding(truth_of):
    rng = np.random.default_rng(0)
    pairs = rng.random((5000, 2)).astype(np.float32)
    pairs[::7, 1] = pairs[::7, 0]
    numbers = score(truth_of, pairs).numbers
    drops = [max(0.0, y - o) / y for y, o in pairs.astype(float).tolist()]
    assert numbers["average_drop"] == pytest.approx(100 * sum(drops) / 5000)
    assert numbers["increase"] == 100 * sum(o > y for y, o in pairs.tolist()) / 5000
