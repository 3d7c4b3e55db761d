"""The latency table: the newest records, the informative columns, and notes that explain the figures."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from mnbench.network.architecture import METRICS
from mnbench.network.row import row_labels
from mnbench.network.variant import format_assumed
from mnbench.results.columns import COLUMNS, labelled_columns
from mnbench.results.record import Issue, Record
from mnbench.tables.table import Table

MAX_LINES_PER_ISSUE = 3
"""An issue of more rows than these is one line."""

DEFAULT_COLUMNS = (
    *("graph", "device", "host", "alpha", "resolution", "shape", "precision", "batch", "threads"),
    *("params", "mult_adds", "memory_access_bytes"),
    *("latency_ns", "interval_ns", "undisturbed_ns", "p90_ns", "mult_adds_per_s", "placed", "difference"),
)
"""Where a bound is known, `of_bound` stands for `mult_adds_per_s`: it shows how close the latency is to the bound."""

VARIANT_COLUMNS = ("alpha", "resolution")
"""Default columns that are left out if all records are of a user's own models, which have a shape."""

SHAPE_COLUMNS = ("graph", "alpha", "resolution")
"""Default columns that `variant` replaces if they do not distinguish all variants, such as those of several groups."""

TIMED_COLUMNS = ("interval_ns", "p90_ns", "mult_adds_per_s")
"""Default columns that are left out if all records are emulated."""

ALONE_COLUMNS = {"first_run_ns", "session_ns", "peak_rss_bytes"}
"""What is measured of a case that is alone in a process."""

PERCENTILES = ("p10", "p90", "p99")


def newest_records(records: Iterable[Record]) -> list[Record]:
    """Return the newest record of each variant or file in each setting.

    Sorted by device, graph, falling α and falling resolution.
    """

    def table_order(record: Record) -> tuple[object, ...]:
        height, width = record.resolution or (0, 0)
        graph = record.architecture or record.variant
        return record.device, graph, -(record.alpha or 0), -height * width, record.measured_at

    newest = {record.key: record for record in records}
    return sorted(newest.values(), key=table_order)


def latency_table(records: Sequence[Record], columns: Sequence[str] = ()) -> Table[Record]:
    """Return the table that a run ends with: the settings in its title, the meaning of the figures in its notes."""
    columns = columns or default_columns(records)
    return Table(
        columns=labelled_columns(columns, records),
        rows=records,
        subtitles=setting_labels(records),
        notes=explain(records, columns),
    )


def default_columns(records: Sequence[Record]) -> list[str]:
    """Return the informative ones of the default columns."""
    better = {"mult_adds_per_s": "of_bound"} if any(record.bound_ns for record in records) else {}
    return [better.get(name, name) for name in informative_columns(DEFAULT_COLUMNS, records)]


def explain(records: Sequence[Record], columns: Collection[str]) -> list[str]:
    """Return notes on the meaning of the figures in these columns, and on their issues."""
    notes: list[str] = []
    if repeated := [record for record in records if record.latency_ns and record.processes > 1]:
        percentiles = ", ".join(name for name in PERCENTILES if f"{name}_ns" in columns)
        notes.append(_meaning(repeated) + (f". {percentiles}: of all runs" if percentiles else ""))
    if any(record.latency_ns and record.processes == 1 for record in records):
        notes.append("latency: median of one process, without an interval")
    if "undisturbed_ns" in columns and any(record.latency_ns and record.latency_ns.undisturbed for record in records):
        notes.append(
            "undisturbed: mean of each process's fastest run, over the faster half; for tables of different hours"
        )
    if {"bound_ns", "of_bound"} & set(columns) and any(record.bound_ns for record in records):
        notes.append(
            "bound: the time for its Mult-Adds, or for moving its weights, input and output, at this host's best rates"
        )
    if "difference" in columns and any(record.difference is not None for record in records):
        notes.append(
            "difference: the largest from onnxruntime's CPU provider in fp32, as a share of the output's largest number"
        )
    if ALONE_COLUMNS & set(columns) and any(record.latency_ns and record.first_run_ns is None for record in records):
        notes.append("first run, session and memory are known of models that were alone in a process; not with --quick")
    if {"accuracy_source", *METRICS} & set(columns):
        notes.append(
            "accuracies: as published for exactly this variant, by the authors if they print one; not measured here"
        )
    who = _naming(records)
    notes += [f"{who(record)}: {text}" for record in records if (text := _fed(record))]
    notes += [f"{who(record)}: {note}" for record in records for note in record.count_notes]
    notes += [f"{who(record)}: {text}" for record in records if (text := _not_compared(record))]
    notes += [f"{who(record)} failed: {record.error}" for record in records if record.error]
    by_target = _by_target(records)
    return list(dict.fromkeys(notes)) + _precision(by_target, who) + _advice(records, who, counted=by_target)


def _fed(record: Record) -> str:
    """Return what a user's model was fed, if that is more than random numbers in a shape that was given."""
    if record.architecture:
        return ""
    values = ", ".join(str(fed) for fed in record.inputs if fed.values != "normal")
    sizes = format_assumed([fed.name for fed in record.inputs if fed.assumed])
    return "; ".join([f"fed {values}"] * bool(values) + [sizes] * bool(sizes))


def _not_compared(record: Record) -> str:
    """Return why an output was not compared, and how many others were not."""
    first, *more = record.not_compared or ("",)
    return f"not compared: {first}" + (f", and {len(more)} more" if more else "") if first else ""


def _meaning(records: Sequence[Record]) -> str:
    """Return the note on the latencies of cases with several processes."""
    fewest, most = min(record.processes for record in records), max(record.processes for record in records)
    processes = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    latencies = [record.latency_ns for record in records if record.latency_ns]
    drifts = [latency.low_with_drift is not None for latency in latencies]
    validity = "for this host in any hour, by its calibrated drift" if all(drifts) else "for this host during this run"
    if any(drifts) and not all(drifts):
        validity += ", in any hour if its drift was calibrated"
    interval = f"interval: at least {min(latency.coverage for latency in latencies):.1%} confidence {validity}"
    return f"latency: median over {processes} processes; {interval}"


def _by_target(records: Sequence[Record]) -> dict[float, list[Record]]:
    """Return the records with a latency by their target of precision; a target of one record alone is left out."""
    rows: dict[float, list[Record]] = {}
    for record in records:
        if record.latency_ns and record.precision_target is not None:
            rows.setdefault(record.precision_target, []).append(record)
    return {target: members for target, members in rows.items() if len(members) > 1}


def _precision(by_target: Mapping[float, Sequence[Record]], who: Callable[[Record], str]) -> list[str]:
    """Return how many of the rows are within each target, and which is the widest."""
    lines: list[str] = []
    for target, records in by_target.items():
        imprecise = [(record, issue) for record in records for issue in record.issues if issue.name == "imprecise"]
        line = f"{len(records) - len(imprecise)} of {len(records)} rows are within ±{100 * target:g}%"
        if any(record.latency_ns and record.latency_ns.low_with_drift for record in records):
            line += ", drift left out"
        if imprecise:
            record, issue = max(imprecise, key=lambda pair: _half_width(pair[0]))
            is_wide = target < _half_width(record) < math.inf
            reason = f"±{_half_width(record):.1%}. Raise --budget to narrow it" if is_wide else issue.advice
            line = f"≈ {line}; the widest is {who(record)}: {reason}"
        lines.append(line)
    return lines


def _half_width(record: Record) -> float:
    return record.latency_ns.precision if record.latency_ns else 0.0


def _advice(records: Sequence[Record], who: Callable[[Record], str], *, counted: Collection[float]) -> list[str]:
    """Return a line for each issue of each record, or one line for an issue of many records.

    Imprecise records with a target that is `counted` are not repeated.
    """
    issues: dict[str, list[tuple[Record, Issue]]] = {}
    for record in records:
        for issue in record.issues:
            if issue.name != "imprecise" or record.precision_target not in counted:
                issues.setdefault(issue.name, []).append((record, issue))
    lines: list[str] = []
    for name, affected in issues.items():
        mark = "·" if affected[0][1].minor else "≈" if name == "imprecise" else "!"
        verb = "has" if name == "outliers" else "is"
        if len(affected) <= MAX_LINES_PER_ISSUE:
            lines += [f"{mark} {who(record)} {verb} {name}: {issue.advice}" for record, issue in affected]
            continue
        record, issue = affected[0]
        example = "such as"
        if name == "imprecise":
            record, issue = max(affected, key=lambda pair: _half_width(pair[0]))
            example = "the worst is"
        verb = "have" if name == "outliers" else "are"
        lines.append(f"{mark} {len(affected)} rows {verb} {name}, {example} {who(record)}: {issue.advice}")
    return lines


def _naming(records: Sequence[Record]) -> Callable[[Record], str]:
    """Return a function that names a record by its row's label, and by its device if there are several."""
    labels = row_labels(record.row for record in records)
    several = len({record.device for record in records}) > 1
    return lambda record: f"{labels[record.row]} on {record.device}" if several else labels[record.row]


def informative_columns(columns: Sequence[str], records: Sequence[Record]) -> list[str]:
    """Return the columns whose values differ from their defaults."""
    result = [name for name in columns if _is_informative(name, records)]
    shapes = {
        (record.row.file, *(COLUMNS[name].value(record) for name in (*SHAPE_COLUMNS, "precision", "batch")))
        for record in records
    }
    if len({record.row for record in records}) > len(shapes):
        return ["variant", *(name for name in result if name not in SHAPE_COLUMNS)]
    return result


def _is_informative(name: str, records: Sequence[Record]) -> bool:
    """Return whether a column that is seldom needed has a value other than its default."""
    if name in TIMED_COLUMNS and records and all(record.emulated for record in records):
        return False
    if name in ("shape", "undisturbed_ns"):
        return any(COLUMNS[name].value(record) for record in records)
    if name in VARIANT_COLUMNS:
        return not records or any(record.architecture or not record.inputs for record in records)
    if name == "host":
        return len({record.host_identity for record in records if record.host}) > 1
    if name == "difference":
        return any(record.precision != "fp32" or record.emulated for record in records)
    if name == "batch":
        records = [record for record in records if record.batch and not COLUMNS["shape"].value(record)]
    first = records[0] if records else None
    usual = {"precision": "fp32", "batch": 1, "threads": first and first.threads, "device": first and first.device}
    return name not in usual or any(COLUMNS[name].value(record) != usual[name] for record in records)


def setting_labels(records: Sequence[Record]) -> list[str]:
    """Return the label of each setting that a model ran in."""
    return list(dict.fromkeys(setting_label(record) for record in records if record.latency_ns or record.emulated))


def setting_label(record: Record) -> str:
    """Return device, runtime, threads and host for a title."""
    threads = f"{record.threads} thread" + ("s" if record.threads > 1 else "")
    runtime = f"{record.runtime.name} {record.runtime.version} {record.provider}"
    return f"{record.device}: {runtime}, {threads}, {record.host_identity or 'no host'}"
