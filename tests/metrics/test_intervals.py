import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cam_repro.metrics.intervals import (
    Mean,
    Number,
    bootstrap_interval,
    interval_of_difference,
    intervals_of_means,
    resampled_means,
)


def test_equals_resampling_the_images():
    outcomes = np.arange(200) < 60
    rng = np.random.default_rng(1)
    means = outcomes[rng.integers(0, 200, (20_000, 200))].mean(axis=1)
    expected = np.quantile(means, [0.025, 0.975])
    np.testing.assert_allclose(bootstrap_interval(60, 200), expected, atol=0.0051)


def test_width_is_that_of_the_normal_approximation_for_many_images():
    low, high = bootstrap_interval(28_000, 50_000)
    assert low == pytest.approx(0.56 - 1.96 * (0.56 * 0.44 / 50_000) ** 0.5, abs=2e-4)
    assert high == pytest.approx(0.56 + 1.96 * (0.56 * 0.44 / 50_000) ** 0.5, abs=2e-4)


@given(st.lists(st.booleans(), min_size=1, max_size=50))
def test_is_deterministic_ordered_around_the_mean_and_a_point_where_all_are_equal(outcomes):
    count, n = sum(outcomes), len(outcomes)
    low, high = bootstrap_interval.__wrapped__(count, n, resamples=500)  # not the one kept
    assert (low, high) == bootstrap_interval.__wrapped__(count, n, resamples=500)
    assert 0 <= low <= count / n <= high <= 1
    assert (low == high) == (count in (0, n))


def test_a_higher_level_is_wider():
    narrow, wide = bootstrap_interval(30, 100, 0.5), bootstrap_interval(30, 100, 0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@pytest.mark.parametrize("outcomes", [[], [0.5], [2]])
def test_only_outcomes_are_taken(outcomes):
    with pytest.raises(AssertionError):
        Number.of(np.array(outcomes))


def test_a_number_is_in_percent():
    number = Number.of(np.arange(200) < 60)
    assert number == Number(error=30.0, low=24.0, high=36.5, n=200)
    assert number.ends == [24.0, 36.5]


@pytest.mark.parametrize(("n_wrong", "n"), [(60, 200), (109, 800), (1, 3), (0, 7), (7, 7)])
def test_an_error_is_the_same_from_images_counts_and_percent(n_wrong, n):
    """100 * mean of 109 in 800 is not 100 * 109 / 800: 13.63 and 13.62 % would be printed."""
    number = Number.of(np.arange(n) < n_wrong)
    assert number == Number.of_counts(n_wrong, n) == Number.of_percent(100 * n_wrong / n, n)
    assert f"{number.error:.2f}" == f"{100 * n_wrong / n:.2f}"


def test_interval_of_a_mean_literal():
    assert Mean.of(np.array([7.0, 7.0])).ends == [7, 7]
    found = Mean.of(np.arange(101.0))
    assert (found.value, found.n) == (50, 101)
    # The mean of 101 such values has a standard deviation of 29.15 / sqrt(101) = 2.90.
    assert found.ends == pytest.approx([50 - 1.96 * 2.90, 50 + 1.96 * 2.90], abs=0.15)
    assert found == Mean.of(np.arange(101.0))


def test_the_interval_of_a_mean_of_outcomes_is_that_of_their_counts():
    """Both draw the same distribution, by other random numbers."""
    outcomes = np.arange(2000) < 600
    found = Mean.of(outcomes)
    assert found.ends == pytest.approx(bootstrap_interval(600, 2000), abs=0.001)


def test_means_of_several_values_are_those_of_each():
    values = np.random.default_rng(0).random((300, 3))
    values[:, 1] = 0.25
    found = Mean.of_each(values)
    assert found[1].ends == [0.25, 0.25]
    for mean, column in zip(found, values.T, strict=True):
        assert mean.ends == pytest.approx(Mean.of(column).ends)
        rng = np.random.default_rng(1)
        means = column[rng.integers(0, 300, (20_000, 300))].mean(axis=1)
        assert mean.ends == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.002)


def test_of_two_images_two_are_drawn_with_replacement():
    means, times = np.unique(resampled_means(np.array([[0.0], [1.0]])), return_counts=True)
    assert means.tolist() == [0, 0.5, 1]
    assert times / 10_000 == pytest.approx([0.25, 0.5, 0.25], abs=0.02)


def test_many_images_are_drawn_in_several_blocks():
    """A block has 2,000,000 drawn images: of 300,000 images six means."""
    values = np.linspace(0, 1, 300_000)[:, None]
    means = resampled_means(values, resamples=20)[:, 0]
    assert len(set(means.tolist())) == 20
    assert np.abs(means - 0.5).max() < 5 / (12 * 300_000) ** 0.5


def test_a_lower_level_is_nearer_to_the_mean():
    values = np.arange(101.0)[:, None]
    ((low, high),) = intervals_of_means(values, level=0.5)
    # Half of all are within 0.674 standard deviations, which are 2.90.
    assert (low, high) == (pytest.approx(50 - 1.96, abs=0.15), pytest.approx(50 + 1.96, abs=0.15))


def test_the_interval_of_a_difference_is_that_of_resampled_pairs():
    differences = np.repeat([1, -1, 0], [60, 25, 115])
    rng = np.random.default_rng(1)
    means = differences[rng.integers(0, 200, (20_000, 200))].mean(axis=1)
    found = interval_of_difference(60, 25, 200)
    np.testing.assert_allclose(found, np.quantile(means, [0.025, 0.975]), atol=0.0051)
    half = interval_of_difference(60, 25, 200, level=0.5)
    np.testing.assert_allclose(half, np.quantile(means, [0.25, 0.75]), atol=0.0051)
    low, high = interval_of_difference(25, 60, 200)  # the other way round
    np.testing.assert_allclose([-high, -low], found, atol=0.0051)


@pytest.mark.parametrize(("more", "less", "end"), [(7, 0, 1), (0, 7, -1), (0, 0, 0)])
def test_the_interval_of_equal_differences_is_a_point(more, less, end):
    assert interval_of_difference(more, less, 7) == (end, end)


@pytest.mark.parametrize("counts", [(0, 0, 0), (-1, 1, 5), (1, -1, 5), (3, 3, 5)])
def test_counts_that_cannot_be_are_a_mistake_of_ours(counts):
    with pytest.raises(AssertionError):
        interval_of_difference(*counts)
