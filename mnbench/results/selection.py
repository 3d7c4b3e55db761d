"""Select and sort records by their columns."""

import operator
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from mnbench.errors import ResultsError, suggest
from mnbench.network.row import row_labels
from mnbench.results.columns import COLUMNS
from mnbench.results.host_identity import RecordKey
from mnbench.results.host_selection import select_hosts
from mnbench.results.latency_table import newest_records
from mnbench.results.record import Record
from mnbench.results.store import ResultsFile
from mnbench.units import parse_quantity

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}


def parse_column_name(text: str) -> str:
    """Return the name of a column.

    Raises:
        ValueError: there is no such column; the message lists the columns.
    """
    name = text.strip()
    if name not in COLUMNS:
        raise ValueError(f"there is no column {name!r}: {suggest(name, COLUMNS)}known: {', '.join(COLUMNS)}")
    return name


def parse_sort_key(text: str) -> str:
    """Return the name of a column that has one value in a row.

    Raises:
        ValueError: there is no such column, or it has several values.
    """
    name = parse_column_name(text)
    if parts := COLUMNS[name].parts:
        raise ValueError(f"{name} has two values in a row: name {' or '.join(part.name for part in parts)}")
    return name


@dataclass(frozen=True, slots=True)
class Condition:
    """`latency_ns<=10ms`, `graph=v3-*` or `issues=`: a column, a comparison and a value.

    Numbers may have a unit. A word may contain `*`; an empty word matches rows without a value. A row without a value
    meets no other condition.
    """

    column: str
    operator: str
    value: float | str

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Parse a condition.

        Raises:
            ValueError: it is not a condition; the message says why.
        """
        match = re.fullmatch(r"\s*(\w+)\s*(<=|>=|!=|<|>|=)\s*(.*?)\s*", text)
        if not match:
            raise ValueError(f"{text!r} is not a condition such as latency_ns<=10ms or graph=v3-*")
        name, sign, value = parse_sort_key(match[1]), match[2], match[3]
        base_unit = next((unit for unit in ("ns", "bytes") if name.endswith(f"_{unit}")), "")
        try:
            return cls(name, sign, parse_quantity(value, base_unit))
        except ValueError:
            if sign not in ("=", "!=") or COLUMNS[name].unit:
                raise ValueError(
                    f"{name} cannot be compared with {value!r}: write a number such as 10ms, 300M or 5MB"
                ) from None
        return cls(name, sign, value)

    def __str__(self) -> str:
        value = f"{self.value:g}" if isinstance(self.value, float) else self.value
        return f"{self.column}{self.operator}{value}"

    def matches(self, record: Record) -> bool:
        value = COLUMNS[self.column].value(record)
        if isinstance(self.value, str):
            return fnmatchcase("" if value is None else str(value), self.value) == (self.operator == "=")
        try:
            return value is not None and OPERATORS[self.operator](float(value), self.value)
        except ValueError:
            return False


class SelectedRecords(NamedTuple):
    """The newest records that were asked for, and notes on what is left out."""

    records: list[Record]
    notes: list[str]


def load_records(
    results: Path, devices: Sequence[str], conditions: Iterable[Condition] = (), *, host: str | None = None
) -> SelectedRecords:
    """Return the newest records of these devices, or of all devices, that meet all conditions.

    They are of each device's newest host, or of the `host` that is named, or of all.

    Raises:
        ResultsError: there are no such records, or the results cannot be read.
    """
    records, notes = select_records(read_records(results, devices), host)
    for condition in conditions:
        records = [record for record in records if condition.matches(record)]
        if not records:
            raise ResultsError(f"{results}: no row has {condition}", hint="see what there is: mnbench table")
    return SelectedRecords(records, notes)


def select_records(records: Iterable[Record], host: str | None = None) -> SelectedRecords:
    """Return the newest records of the hosts, and notes on other hosts and on files that changed.

    Raises:
        ResultsError: no record is of that host.
    """
    selection = select_hosts(records, host)
    newest = newest_records(selection.items)
    notes = selection.note(len({record.key for record in selection.others}))
    return SelectedRecords(newest, notes + _changed_models(selection.items, newest))


def _changed_models(records: Iterable[Record], newest: Sequence[Record]) -> list[str]:
    """Return a note for each file that had other bytes in an earlier run."""
    earlier: dict[RecordKey, str] = {}
    shown = {record.key: record for record in newest if record.file}
    labels = row_labels(record.row for record in newest)
    for record in records:
        if record.file and record.model_sha256 != shown[record.key].model_sha256:
            earlier[record.key] = record.model_sha256
    return [
        f"{labels[key.row]}: the file has changed from {sha256[:6]} to {shown[key].model_sha256[:6]};"
        " the newest is shown"
        for key, sha256 in earlier.items()
    ]


def read_records(path: Path, devices: Sequence[str]) -> list[Record]:
    """Return all records of a results folder or of one .jsonl file, of these devices or of all.

    Raises:
        ResultsError: there are none, or they cannot be read.
    """
    if path.suffix == ".jsonl":
        if not path.exists():
            raise ResultsError(f"{path}: there is no such file", hint="measure some: mnbench run v1")
        stored = ResultsFile(path.parent, path.stem).read_records()
        records = [record for record in stored if not devices or record.device in devices]
    else:
        known = sorted(file.stem for file in path.glob("*.jsonl"))
        for device in devices:
            if device not in known:
                hint = f"{suggest(device, known)}known: {', '.join(known)}"
                raise ResultsError(
                    f"{path}: holds no results of device {device}",
                    hint=hint if known else f"measure some: mnbench run --device {shlex.quote(device)}",
                )
        records = [record for device in devices or known for record in ResultsFile(path, device).read_records()]
    if not records:
        raise ResultsError(f"{path}: holds no results yet", hint="measure some: mnbench run v1")
    return records


def sort_records(records: Iterable[Record], keys: Sequence[str]) -> list[Record]:
    """Return the records sorted by the first column, then by the next; `-` before a name puts the largest first.

    Records without a value come last.
    """
    result = list(records)
    for key in reversed(keys):
        value: Callable[[Record], Any] = COLUMNS[key.removeprefix("-")].value
        unknown = [record for record in result if value(record) is None]
        known = [record for record in result if value(record) is not None]
        result = sorted(known, key=value, reverse=key.startswith("-")) + unknown
    return result
