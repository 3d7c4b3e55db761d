"""Bencher Metric Format: by benchmark and measure a value with its bounds.

Defined at https://bencher.dev/docs/reference/bencher-metric-format/: `value`, and optionally `lower_value` and
`upper_value`; Bencher's own measure `latency` is in nanoseconds.
"""

from collections.abc import Sequence

from mnbench.comparison.comparison import Comparison
from mnbench.comparison.metrics import Metric, comparison_metrics
from mnbench.tables import json_text


def export(comparison: Comparison) -> str:
    """Return the ratios of a comparison."""
    return write(comparison_metrics(comparison))


def write(metrics: Sequence[Metric]) -> str:
    """Return these figures."""
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for metric in metrics:
        figures = {"value": metric.value, "lower_value": metric.low, "upper_value": metric.high}
        known = {name: figure for name, figure in figures.items() if figure is not None}
        rows.setdefault(metric.row, {})[metric.measure] = known
    return json_text.dump(rows)
