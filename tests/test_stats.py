"""Statistics, against numpy and against exact binomial probabilities."""

import statistics
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnbench.stats import median, median_interval, quantile

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


@given(DURATIONS)
def test_median_is_the_standard_librarys(values):
    """The median needs no order, and is the mean of the middle two where there are two."""
    assert pytest.approx(statistics.median(values), rel=1e-12) == median(values)


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
