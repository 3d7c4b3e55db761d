"""The sampling of an older mnbench against today's: both measure the same tables, in turns, on one machine.

    git worktree add ../older COMMIT
    .venv/bin/python -m benchmarks.protocols record --old ../older --log benchmarks/logs/protocols.jsonl
    .venv/bin/python -m benchmarks.protocols report benchmarks/logs/protocols.jsonl

`record` appends one line of JSON a table, and stops once the log holds enough, so the same command continues. Each
checkout measures with its default options, but for the roofline: it is measured once in 30 days, not for each table.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import inf, log
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any, TypeAlias

import click
import msgspec

from benchmarks.drift.record import run_table
from benchmarks.interleaved import ROOT, output
from mnbench.bench.drift import MIN_RUNS
from mnbench.bench.plan import HostDrift
from mnbench.results.record import Latency
from mnbench.tables.table import Column, Table
from mnbench.units import format_percent

OLD, NEW = "old", "new"
ROWS = {
    "v1": ("v1", "--alpha", "1,0.75,0.5,0.25", "--res", "224,192,160,128"),
    "others": (
        *("v2-a1-r224", "v2-a0.75-r160", "v2-a0.5-r128", "v2-a0.35-r96"),
        *("v3-large-a1-r224", "v3-large-a0.75-r224", "v3-small-a1-r224", "v3-small-a0.75-r224"),
        *("shufflenet-v1-a1-r224", "shufflenet-v1-a0.5-r224", "shufflenet-v1-a0.25-r224", "shufflenet-v1-a0.25-r128"),
        *("shufflenet-v2-a1-r224", "shufflenet-v2-a0.5-r224", "shufflenet-v2-a0.5-r160", "shufflenet-v2-a0.5-r128"),
    ),
}
WARM_UP = ("v1", "--alpha", "0.25", "--res", "128", "--processes", "1", "--budget", "1s")

Line: TypeAlias = dict[str, Any]
Latencies: TypeAlias = Mapping[str, Latency]
"""The latency of each row of a table, without rows that failed."""


@click.group()
def main() -> None:
    """Record tables of two checkouts, and compare them."""


@main.command()
@click.option("--old", required=True, type=click.Path(path_type=Path, exists=True), help="Checkout of the older one.")
@click.option("--new", default=ROOT, type=click.Path(path_type=Path, exists=True), help="Checkout of the newer one.")
@click.option("--log", "path", required=True, type=click.Path(path_type=Path), help="Log to append to.")
@click.option("--tables", default=12, help="Tables of each checkout that the log holds in the end.")
@click.option("--rows", default="v1", type=click.Choice(list(ROWS)), help="Which 16 rows a table has.")
@click.option("--threads", default=1, help="Threads per inference.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def record(old: Path, new: Path, path: Path, tables: int, rows: str, threads: int, options: tuple[str, ...]) -> None:
    """Measure tables in turns, in random order; OPTIONS go to both `mnbench run`."""
    checkouts = {OLD: old.resolve(), NEW: new.resolve()}
    lines = _read(path) if path.exists() else []
    done = [line["protocol"] for line in lines if (line["rows"], line["threads"]) == (rows, threads)]
    commits = {name: _commit(folder) for name, folder in checkouts.items()}
    for checkout in checkouts.values():
        run_table(*WARM_UP, "--no-roofline", checkout=checkout)  # compiles the modules
    for number in range(tables):
        for name in random.sample(list(checkouts), 2):
            if done.count(name) > number:
                continue
            arguments = (*ROWS[rows], "--threads", str(threads), "--no-roofline", *options)
            figures, records = run_table(*arguments, checkout=checkouts[name])
            line = {"protocol": name, "rows": rows, "threads": threads, "commit": commits[name], "options": options}
            line |= {"version": records[0]["mnbench_version"], "records": dict(map(_entry, records)), **figures}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def _commit(checkout: Path) -> str:
    """Return the checkout's commit, with `-dirty` if files differ from it."""
    return output("git", "-C", checkout, "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*").strip()


def _entry(record: Line) -> tuple[str, Line]:
    """Return a row's name, and of its record what the log stores."""
    names = ("latency_ns", "processes", "runs", "error")
    issues = [issue["name"] for issue in record["issues"]]
    return record["variant"], {**{name: record[name] for name in names}, "issues": issues}


def _read(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The tables of a checkout with the same rows and threads."""

    rows: str
    threads: int
    name: str
    durations_s: Sequence[float]
    busy_cores: Sequence[float]
    row_count: int
    tables: Sequence[Latencies]

    @classmethod
    def of(cls, lines: Sequence[Line]) -> "Protocol":
        """Read the tables from the lines of a log."""
        return cls(
            rows=lines[0]["rows"],
            threads=lines[0]["threads"],
            name=lines[0]["protocol"],
            durations_s=[line["duration_s"] for line in lines],
            busy_cores=[line["busy_cores"] for line in lines],
            row_count=len(lines[0]["records"]),
            tables=[
                {
                    name: msgspec.convert(row["latency_ns"], Latency)
                    for name, row in line["records"].items()
                    if row["latency_ns"]
                }
                for line in lines
            ],
        )

    @property
    def medians(self) -> dict[str, list[int]]:
        """The medians of each row that is in every table."""
        names = [name for name in self.tables[0] if all(name in table for table in self.tables)]
        return {name: [table[name].median for table in self.tables] for name in names}

    def precise(self, target: float) -> list[int]:
        """Count the rows within ± `target` of each table."""
        return [sum(latency.precision <= target for latency in table.values()) for table in self.tables]

    @property
    def widest(self) -> float | None:
        """The half width of a table's widest interval, the median over tables; None if a row has one process."""
        half = median(max((latency.precision for latency in table.values()), default=inf) for table in self.tables)
        return half if half < inf else None

    @property
    def scatter(self) -> list[float]:
        """The standard deviations of the logarithms of each row's medians, in ascending order."""
        if len(self.tables) < 2:
            return []
        return sorted(stdev(map(log, medians)) for medians in self.medians.values())

    @property
    def coverage(self) -> float | None:
        """How often a table's interval holds the median over all other tables."""
        if len(self.tables) < 2:
            return None
        return self._coverage(self.tables)

    @property
    def coverage_with_drift(self) -> float | None:
        """The same if the host's drift had been calibrated with all other tables, by a short row and a middling one."""
        if len(self.tables) <= MIN_RUNS:
            return None
        ordered = sorted(self.medians, key=lambda name: median(self.medians[name]))
        calibrated = (ordered[0], ordered[len(ordered) // 2])
        runs = [{name: table[name].median for name in calibrated} for table in self.tables]
        drifts = [HostDrift.of_runs(runs[:index] + runs[index + 1 :]) for index in range(len(runs))]
        return self._coverage(
            [
                {name: drift.widen(latency) for name, latency in table.items()}
                for drift, table in zip(drifts, self.tables, strict=True)
            ]
        )

    def _coverage(self, tables: Sequence[Latencies]) -> float:
        return mean(
            low <= median(medians[:index] + medians[index + 1 :]) <= high
            for name, medians in self.medians.items()
            for index, (low, high) in enumerate(table[name].interval for table in tables)
        )

    @property
    def nominal_coverage(self) -> float:
        """The coverage that the intervals state, on average."""
        return mean(latency.coverage for table in self.tables for latency in table.values())


@main.command()
@click.argument("path", metavar="LOG", type=click.Path(path_type=Path, exists=True))
def report(path: Path) -> None:
    """Print the tables of LOG in markdown."""
    print("\n".join(table.to("markdown") for table in tables_of(_read(path))))


def tables_of(lines: Sequence[Line]) -> tuple[Table[Protocol], Table[tuple[Protocol, Protocol]]]:
    """Return a table of the protocols, and one of how their medians differ."""

    def key(line: Line) -> tuple[str, int, bool]:
        return line["rows"], line["threads"], line["protocol"] == NEW

    protocols = [Protocol.of(list(group)) for _, group in groupby(sorted(lines, key=key), key)]
    pairs = [
        (old, new)
        for old, new in pairwise(protocols)
        if (old.rows, old.threads, old.name, new.name) == (new.rows, new.threads, OLD, NEW)
    ]
    return Table(columns=PROTOCOL_COLUMNS, rows=protocols), Table(columns=RATIO_COLUMNS, rows=pairs)


def _ratios(pair: tuple[Protocol, Protocol]) -> list[float]:
    """Return each row's median over the new tables as a ratio to that over the old, in ascending order."""
    old, new = (protocol.medians for protocol in pair)
    return sorted(median(new[name]) / median(old[name]) for name in old if name in new)


def _least_median_most(shares: Sequence[float]) -> str | None:
    if not shares:
        return None
    return ", ".join(f"{share:.2%}" for share in (min(shares), median(shares), max(shares)))


def _precise(target: float) -> Column[Protocol]:
    def value(protocol: Protocol) -> str:
        counts = protocol.precise(target)
        return f"{median(counts):g} ({min(counts)}) of {protocol.row_count}"

    return Column(name=f"within_{target}", title=f"within ±{target:.0%}: median (least)", value=value)


PROTOCOL_COLUMNS: list[Column[Protocol]] = [
    Column(name="rows", left=True),
    Column(name="threads"),
    Column(name="name", title="protocol", left=True),
    Column(name="tables", value=lambda protocol: len(protocol.tables)),
    Column(
        name="duration_s",
        title="seconds: median (most)",
        value=lambda protocol: f"{median(protocol.durations_s):.0f} ({max(protocol.durations_s):.0f})",
    ),
    Column(name="busy_cores", title="busy cores", value=lambda p: median(p.busy_cores), format="{:.2f}".format),
    _precise(0.02),
    _precise(0.01),
    Column(name="widest", title="widest interval", format="±{:.1%}".format),
    Column(
        name="scatter",
        title="scatter: least, median, most",
        value=lambda protocol: _least_median_most(protocol.scatter),
    ),
    Column(name="coverage", format=format_percent),
    Column(name="coverage_with_drift", title="with drift", format=format_percent),
    Column(name="nominal_coverage", title="stated", format=format_percent),
]
RATIO_COLUMNS: list[Column[tuple[Protocol, Protocol]]] = [
    Column(name="rows", value=lambda pair: pair[0].rows, left=True),
    Column(name="threads", value=lambda pair: pair[0].threads),
    Column(
        name="difference",
        title="medians, new against old: least, median, most",
        value=lambda pair: _least_median_most([ratio - 1 for ratio in _ratios(pair)]),
    ),
]


if __name__ == "__main__":
    main()
