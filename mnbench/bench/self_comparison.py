"""Self-comparison: how much two measurements of one model differ on this machine."""

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from math import exp, log
from typing import Any

from mnbench.bench.plan import BenchmarkCase, Plan
from mnbench.bench.trial import run_trial
from mnbench.results.trial_result import TrialResult
from mnbench.stats import median, median_interval, quantile
from mnbench.units import format_percent_1

ARMS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfComparison:
    """The result of measuring one case as two identical sides, A and B.

    `ratio` is the median over rounds of B/A, between `low` and `high` with `coverage`. `spread` is by how much the
    slowest process's median exceeds the fastest one's, `p90` by how much a process's 90th percentile exceeds its median
    (the median over processes).

    `typical_difference` and `p95_difference` are the median and the 95th percentile of the difference between two
    tables with half of these processes each, over all ways to split them.
    """

    variant: str
    latency_ns: int
    processes: int
    ratio: float
    low: float
    high: float
    coverage: float
    spread: float
    p90: float
    typical_difference: float
    p95_difference: float


def trial_count(plan: Plan) -> int:
    """Return the number of trials of `compare_with_itself`."""
    return ARMS * len(plan.cases) * plan.sampling.processes


def compare_with_itself(
    plan: Plan, *, on_trial: Callable[[], None], run_trial: Callable[[Plan, BenchmarkCase], TrialResult] = run_trial
) -> list[SelfComparison]:
    """Measure every case as A and as B in every round, side by side in random order, with one process per side.

    Raises:
        MnbenchError: measuring failed.
    """
    draw = random.Random(plan.sampling.seed)  # noqa: S311  an order, not a secret
    entries: dict[str, tuple[list[TrialResult], list[TrialResult]]] = {cell.variant: ([], []) for cell in plan.cases}
    for _ in range(plan.sampling.processes):
        for cell in draw.sample(plan.cases, len(plan.cases)):
            for arm in draw.sample(range(ARMS), ARMS):
                entries[cell.variant][arm].append(run_trial(plan, cell))
                on_trial()
    return [self_comparison(variant, *arms) for variant, arms in entries.items()]


def self_comparison(variant: str, first: Sequence[TrialResult], second: Sequence[TrialResult]) -> SelfComparison:
    """Compare the two sides of a case, process by process."""
    medians = [[median(sample.latencies_ns.tolist()) for sample in arm] for arm in (first, second)]
    ratios = [log(b / a) for a, b in zip(*medians, strict=True)]
    low, high, coverage = median_interval(ratios)
    every = [*medians[0], *medians[1]]
    tails = [quantile(sorted(sample.latencies_ns.tolist()), 0.9) for sample in (*first, *second)]
    halves = sorted(_halved([log(value) for value in every]))
    return SelfComparison(
        variant=variant,
        latency_ns=round(median(every)),
        processes=len(every),
        ratio=exp(median(ratios)),
        low=exp(low),
        high=exp(high),
        coverage=coverage,
        spread=max(every) / min(every) - 1,
        p90=median([tail / middle for tail, middle in zip(tails, every, strict=True)]) - 1,
        typical_difference=exp(quantile(halves, 0.5)) - 1,
        p95_difference=exp(quantile(halves, 0.95)) - 1,
    )


def _halved(values: Sequence[float]) -> list[float]:
    """Return the difference between the medians of two halves, for every way to split the values."""
    places = frozenset(range(len(values)))
    return [
        abs(median([values[place] for place in half]) - median([values[place] for place in places - set(half)]))
        for half in combinations(range(len(values)), len(values) // 2)
    ]


def noise_sentence(noises: Sequence[SelfComparison]) -> str:
    """Say what the noise means for two tables, by the noisiest model."""
    typical, limit = (
        max(comparison.typical_difference for comparison in noises),
        max(comparison.p95_difference for comparison in noises),
    )
    return (
        f"Two runs of the same model differ here by about {format_percent_1(typical)}: "
        f"differences below {format_percent_1(limit)} between two tables mean nothing."
    )


def self_comparisons_to_dict(noises: Sequence[SelfComparison]) -> dict[str, Any]:
    """For programs."""
    return {"sentence": noise_sentence(noises), "models": [asdict(comparison) for comparison in noises]}
