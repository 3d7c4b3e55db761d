"""The columns that a record has, by their names."""

from collections.abc import Callable

from mnbench.families.published_accuracy import PublishedAccuracy, published_accuracy
from mnbench.network.variant import format_alpha, format_resolution
from mnbench.results.record import Record
from mnbench.tables.table import CellValue, Column
from mnbench.units import format_giga, format_ms, format_percent, millions_formatter, rate_per_s


class LatencyColumn(Column[Record]):
    """The headline figure: it says when there is none, and marks one that is imprecise or not to be trusted."""

    def text(self, row: Record) -> str:
        """`11.9`, `≈ 11.9`, `11.9 !`, `emulated` or `failed`."""
        if row.latency_ns is None:
            return "emulated" if row.emulated and not row.error else "failed"
        names = {issue.name for issue in row.issues if not issue.minor}
        return ("≈ " if "imprecise" in names else "") + super().text(row) + (" !" if names - {"imprecise"} else "")


def _latency(name: str) -> Callable[[Record], CellValue]:
    return lambda record: getattr(record.latency_ns, name) if record.latency_ns else None


def _interval(record: Record) -> str | None:
    """With the host's drift, where it is known."""
    latency = record.latency_ns
    if not latency:
        return None
    low, high = latency.low_with_drift or latency.low, latency.high_with_drift or latency.high
    return f"{format_ms(low)}–{format_ms(high)}"


def _rate(record: Record) -> float | None:
    return rate_per_s(record.mult_adds, record.latency_ns.median) if record.latency_ns else None


def _bound_ns(record: Record) -> int | None:
    return record.roofline.bound_ns if record.roofline else None


def _of_bound(record: Record) -> float | None:
    bound_ns = _bound_ns(record)
    return bound_ns / record.latency_ns.median if bound_ns and record.latency_ns else None


def _resolution(record: Record) -> str | None:
    return format_resolution(record.resolution) if record.resolution else None


def record_accuracy(record: Record) -> PublishedAccuracy | None:
    """The published accuracy of the variant."""
    return published_accuracy(record.architecture, record.variant, record.precision)


def _top1(record: Record) -> float | None:
    accuracy = record_accuracy(record)
    return accuracy.top1 if accuracy else None


def _source(record: Record) -> str | None:
    accuracy = record_accuracy(record)
    return accuracy.source if accuracy else None


def _issues(record: Record) -> str | None:
    return ", ".join(issue.name for issue in record.issues) or None


COLUMNS: dict[str, Column[Record]] = {
    column.name: column
    for column in (
        Column[Record](name="variant", value=lambda r: r.variant, left=True),
        Column[Record](name="graph", value=lambda r: r.architecture or r.variant, left=True),
        Column[Record](name="alpha", title="α", value=lambda r: r.alpha, format=format_alpha),
        Column[Record](name="resolution", title="res", value=_resolution),
        Column[Record](
            name="params", unit="M", value=lambda r: r.params, format=millions_formatter(2), drop_priority=2
        ),
        Column[Record](
            name="mult_adds", title="Mult-Adds", unit="M", value=lambda r: r.mult_adds, format=millions_formatter(1)
        ),
        Column[Record](
            name="memory_access",
            title="memory\naccess",
            unit="M",
            value=lambda r: r.memory_access,
            format=millions_formatter(2),
        ),
        Column[Record](
            name="memory_access_bytes",
            title="memory\naccess",
            unit="MB",
            value=lambda r: r.memory_access_bytes,
            format=millions_formatter(1),
        ),
        Column[Record](
            name="peak_activation_bytes",
            title="peak\nactivations",
            unit="MB",
            value=lambda r: r.peak_activation_bytes,
            format=millions_formatter(2),
        ),
        LatencyColumn(name="latency_ns", title="latency", unit="ms", value=_latency("median"), format=format_ms),
        Column[Record](name="interval_ns", title="interval", unit="ms", value=_interval),
        Column[Record](name="low_ns", title="low", unit="ms", value=_latency("low"), format=format_ms),
        Column[Record](name="high_ns", title="high", unit="ms", value=_latency("high"), format=format_ms),
        Column[Record](name="p10_ns", title="p10", unit="ms", value=_latency("p10"), format=format_ms, drop_priority=3),
        Column[Record](name="p90_ns", title="p90", unit="ms", value=_latency("p90"), format=format_ms, drop_priority=1),
        Column[Record](name="min_ns", title="min", unit="ms", value=_latency("min"), format=format_ms, drop_priority=3),
        Column[Record](
            name="mult_adds_per_s",
            title="Mult-Adds\nper s",
            unit="10⁹",
            value=_rate,
            format=format_giga,
            drop_priority=1,
        ),
        Column[Record](name="bound_ns", title="lower\nbound", unit="ms", value=_bound_ns, format=format_ms),
        Column[Record](name="of_bound", title="of\nbound", value=_of_bound, format=format_percent, drop_priority=1),
        Column[Record](name="placed", value=lambda r: r.placement.mult_adds, format=format_percent, drop_priority=1),
        Column[Record](
            name="first_run_ns", title="first run", unit="ms", value=lambda r: r.first_run_ns, format=format_ms
        ),
        Column[Record](name="session_ns", title="session", unit="ms", value=lambda r: r.session_ns, format=format_ms),
        Column[Record](
            name="conversion_ns", title="conversion", unit="ms", value=lambda r: r.conversion_ns, format=format_ms
        ),
        Column[Record](
            name="peak_rss_bytes",
            title="peak RSS",
            unit="MB",
            value=lambda r: r.peak_rss_bytes,
            format=millions_formatter(0),
        ),
        Column[Record](name="p99_ns", title="p99", unit="ms", value=_latency("p99"), format=format_ms),
        Column[Record](name="cpu_ns", title="thread\nCPU", unit="ms", value=lambda r: r.cpu_ns, format=format_ms),
        Column[Record](
            name="copy_in_ns", title="copy in", unit="ms", value=lambda r: r.copies_ns.get("in"), format=format_ms
        ),
        Column[Record](
            name="copy_out_ns", title="copy out", unit="ms", value=lambda r: r.copies_ns.get("out"), format=format_ms
        ),
        Column[Record](name="difference", value=lambda r: r.difference, format="{:.1e}".format, drop_priority=1),
        Column[Record](name="top1", title="top-1", unit="%", value=_top1, format="{:.1f}".format),
        Column[Record](name="top1_source", title="top-1 from", value=_source, left=True),
        Column[Record](name="precision", value=lambda r: r.precision, left=True),
        Column[Record](name="batch", value=lambda r: r.batch),
        Column[Record](
            name="effective_runs", title="effective\nruns", value=lambda r: r.effective_runs, format="{:,}".format
        ),
        Column[Record](name="processes", value=lambda r: r.processes),
        Column[Record](name="runs", value=lambda r: r.runs, format="{:,}".format),
        Column[Record](name="device", value=lambda r: r.device, left=True),
        Column[Record](name="threads", value=lambda r: r.threads),
        Column[Record](name="runtime", value=lambda r: f"{r.runtime.name} {r.runtime.version}", left=True),
        Column[Record](name="host", value=lambda r: r.host.get("cpu"), left=True),
        Column[Record](name="measured_at", title="measured", value=lambda r: r.measured_at, left=True),
        Column[Record](name="issues", value=_issues, left=True),
    )
}
