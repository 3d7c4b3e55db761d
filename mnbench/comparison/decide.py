"""Decide a table from the pairs of its rows, at one family-wise error rate; nothing is measured or stored here.

A row's effect in a process is a trimmed mean of log(candidate / base). The sample is the processes, not the pairs:
where a session lies in memory makes a difference that no number of its runs averages out.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from math import log1p, sqrt
from statistics import fmean, median, variance
from typing import Annotated, Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from mnbench.results.facts import Amount, Count, Text
from mnbench.stats import student_quantile, trimmed_mean

Verdict: TypeAlias = Literal["faster", "same", "slower", "inconclusive", "missing", "incomparable", "identical"]

INTERIM_LOOKS = (4, 6, 8, 12, 16, 24, 32, 48, 64)
MIN_PROCESSES = 4
MIN_PAIRS = 30
INTERRUPTED_RATIO, INTERRUPTED_NS = 1.02, 20_000
"""A run was interrupted if its wall time exceeds this multiple of its CPU time, plus so many nanoseconds."""

PRIOR_FREEDOM = 4
"""The degrees of freedom that the other rows' median variance counts for, at most."""

ERROR_SPENDING = ((0.0, 1 / 3, 1 / 2, 2 / 3, 1.0), (0.0, 0.1, 0.3, 0.6, 1.0))
"""The share of the maximum number of processes, and the share of the error rate that is spent by then."""


class Effect(NamedTuple):
    """The effect that one process measured for a row, and the number of its pairs."""

    log_ratio: float
    pairs: int


Effects: TypeAlias = Mapping[str, Sequence[Effect]]
"""The effects on each row, one per process that measured it."""


class DecisionRules(msgspec.Struct, frozen=True, kw_only=True):
    """When a row is slower, faster or the same.

    `error_rate` is the family-wise error rate: the chance that any unchanged row of the table is called slower. The
    same holds for faster, and for a row called the same whose slowdown exceeds `equivalence_margin`. A row is slower
    if the lower confidence bound of its slowdown exceeds `noise_margin` and the estimate is at least `min_effect`.
    The margins and `min_effect` are shares of the baseline's latency.
    """

    error_rate: Annotated[float, Meta(gt=0, lt=1)] = 0.01
    noise_margin: Amount = 0.005
    min_effect: Amount = 0.01
    equivalence_margin: Amount = 0.02
    processes: Annotated[int, Meta(ge=1, le=10_000)] = 12

    @property
    def interim_looks(self) -> tuple[int, ...]:
        """The numbers of processes after which the table is decided."""
        return (*(look for look in INTERIM_LOOKS if look < self.processes), self.processes)

    def error_spent(self, processes: int) -> float:
        """Return the share of the error rate that is spent after so many processes."""
        return float(np.interp(processes / self.processes, *ERROR_SPENDING))


class RatioEstimate(NamedTuple):
    """A row's log ratio and its confidence bounds, which hold for the whole table at the level of an interim look."""

    mean: float
    low: float
    high: float
    processes: int
    pairs: int


class Decision(NamedTuple):
    """A row's verdict and the estimate at the interim look that decided it; None until one has."""

    verdict: Verdict | None
    estimate: RatioEstimate


def trial_effect(columns: Mapping[str, NDArray[np.int64]], *, blocking_waits: bool) -> Effect:
    """Return the effect in one process, from the columns of its pairs.

    A pair counts by wall time. If the system interrupted one of its runs, it counts by CPU time, unless a side has
    `blocking_waits`, which CPU time leaves out. The side that runs first has an advantage or a disadvantage, so both
    orders have the same weight.
    """
    base, candidate, base_cpu, candidate_cpu = (
        columns[name].astype(np.float64) for name in ("base_ns", "candidate_ns", "base_cpu_ns", "candidate_cpu_ns")
    )
    ratios = np.log(candidate / base)
    if not blocking_waits:
        disturbed = (base > INTERRUPTED_RATIO * base_cpu + INTERRUPTED_NS) | (
            candidate > INTERRUPTED_RATIO * candidate_cpu + INTERRUPTED_NS
        )
        # A clock that ticks coarsely may not have ticked in a short run.
        disturbed &= (base_cpu > 0) & (candidate_cpu > 0)
        ratios[disturbed] = np.log(candidate_cpu[disturbed] / base_cpu[disturbed])
    halves = [ratios[columns["first"] == side] for side in (0, 1)]
    return Effect(fmean(trimmed_mean(half) for half in halves if half.size), ratios.size)


def decide(
    effects: Effects, rules: DecisionRules, *, final: bool, row_count: int = 0, prior_variances: Sequence[float] = ()
) -> dict[str, Decision]:
    """Decide the table at each interim look that its processes allow; a row keeps its first verdict.

    If the processes are `final`, a last look at the undecided rows spends the remaining error rate. The error rate is
    divided by `row_count`, or by the number of rows in `effects`. `prior_variances` are those of other rows.
    """
    available = max(map(len, effects.values()), default=0)
    decided: dict[str, Decision] = {}

    def look(processes: int, share: float, *, last: bool) -> None:
        level = rules.error_rate * share / (row_count or len(effects))
        looked_at = {row: values[:processes] for row, values in effects.items()}
        for row, estimate in estimate_ratios(looked_at, level, prior_variances).items():
            if row not in decided or decided[row].verdict is None:
                decided[row] = Decision(_verdict(estimate, rules, last=last), estimate)

    for before, processes in pairwise((0, *rules.interim_looks)):
        if processes <= available:
            look(processes, rules.error_spent(processes) - rules.error_spent(before), last=processes == rules.processes)
    if final and available >= MIN_PROCESSES:
        before = max((processes for processes in rules.interim_looks if processes < available), default=0)
        look(available, 1 - rules.error_spent(before), last=True)
    return decided


def estimate_ratios(effects: Effects, level: float, prior_variances: Sequence[float] = ()) -> dict[str, RatioEstimate]:
    """Estimate each row's log ratio; each bound fails with probability `level`.

    A row's variance over so few processes is imprecise, so it is shrunk towards the median of the other rows' (a
    moderated t: Smyth, 2004), which counts for one degree of freedom per other row, and for `PRIOR_FREEDOM` at most.
    """
    variances = {row: _variance(values) for row, values in effects.items() if len(values) >= MIN_PROCESSES}
    estimates: dict[str, RatioEstimate] = {}
    for row, row_variance in variances.items():
        others = [*prior_variances, *(value for other, value in variances.items() if other != row)]
        weight = min(PRIOR_FREEDOM, len(others))
        count = len(effects[row])
        freedom = count - 1 + weight
        pooled = (weight * median(others or [0.0]) + (count - 1) * row_variance) / freedom
        half_width = student_quantile(level, freedom) * sqrt(pooled / count)
        mean = fmean(effect.log_ratio for effect in effects[row])
        pairs = sum(effect.pairs for effect in effects[row])
        estimates[row] = RatioEstimate(mean, mean - half_width, mean + half_width, count, pairs)
    return estimates


def row_variances(effects: Effects) -> list[float]:
    """Return the variance of each row's effects from process to process."""
    return [_variance(values) for values in effects.values() if len(values) >= MIN_PROCESSES]


def _variance(effects: Sequence[Effect]) -> float:
    return variance(effect.log_ratio for effect in effects)


def _verdict(estimate: RatioEstimate, rules: DecisionRules, *, last: bool) -> Verdict | None:
    margin, least, tolerance = (
        log1p(share) for share in (rules.noise_margin, rules.min_effect, rules.equivalence_margin)
    )
    if estimate.pairs >= MIN_PAIRS:
        if estimate.low > margin and estimate.mean >= least:
            return "slower"
        if estimate.high < -margin and estimate.mean <= -least:
            return "faster"
        # A row that may still turn out to be faster waits for the next interim look.
        if estimate.high < tolerance and (last or estimate.low > -tolerance):
            return "same"
    return "inconclusive" if last else None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `ratio` is candidate / base, between `low` and `high`, which hold for all rows of the table at once."""

    variant: Text
    device: Text
    verdict: Verdict
    ratio: Amount | None = None
    low: Amount | None = None
    high: Amount | None = None
    processes: Count = 0
    pairs: Count = 0
    reason: Text = ""


def overall_verdict(
    findings: Iterable[Finding], allow: Collection[str] = ()
) -> Literal["pass", "slower", "inconclusive"]:
    """Return "slower" if any row is, "inconclusive" if any row is not decided or there is no row, and else "pass".

    `allow` with "inconclusive" lets inconclusive rows pass, but no missing or incomparable ones.
    """
    verdicts = {finding.verdict for finding in findings}
    if "slower" in verdicts:
        return "slower"
    passing = {"faster", "same", "identical"} | ({"inconclusive"} & set(allow))
    return "pass" if verdicts and verdicts <= passing else "inconclusive"
