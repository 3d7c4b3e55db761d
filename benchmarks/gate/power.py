"""From the log of `aa.py`: false alarms and power, with exact bounds, of the gate and of what people use now."""

import json
from collections.abc import Callable, Sequence
from math import comb, inf
from pathlib import Path
from statistics import mean, variance
from typing import Any, TypeAlias

import click

Row: TypeAlias = dict[str, Any]

GATES: dict[str, Callable[[Row], bool | None]] = {
    "mnbench compare": lambda row: row["verdict"] == "slower",
    "stored median + 5 %": lambda row: row["stored_median"] > 1.05 if "stored_median" in row else None,
    "stored median + 10 %": lambda row: row["stored_median"] > 1.1 if "stored_median" in row else None,
    "Mann-Whitney on runs, p < .01": lambda row: row["stored_p"] < 0.01 if "stored_p" in row else None,
    "stored mean × 2": lambda row: row["stored_mean"] > 2 if "stored_mean" in row else None,
}

RANGES = (0.009, 0.02), (0.02, 0.1)


@click.command()
@click.argument("log", type=click.Path(exists=True, path_type=Path))
def main(log: Path) -> None:
    """Print LOG's tables in markdown."""
    tables = read(log)
    ranges = [f"{least:.1%} to {most:.0%} slower: {power(tables, least, most)} found" for least, most in RANGES]
    print("\n\n".join([judged(tables), durations(tables), effects(tables), *ranges]))


def read(log: Path) -> list[dict[str, Any]]:
    """The tables of a log."""
    return [json.loads(line) for line in log.read_text().splitlines()]


def judged(tables: list[dict[str, Any]], gates: Sequence[str] = tuple(GATES)) -> str:
    """False alarms and power of these gates; `at most` is of innocent tables, `at least` of guilty rows, with 95 %."""
    head = (
        "| gate | host | false rows | false tables | at most | found | at least |\n|---|---|---:|---:|---:|---:|---:|"
    )
    there = {table["kind"].partition("+")[0] for table in tables}
    hosts = [host for host in ("quiet", "neighbour") if host in there]
    hosts += ["both"] if len(hosts) > 1 else []
    return "\n".join([head, *(line(gate, host, tables, GATES[gate]) for gate in gates for host in hosts)])


def durations(tables: list[dict[str, Any]]) -> str:
    """How long tables took, and how many of their rows are inconclusive; `at most` is of unchanged rows, with 95 %."""
    lines = [
        "| tables | number | median s | most s | unchanged rows inconclusive | at most | slower rows inconclusive |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for kind in sorted({table["kind"] for table in tables}):
        mine = [table for table in tables if table["kind"] == kind]
        seconds = sorted(table["duration_s"] for table in mine)
        rows = [(name in table["guilty"], row) for table in mine for name, row in table["rows"].items()]
        unchanged, slower = (
            [row["verdict"] == "inconclusive" for guilty, row in rows if guilty is side] for side in (False, True)
        )
        middle, longest = seconds[len(seconds) // 2], seconds[-1]
        most = upper(sum(unchanged), len(unchanged))
        lines.append(
            f"| {kind} | {len(mine)} | {middle:.0f} | {longest:.0f} | {sum(unchanged)} / {len(unchanged)} "
            f"| {most:.1%} | {sum(slower)} / {len(slower)} |"
        )
    return "\n".join(lines)


def line(gate: str, host: str, tables: list[dict[str, Any]], accuses: Callable[[Row], bool | None]) -> str:
    """One gate on one kind of host."""
    innocent, guilty, accused = [], [], []
    for table in tables:
        if host not in ("both", table["kind"].partition("+")[0]):
            continue
        reported = {name: accuses(row) for name, row in table["rows"].items()}
        if None in reported.values():
            continue
        innocent += [reported[name] for name in reported if name not in table["guilty"]]
        guilty += [reported[name] for name in table["guilty"]]
        if not table["guilty"]:
            accused.append(any(reported.values()))
    false, of = sum(accused), len(accused)
    value, out_of = sum(guilty), len(guilty)
    most = f"{upper(false, of):.1%}" if of else "–"
    least = f"{1 - upper(out_of - value, out_of):.1%}" if out_of else "–"
    rows = f"{sum(innocent)} / {len(innocent)}"
    return f"| {gate} | {host} | {rows} | {false} / {of} | {most} | {value} / {out_of} | {least} |"


def upper(count: int, of: int, certainty: float = 0.95) -> float:
    """The highest probability with which `count` or fewer happen in 5 % of the cases (Clopper and Pearson, 1934)."""
    low, high = 0.0, 1.0
    for _ in range(50):
        share = (low + high) / 2
        tail = sum(comb(of, at) * share**at * (1 - share) ** (of - at) for at in range(count + 1))
        low, high = (share, high) if tail > 1 - certainty else (low, share)
    return high


def effects(tables: list[dict[str, Any]]) -> str:
    """How much slower each of the slower graphs was, and how often it was found."""
    lines = ["| slower row | mean | least | most | found |", "|---|---:|---:|---:|---:|"]
    for name, rows in slower_rows(tables):
        item = [row["ratio"] - 1 for row in rows]
        lines.append(
            f"| {name} | {mean(item):+.2%} | {min(item):+.2%} | {max(item):+.2%} | {_count_found(rows)} / {len(rows)} |"
        )
    return "\n".join(lines)


def slower_rows(tables: list[dict[str, Any]]) -> list[tuple[str, list[Row]]]:
    """What was found of each of the slower graphs, table by table; those that are least slower, on average, first."""
    slower: dict[str, list[Row]] = {}
    for table in tables:
        for name in table["guilty"]:
            slower.setdefault(name, []).append(table["rows"][name])
    return sorted(slower.items(), key=lambda pair: mean(row["ratio"] for row in pair[1]))


def power(tables: list[dict[str, Any]], least: float, most: float = inf) -> str:
    """How many rows are found whose graphs are on average slower by a share in this range, with its bound of 95 %."""
    rows = [
        row
        for _, rows in slower_rows(tables)
        if least <= mean(row["ratio"] for row in rows) - 1 <= most
        for row in rows
    ]
    if not rows:
        return "0 of 0 rows"
    value = _count_found(rows)
    return f"{value} of {len(rows)} rows (at least {1 - upper(len(rows) - value, len(rows)):.1%})"


def scatter(tables: list[dict[str, Any]]) -> float:
    """By how many percent processes differ in what they find of a row that is not slower: root mean square."""
    innocent = [row for table in tables for name, row in table["rows"].items() if name not in table["guilty"]]
    return 100 * mean(variance(row["wall"]) for row in innocent if len(row["wall"]) > 1) ** 0.5


def _count_found(rows: list[Row]) -> int:
    return sum(row["verdict"] == "slower" for row in rows)


if __name__ == "__main__":
    main()
