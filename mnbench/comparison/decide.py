"""What pairs of runs prove, at one error level for a whole table. Pure: pairs in, findings out.

A row's effect in a process is a trimmed mean of log(candidate / base). Processes, not pairs, are what is counted: where
a session lies in memory makes a difference that no number of its runs averages out.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from math import exp, log1p, sqrt
from statistics import fmean, median, variance
from typing import Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from mnbench.stats import student_quantile, trimmed_mean

Verdict: TypeAlias = Literal["faster", "same", "slower", "inconclusive", "missing", "incomparable", "identical"]

INTERIM_LOOKS = (4, 6, 8, 12, 16, 24, 32, 48, 64)
MIN_PROCESSES = 4
MIN_PAIRS = 30
INTERRUPTED_RATIO, INTERRUPTED_NS = 1.02, 20_000
"""A run that took longer than its thread worked, by this factor and so much more, was interrupted."""

PRIOR_FREEDOM = 4
"""How many degrees of freedom the other rows' median variance is worth."""

ERROR_SPENDING = ((0.0, 1 / 3, 1 / 2, 2 / 3, 1.0), (0.0, 0.1, 0.3, 0.6, 1.0))
"""Of all processes that a comparison may have, the share made, and the share of alpha spent by then."""


class Effect(NamedTuple):
    """What one process found of a row, from so many pairs."""

    log_ratio: float
    pairs: int


Effects: TypeAlias = Mapping[str, Sequence[Effect]]
"""Of each row, one effect a process that measured it."""


class DecisionRules(msgspec.Struct, frozen=True, kw_only=True):
    """When a row is slower, faster or the same.

    `error_rate` is the family-wise error rate: the chance that any unchanged row of the table is called slower. The
    same holds for faster, and for a row called the same whose slowdown exceeds `equivalence_margin`. A row is slower
    if the lower confidence bound of its slowdown exceeds `noise_margin` and the estimate is at least `min_effect`.
    The margins and `min_effect` are shares of the baseline's latency.
    """

    error_rate: float = 0.01
    noise_margin: float = 0.005
    min_effect: float = 0.01
    equivalence_margin: float = 0.02
    processes: int = 12

    @property
    def interim_looks(self) -> tuple[int, ...]:
        """After how many processes the table is looked at."""
        return (*(look for look in INTERIM_LOOKS if look < self.processes), self.processes)

    def error_spent(self, processes: int) -> float:
        """The share of alpha spent by a look after so many processes."""
        return float(np.interp(processes / self.processes, *ERROR_SPENDING))


class RatioEstimate(NamedTuple):
    """A row's log ratio between bounds, each of which holds for the whole table at the level of its look."""

    mean: float
    low: float
    high: float
    processes: int
    pairs: int


class Decision(NamedTuple):
    """What a row was found to be, at the look that decided it; None where no look has."""

    verdict: Verdict | None
    estimate: RatioEstimate


def trial_effect(columns: Mapping[str, NDArray[np.int64]], *, blocking_waits: bool) -> Effect:
    """The effect in one process, from the columns of its pairs.

    A pair counts by the wall's clock, unless the system took the core away from one of its runs: then it counts by
    the time that the thread worked. Of an arm that `waits` by itself that would tell too little. Which arm ran first
    makes a difference of its own: both orders count alike.
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
    """Look at the table as often as its processes allow; a row keeps the first verdict that it gets.

    `ended` says that no more processes come: a last look at what is undecided spends what is left of alpha. `rows` is
    over how many rows alpha is spread, if not over these; `prior` are variances of other rows to lean on.
    """
    built = max(map(len, effects.values()), default=0)
    decided: dict[str, Decision] = {}

    def look(processes: int, share: float, *, last: bool) -> None:
        level = rules.error_rate * share / (row_count or len(effects))
        entries = estimate_ratios({row: item[:processes] for row, item in effects.items()}, level, prior_variances)
        for row, estimate in entries.items():
            if row not in decided or decided[row].verdict is None:
                decided[row] = Decision(_verdict(estimate, rules, last=last), estimate)

    for before, processes in pairwise((0, *rules.interim_looks)):
        if processes <= built:
            look(processes, rules.error_spent(processes) - rules.error_spent(before), last=processes == rules.processes)
    if final and built >= MIN_PROCESSES:
        before = max((processes for processes in rules.interim_looks if processes < built), default=0)
        look(built, 1 - rules.error_spent(before), last=True)
    return decided


def estimate_ratios(effects: Effects, level: float, prior_variances: Sequence[float] = ()) -> dict[str, RatioEstimate]:
    """Every row's estimate from the processes it has, with bounds that fail one by one with probability `level`.

    A row's own variance over so few processes says little, so it is drawn to the median of the others' (a moderated
    t: Smyth, 2004), which is worth as many degrees of freedom as there are others, and at most four.
    """
    variances = {row: _variance(item) for row, item in effects.items() if len(item) >= MIN_PROCESSES}
    entries: dict[str, RatioEstimate] = {}
    for row, scatter in variances.items():
        item, others = effects[row], [*prior_variances, *(value for other, value in variances.items() if other != row)]
        weight = min(PRIOR_FREEDOM, len(others))
        freedom = len(item) - 1 + weight
        pooled = (weight * median(others or [0.0]) + (len(item) - 1) * scatter) / freedom
        reach = student_quantile(level, freedom) * sqrt(pooled / len(item))
        mean = fmean(effect.log_ratio for effect in item)
        entries[row] = RatioEstimate(mean, mean - reach, mean + reach, len(item), sum(effect.pairs for effect in item))
    return entries


def row_variances(effects: Effects) -> list[float]:
    """How each row varies from process to process."""
    return [_variance(effect) for effect in effects.values() if len(effect) >= MIN_PROCESSES]


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

    variant: str
    device: str
    verdict: Verdict
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    processes: int = 0
    pairs: int = 0
    reason: str = ""


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


def finding_from_decision(variant: str, device: str, decision: Decision, reason: str = "") -> Finding:
    """A decision as a row of the report."""
    estimate = decision.estimate
    return Finding(
        variant=variant,
        device=device,
        verdict=decision.verdict or "inconclusive",
        ratio=exp(estimate.mean),
        low=exp(estimate.low),
        high=exp(estimate.high),
        processes=estimate.processes,
        pairs=estimate.pairs,
        reason=reason,
    )
