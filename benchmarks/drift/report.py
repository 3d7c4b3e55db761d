"""What repeated runs of one table tell: how far they lie apart, and how often one run's interval held the truth."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import click
import numpy as np

from mnbench.stats import median_interval

Process = Mapping[str, float]
Interval = tuple[float, float]

NORMAL_95 = 1.96
STUDENT_95 = {5: 2.571, 11: 2.201}
"""Of Student's t with so many degrees of freedom."""


def timeit(processes: Sequence[Process]) -> Interval:
    """Mean of every run ± 1.96 standard errors, as if runs were independent."""
    runs = sum(one["runs"] for one in processes)
    centre = sum(one["mean"] * one["runs"] for one in processes) / runs
    variance = sum((one["sd"] ** 2 + (one["mean"] - centre) ** 2) * one["runs"] for one in processes) / runs
    margin = NORMAL_95 * (variance / runs) ** 0.5
    return centre - margin, centre + margin


def pyperf(processes: Sequence[Process]) -> Interval:
    """Mean of the processes' means ± Student's t."""
    means = [one["mean"] for one in processes]
    margin = STUDENT_95[len(means) - 1] * stdev(means) / len(means) ** 0.5
    return mean(means) - margin, mean(means) + margin


def ours(figure: str) -> Callable[[Sequence[Process]], Interval]:
    """Order statistics of a figure of the processes."""
    return lambda processes: median_interval([one[figure] for one in processes])[:2]


METHODS: dict[str, tuple[Callable[[Sequence[Process]], float], Callable[[Sequence[Process]], Interval]]] = {
    "median of medians": (lambda p: median(one["median"] for one in p), ours("median")),
    "median of p10": (lambda p: median(one["p10"] for one in p), ours("p10")),
    "minimum of all": (lambda p: min(one["min"] for one in p), ours("min")),
    "mean of all, as timeit": (lambda p: mean(timeit(p)), timeit),
    "mean of means, as pyperf": (lambda p: mean(pyperf(p)), pyperf),
}


@click.command()
@click.argument("log", type=click.Path(path_type=Path, exists=True))
def main(log: Path) -> None:
    """Print the tables of docs/measuring.md from LOG."""
    runs = [json.loads(line) for line in log.read_text().splitlines()]
    hours = (runs[-1]["started"] - runs[0]["started"]) / 3600
    print(f"{len(runs)} runs in {hours:.1f} h")
    for kind in ("quiet", "neighbour"):
        chosen = [run for run in runs if run["kind"] == kind]
        busy = [run["busy_cores"] for run in chosen]
        print(f"\n{kind}: {len(chosen)} runs; {median(busy):.2f} cores busy ({min(busy):.2f} to {max(busy):.2f})")
        head = ("variant", "estimator", "sd", "max/min", "held", "half width", "with drift")
        print("{:16} {:26} {:>6} {:>8} {:>6} {:>10} {:>10}".format(*head))
        for variant in chosen[0]["variants"]:
            for name, (estimate, interval) in METHODS.items():
                print(_line(variant, name, [run["variants"][variant] for run in chosen], estimate, interval))


def _line(
    variant: str,
    name: str,
    runs: Sequence[Sequence[Process]],
    estimate: Callable[[Sequence[Process]], float],
    interval: Callable[[Sequence[Process]], Interval],
) -> str:
    estimates = np.array([estimate(run) for run in runs])
    intervals = np.array([interval(run) for run in runs])
    pooled = float(np.median(estimates))
    held = np.mean((intervals[:, 0] <= pooled) & (pooled <= intervals[:, 1]))
    half = float(np.median((intervals[:, 1] - intervals[:, 0]) / 2 / estimates))
    return (
        f"{variant:16} {name:26} {estimates.std(ddof=1) / pooled:6.1%} {estimates.max() / estimates.min() - 1:8.1%} "
        f"{held:6.0%} {half:10.2%} {_held_with_drift(np.log(estimates), np.log(intervals)):10.0%}"
    )


def _held_with_drift(estimates: Any, intervals: Any) -> float:
    """How often a run's interval, widened by the drift that all other runs show, holds their median."""
    held = 0
    for index in range(len(estimates)):
        others = np.delete(estimates, index)
        low, high = np.quantile(others - np.median(others), (0.025, 0.975))
        centre = np.median(others)
        held += intervals[index, 0] - high <= centre <= intervals[index, 1] - low
    return held / len(estimates)


if __name__ == "__main__":
    main()
