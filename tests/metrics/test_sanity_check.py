import numpy as np
import pytest

from cam_repro.metrics.sanity_check import SanityCheck
from cam_repro.runs.answers import Answers


def test_literal(truth_of):
    values = np.array([[1, 0], [0.5, -0.5]], np.float32)
    given = Answers(["a", "b"], np.zeros(2, np.int32), values, ["fc", "conv1"])
    scored = SanityCheck().score(truth_of([(2, 2)] * 3, [[]] * 3), given)
    assert scored.numbers == {
        "n_images": 3,
        "n_asked": 2,
        "rank_correlation": {"fc": 0.75, "conv1": -0.25},
        "rank_correlation_95": {"fc": [0.5, 1], "conv1": [-0.5, 0]},
    }
    assert scored.lines[1].split() == ["fc", "0.750", "95", "%:", "0.500", "to", "1.000"]
    assert max(map(len, scored.lines)) < 80


def test_literal_rows_are_images(truth_of):
    values = np.array([[1, 2, 3]], np.float32)
    given = Answers(["a"], np.zeros(1, np.int32), values, ["x", "y", "z"])
    numbers = SanityCheck().score(truth_of([(2, 2)], [[]]), given).numbers
    assert numbers["rank_correlation"] == pytest.approx({"x": 1, "y": 2, "z": 3})
