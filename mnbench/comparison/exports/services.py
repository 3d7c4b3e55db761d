"""What services that watch benchmarks take in.

Bencher Metric Format (https://bencher.dev/docs/reference/bencher-metric-format/): by benchmark and measure `value`, and
perhaps `lower_value` and `upper_value`; its own measure `latency` is in nanoseconds.
github-action-benchmark, `tool: customSmallerIsBetter` (https://github.com/benchmark-action/github-action-benchmark):
a list of `name`, `unit`, `value`, and perhaps `range` and `extra`. It fails on a list that is empty.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from mnbench.comparison.decide import Comparison, Finding
from mnbench.results.record import Record

RATIO_UNIT = "candidate / base"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure of a row, smaller is better; `low` and `high` are None where nothing was measured."""

    row: str
    measure: str
    unit: str
    value: float
    low: float | None = None
    high: float | None = None
    extra: str = ""


def comparison_to_metrics(judgement: Comparison) -> list[Metric]:
    """Ratios. What is identical has the ratio 1; a row of which there is none is left out."""
    return [_ratio(finding) for finding in judgement.findings if finding.ratio or finding.verdict == "identical"]


def _ratio(finding: Finding) -> Metric:
    extra = [finding.verdict, f"{finding.processes} processes, {finding.pairs} pairs", finding.reason]
    return Metric(
        row=finding.variant,
        measure="ratio",
        unit=RATIO_UNIT,
        value=finding.ratio or 1.0,
        low=finding.low,
        high=finding.high,
        extra="\n".join(filter(None, extra)),
    )


def records_to_metrics(records: Sequence[Record]) -> list[Metric]:
    """Latencies, of rows that have one; a row's device and threads are told where they differ."""
    devices = len({record.device for record in records}) > 1
    threads = len({record.threads for record in records}) > 1
    metrics: list[Metric] = []
    for record in records:
        if record.latency_ns:
            name = [record.device] * devices + [record.variant] + [f"{record.threads} threads"] * threads
            metrics.append(
                Metric(
                    row=" ".join(name),
                    measure="latency",
                    unit="ns",
                    value=record.latency_ns.median,
                    low=record.latency_ns.low,
                    high=record.latency_ns.high,
                    extra=f"{record.runtime.name} {record.runtime.version} on {record.host.get('cpu')}",
                )
            )
    return metrics


def to_bencher(metrics: Sequence[Metric]) -> str:
    """Bencher Metric Format."""
    entries: dict[str, dict[str, dict[str, float]]] = {}
    for metric in metrics:
        figures = {"value": metric.value, "lower_value": metric.low, "upper_value": metric.high}
        known = {name: figure for name, figure in figures.items() if figure is not None}
        entries.setdefault(metric.row, {})[metric.measure] = known
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def to_benchmark_action(metrics: Sequence[Metric]) -> str:
    """The list that github-action-benchmark reads; `range` is half the interval."""
    result: list[dict[str, str | float]] = []
    for metric in metrics:
        entry: dict[str, str | float] = {"name": metric.row, "unit": metric.unit, "value": metric.value}
        if metric.low is not None and metric.high is not None:
            entry["range"] = f"± {(metric.high - metric.low) / 2:.4g}"
        result.append(entry | ({"extra": metric.extra} if metric.extra else {}))
    return json.dumps(result, indent=2, ensure_ascii=False) + "\n"
