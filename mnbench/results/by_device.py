"""Tables of records with ratios, or with the devices side by side."""

from collections.abc import Mapping, Sequence

from mnbench.errors import ResultsError, suggest
from mnbench.network.architecture import METRICS
from mnbench.network.row import Row, row_labels
from mnbench.results.columns import labelled_columns
from mnbench.results.host_identity import Setting
from mnbench.results.latency_table import explain, informative_columns, setting_label
from mnbench.results.record import Record
from mnbench.tables.table import ABSENT, CellValue, Column, IntervalColumn, Table
from mnbench.text import printable
from mnbench.units import format_significant

VARIANT_COLUMNS = frozenset(
    {"variant", "graph", "alpha", "resolution", "precision", "batch", "params", "mult_adds", "memory_access"}
    | {"memory_access_bytes", "peak_activation_bytes", "accuracy_source", *METRICS}
)
"""Columns whose value depends on the variant alone, not on the device."""

BY_DEVICE_COLUMNS = ("graph", "alpha", "resolution", "precision", "batch", "mult_adds", "latency_ns")

RATIO_NOTE = (
    "ratio: of medians from separate measurements; interval: the widest that both rows allow."
    " To compare two variants, run mnbench compare"
)

RecordsByDevice = Mapping[str, Record]
"""The records of one variant, by the label of the setting."""


def group_by_column(records: Sequence[Record], column: str) -> dict[str, list[Record]]:
    """Return the records by their text in a column, in order."""
    groups: dict[str, list[Record]] = {}
    (labelled,) = labelled_columns([column], records)
    for record in records:
        groups.setdefault(labelled.text(record), []).append(record)
    return groups


def named_records(records: Sequence[Record], name: str) -> list[Record]:
    """Return the records of this label or variant, or of `DEVICE/` and one of them."""
    labels = row_labels(record.row for record in records)
    by_label = [record for record in records if name in (labels[record.row], f"{record.device}/{labels[record.row]}")]
    return by_label or [record for record in records if name in (record.variant, f"{record.device}/{record.variant}")]


def ratio_columns(records: Sequence[Record], reference: str) -> list[Column[Record]]:
    """Return columns of the ratio to the latency of `VARIANT` in the same setting, or of `DEVICE/VARIANT` for all rows.

    The interval of the ratio is the widest that the intervals of both rows allow.

    Raises:
        ResultsError: no measured row has that name, or several have it.
    """
    named = [record for record in named_records(records, reference) if record.latency_ns]
    references = {record.setting: record for record in named}
    if not references:
        known = dict.fromkeys(record.variant for record in records)
        guess = suggest(reference.rpartition("/")[2], known)
        raise ResultsError(
            f"no measured row is named {reference}",
            hint=f"{guess}name a variant, such as v1-a1-r224, or a row of a device, such as cpu/v1-a1-r224",
        )
    if len({record.row for record in named}) > 1:
        labels = row_labels(record.row for record in records)
        names = ", ".join(dict.fromkeys(labels[record.row] for record in named))
        raise ResultsError(f"several rows are named {reference}", hint=f"name one: {names}")
    # A reference that names its device is that of all rows.
    fixed = named[0] if reference.startswith(f"{named[0].device}/") else None

    def ratio(record: Record) -> float | None:
        base = fixed or references.get(record.setting)
        if not record.latency_ns or not base or not base.latency_ns:
            return None
        return record.latency_ns.median / base.latency_ns.median

    def interval(record: Record) -> tuple[float | None, float | None]:
        base = fixed or references.get(record.setting)
        mine, theirs = record.latency_ns, base.latency_ns if base and base.id != record.id else None
        if not mine or not theirs or not mine.coverage or not theirs.coverage:
            return None, None
        return mine.low / theirs.high, mine.high / theirs.low

    ends = (
        Column[Record](name="ratio_low", value=lambda record: interval(record)[0], format=format_significant),
        Column[Record](name="ratio_high", value=lambda record: interval(record)[1], format=format_significant),
    )
    return [
        Column[Record](name="ratio", title=f"ratio to\n{printable(reference)}", value=ratio, format=format_significant),
        IntervalColumn[Record](name="ratio_interval", title="interval\nof ratio", parts=ends),
    ]


def table_by_device(records: Sequence[Record], columns: Sequence[str] = ()) -> Table[RecordsByDevice]:
    """Return a table with a row for each variant, and each column that depends on the device once for each device."""
    columns = columns or informative_columns(BY_DEVICE_COLUMNS, records)
    labels = _labels(records)
    rows: dict[Row, dict[str, Record]] = {}
    for record in records:
        rows.setdefault(record.row, {})[labels[record.setting]] = record
    shown: list[Column[RecordsByDevice]] = []
    for column in labelled_columns(columns, records):
        devices = [""] if column.name in VARIANT_COLUMNS else dict.fromkeys(labels.values())
        shown += [_project(column, label) for label in devices]
    return Table(
        columns=shown,
        rows=list(rows.values()),
        subtitles=list(dict.fromkeys(setting_label(record) for record in records)),
        notes=explain(records, columns),
    )


class ProjectedColumn(Column[RecordsByDevice]):
    """The value and text of a column of records, for a record that belongs to the row."""

    def text(self, row: RecordsByDevice) -> str:
        return self.format(row)


def _project(column: Column[Record], label: str) -> Column[RecordsByDevice]:
    """Return a column of the records with that label, or, if it is empty, of the first record of each row."""

    def record_of(row: RecordsByDevice) -> Record | None:
        return row.get(label) if label else next(iter(row.values()))

    def value(row: RecordsByDevice) -> CellValue:
        record = record_of(row)
        return column.value(record) if record else None

    def text(row: RecordsByDevice) -> str:
        record = record_of(row)
        return column.text(record) if record else ABSENT

    name, title = column.name, column.title
    if label:
        name, title = f"{label}.{name}", f"{printable(label)}\n" + (title or name).replace("\n", " ")
    parts = None if column.parts is None else [_project(part, label) for part in column.parts]
    return ProjectedColumn(
        name=name, title=title, unit=column.unit, left=column.left, value=value, format=text, parts=parts
    )


def _labels(records: Sequence[Record]) -> dict[Setting, str]:
    """Return a label for each setting: the device, what differs between its settings, and the host if several are."""
    settings = dict.fromkeys(record.setting for record in records)
    hosts = {setting.host for setting in settings if setting.host}
    facts = {setting: (f"×{setting.threads}", setting.runtime_version) for setting in settings}
    labels: dict[Setting, str] = {}
    for setting, parts in facts.items():
        siblings = [other for known, other in facts.items() if known.device == setting.device]
        # The version of a row that failed before it was measured is not known, and sets it apart from no other.
        differing = [
            part for index, part in enumerate(parts) if part and len({other[index] for other in siblings} - {""}) > 1
        ]
        host = [str(setting.host)] if len(hosts) > 1 and setting.host else []
        labels[setting] = " ".join([setting.device, *differing, *host])
    return labels
