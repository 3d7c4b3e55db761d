"""The columns of a record, by name."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from mnbench.families.published_accuracy import PublishedAccuracy, published_accuracy
from mnbench.network.architecture import METRICS
from mnbench.network.row import row_labels
from mnbench.network.variant import format_alpha, format_inputs, format_resolution
from mnbench.results.record import Record
from mnbench.tables.quantities import quantity
from mnbench.tables.table import CellValue, Column, FailedRow, IntervalColumn
from mnbench.units import format_giga, format_percent, rate_per_s


class LatencyColumn(Column[Record]):
    """The latency, with a mark if it is imprecise (≈) or has another issue (!)."""

    def text(self, row: Record | FailedRow) -> str:
        """Return `11.9`, `≈ 11.9`, `11.9 !`, `emulated` or `failed`."""
        if isinstance(row, FailedRow):
            return "failed"
        if row.latency_ns is None:
            return "emulated" if row.emulated and not row.error else "failed"
        names = {issue.name for issue in row.issues if not issue.minor}
        return ("≈ " if "imprecise" in names else "") + super().text(row) + (" !" if names - {"imprecise"} else "")


def _latency(name: str) -> Callable[[Record], CellValue]:
    return lambda record: getattr(record.latency_ns, name, None)


INTERVAL_ENDS = (
    quantity("low_ns", lambda record: record.latency_ns and record.latency_ns.interval[0]),
    quantity("high_ns", lambda record: record.latency_ns and record.latency_ns.interval[1]),
)


def _rate(record: Record) -> float | None:
    if record.latency_ns is None or record.mult_adds is None:
        return None
    return rate_per_s(record.mult_adds, record.latency_ns.median)


def _of_bound(record: Record) -> float | None:
    return record.bound_ns / record.latency_ns.median if record.bound_ns and record.latency_ns else None


def _resolution(record: Record) -> str | None:
    return format_resolution(record.resolution) if record.resolution else None


def _shape(record: Record) -> str | None:
    """Return the input of a file; None for variants."""
    return None if record.architecture else format_inputs([(fed.shape, fed.values) for fed in record.inputs])


def record_accuracy(record: Record) -> PublishedAccuracy | None:
    if record.alpha is None or record.resolution is None or not (record.simplified and record.fold_batch_norm):
        return None
    return published_accuracy(
        record.architecture,
        alpha=record.alpha,
        resolution=record.resolution,
        classes=record.classes,
        padding=record.padding,
        precision=record.precision,
        options=record.options,
    )


def _host(record: Record) -> str | None:
    return str(record.host_identity) if record.host_identity else None


def published_percent(record: Record, metric: str) -> float | None:
    """Return the published accuracy of that kind, in percent; None if no source prints one for the record's variant."""
    accuracy = record_accuracy(record)
    return accuracy.percent if accuracy and accuracy.metric == metric else None


def _accuracy_source(record: Record) -> str | None:
    accuracy = record_accuracy(record)
    return accuracy.source if accuracy else None


def _issues(record: Record) -> str | None:
    return ", ".join(issue.name for issue in record.issues) or None


COLUMNS: dict[str, Column[Record]] = {
    column.name: column
    for column in (
        quantity("variant"),
        Column[Record](name="graph", value=lambda r: r.architecture or r.variant, left=True),
        Column[Record](name="alpha", title="α", format=format_alpha),
        Column[Record](name="resolution", title="res", value=_resolution),
        Column[Record](name="shape", title="input", value=_shape, left=True, drop_priority=-1),
        quantity("params"),
        quantity("mult_adds"),
        quantity("memory_access"),
        quantity("memory_access_bytes", drop_priority=-1),
        quantity("peak_activation_bytes"),
        LatencyColumn(**vars(quantity("latency_ns", _latency("median")))),
        IntervalColumn[Record](name="interval_ns", title="interval", unit="ms", parts=INTERVAL_ENDS),
        *INTERVAL_ENDS,
        quantity("undisturbed_ns", _latency("undisturbed"), drop_priority=1),
        quantity("p10_ns", _latency("p10"), drop_priority=3),
        quantity("p90_ns", _latency("p90"), drop_priority=3),
        quantity("min_ns", _latency("min"), drop_priority=3),
        Column[Record](
            name="mult_adds_per_s",
            title="Mult-Adds\nper s",
            unit="10⁹",
            value=_rate,
            format=format_giga,
            drop_priority=1,
        ),
        quantity("bound_ns"),
        Column[Record](name="of_bound", title="of\nbound", value=_of_bound, format=format_percent, drop_priority=1),
        Column[Record](name="placed", value=lambda r: r.placement.mult_adds, format=format_percent, drop_priority=1),
        quantity("first_run_ns"),
        quantity("session_ns"),
        quantity("conversion_ns"),
        quantity("peak_rss_bytes"),
        quantity("p99_ns", _latency("p99")),
        quantity("cpu_ns"),
        quantity("copy_in_ns", lambda r: r.copies_ns.get("in")),
        quantity("copy_out_ns", lambda r: r.copies_ns.get("out")),
        Column[Record](name="difference", format="{:.1e}".format, drop_priority=1),
        *(quantity(metric, partial(published_percent, metric=metric)) for metric in METRICS),
        Column[Record](name="accuracy_source", title="accuracy from", value=_accuracy_source, left=True),
        Column[Record](name="precision", left=True),
        Column[Record](name="batch"),
        Column[Record](name="effective_runs", title="effective\nruns", format="{:,}".format),
        Column[Record](name="processes"),
        Column[Record](name="runs", format="{:,}".format),
        quantity("device"),
        quantity("threads"),
        Column[Record](name="runtime", value=lambda r: f"{r.runtime.name} {r.runtime.version}", left=True),
        Column[Record](name="host", value=_host, left=True, wrap=True),
        Column[Record](name="measured_at", title="measured", left=True),
        Column[Record](name="issues", value=_issues, left=True),
    )
}


def labelled_columns(names: Iterable[str], records: Sequence[Record]) -> list[Column[Record]]:
    """Return the columns of these names, with labels that tell the rows of these records apart."""
    labels = row_labels(record.row for record in records)
    named: dict[str, Callable[[Record], CellValue]] = {
        "variant": lambda record: labels[record.row],
        "graph": lambda record: record.architecture or labels[record.row],
    }
    return [replace(COLUMNS[name], value=named[name]) if name in named else COLUMNS[name] for name in names]
