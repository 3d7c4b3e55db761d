"""From the log of `aa.py`: false alarms and power, with exact bounds, of the gate and of what people use now."""

import json
from collections.abc import Callable
from math import comb
from pathlib import Path
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


@click.command()
@click.argument("log", type=click.Path(exists=True, path_type=Path))
def main(log: Path) -> None:
    """Print LOG's tables in markdown."""
    tables = [json.loads(line) for line in log.read_text().splitlines()]
    print(
        "| gate | host | false rows | false tables | at most | found | at least |\n|---|---|---:|---:|---:|---:|---:|"
    )
    for gate, accuses in GATES.items():
        for host in ("quiet", "neighbour"):
            mine = [table for table in tables if table["kind"].partition("+")[0] == host]
            line(gate, host, mine, accuses)
    print()
    for kind in sorted({table["kind"] for table in tables}):
        mine = [table for table in tables if table["kind"] == kind]
        seconds = sorted(table["duration_s"] for table in mine)
        unsure = sum(row["verdict"] == "inconclusive" for table in mine for row in table["rows"].values())
        middle, longest = seconds[len(seconds) // 2], seconds[-1]
        print(f"{kind}: {len(mine)} tables, median {middle:.0f} s, at most {longest:.0f} s, {unsure} rows inconclusive")
    effects(tables)


def line(gate: str, host: str, tables: list[dict[str, Any]], accuses: Callable[[Row], bool | None]) -> None:
    """One gate on one kind of host: `at most` is of innocent tables, `at least` of guilty rows, both with 95 %."""
    innocent, guilty, accused = [], [], []
    for table in tables:
        told = {name: accuses(row) for name, row in table["rows"].items()}
        if None in told.values():
            continue
        innocent += [told[name] for name in told if name not in table["guilty"]]
        guilty += [told[name] for name in table["guilty"]]
        if not table["guilty"]:
            accused.append(any(told.values()))
    false, of = sum(accused), len(accused)
    found, out_of = sum(guilty), len(guilty)
    most = f"{upper(false, of):.1%}" if of else "–"
    least = f"{1 - upper(out_of - found, out_of):.1%}" if out_of else "–"
    rows = f"{sum(innocent)} / {len(innocent)}"
    print(f"| {gate} | {host} | {rows} | {false} / {of} | {most} | {found} / {out_of} | {least} |")


def upper(count: int, of: int, certainty: float = 0.95) -> float:
    """The highest probability with which `count` or fewer happen in 5 % of the cases (Clopper and Pearson, 1934)."""
    low, high = 0.0, 1.0
    for _ in range(50):
        share = (low + high) / 2
        tail = sum(comb(of, at) * share**at * (1 - share) ** (of - at) for at in range(count + 1))
        low, high = (share, high) if tail > 1 - certainty else (low, share)
    return high


def effects(tables: list[dict[str, Any]]) -> None:
    """How large the slower graphs' slowdowns were, and how far innocent rows lay from none."""
    slower: dict[str, list[float]] = {}
    for table in tables:
        for name in table["guilty"]:
            ratio = table["rows"][name]["ratio"]
            if ratio:
                slower.setdefault(name, []).append(ratio - 1)
    print("\n| slower row | tables | mean | least | most |\n|---|---:|---:|---:|---:|")
    for name, each in sorted(slower.items()):
        mean = sum(each) / len(each)
        print(f"| {name} | {len(each)} | {mean:+.2%} | {min(each):+.2%} | {max(each):+.2%} |")


if __name__ == "__main__":
    main()
