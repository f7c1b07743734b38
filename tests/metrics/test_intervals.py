import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cam_repro.metrics.intervals import Number, bootstrap_interval


def test_equals_resampling_the_images():
    outcomes = np.arange(200) < 60
    rng = np.random.default_rng(1)
    means = outcomes[rng.integers(0, 200, (20_000, 200))].mean(axis=1)
    expected = np.quantile(means, [0.025, 0.975])
    np.testing.assert_allclose(bootstrap_interval(outcomes), expected, atol=0.0051)


def test_width_is_that_of_the_normal_approximation_for_many_images():
    low, high = bootstrap_interval(np.arange(50_000) < 28_000)
    assert low == pytest.approx(0.56 - 1.96 * (0.56 * 0.44 / 50_000) ** 0.5, abs=2e-4)
    assert high == pytest.approx(0.56 + 1.96 * (0.56 * 0.44 / 50_000) ** 0.5, abs=2e-4)


@given(st.lists(st.booleans(), min_size=1, max_size=50))
def test_is_deterministic_ordered_around_the_mean_and_a_point_where_all_are_equal(outcomes):
    outcomes = np.array(outcomes)
    low, high = bootstrap_interval(outcomes, resamples=500)
    assert (low, high) == bootstrap_interval(outcomes, resamples=500)
    assert 0 <= low <= outcomes.mean() <= high <= 1
    assert (low == high) == (outcomes.mean() in (0, 1))


def test_a_higher_level_is_wider():
    outcomes = np.arange(100) < 30
    narrow, wide = bootstrap_interval(outcomes, 0.5), bootstrap_interval(outcomes, 0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@pytest.mark.parametrize("outcomes", [[], [0.5], [2]])
def test_only_outcomes_are_taken(outcomes):
    with pytest.raises(AssertionError):
        bootstrap_interval(np.array(outcomes))


def test_a_number_is_in_percent_and_the_same_from_counts():
    number = Number.of(np.arange(200) < 60)
    assert number == Number(error=30.0, low=24.0, high=36.5, n=200)
    assert Number.of_counts(60, 200) == number
