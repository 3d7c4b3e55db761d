"""The list that github-action-benchmark reads with `tool: customSmallerIsBetter`.

Defined at https://github.com/benchmark-action/github-action-benchmark: `name`, `unit`, `value`, and optionally `range`
and `extra`. The action fails on an empty list.
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
    entries: list[dict[str, str | float]] = []
    for metric in metrics:
        entry: dict[str, str | float] = {"name": metric.row, "unit": metric.unit, "value": metric.value}
        if metric.low is not None and metric.high is not None:
            entry["range"] = f"± {(metric.high - metric.low) / 2:.4g}"
        entries.append(entry | ({"extra": metric.note} if metric.note else {}))
    return json_text.dump(entries)
