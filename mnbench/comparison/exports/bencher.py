"""Bencher Metric Format: by benchmark and measure a value with its bounds.

Defined at https://bencher.dev/docs/reference/bencher-metric-format/: `value`, and optionally `lower_value` and
`upper_value`; Bencher's own measure `latency` is in nanoseconds.
"""

from collections.abc import Sequence

from mnbench.comparison.comparison import Comparison
from mnbench.comparison.metrics import Metric, comparison_metrics, record_metrics
from mnbench.results.record import Record
from mnbench.tables import json_text


def export(comparison: Comparison) -> str:
    """Return the ratios of a comparison."""
    return _write(comparison_metrics(comparison))


def export_records(records: Sequence[Record]) -> str:
    """Return the latencies of records."""
    return _write(record_metrics(records))


def _write(metrics: Sequence[Metric]) -> str:
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for metric in metrics:
        figures = {"value": metric.value, "lower_value": metric.low, "upper_value": metric.high}
        known = {name: figure for name, figure in figures.items() if figure is not None}
        rows.setdefault(metric.row, {})[metric.measure] = known
    return json_text.dump(rows)
