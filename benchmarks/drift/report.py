"""What repeated runs of one table tell: how far they lie apart, and how often one run's interval held the truth."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import click
import numpy as np

from mnbench.stats import faster_half_mean, median_interval, quantile, student_quantile

Process = Mapping[str, float]
Interval = tuple[float, float]

NORMAL_95 = 1.96


def timeit(processes: Sequence[Process]) -> Interval:
    """Mean of every run ± 1.96 standard errors, as if runs were independent."""
    runs = sum(process["runs"] for process in processes)
    centre = sum(process["mean"] * process["runs"] for process in processes) / runs
    variance = (
        sum((process["sd"] ** 2 + (process["mean"] - centre) ** 2) * process["runs"] for process in processes) / runs
    )
    margin = NORMAL_95 * (variance / runs) ** 0.5
    return centre - margin, centre + margin


def pyperf(processes: Sequence[Process]) -> Interval:
    """Mean of the processes' means ± Student's t."""
    means = [process["mean"] for process in processes]
    margin = student_quantile(0.025, len(means) - 1) * stdev(means) / len(means) ** 0.5
    return mean(means) - margin, mean(means) + margin


def ours(figure: str) -> Callable[[Sequence[Process]], Interval]:
    """Order statistics of a figure of the processes."""
    return lambda processes: median_interval([process[figure] for process in processes])[:2]


METHODS: dict[str, tuple[Callable[[Sequence[Process]], float], Callable[[Sequence[Process]], Interval]]] = {
    "median of medians": (lambda p: median(process["median"] for process in p), ours("median")),
    "median of p10": (lambda p: median(process["p10"] for process in p), ours("p10")),
    "minimum of all": (lambda p: min(process["min"] for process in p), ours("min")),
    "mean of all, as timeit": (lambda p: mean(timeit(p)), timeit),
    "mean of means, as pyperf": (lambda p: mean(pyperf(p)), pyperf),
}

OVER_PROCESSES: dict[str, Callable[[Sequence[float]], float]] = {
    "minimum": min,
    "lower quartile": lambda figures: quantile(sorted(figures), 0.25),
    "mean of the faster half": faster_half_mean,
    "median": median,
    "mean": mean,
}
CANDIDATES = [(name, figure) for figure in ("min", "p10", "median") for name in OVER_PROCESSES]
"""The figures that may be called undisturbed: of each process, and over processes."""

PROCESSES = 6
"""The number of processes of a short run."""


@click.command()
@click.argument("logs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--loaded", "loaded_log", required=True, type=click.Path(path_type=Path, exists=True))
def main(logs: tuple[Path, ...], loaded_log: Path) -> None:
    """Print the tables of docs/measuring.md, and their figures for each variant.

    Others used all cores while the log of --loaded was made.
    """
    runs, loaded = [run for log in logs for run in _read(log)], _read(loaded_log)
    kinds = {kind: [run for run in runs if run["kind"] == kind] for kind in ("quiet", "neighbour")}
    _print_intervals(kinds)
    _print_candidates({**kinds, "loaded": loaded})


def _read(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def _print_intervals(kinds: Mapping[str, list[dict[str, Any]]]) -> None:
    for kind, mine in kinds.items():
        hours = (max(run["started"] for run in mine) - min(run["started"] for run in mine)) / 3600
        busy = [run["busy_cores"] for run in mine]
        cores = f"{median(busy):.2f} cores busy ({min(busy):.2f} to {max(busy):.2f})"
        print(f"{kind}: {len(mine)} runs in {hours:.1f} h; {cores}")
    print("\n| figure | sd quiet | sd neighbour | held | half width | with drift |\n|---|---|---|---|---|---|")
    entries = {name: {kind: _spread(mine, name) for kind, mine in kinds.items()} for name in METHODS}
    for name, of_kind in entries.items():
        both = [row for rows in of_kind.values() for row in rows.values()]
        cells = [_range([row[0] for row in rows.values()]) for rows in of_kind.values()]
        cells += [_range([row[column] for row in both]) for column in (1, 2, 3)]
        print("|", " | ".join((name, *cells)), "|")
    for kind in kinds:
        print(f"\n{kind:38}     sd   held   half  with drift")
        for name, of_kind in entries.items():
            for variant, (scatter, held, half, drifted) in of_kind[kind].items():
                print(f"{name:24} {variant:13} {scatter:6.1%} {held:6.0%} {half:6.2%} {drifted:6.0%}")


def _print_candidates(kinds: Mapping[str, list[dict[str, Any]]]) -> None:
    """Print how far each candidate scatters from run to run, how far load moves it, and how far fewer processes do."""
    print("\n| over processes | of each process | alone | one neighbour | loaded | loaded / alone | six / all |")
    print("|---|---|---|---|---|---|---|")
    details: list[str] = []
    for name, figure in CANDIDATES:
        columns: list[list[float]] = []
        for variant in kinds["quiet"][0]["variants"]:
            values = {kind: [_values(run, variant, figure) for run in runs] for kind, runs in kinds.items()}
            logs = {kind: np.log([OVER_PROCESSES[name](run) for run in runs]) for kind, runs in values.items()}
            scatter = [float(log.std(ddof=1)) for log in logs.values()]
            largest = [float(np.abs(log - np.median(log)).max()) for log in logs.values()]
            load = float(np.exp(np.median(logs["loaded"]) - np.median(logs["quiet"])))
            long = [run for runs in values.values() for run in runs if len(run) >= 2 * PROCESSES]
            fewer = mean(OVER_PROCESSES[name](run[:PROCESSES]) / OVER_PROCESSES[name](run) - 1 for run in long)
            columns.append([*scatter, load, fewer])
            pairs = "".join(f"{sd:8.2%} {far:6.1%}" for sd, far in zip(scatter, largest, strict=True))
            details.append(f"{name:24} {figure:7} {variant:13}{pairs} {load:7.3f} {fewer:7.2%} ({len(long)})")
        *scatters, loads, fewers = zip(*columns, strict=True)
        cells = [*map(_range, scatters), f"{min(loads):.2f} to {max(loads):.2f}", _range(fewers)]
        print("|", " | ".join((name, figure, *cells)), "|")
    print(f"\n{'':46}   alone    far neighbour far  loaded    far   ratio six/all (runs)")
    print("\n".join(details))


def _values(run: Mapping[str, Any], variant: str, figure: str) -> list[float]:
    return [process[figure] for process in run["variants"][variant]]


def _spread(runs: Sequence[dict[str, Any]], name: str) -> dict[str, tuple[float, float, float, float]]:
    """Of each variant: how far runs lie apart, how often an interval held their median, how wide it is; with drift."""
    estimate, interval = METHODS[name]
    entries: dict[str, tuple[float, float, float, float]] = {}
    for variant in runs[0]["variants"]:
        mine = [run["variants"][variant] for run in runs]
        estimates = np.array([estimate(item) for item in mine])
        intervals = np.array([interval(item) for item in mine])
        pooled = float(np.median(estimates))
        held = float(np.mean((intervals[:, 0] <= pooled) & (pooled <= intervals[:, 1])))
        half = float(np.median((intervals[:, 1] - intervals[:, 0]) / 2 / estimates))
        drifted = _held_with_drift(np.log(estimates), np.log(intervals))
        entries[variant] = float(estimates.std(ddof=1)) / pooled, held, half, drifted
    return entries


def _range(shares: Sequence[float]) -> str:
    """The least and the most, in per cent."""
    least, most = (f"{share:.1%}" if share < 0.1 else f"{share:.0%}" for share in (min(shares), max(shares)))
    return f"{least} to {most}"


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
