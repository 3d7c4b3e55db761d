"""Records as a table: the columns there are, and which records are the newest."""

from collections.abc import Callable, Collection, Iterable, Sequence

from mnbench.columns import Column, Table, Value
from mnbench.network.accuracy import Accuracy, accuracy
from mnbench.network.variant import alpha_text, resolution_text
from mnbench.records.record import Issue, Record
from mnbench.units import in_giga, in_millions, in_ms, in_percent, per_s


class LatencyColumn(Column[Record]):
    """The headline figure: it says when there is none, and marks one that is imprecise or not to be trusted."""

    def text(self, row: Record) -> str:
        """`11.9`, `≈ 11.9`, `11.9 !`, `emulated` or `failed`."""
        if row.latency_ns is None:
            return "emulated" if row.emulated and not row.error else "failed"
        names = {issue.name for issue in row.issues if not issue.minor}
        return ("≈ " if "imprecise" in names else "") + super().text(row) + (" !" if names - {"imprecise"} else "")


def _latency(name: str) -> Callable[[Record], Value]:
    return lambda record: getattr(record.latency_ns, name) if record.latency_ns else None


def _interval(record: Record) -> str | None:
    """With the host's drift, where it is known."""
    found = record.latency_ns
    if not found:
        return None
    low, high = found.low_with_drift or found.low, found.high_with_drift or found.high
    return f"{in_ms(low)}–{in_ms(high)}"


def _rate(record: Record) -> float | None:
    return per_s(record.mult_adds, record.latency_ns.median) if record.latency_ns else None


def _bound_ns(record: Record) -> int | None:
    return record.roofline.bound_ns if record.roofline else None


def _of_bound(record: Record) -> float | None:
    bound_ns = _bound_ns(record)
    return bound_ns / record.latency_ns.median if bound_ns and record.latency_ns else None


def _resolution(record: Record) -> str | None:
    return resolution_text(record.resolution) if record.resolution else None


def published(record: Record) -> Accuracy | None:
    """The published accuracy of the variant."""
    return accuracy(record.architecture, record.variant, record.precision)


def _top1(record: Record) -> float | None:
    found = published(record)
    return found.top1 if found else None


def _source(record: Record) -> str | None:
    found = published(record)
    return found.source if found else None


def _issues(record: Record) -> str | None:
    return ", ".join(issue.name for issue in record.issues) or None


COLUMNS: dict[str, Column[Record]] = {
    column.name: column
    for column in (
        Column[Record](name="variant", value=lambda r: r.variant, left=True),
        Column[Record](name="graph", value=lambda r: r.architecture or r.variant, left=True),
        Column[Record](name="alpha", title="α", value=lambda r: r.alpha, show=alpha_text),
        Column[Record](name="resolution", title="res", value=_resolution),
        Column[Record](name="params", unit="M", value=lambda r: r.params, show=in_millions(2), rank=2),
        Column[Record](name="mult_adds", title="Mult-Adds", unit="M", value=lambda r: r.mult_adds, show=in_millions(1)),
        Column[Record](
            name="memory_access", title="memory\naccess", unit="M", value=lambda r: r.memory_access, show=in_millions(2)
        ),
        Column[Record](
            name="memory_access_bytes",
            title="memory\naccess",
            unit="MB",
            value=lambda r: r.memory_access_bytes,
            show=in_millions(1),
        ),
        Column[Record](
            name="peak_activation_bytes",
            title="peak\nactivations",
            unit="MB",
            value=lambda r: r.peak_activation_bytes,
            show=in_millions(2),
        ),
        LatencyColumn(name="latency_ns", title="latency", unit="ms", value=_latency("median"), show=in_ms),
        Column[Record](name="interval_ns", title="interval", unit="ms", value=_interval),
        Column[Record](name="low_ns", title="low", unit="ms", value=_latency("low"), show=in_ms),
        Column[Record](name="high_ns", title="high", unit="ms", value=_latency("high"), show=in_ms),
        Column[Record](name="p10_ns", title="p10", unit="ms", value=_latency("p10"), show=in_ms, rank=3),
        Column[Record](name="p90_ns", title="p90", unit="ms", value=_latency("p90"), show=in_ms, rank=1),
        Column[Record](name="min_ns", title="min", unit="ms", value=_latency("min"), show=in_ms, rank=3),
        Column[Record](name="mult_adds_per_s", title="Mult-Adds\nper s", unit="10⁹", value=_rate, show=in_giga, rank=1),
        Column[Record](name="bound_ns", title="lower\nbound", unit="ms", value=_bound_ns, show=in_ms),
        Column[Record](name="of_bound", title="of\nbound", value=_of_bound, show=in_percent, rank=1),
        Column[Record](name="placed", value=lambda r: r.placement.mult_adds, show=in_percent, rank=1),
        Column[Record](name="first_run_ns", title="first run", unit="ms", value=lambda r: r.first_run_ns, show=in_ms),
        Column[Record](name="session_ns", title="session", unit="ms", value=lambda r: r.session_ns, show=in_ms),
        Column[Record](
            name="conversion_ns", title="conversion", unit="ms", value=lambda r: r.conversion_ns, show=in_ms
        ),
        Column[Record](
            name="peak_rss_bytes", title="peak RSS", unit="MB", value=lambda r: r.peak_rss_bytes, show=in_millions(0)
        ),
        Column[Record](name="p99_ns", title="p99", unit="ms", value=_latency("p99"), show=in_ms),
        Column[Record](name="cpu_ns", title="thread\nCPU", unit="ms", value=lambda r: r.cpu_ns, show=in_ms),
        Column[Record](
            name="copy_in_ns", title="copy in", unit="ms", value=lambda r: r.copies_ns.get("in"), show=in_ms
        ),
        Column[Record](
            name="copy_out_ns", title="copy out", unit="ms", value=lambda r: r.copies_ns.get("out"), show=in_ms
        ),
        Column[Record](name="difference", value=lambda r: r.difference, show="{:.1e}".format, rank=1),
        Column[Record](name="top1", title="top-1", unit="%", value=_top1, show="{:.1f}".format),
        Column[Record](name="top1_source", title="top-1 from", value=_source, left=True),
        Column[Record](name="precision", value=lambda r: r.precision, left=True),
        Column[Record](name="batch", value=lambda r: r.batch),
        Column[Record](
            name="effective_runs", title="effective\nruns", value=lambda r: r.effective_runs, show="{:,}".format
        ),
        Column[Record](name="processes", value=lambda r: r.processes),
        Column[Record](name="runs", value=lambda r: r.runs, show="{:,}".format),
        Column[Record](name="device", value=lambda r: r.device, left=True),
        Column[Record](name="threads", value=lambda r: r.threads),
        Column[Record](name="runtime", value=lambda r: f"{r.runtime.name} {r.runtime.version}", left=True),
        Column[Record](name="host", value=lambda r: r.host.get("cpu"), left=True),
        Column[Record](name="measured_at", title="measured", value=lambda r: r.measured_at, left=True),
        Column[Record](name="issues", value=_issues, left=True),
    )
}

FEW = 3
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

SHAPE = ("graph", "alpha", "resolution")
"""Default columns in whose place `variant` stands where they do not tell variants apart, as of several groups."""

TIMED = ("interval_ns", "p10_ns", "p90_ns", "mult_adds_per_s")
"""Default columns that have nothing to tell where all is emulated."""


def latest(records: Iterable[Record]) -> list[Record]:
    """The newest record of each variant or file, on each device, thread count, runtime version and CPU.

    Sorted by device, graph, falling α and falling resolution.
    """
    newest: dict[tuple[object, ...], Record] = {}
    for record in records:
        what = record.variant, record.architecture, record.device, record.threads
        where = record.runtime.name, record.runtime.version, record.host.get("cpu"), record.emulated
        newest[what + where] = record
    return sorted(newest.values(), key=_table_order)


def latency_table(records: Sequence[Record], columns: Sequence[str] = ()) -> Table[Record]:
    """The table that a run ends with: what was measured in the title, what the figures mean in the notes."""
    bounded = any(_bound_ns(record) for record in records)
    better = {"mult_adds_per_s": "of_bound"} if bounded else {}
    columns = columns or [better.get(name, name) for name in telling(DEFAULT_COLUMNS, records)]
    settings = dict.fromkeys(setting(record) for record in records if record.latency_ns or record.emulated)
    return Table(
        columns=[COLUMNS[name] for name in columns],
        rows=records,
        title="\n".join(settings),
        notes=meaning(records, columns),
    )


def meaning(records: Sequence[Record], columns: Collection[str]) -> list[str]:
    """What the figures in these columns mean, and what speaks against some of them."""
    notes: list[str] = []
    measured = [record for record in records if record.latency_ns]
    notes += _meaning([record for record in measured if record.processes > 1])
    if any(record.processes == 1 for record in measured):
        notes.append("latency: where one process was all, its median, which has no interval")
    if {"bound_ns", "of_bound"} & set(columns) and any(_bound_ns(record) for record in records):
        notes.append("bound: what its Mult-Adds, or its weights, input and output, take at the best this host reached")
    if "difference" in columns and any(record.difference is not None for record in records):
        notes.append("difference: the largest from onnxruntime's CPU in fp32, as a share of the output's spread")
    if {"top1", "top1_source"} & set(columns):
        notes.append("top-1: as published for that variant, by the authors where they print one; not measured here")
    notes += [f"{_who(record, records)} failed: {record.error}" for record in records if record.error]
    return notes + _advice(records)


def _meaning(records: Sequence[Record]) -> list[str]:
    """What the figures of cells with several processes mean."""
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
    """A line for each issue; of one that many have, for the first alone."""
    found: dict[str, list[tuple[Record, Issue]]] = {}
    for record in records:
        for issue in record.issues:
            found.setdefault(issue.name, []).append((record, issue))
    lines: list[str] = []
    for name, every in found.items():
        shown = every if len(every) <= FEW else every[:1]
        more = f" (and so are {len(every) - 1} others)" if len(shown) < len(every) else ""
        for record, issue in shown:
            mark = "·" if issue.minor else "≈" if name == "imprecise" else "!"
            lines.append(f"{mark} {_who(record, records)} is {name}: {issue.advice}{more}")
    return lines


def _who(record: Record, records: Sequence[Record]) -> str:
    """The variant, and its device where there are several."""
    return (
        record.variant
        if all(one.device == record.device for one in records)
        else f"{record.variant} on {record.device}"
    )


def telling(columns: Sequence[str], records: Sequence[Record]) -> list[str]:
    """Those of these columns that have something to tell."""
    found = [name for name in columns if _tells(name, records)]
    shapes = {tuple(COLUMNS[name].value(record) for name in (*SHAPE, "precision", "batch")) for record in records}
    if len({record.variant for record in records}) > len(shapes):
        return ["variant", *(name for name in found if name not in SHAPE)]
    return found


def _tells(name: str, records: Sequence[Record]) -> bool:
    """Whether a column that is seldom needed has anything to tell."""
    if name in TIMED and records and all(record.emulated for record in records):
        return False
    if name == "difference":
        return any(record.precision != "fp32" or record.emulated for record in records)
    first = records[0] if records else None
    usual = {"precision": "fp32", "batch": 1, "threads": first and first.threads, "device": first and first.device}
    return name not in usual or any(COLUMNS[name].value(record) != usual[name] for record in records)


def setting(record: Record) -> str:
    """Device, runtime, threads and host, as a title has them."""
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
