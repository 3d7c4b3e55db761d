"""Records as a table: which columns tell something, which records are the newest, and what the figures mean."""

from collections.abc import Collection, Iterable, Sequence

from mnbench.results.columns import COLUMNS
from mnbench.results.record import Issue, Record
from mnbench.tables.table import Table

MAX_LINES_PER_ISSUE = 3
"""Of one issue, so many lines are read."""

DEFAULT_COLUMNS = (
    "graph",
    "device",
    "alpha",
    "resolution",
    "precision",
    "batch",
    "threads",
    "params",
    "mult_adds",
    "memory_access_bytes",
    "latency_ns",
    "interval_ns",
    "p10_ns",
    "p90_ns",
    "mult_adds_per_s",
    "placed",
    "difference",
)
"""Where a bound is known, `of_bound` stands for `mult_adds_per_s`: it says the same, and how far it could go."""

SHAPE_COLUMNS = ("graph", "alpha", "resolution")
"""Default columns in whose place `variant` stands where they do not tell variants apart, as of several groups."""

TIMED_COLUMNS = ("interval_ns", "p10_ns", "p90_ns", "mult_adds_per_s")
"""Default columns that have nothing to tell where all is emulated."""


def newest_records(records: Iterable[Record]) -> list[Record]:
    """Return the newest record of each variant or file in each setting.

    Sorted by device, graph, falling α and falling resolution.
    """
    newest = {record.key: record for record in records}
    return sorted(newest.values(), key=_table_order)


def latency_table(records: Sequence[Record], columns: Sequence[str] = ()) -> Table[Record]:
    """Return the table of latencies; its title says what was measured, its notes what the figures mean."""
    better = {"mult_adds_per_s": "of_bound"} if _bounded(records) else {}
    columns = columns or [better.get(name, name) for name in informative_columns(DEFAULT_COLUMNS, records)]
    settings = dict.fromkeys(setting_label(record) for record in records if record.latency_ns or record.emulated)
    return Table(
        columns=[COLUMNS[name] for name in columns],
        rows=records,
        title="\n".join(settings),
        notes=explain(records, columns),
    )


def explain(records: Sequence[Record], columns: Collection[str]) -> list[str]:
    """Explain the figures in these columns, and list their issues."""
    notes: list[str] = []
    measured = [record for record in records if record.latency_ns]
    notes += _meaning([record for record in measured if record.processes > 1])
    if any(record.processes == 1 for record in measured):
        notes.append("latency: where one process was all, its median, which has no interval")
    if {"bound_ns", "of_bound"} & set(columns) and _bounded(records):
        notes.append("bound: what its Mult-Adds, or its weights, input and output, take at the best this host reached")
    if "difference" in columns and any(record.difference is not None for record in records):
        notes.append("difference: the largest from onnxruntime's CPU in fp32, as a share of the output's spread")
    if {"top1", "top1_source"} & set(columns):
        notes.append("top-1: as published for that variant, by the authors where they print one; not measured here")
    notes += [f"{_who(record, records)} failed: {record.error}" for record in records if record.error]
    return notes + _advice(records)


def _bounded(records: Iterable[Record]) -> bool:
    return any(record.roofline and record.roofline.bound_ns for record in records)


def _meaning(records: Sequence[Record]) -> list[str]:
    """Explain the figures of cases with several processes."""
    if not records:
        return []
    fewest, most = min(record.processes for record in records), max(record.processes for record in records)
    processes = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    least = min(record.latency_ns.coverage for record in records if record.latency_ns)
    drifts = [bool(record.latency_ns.low_with_drift) for record in records if record.latency_ns]
    when = "on this host as it was then" if not all(drifts) else "in another hour too, by the host's calibrated drift"
    when += ", and where its drift was calibrated in another hour too" if any(drifts) and not all(drifts) else ""
    held = f"with {least:.1%} confidence or more the interval holds that of all such processes, {when}"
    return [f"latency: median of {processes} processes' medians; {held}. p10, p90: of all runs"]


def _advice(records: Sequence[Record]) -> list[str]:
    """Return one line per issue; for an issue of many rows, name the first."""
    entries: dict[str, list[tuple[Record, Issue]]] = {}
    for record in records:
        for issue in record.issues:
            entries.setdefault(issue.name, []).append((record, issue))
    lines: list[str] = []
    for name, every in entries.items():
        shown = every if len(every) <= MAX_LINES_PER_ISSUE else every[:1]
        more = f" (and so are {len(every) - 1} others)" if len(shown) < len(every) else ""
        for record, issue in shown:
            mark = "·" if issue.minor else "≈" if name == "imprecise" else "!"
            lines.append(f"{mark} {_who(record, records)} is {name}: {issue.advice}{more}")
    return lines


def _who(record: Record, records: Sequence[Record]) -> str:
    """Return the variant, with its device if there are several."""
    return (
        record.variant
        if all(item.device == record.device for item in records)
        else f"{record.variant} on {record.device}"
    )


def informative_columns(columns: Sequence[str], records: Sequence[Record]) -> list[str]:
    """Return the columns whose values differ from their defaults."""
    result = [name for name in columns if _tells(name, records)]
    shapes = {
        tuple(COLUMNS[name].value(record) for name in (*SHAPE_COLUMNS, "precision", "batch")) for record in records
    }
    if len({record.variant for record in records}) > len(shapes):
        return ["variant", *(name for name in result if name not in SHAPE_COLUMNS)]
    return result


def _tells(name: str, records: Sequence[Record]) -> bool:
    """Whether a column that is seldom needed has anything to tell."""
    if name in TIMED_COLUMNS and records and all(record.emulated for record in records):
        return False
    if name == "difference":
        return any(record.precision != "fp32" or record.emulated for record in records)
    first = records[0] if records else None
    usual = {"precision": "fp32", "batch": 1, "threads": first and first.threads, "device": first and first.device}
    return name not in usual or any(COLUMNS[name].value(record) != usual[name] for record in records)


def setting_label(record: Record) -> str:
    """Return device, runtime, threads and host, for a title."""
    emulated = "emulated " if record.emulated else ""
    threads = f"{record.threads} thread" + ("s" if record.threads > 1 else "")
    gpu = f"{record.gpu['name']}, " if record.gpu else ""
    host = f"{gpu}{emulated}{record.host.get('cpu')}, {record.host.get('cores')} cores"
    return f"{record.device}: {record.runtime.name} {record.runtime.version} {record.provider}, {threads}, {host}"


def _table_order(record: Record) -> tuple[object, ...]:
    height, width = record.resolution or (0, 0)
    return (
        record.device,
        record.architecture or record.variant,
        -(record.alpha or 0),
        -height * width,
        record.measured_at,
    )
