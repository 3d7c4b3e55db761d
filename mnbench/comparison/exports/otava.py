"""A folder of CSV files, one a row, with one line a comparison or run, for tools that detect change points.

Checked with Apache Otava (https://otava.apache.org/docs/csv/). Its CSV importer needs a time and a number in every
line, so a row that was not measured has no line. `otava.yaml` in the folder names all files and the watched metrics.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import TypeAlias

from mnbench import atomic_files
from mnbench.comparison.comparison import Comparison
from mnbench.errors import ResultsError, first_line
from mnbench.regular_files import read_regular
from mnbench.results.git_history import checked_out_commit
from mnbench.tables import csv_text

SeriesRow: TypeAlias = Mapping[str, str | int | float | None]
Series: TypeAlias = Mapping[str, Sequence[SeriesRow]]
"""Lines by the name of their file, which may contain folders."""

CONFIG_NAME = "otava.yaml"
WATCHED_METRICS = ("ratio", "latency_ns", "calibrated_ns")


def comparison_to_series(comparison: Comparison, now: datetime | None = None) -> Series:
    """Return a line for each row that has a ratio, with the commit that is checked out."""
    when = {"time": (now or datetime.now(UTC)).isoformat(timespec="seconds"), "commit": checked_out_commit()}
    return {
        f"{finding.device}/{finding.variant}": [
            {**when, "ratio": finding.ratio, "low": finding.low, "high": finding.high, "verdict": finding.verdict}
        ]
        for finding in comparison.findings
        if finding.ratio
    }


def extend_series(folder: Path, series: Series) -> None:
    """Add lines to the folder's files.

    Raises:
        FileError: no space, no permission.
        ResultsError: a file has other columns.
    """
    stored = {name: [*_read(_path(folder, name), lines), *lines] for name, lines in series.items()}
    write_series(folder, stored)


def write_series(folder: Path, series: Series) -> None:
    """Write lines, and the configuration for all files of the folder.

    Raises:
        FileError: no space, no permission.
    """
    for name, lines in series.items():
        text = csv_text.dump(list(lines[0]), lines)
        atomic_files.write_atomically(_path(folder, name), text.encode(), durable=False)
    # JSON is YAML, and quotes whatever a name may hold.
    atomic_files.write_atomically(
        folder / CONFIG_NAME, (json.dumps(_config(folder), indent=2) + "\n").encode(), durable=False
    )


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.csv"


def _read(path: Path, lines: Sequence[SeriesRow]) -> list[dict[str, str]]:
    """Return the lines of a file with the same columns; no lines if there is no file."""
    try:
        stored = _parse(path)
    except FileNotFoundError:
        return []
    if any(list(line) != list(lines[0]) for line in stored):
        raise ResultsError(f"{path}: has other columns than this series", hint="name another folder")
    return stored


def _parse(path: Path) -> list[dict[str, str]]:
    """Return the lines of a file.

    Raises:
        FileNotFoundError: there is none.
        FileError: it cannot be read.
        ResultsError: it is no CSV file.
    """
    try:
        return list(csv.DictReader(StringIO(read_regular(path).decode(), newline="")))
    except (csv.Error, UnicodeDecodeError) as failure:
        raise ResultsError(
            f"{path}: is not a CSV file: {first_line(failure)}", hint="remove it, or name another folder"
        ) from failure


def _config(folder: Path) -> dict[str, object]:
    """Return a test a file, and all of them as the group `mnbench`."""
    tests: dict[str, object] = {}
    for path in sorted(folder.rglob("*.csv")):
        lines = _parse(path)
        whole = [name for name in WATCHED_METRICS if lines and all(line.get(name) for line in lines)]
        if whole:
            tests[str(path.relative_to(folder).with_suffix(""))] = {
                "type": "csv",
                "file": str(path),
                "time_column": "time",
                "attributes": ["commit"],
                "metrics": {name: {"direction": -1} for name in whole},
            }
    return {"tests": tests, "test_groups": {"mnbench": list(tests)}}
