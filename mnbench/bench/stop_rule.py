"""The stop rule: when a case has enough processes, and how many more it may need."""

from collections.abc import Sequence
from math import inf
from statistics import median

from mnbench.bench.plan import SamplingConfig
from mnbench.results.trial_result import TrialResult
from mnbench.stats import median_interval, quantile, relative_half_width
from mnbench.units import NS_PER_S

MIN_BUDGET_CASES = 8
"""A process takes long to start, so a run of fewer cases has the budget of so many: six processes also with --quick."""

MIN_SPREAD_PROCESSES = 6
"""The spread of fewer processes says nothing; the whole budget is then expected to be spent."""


def half_width(trials: Sequence[TrialResult]) -> float:
    """Return the larger distance of an end of the interval from the median, as a share; infinite if there is none."""
    medians = [trial.median_ns for trial in trials]
    if len(medians) < 2:
        return inf
    low, high, _ = median_interval(medians)
    return relative_half_width(low, median(medians), high)


def run_budget_s(sampling: SamplingConfig, case_count: int) -> float:
    """Return the budget that so many cases share."""
    return sampling.budget_s * max(case_count, MIN_BUDGET_CASES)


def is_precise(sampling: SamplingConfig, trials: Sequence[TrialResult], precision: float) -> bool:
    """Return whether a case has its processes and an interval within ± this share of the median."""
    return len(trials) >= sampling.processes and half_width(trials) <= precision


def processes_left(sampling: SamplingConfig, trials: Sequence[TrialResult]) -> float:
    """Return how many more processes a case may need.

    The half width of order statistics of n values is about twice their interquartile range, divided by the root of n,
    but it varies: a case is sure to be within half of the target at three times the range.
    """
    count, ordered = len(trials), sorted(trial.median_ns for trial in trials)
    spread = (quantile(ordered, 0.75) - quantile(ordered, 0.25)) / median(ordered)
    needed = (6 * spread / sampling.precision) ** 2 if count >= MIN_SPREAD_PROCESSES else inf
    return max(1.0, sampling.processes - count, needed - count)


def is_complete(sampling: SamplingConfig, trials: Sequence[TrialResult]) -> bool:
    """Return whether a case that is measured by itself is precise, or one more process would exceed its budget."""
    spent_s = sum(trial.duration_ns for trial in trials) / NS_PER_S
    is_over_budget = spent_s * (1 + 1 / len(trials)) > run_budget_s(sampling, 1)
    return is_over_budget or is_precise(sampling, trials, sampling.precision / 2)
