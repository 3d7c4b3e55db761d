"""Self-comparison: how much two measurements of one model differ on this machine."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import exp, log
from statistics import median

import numpy as np

from mnbench.bench.case_trials import MeasureCases, measure_all, measure_cases
from mnbench.bench.plan import Plan
from mnbench.progress import OnProgress, StageProgress
from mnbench.results.trial_result import TrialResult
from mnbench.stats import median_interval, median_of_medians, quantile
from mnbench.tables.quantities import quantity
from mnbench.tables.table import Column, IntervalColumn, Table
from mnbench.units import format_percent_1

SIDES = 2


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


def compare_with_itself(
    plan: Plan, *, on_progress: OnProgress | None = None, measure: MeasureCases = measure_cases
) -> list[SelfComparison]:
    """Measure all cases in pairs of processes, one of which, drawn at random, is A and the other B.

    Raises:
        MnbenchError: measuring failed.
    """
    progress = StageProgress(on_progress, "measure", SIDES * plan.sampling.processes)
    draw = random.Random(plan.sampling.seed)  # noqa: S311  an order, not a secret
    trials: dict[str, tuple[list[TrialResult], list[TrialResult]]] = {case.variant: ([], []) for case in plan.cases}
    for process in range(plan.sampling.processes):
        for side in draw.sample(range(SIDES), SIDES):
            for variant, result in measure_all(plan, f"{process}/{side}", measure).items():
                trials[variant][side].append(result)
            progress.advance()
    return [self_comparison(variant, *sides) for variant, sides in trials.items()]


def self_comparison(variant: str, first: Sequence[TrialResult], second: Sequence[TrialResult]) -> SelfComparison:
    """Compare the two sides of a case, process by process."""
    ratios = [log(b.median_ns / a.median_ns) for a, b in zip(first, second, strict=True)]
    low, high, coverage = median_interval(ratios)
    medians = [trial.median_ns for trial in (*first, *second)]
    tails = [float(np.quantile(trial.latencies_ns, 0.9)) / trial.median_ns for trial in (*first, *second)]
    differences = sorted(_half_differences([log(value) for value in medians]))
    return SelfComparison(
        variant=variant,
        latency_ns=median_of_medians(trial.latencies_ns for trial in (*first, *second)),
        processes=len(medians),
        ratio=exp(median(ratios)),
        low=exp(low),
        high=exp(high),
        coverage=coverage,
        spread=max(medians) / min(medians) - 1,
        p90=median(tails) - 1,
        typical_difference=exp(quantile(differences, 0.5)) - 1,
        p95_difference=exp(quantile(differences, 0.95)) - 1,
    )


def _half_differences(values: Sequence[float]) -> list[float]:
    """Return the difference between the medians of two halves, for every way to split the values."""
    indices = frozenset(range(len(values)))
    return [
        abs(median([values[index] for index in half]) - median([values[index] for index in indices - set(half)]))
        for half in combinations(range(len(values)), len(values) // 2)
    ]


def noise_sentence(comparisons: Sequence[SelfComparison]) -> str:
    """Say what the noise means for two tables, by the noisiest model."""
    typical = max(comparison.typical_difference for comparison in comparisons)
    limit = max(comparison.p95_difference for comparison in comparisons)
    return (
        f"Two runs of the same model differ here by about {format_percent_1(typical)}: "
        f"differences below {format_percent_1(limit)} between two tables mean nothing."
    )


def self_comparison_table(comparisons: Sequence[SelfComparison]) -> Table[SelfComparison]:
    """Return one row a model, and what the figures mean."""
    ends = [Column[SelfComparison](name=name, format="{:.3f}".format) for name in ("low", "high")]
    columns = [
        quantity("variant"),
        quantity("latency_ns"),
        Column[SelfComparison](name="ratio", title="B/A", format="{:.3f}".format),
        IntervalColumn[SelfComparison](name="interval", drop_priority=2, parts=ends),
        Column[SelfComparison](name="p90", title="p90\nabove", format=format_percent_1, drop_priority=3),
        Column[SelfComparison](name="spread", title="process\nspread", format=format_percent_1),
        Column[SelfComparison](name="typical_difference", title="two runs\ndiffer", format=format_percent_1),
        Column[SelfComparison](name="p95_difference", title="19 of 20\nbelow", format=format_percent_1),
    ]
    coverage, half = min(row.coverage for row in comparisons), comparisons[0].processes // 2
    notes = [
        "p90 above: than its process's median; process spread: from the fastest process's median to the slowest's",
        f"A and B are the same model, {half} processes each, side by side; the interval covers B/A with {coverage:.1%}",
        noise_sentence(comparisons),
        "This is the noise of this minute. Another hour can differ by more: compare within one run.",
    ]
    return Table(columns=columns, rows=comparisons, notes=notes, title="noise: A against A")
