"""Tables of records with ratios, or with the devices side by side."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from mnbench.errors import ResultsError
from mnbench.results.columns import COLUMNS
from mnbench.results.host_identity import Setting
from mnbench.results.latency_table import explain, informative_columns, setting_label
from mnbench.results.record import Record
from mnbench.tables.table import ABSENT, CellValue, Column, Table
from mnbench.units import format_significant

R = TypeVar("R")

VARIANT_COLUMNS = frozenset(
    {"variant", "graph", "alpha", "resolution", "precision", "batch", "params", "mult_adds", "memory_access"}
    | {"memory_access_bytes", "peak_activation_bytes", "top1", "top1_source"}
)
"""Columns whose value depends on the variant alone, not on the device."""

BY_DEVICE_COLUMNS = ("graph", "alpha", "resolution", "precision", "batch", "mult_adds", "latency_ns")


def group_by_column(records: Sequence[Record], column: str) -> dict[str, list[Record]]:
    """Return the records by their text in a column, in order."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(COLUMNS[column].text(record), []).append(record)
    return groups


def ratio_columns(records: Sequence[Record], reference: str) -> list[Column[Record]]:
    """Return columns of the ratio to the latency of `VARIANT` in the same setting, or of `DEVICE/VARIANT` for all rows.

    The interval of the ratio is the widest that the intervals of both rows allow.

    Raises:
        ResultsError: no measured row has that name.
    """
    device, _, variant = reference.rpartition("/")
    references = {
        record.setting: record
        for record in records
        if record.variant == variant and device in ("", record.device) and record.latency_ns
    }
    if not references:
        raise ResultsError(
            f"no measured row is named {reference}",
            hint="name a variant, such as v1-a1-r224, or a row of a device, such as cpu/v1-a1-r224",
        )
    fixed = next(iter(references.values()))

    def base(record: Record) -> Record | None:
        return fixed if device else references.get(record.setting)

    def ratio(record: Record) -> float | None:
        other = base(record)
        if not record.latency_ns or not other or not other.latency_ns:
            return None
        return record.latency_ns.median / other.latency_ns.median

    def interval(record: Record) -> str | None:
        other, mine = base(record), record.latency_ns
        theirs = other.latency_ns if other and other.id != record.id else None
        if not mine or not theirs or not mine.coverage or not theirs.coverage:
            return None
        return f"{format_significant(mine.low / theirs.high)}–{format_significant(mine.high / theirs.low)}"

    return [
        Column[Record](name="ratio", title=f"ratio to\n{reference}", value=ratio, format=format_significant),
        Column[Record](name="ratio_interval", title="interval\nof ratio", value=interval),
    ]


RATIO_NOTE = (
    "ratio: of medians from separate measurements; interval: the widest that both rows allow."
    " To compare two variants, run mnbench compare"
)


RecordsByDevice = Mapping[str, Record]
"""The records of one variant, by the label of the setting."""


def table_by_device(records: Sequence[Record], columns: Sequence[str] = ()) -> Table[RecordsByDevice]:
    """Return a table with a row for each variant, and each column that depends on the device once for each device."""
    columns = columns or informative_columns(BY_DEVICE_COLUMNS, records)
    labels = _labels(records)
    rows: dict[tuple[str, str | None], dict[str, Record]] = {}
    for record in records:
        rows.setdefault((record.variant, record.architecture), {})[labels[record.setting]] = record
    shown: list[Column[RecordsByDevice]] = []
    for name in columns:
        if name in VARIANT_COLUMNS:
            shown.append(_lent(COLUMNS[name], lambda row: next(iter(row.values()))))
        else:
            shown += [_on(COLUMNS[name], label) for label in dict.fromkeys(labels.values())]
    return Table(
        columns=shown,
        rows=list(rows.values()),
        title="\n".join(dict.fromkeys(setting_label(record) for record in records)),
        notes=explain(records, columns),
    )


class ProjectedColumn(Column[R]):
    """The value and text of another column, for a record that belongs to the row."""

    def text(self, row: R) -> str:
        """Return the text of that column, with its marks."""
        return self.format(row)


def _lent(
    column: Column[Record], pick: Callable[[R], Record | None], *, absent: str = ABSENT, name: str = "", title: str = ""
) -> Column[R]:
    def value(row: R) -> CellValue:
        record = pick(row)
        return column.value(record) if record else None

    def text(row: R) -> str:
        record = pick(row)
        return column.text(record) if record else absent

    return ProjectedColumn[R](
        name=name or column.name,
        title=title or column.title,
        unit=column.unit,
        left=column.left,
        value=value,
        format=text,
    )


def _on(column: Column[Record], label: str) -> Column[RecordsByDevice]:
    title = column.title or column.name
    return _lent(
        column,
        lambda row: row.get(label),
        name=f"{label}.{column.name}",
        title=f"{label}\n{title.replace(chr(10), ' ')}",
    )


def _labels(records: Sequence[Record]) -> dict[Setting, str]:
    """Return a label for each setting: the device, and what differs between the settings of that device."""
    settings = dict.fromkeys(record.setting for record in records)
    hosts = {setting.host for setting in settings}
    facts = {
        setting: (f"×{setting.threads}", setting.runtime_version, setting.host.label(hosts)) for setting in settings
    }
    labels: dict[Setting, str] = {}
    for setting, parts in facts.items():
        siblings = [other for known, other in facts.items() if known.device == setting.device]
        differing = [part for index, part in enumerate(parts) if len({other[index] for other in siblings}) > 1]
        labels[setting] = " ".join([setting.device, *differing])
    return labels
