"""Results: the records of a table in memory, to filter, sort, show and convert."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from mnbench.errors import MnbenchError, ResultsError
from mnbench.results.by_device import RATIO_NOTE, named_records, ratio_columns, table_by_device
from mnbench.results.columns import COLUMNS, labelled_columns
from mnbench.results.host_selection import select_hosts
from mnbench.results.latency_table import latency_table
from mnbench.results.pick import Criterion, Pick, pick
from mnbench.results.record import Record
from mnbench.results.selection import (
    Condition,
    parse_column_name,
    parse_sort_key,
    read_records,
    select_records,
    sort_records,
)
from mnbench.results.store import ResultsFile
from mnbench.tables.data_frame import to_data_frame
from mnbench.tables.table import Table

if TYPE_CHECKING:
    from os import PathLike

    import pandas as pd  # pyright: ignore[reportMissingImports]


class Results(Sequence[Record]):
    """Records in order; immutable. `skipped` are the devices that could not be used, with the reason.

    `rejected` are the models that could not be built or run on onnxruntime's CPU, with the reason. `folder` holds the
    profiles and raw samples of the records; None if they are not stored. `notes` say what was not loaded.
    """

    def __init__(
        self,
        records: Iterable[Record] = (),
        *,
        skipped: Mapping[str, MnbenchError] | None = None,
        rejected: Mapping[str, MnbenchError] | None = None,
        folder: Path | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.records = tuple(records)
        self.skipped = dict(skipped or {})
        self.rejected = dict(rejected or {})
        self.folder = folder
        self.notes = tuple(notes)

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __repr__(self) -> str:
        devices = ", ".join(dict.fromkeys(record.device for record in self.records))
        return f"<Results: {len(self)} records{f' of {devices}' if devices else ''}>"

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table().to("html")

    @overload
    def __getitem__(self, key: int) -> Record: ...
    @overload
    def __getitem__(self, key: slice) -> "Results": ...
    @overload
    def __getitem__(self, key: str) -> Record: ...
    def __getitem__(self, key: int | slice | str) -> "Record | Results":
        """Return a record by its index or its variant's name, or the records of a slice.

        `DEVICE/VARIANT` names a record of one device, `small/model` one of two files `model.onnx`.

        Raises:
            ResultsError: no record, or more than one, has that name.
        """
        if isinstance(key, int):
            return self.records[key]
        if isinstance(key, slice):
            return self._select(self.records[key])
        named = named_records(self.records, key)
        if len(named) != 1:
            raise ResultsError(
                f"{len(named) or 'no'} records are named {key}",
                hint="narrow the results: results.where('threads=1')"
                if named
                else "list the names: [record.variant for record in results]",
            )
        return named[0]

    def _select(self, records: Iterable[Record]) -> "Results":
        return Results(records, skipped=self.skipped, rejected=self.rejected, folder=self.folder, notes=self.notes)

    @property
    def failures(self) -> "Results":
        """Return the records of the failed cases."""
        return self._select(record for record in self.records if record.error)

    def where(self, *conditions: str) -> "Results":
        """Return the records that meet all conditions: `latency_ns<=10ms`, `graph=v3-*`, `issues=`.

        Raises:
            ResultsError: a condition names no column, or compares it with something else.
        """
        try:
            parsed = [Condition.parse(condition) for condition in conditions]
        except ValueError as failure:
            raise ResultsError(str(failure), hint="write COLUMN<=VALUE: latency_ns<=10ms") from failure
        return self._select(record for record in self.records if all(condition.matches(record) for condition in parsed))

    def sort(self, *columns: str) -> "Results":
        """Return the records sorted by the first column, then by the next; `-` before a name puts the largest first.

        Raises:
            ResultsError: there is no such column, or it has two values in a row: `interval_ns`.
        """
        for column in columns:
            _check_column(column.removeprefix("-"), parse_sort_key)
        return self._select(sort_records(self.records, columns))

    def pick(self, *, budget_ms: float, max_bytes: int | None = None, best: Criterion = "top1") -> Pick:
        """Return the best variant within a latency budget: of the highest published top-1, or of the most `params`.

        Raises:
            ResultsError: the records are of several devices or hosts, or none has a latency.
        """
        picks = pick(self.records, budget_ns=round(budget_ms * 1e6), max_bytes=max_bytes, best=best)
        if len(picks) != 1:
            settings = "; ".join(f"{choice.device} on {choice.host}" for choice in picks)
            raise ResultsError(
                f"the records are of several devices or hosts: {settings}" if picks else "no record has a latency",
                hint="choose a device: results.where('device=cpu')" if picks else "measure some: mnbench run v1",
            )
        return picks[0]

    def table(self, columns: Sequence[str] = (), *, ratio_to: str | None = None, by_device: bool = False) -> Table[Any]:
        """Return a table with a row for each record, or with `by_device` one for each variant.

        Args:
            columns: The names of its columns. Default: those with information.
            ratio_to: Add each latency's ratio to that of this VARIANT, or of this DEVICE/VARIANT.
            by_device: Put the devices side by side.

        Raises:
            ResultsError: there is no such column or variant.
        """
        for column in columns:
            _check_column(column)
        if by_device:
            return table_by_device(self.records, columns).with_notes(self.notes)
        table = latency_table(self.records, columns).with_notes(self.notes)
        if ratio_to is not None:
            ratios = ratio_columns(self.records, ratio_to)
            table = table.with_columns([*table.columns, *ratios], [*table.notes, RATIO_NOTE])
        return table

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return a dictionary for each record, with all columns in base units."""
        return _all_columns(self.records).to_dicts()

    def to_pandas(self) -> "pd.DataFrame":  # pyright: ignore[reportUnknownParameterType, reportUnknownMemberType]
        """Return a data frame with a row for each record and all columns in base units.

        Raises:
            MissingDependency: pandas is not installed.
        """
        return to_data_frame(self.to_dicts(), [column.name for column in _all_columns(self.records).data_columns])

    def save(self, path: "str | PathLike[str]") -> Path:
        """Append the records that are not there yet to a .jsonl file, or to `<device>.jsonl` in a folder.

        Raises:
            FileError: no space, no permission.
            ResultsError: the file cannot be read.
        """
        path = Path(path)
        for device in dict.fromkeys(record.device for record in self.records):
            target = ResultsFile(path.parent, path.stem) if path.suffix == ".jsonl" else ResultsFile(path, device)
            known = {(record.device, record.id) for record in target.read_records()}
            for record in self.records:
                if record.device == device and (device, record.id) not in known:
                    target.append(record)
        return path


def load_results(
    path: "str | PathLike[str]" = "results",
    *,
    device: str | Iterable[str] | None = None,
    host: str | None = None,
    newest: bool = True,
) -> Results:
    """Read a results folder or one .jsonl file, of all devices or of those named.

    Args:
        path: The folder or the file.
        device: The name of a device, or several.
        host: The host as a table's title shows it, its digest, or "all". Default: each device's newest host.
        newest: Read the newest record of each variant in each setting only.

    Raises:
        ResultsError: there are no results, they are of no such host, or they cannot be read.
    """
    path = Path(path)
    records = read_records(path, [device] if isinstance(device, str) else list(device or ()))
    selected = select_records(records, host)
    folder = path.parent if path.suffix == ".jsonl" else path
    shown = selected.records if newest else select_hosts(records, host).items
    return Results(shown, folder=folder, notes=selected.notes)


def _all_columns(records: Sequence[Record]) -> Table[Record]:
    return Table(columns=labelled_columns(COLUMNS, records), rows=records)


def _check_column(name: str, parse: Callable[[str], str] = parse_column_name) -> None:
    try:
        parse(name)
    except ValueError as failure:
        raise ResultsError(str(failure), hint="list the columns: mnbench table --help") from failure
