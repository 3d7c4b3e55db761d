"""Whether an interval holds the true median as often as promised if measuring stops as soon as the interval is narrow.

Stopping at a narrow interval favours samples that happen to lie close together, so an interval of 95 % at each look
holds the true median in fewer than 95 % of the tables. This script simulates tables from measured processes: it draws
the medians of processes, one after the other and with replacement, from all of a row's in a log, and stops by the rule.

.venv/bin/python -m benchmarks.coverage LOG... [--minimum 5,6,8] [--target 0.01,0.02] [--most 20]

A line of a log has the figures of each process under `variants`, as `drift/record.py` and `protocols` write it.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import sqrt
from pathlib import Path
from typing import Any, TypeAlias

import click
import numpy as np
from numpy.typing import NDArray

from mnbench.stats import median_interval, student_quantile
from mnbench.tables.table import Column, Table
from mnbench.units import format_percent

Floats: TypeAlias = NDArray[np.float64]
Estimate: TypeAlias = tuple[Floats, Floats, Floats]
"""The centre, the low and the high end of each table's interval."""


def order_statistics(logs: Floats, confidence: float) -> Estimate:
    """Estimate the median by that of the sample, as `mnbench run` does."""
    low, high, _ = median_interval(range(logs.shape[1]), confidence)
    ordered = np.sort(logs)
    return np.median(ordered, axis=1), ordered[:, round(low)], ordered[:, round(high)]


def student(logs: Floats, confidence: float) -> Estimate:
    """Estimate the mean of the logarithms with Student's t."""
    n = logs.shape[1]
    centre = logs.mean(axis=1)
    margin = _student_quantile((1 - confidence) / 2, n - 1) * logs.std(axis=1, ddof=1) / sqrt(n)
    return centre, centre - margin, centre + margin


def signed_rank(logs: Floats, confidence: float) -> Estimate:
    """Estimate the pseudo-median by Wilcoxon's signed ranks (Hodges and Lehmann, 1963)."""
    first, second = np.triu_indices(logs.shape[1])
    means = np.sort((logs[:, first] + logs[:, second]) / 2)
    cut = _rank_cut(logs.shape[1], confidence)
    return np.median(means, axis=1), means[:, cut], means[:, -1 - cut]


@cache
def _student_quantile(tail: float, freedom: int) -> float:
    return student_quantile(tail, freedom)


@cache
def _rank_cut(n: int, confidence: float) -> int:
    """Return how many of the smallest means of pairs the interval leaves out."""
    counts = np.ones(1)
    for rank in range(1, n + 1):
        counts = np.pad(counts, (0, rank)) + np.pad(counts, (rank, 0))
    below = np.cumsum(counts) / 2**n
    return max(0, int(np.searchsorted(below, (1 - confidence) / 2, side="right")) - 1)


METHODS: dict[str, Callable[[Floats, float], Estimate]] = {
    "order statistics": order_statistics,
    "Student t": student,
    "signed rank": signed_rank,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Stop at `minimum` processes or later as soon as the interval is within ± `target`; stop at `most` in any case."""

    minimum: int
    target: float
    most: int
    confidence: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What a rule does to simulated tables of all rows: shares of row × table, and the mean number of processes."""

    kind: str
    method: str
    rule: Rule
    coverage: float
    least_coverage: float
    processes: float
    precise: Mapping[int, float]


def simulate(kind: str, rows: Sequence[Floats], method: str, rule: Rule, tables: int, seed: int = 0) -> Simulation:
    """Simulate that many tables of the rows, each given by the medians of its processes."""
    draw = np.random.default_rng(seed)
    stops = [_stop(row, method, rule, tables, draw) for row in rows]
    holds, used = np.stack([stop[0] for stop in stops]), np.stack([stop[1] for stop in stops])
    return Simulation(
        kind=kind,
        method=method,
        rule=rule,
        coverage=float(holds.mean()),
        least_coverage=float(holds.mean(axis=1).min()),
        processes=float(np.minimum(used, rule.most).mean()),
        precise={looks: float((used <= looks).mean()) for looks in (9, 12, 15, 20, 30) if looks <= rule.most},
    )


def _stop(row: Floats, method: str, rule: Rule, tables: int, draw: np.random.Generator) -> tuple[Any, Any]:
    """Return whether each table's interval holds the row's median, and its processes: one above `most` if too wide."""
    logs = np.log(row)
    samples = draw.choice(logs, (tables, rule.most))
    holds, used = np.zeros(tables, bool), np.full(tables, rule.most + 1)
    running = np.ones(tables, bool)
    for n in range(rule.minimum, rule.most + 1):
        centre, low, high = METHODS[method](samples[:, :n], rule.confidence)
        narrow = running & (np.maximum(np.expm1(high - centre), -np.expm1(low - centre)) <= rule.target)
        stops = narrow | (running & (n == rule.most))
        holds[stops] = ((low <= np.median(logs)) & (np.median(logs) <= high))[stops]
        used[narrow] = n
        running &= ~stops
    return holds, used


def read(logs: Sequence[Path]) -> dict[str, dict[str, Floats]]:
    """Return the medians of all processes of each row, by the kind of the lines."""
    kinds: dict[str, dict[str, list[float]]] = {}
    for line in (json.loads(text) for log in logs for text in log.read_text().splitlines()):
        kind = " ".join(str(line[name]) for name in ("kind", "protocol", "rows", "threads") if name in line)
        rows = kinds.setdefault(kind, {})
        for name, processes in line["variants"].items():
            rows.setdefault(name, []).extend(process["median"] for process in processes)
    return {kind: {name: np.array(medians) for name, medians in rows.items()} for kind, rows in kinds.items()}


def _numbers(_context: Any, _option: Any, text: str) -> list[float]:
    return [float(number) for number in text.split(",")]


@click.command()
@click.argument("logs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--minimum", default="5,6,7,8,9,10,11,12", callback=_numbers, help="Processes before the first look.")
@click.option("--target", default="0.01,0.02", callback=_numbers, help="Half widths to stop at, as shares.")
@click.option("--confidence", default="0.95", callback=_numbers, help="Confidences of the interval at each look.")
@click.option("--most", default=20, help="Processes after which measuring stops in any case.")
@click.option("--tables", default=2000, help="Simulated tables of each rule.")
def main(
    logs: tuple[Path, ...],
    minimum: list[float],
    target: list[float],
    confidence: list[float],
    most: int,
    tables: int,
) -> None:
    """Print in markdown what each rule does to tables simulated from LOGS."""
    print(report(list(_simulations(read(logs), [minimum, target, confidence], most, tables))).to("markdown"))


def _simulations(
    kinds: dict[str, dict[str, Floats]], choices: Sequence[Sequence[float]], most: int, tables: int
) -> Iterator[Simulation]:
    for (kind, rows), method, target, confidence, minimum in product(
        kinds.items(), METHODS, choices[1], choices[2], choices[0]
    ):
        rule = Rule(minimum=round(minimum), target=target, most=most, confidence=confidence)
        yield simulate(kind, list(rows.values()), method, rule, tables)


def report(simulations: Sequence[Simulation]) -> Table[Simulation]:
    """Return the table of simulations."""
    looks = simulations[0].precise if simulations else ()
    share = "{:.1%}".format
    return Table(
        columns=[
            Column[Simulation](name="kind", left=True),
            Column[Simulation](name="method", left=True),
            Column[Simulation](name="target", value=lambda s: s.rule.target, format="±{:.1%}".format),
            Column[Simulation](name="confidence", value=lambda s: s.rule.confidence, format=share),
            Column[Simulation](name="minimum", value=lambda s: s.rule.minimum),
            Column[Simulation](name="coverage", format=share),
            Column[Simulation](name="least_coverage", title="least row", format=share),
            Column[Simulation](name="processes", format="{:.1f}".format),
            *(
                Column[Simulation](
                    name=f"by_{n}", title=f"precise by {n}", value=lambda s, n=n: s.precise[n], format=format_percent
                )
                for n in looks
            ),
        ],
        rows=simulations,
    )


if __name__ == "__main__":
    main()
