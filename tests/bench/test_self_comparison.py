"""A host's noise: what A against A shows."""

# ruff: noqa: SIM300  expected == actual

from math import log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnbench.bench import self_comparison


def two_arms(make_sample, *medians):
    """Samples of two arms, whose every run of a process takes the same; A and B take turns."""
    samples = [make_sample([median] * 20) for median in medians]
    return samples[::2], samples[1::2]


def test_without_noise_both_arms_agree(make_sample):
    """Where every process finds the same, the ratio is one and nothing differs."""
    comparison = self_comparison.self_comparison("v1", *two_arms(make_sample, *[1000] * 12))

    assert (1000, 1.0, 1.0, 1.0) == (comparison.latency_ns, comparison.ratio, comparison.low, comparison.high)
    assert (0, 0, 0, 0) == (comparison.spread, comparison.p90, comparison.typical_difference, comparison.p95_difference)
    assert 12 == comparison.processes


def test_the_ratio_is_that_of_neighbours(make_sample):
    """Drift that hits both arms of a round alike leaves the ratio as it is, and shows as spread."""
    drift = [1000, 2000, 4000, 8000]
    comparison = self_comparison.self_comparison(
        "v1", *two_arms(make_sample, *(value for base in drift for value in (base, base * 1.1)))
    )

    assert 1.1 == pytest.approx(comparison.ratio, rel=1e-3) == pytest.approx(comparison.low, rel=1e-3)
    assert 7.8 == pytest.approx(comparison.spread, rel=1e-3)


def test_two_tables_are_all_ways_to_halve_the_processes(make_sample):
    """By hand: of 1, 2, 4 and 8, the pairs 1·2 and 4·8 lie a factor of 4 apart, 1·4 and 2·8 of 2, 1·8 and 2·4 of 1."""
    comparison = self_comparison.self_comparison("v1", *two_arms(make_sample, 1000, 2000, 4000, 8000))

    assert 2 - 1 == pytest.approx(comparison.typical_difference)
    assert 4 - 1 == pytest.approx(comparison.p95_difference)


def test_tails_are_within_processes(make_sample):
    """The 90th percentile is set against the median of the same process."""
    slow, fast = make_sample([2000] * 80 + [3000] * 20), make_sample([1000] * 80 + [1500] * 20)

    assert 0.5 == pytest.approx(self_comparison.self_comparison("v1", [slow] * 2, [fast] * 2).p90)


@given(st.lists(st.integers(1000, 10**7), min_size=4, max_size=12).filter(lambda values: len(values) % 2 == 0))
@settings(deadline=None)
def test_noise_is_in_order(values):
    """The interval holds the ratio, and what is seldom exceeds what is common."""
    from types import SimpleNamespace

    import numpy as np

    samples = [SimpleNamespace(latencies_ns=np.array([value] * 3), median_ns=value) for value in values]
    comparison = self_comparison.self_comparison("v1", samples[::2], samples[1::2])

    assert comparison.low <= comparison.ratio * (1 + 1e-12)
    assert comparison.ratio <= comparison.high * (1 + 1e-12)
    assert 0 <= comparison.typical_difference <= comparison.p95_difference <= max(values) / min(values) - 1 + 1e-9
    assert log(comparison.spread + 1) == pytest.approx(log(max(values) / min(values)))


def test_both_sides_are_measured_in_each_round(make_plan, make_sample):
    """In each round a process measures all cases as A, and another as B; which comes first is drawn."""
    plan = make_plan("v1-a1-r224", "v2-a1-r224", processes=8)
    seeds, steps = [], []

    def measure(_plan, cases, seed):
        seeds.append(seed)
        return {case.row.id: make_sample([1000 if seed.endswith("/0") else 1100] * 20) for case in cases}

    comparisons = self_comparison.compare_with_itself(plan, on_progress=steps.append, measure=measure)
    rounds = list(zip(seeds[::2], seeds[1::2], strict=True))

    assert steps[-1].done == steps[-1].total == len(seeds) == 16
    assert [{f"{number}/0", f"{number}/1"} for number in range(8)] == [set(pair) for pair in rounds]
    assert {"0", "1"} == {first.partition("/")[2] for first, _ in rounds}
    assert [("v1-a1-r224", 16, 1.1), ("v2-a1-r224", 16, 1.1)] == [
        (comparison.variant, comparison.processes, pytest.approx(comparison.ratio)) for comparison in comparisons
    ]


def test_the_sentence_is_about_the_noisiest(make_sample):
    """What two tables mean is said for the worst of the models."""
    quiet = self_comparison.self_comparison("v1", *two_arms(make_sample, *[1000] * 4))
    loud = self_comparison.self_comparison("v2", *two_arms(make_sample, 1000, 2000, 4000, 8000))
    text = self_comparison.noise_sentence([quiet, loud])

    assert "differ here by about 100.0%" in text
    assert "differences below 300.0% between two tables mean nothing" in text
