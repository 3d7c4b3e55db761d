"""Figures as services that track benchmarks read them: a value with bounds, smaller is better."""

from collections.abc import Sequence
from dataclasses import dataclass

from mnbench.comparison.comparison import Comparison
from mnbench.network.row import row_labels
from mnbench.results.record import Record
from mnbench.text import printable

LOOKALIKES = str.maketrans({"<": "‹", ">": "›", "`": "'", "|": "¦"})
"""Services put names into HTML and into cells of Markdown, and may not escape them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure of a row; `low` and `high` are None where nothing was measured."""

    row: str
    measure: str
    unit: str
    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""


def comparison_metrics(comparison: Comparison) -> list[Metric]:
    """Return each row's ratio, 1 for an identical row; rows without a ratio are left out."""
    metrics: list[Metric] = []
    for finding in comparison.findings:
        if finding.ratio or finding.verdict == "identical":
            notes = [finding.verdict, f"{finding.processes} processes, {finding.pairs} pairs", finding.reason]
            metrics.append(
                Metric(
                    row=_plain(finding.variant),
                    measure="ratio",
                    unit="candidate / base",
                    value=finding.ratio or 1.0,
                    low=finding.low,
                    high=finding.high,
                    note="\n".join(map(_plain, filter(None, notes))),
                )
            )
    return metrics


def record_metrics(records: Sequence[Record]) -> list[Metric]:
    """Return the latency of each measured record; devices, threads and hosts are named if there are several."""
    labels = row_labels(record.row for record in records)
    hosts = len({record.host_identity for record in records if record.latency_ns}) > 1
    devices = len({record.device for record in records}) > 1
    threads = len({record.threads for record in records}) > 1
    metrics: list[Metric] = []
    for record in records:
        if record.latency_ns:
            name = [record.device] * devices + [labels[record.row]] + [f"{record.threads} threads"] * threads
            name += [f"on {record.host_identity}"] * hosts
            metrics.append(
                Metric(
                    row=_plain(" ".join(name)),
                    measure="latency",
                    unit="ns",
                    value=record.latency_ns.median,
                    low=record.latency_ns.low,
                    high=record.latency_ns.high,
                    note=_plain(f"{record.runtime.name} {record.runtime.version} on {record.host_identity}"),
                )
            )
    return metrics


def _plain(text: str) -> str:
    return printable(text).translate(LOOKALIKES)
