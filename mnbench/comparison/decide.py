"""Decide a table from the pairs of its rows, at one family-wise error rate; nothing is measured or stored here.

A row's effect in a process is a trimmed mean of log(candidate / base). The sample is the processes, not the pairs:
where a session lies in memory makes a difference that no number of its runs averages out.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
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

TINY = 1e-12

PRIOR_FREEDOM = 4
"""The degrees of freedom that the other rows' median variance counts for, at most."""

SPENDING_POWER = 1.5
"""The error rate spent by an interim look is this power of its share of the maximum number of processes."""

SECOND_SAMPLE_SHARE = 0.1
"""The share of the error rate of "same" that is for rows which looked slower and are measured again."""


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
    if the lower confidence bound of its slowdown exceeds `noise_margin` and the estimate is at least `min_effect`, in
    two independent samples. The margins and `min_effect` are shares of the baseline's latency.
    """

    error_rate: Annotated[float, Meta(gt=0, lt=1)] = 0.01
    noise_margin: Amount = 0.005
    min_effect: Amount = 0.01
    equivalence_margin: Amount = 0.02
    processes: Annotated[int, Meta(ge=1, le=10_000)] = 24

    @property
    def interim_looks(self) -> tuple[int, ...]:
        """The numbers of processes after which the table is decided."""
        return (*(look for look in INTERIM_LOOKS if look < self.processes), self.processes)

    def error_spent(self, processes: int) -> float:
        """Return the share of the error rate that is spent after so many processes."""
        return (processes / self.processes) ** SPENDING_POWER

    @property
    def sample_error_rate(self) -> float:
        """The error rate of "slower" in one sample, so that in both samples it is at most `error_rate`.

        The first sample may have two last looks, before and after the suspected rows are measured again: 2 · rate².
        """
        return sqrt(self.error_rate / 2)


class RatioEstimate(NamedTuple):
    """A row's mean log ratio over its processes."""

    mean: float
    standard_error: float
    freedom: int
    processes: int
    pairs: int

    def half_width(self, level: float) -> float:
        """Return the distance from the mean to a bound that fails with probability `level`, of at most one half."""
        return student_quantile(min(level, 0.5), self.freedom) * self.standard_error


class Decision(NamedTuple):
    """A row's verdict, None until an interim look decides it; its estimate then, and its confidence bounds.

    The bounds of a slower row in one sample are narrower, by `sample_half_width`: they need not both hold.
    """

    verdict: Verdict | None
    estimate: RatioEstimate
    low: float
    high: float
    sample_half_width: float


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
    effects: Effects,
    rules: DecisionRules,
    *,
    final: bool,
    row_count: int = 0,
    prior_variances: Sequence[float] = (),
    second_sample: bool = False,
) -> dict[str, Decision]:
    """Decide the table at each interim look that its processes allow; a row keeps its first verdict.

    If the processes are `final`, a row has a last look after its last process, which spends the remaining error rate.
    The error rate is divided by `row_count`, or by the number of rows in `effects`; `prior_variances` are those of
    other rows. In the `second_sample`, "slower" is not corrected for the number of rows: the first sample was.

    "Same" is sequentially rejective (Holm, 1979): its error rate is divided by the number of rows that have not passed.
    """
    count = row_count or len(effects)
    same_rate = rules.error_rate * (SECOND_SAMPLE_SHARE if second_sample else 1 - SECOND_SAMPLE_SHARE)
    available = {row: min(len(values), rules.processes) for row, values in effects.items()}
    decided: dict[str, Decision] = {}

    def look(rows: Iterable[str], processes: int, share: float, *, last: bool) -> None:
        estimates = estimate_ratios({row: values[:processes] for row, values in effects.items()}, prior_variances)
        undecided = [row for row in rows if row in estimates and not (row in decided and decided[row].verdict)]
        passed = sum(decision.verdict in ("same", "faster") for decision in decided.values())
        tolerance = log1p(rules.equivalence_margin)
        # The rows with the most evidence come first, so that each that passes leaves more error rate to the others.
        for row in sorted(undecided, key=lambda row: _t(estimates[row], tolerance)):
            levels = Levels(
                slower=rules.sample_error_rate * share / (1 if second_sample else count),
                faster=rules.error_rate * share / count,
                same=same_rate * share / (count - passed),
            )
            decided[row] = _decide_row(estimates[row], levels, rules, last=last)
            passed += decided[row].verdict in ("same", "faster")

    ends = {processes for processes in available.values() if final and processes >= MIN_PROCESSES}
    for processes in sorted({*rules.interim_looks, *ends}):
        spent = rules.error_spent(max((look for look in rules.interim_looks if look < processes), default=0))
        if processes in rules.interim_looks:
            due = [row for row in effects if available[row] >= processes]
            share = rules.error_spent(processes) - spent
            look(due, processes, share, last=processes == rules.processes)
        if processes in ends:
            look([row for row in effects if available[row] == processes], processes, 1 - spent, last=True)
    return decided


def estimate_ratios(effects: Effects, prior_variances: Sequence[float] = ()) -> dict[str, RatioEstimate]:
    """Estimate each row's log ratio.

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
        estimates[row] = RatioEstimate(
            mean=fmean(effect.log_ratio for effect in effects[row]),
            standard_error=sqrt(pooled / count),
            freedom=freedom,
            processes=count,
            pairs=sum(effect.pairs for effect in effects[row]),
        )
    return estimates


def row_variances(effects: Effects) -> list[float]:
    """Return the variance of each row's effects from process to process."""
    return [_variance(values) for values in effects.values() if len(values) >= MIN_PROCESSES]


def _variance(effects: Sequence[Effect]) -> float:
    return variance(effect.log_ratio for effect in effects)


class Levels(NamedTuple):
    """The probability with which the bound of a row fails that each verdict needs."""

    slower: float
    faster: float
    same: float


def _decide_row(estimate: RatioEstimate, levels: Levels, rules: DecisionRules, *, last: bool) -> Decision:
    mean = estimate.mean
    margin, least, tolerance = (
        log1p(share) for share in (rules.noise_margin, rules.min_effect, rules.equivalence_margin)
    )
    half_width, sample_half_width = estimate.half_width(levels.same), estimate.half_width(levels.slower)
    verdict: Verdict | None = "inconclusive" if last else None
    if estimate.pairs >= MIN_PAIRS:
        if mean >= least and mean - sample_half_width > margin:
            verdict = "slower"
        elif mean <= -least and mean + estimate.half_width(levels.faster) < -margin:
            verdict = "faster"
        # A row that looks faster waits for the next interim look.
        elif mean + half_width < tolerance and (last or mean > -least):
            verdict = "same"
    return Decision(verdict, estimate, mean - half_width, mean + half_width, sample_half_width)


def _t(estimate: RatioEstimate, limit: float) -> float:
    """Return by how many standard errors the estimate exceeds a limit."""
    return (estimate.mean - limit) / max(estimate.standard_error, TINY)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `ratio` is candidate / base; `low` and `high` are its confidence bounds."""

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
