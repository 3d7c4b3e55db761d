"""Statistics, against numpy and against exact binomial probabilities."""

import statistics
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mnbench.stats import effective_runs, faster_half_mean, median_interval, median_of_medians, quantile

DURATIONS = st.lists(st.floats(0, 1e12), min_size=1, max_size=50)


def _exact_coverage(n, k):
    """The probability that at least k and at most n - k of n values fall below the true median."""
    return Fraction(sum(comb(n, below) for below in range(k, n - k + 1)), 2**n)


@given(DURATIONS, st.floats(0, 1))
def test_quantile_is_numpys(values, share):
    """A quantile is numpy's, which interpolates between neighbours."""
    expected = np.quantile(values, share)

    assert pytest.approx(expected, rel=1e-9, abs=1e-9 * max(values)) == quantile(sorted(values), share)


@pytest.mark.parametrize(("share", "expected"), [(0, 10), (0.25, 20), (0.5, 30), (0.9, 46), (1, 50)])
def test_quantile_of_five_values(share, expected):
    """Of five values the second is the lower quartile, and shares between values are interpolated."""
    assert expected == pytest.approx(quantile([10, 20, 30, 40, 50], share))


@given(st.floats(0, 1e12), st.floats(0, 1))
def test_quantile_of_one_value_is_that_value(value, share):
    """One value is each of its own quantiles."""
    assert value == quantile([value], share)


def test_the_median_of_medians_is_that_of_processes():
    """However many runs each of them has, and in any order; a whole number."""
    assert median_of_medians([[30, 10, 20], [19] * 50, [21]]) == 20
    assert median_of_medians([[2, 3], [3.3]]) == 3


@pytest.mark.parametrize(
    ("latencies", "expected"),
    [([7], 7), ([30, 10], 10), ([900, 10, 20], 15), ([40, 30, 20, 10], 15), ([10, 20, 900, 30, 800], 20)],
)
def test_the_mean_of_the_faster_half(latencies, expected):
    """By hand; the median of an odd number is in the faster half."""
    assert expected == faster_half_mean(latencies)


LATENCIES = st.lists(st.integers(1, 10**12), min_size=1, max_size=50)


@given(LATENCIES, st.randoms())
def test_the_mean_of_the_faster_half_lies_between_minimum_and_median(latencies, draw):
    """In any order."""
    result = faster_half_mean(latencies)

    assert min(latencies) <= result <= statistics.median(latencies)
    assert result == faster_half_mean(draw.sample(latencies, len(latencies)))


@given(LATENCIES, st.integers(1, 10**6))
def test_slow_outliers_do_not_move_the_mean_of_the_faster_half(latencies, factor):
    """However slow the slower half is."""
    ordered = sorted(latencies)
    half = (len(ordered) + 1) // 2

    assert faster_half_mean(latencies) == faster_half_mean(
        [*ordered[:half], *(latency * factor for latency in ordered[half:])]
    )


@given(LATENCIES, st.integers(1, 10**12))
def test_another_latency_moves_the_mean_of_the_faster_half_towards_it(latencies, another):
    """One that is in the faster half never raises the mean, and one slower than all never lowers it."""
    before, after = faster_half_mean(latencies), faster_half_mean([*latencies, another])

    assert another > before or after <= before
    assert another < max(latencies) or after >= before


@pytest.mark.parametrize(
    ("n", "low", "high", "coverage"),
    [
        (1, 1, 1, 0),
        (2, 1, 2, 0.5),
        (4, 1, 4, 0.875),
        (5, 1, 5, 0.9375),
        (6, 1, 6, 0.96875),
        (8, 1, 8, 0.9921875),
        (9, 2, 8, 0.9609375),
        (10, 2, 9, 0.978515625),
        (15, 4, 12, 0.96484375),
        (20, 6, 15, 0.9586105346679688),
        (25, 8, 18, 0.9567147493362427),
    ],
)
def test_median_interval_of_ranks(n, low, high, coverage):
    """The ranks and coverages are those of the tables of the sign test."""
    assert (low, high, coverage) == median_interval(range(1, n + 1))


@given(st.integers(1, 60), st.floats(0.5, 0.999))
def test_median_interval_is_the_narrowest_that_covers(n, confidence):
    """The stated coverage is exact, and one rank further in would not reach the confidence."""
    low, high, coverage = median_interval(range(1, n + 1), confidence)

    assert (low, n + 1 - low) == (low, high)
    assert float(_exact_coverage(n, low)) == pytest.approx(coverage, abs=1e-12)
    assert low == 1 or coverage >= confidence
    assert 2 * (low + 1) > n + 1 or _exact_coverage(n, low + 1) < confidence


@given(st.permutations(range(20)))
def test_median_interval_needs_no_order(values):
    """Values in any order give the interval of the sorted ones."""
    assert median_interval(range(20)) == median_interval(values)


@given(DURATIONS)
def test_median_interval_holds_the_sample_median(values):
    """The sample's own median lies inside the interval."""
    low, high, _ = median_interval(values)

    assert low <= statistics.median(values) <= high


def test_median_interval_at_a_lower_confidence_is_narrower():
    """Fifty per cent of confidence needs fewer ranks than ninety-five."""
    wide_low, wide_high, wide = median_interval(range(21), 0.95)
    low, high, coverage = median_interval(range(21), 0.5)

    assert wide_low < low < high < wide_high
    assert wide > coverage >= 0.5


def autoregressive(rho, n, seed=0):
    """Values of which each keeps the share `rho` of the one before."""
    steps = np.random.default_rng(seed).standard_normal(n)
    values = np.zeros(n)
    for index in range(1, n):
        values[index] = rho * values[index - 1] + steps[index]
    return values


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6, 0.9, 0.99])
def test_effective_runs_of_an_autoregressive_process(rho):
    """Where each run keeps the share ρ of the one before, n runs are worth n (1 − ρ) / (1 + ρ)."""
    n = 40_000
    result = [effective_runs(autoregressive(rho, n, seed)) for seed in range(5)]

    assert n * (1 - rho) / (1 + rho) == pytest.approx(np.mean(result), rel=0.15)


def test_runs_that_alternate_are_worth_no_more_than_there_are():
    """Neighbours that contradict each other would be worth more than independent ones; none are counted twice."""
    assert effective_runs(autoregressive(-0.8, 1000)) == 1000


@example([0.0, 3.8e-217])
@given(st.lists(st.floats(0, 1e12), max_size=200))
def test_effective_runs_are_some_and_never_more_than_there_are(values):
    """Whatever the values, as many as there are at most, and above none."""
    value = effective_runs(values)

    assert value <= len(values)
    assert value > 0 or not values


@pytest.mark.parametrize("values", [[], [5], [5, 5], [5] * 1000], ids=["none", "one", "two", "constant"])
def test_effective_runs_of_values_that_do_not_differ(values):
    """Values that are all the same tell nothing of how they follow each other."""
    assert len(values) == effective_runs(values)


@pytest.mark.parametrize("values", [[1, 2], [1, 2, 3], [3, 1, 2, 4]], ids=len)
def test_effective_runs_of_few(values):
    """Of few runs it is a number like any other."""
    assert 0 < effective_runs(values) <= len(values)


@given(st.lists(st.integers(1, 10**9), min_size=2, max_size=50), st.integers(1, 1000))
def test_effective_runs_need_no_unit(values, factor):
    """Nanoseconds or milliseconds: runs are worth the same."""
    assert effective_runs(values) == pytest.approx(effective_runs([factor * value for value in values]), rel=1e-3)
