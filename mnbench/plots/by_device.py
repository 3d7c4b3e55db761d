"""The latency of one variant on several devices."""

import math
from collections.abc import Sequence
from textwrap import shorten
from typing import Any

from mnbench.plots.points import LATENCY, plot_name
from mnbench.plots.scale import Axis, fit_scale
from mnbench.plots.theme import Theme
from mnbench.results.columns import COLUMNS
from mnbench.results.record import Record
from mnbench.text import printable
from mnbench.units import to_milliseconds

STEP = 21
"""Pixels from device to device."""

MAX_REASON_LENGTH = 60

Spec = dict[str, Any]


def device_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return a row per record, the fastest first, and those that failed last, without `latency`."""
    rows: list[dict[str, Any]] = []
    for record in sorted(records, key=lambda record: record.latency_ns.median if record.latency_ns else math.inf):
        text = COLUMNS["latency_ns"].text(record)
        row = {"device": plot_name(record.device), "fastest": not rows, "doubted": "!" in text}
        if record.latency_ns:
            low, high = record.latency_ns.interval
            ends = {"latency": record.latency_ns.median, "low": low, "high": high}
            row |= {name: to_milliseconds(value_ns) for name, value_ns in ends.items()} | {
                "text": f"{text.removesuffix(' !')} ms{' !' if row['doubted'] else ''}"
            }
        else:
            row["text"] = printable(shorten(record.error or text, MAX_REASON_LENGTH, placeholder=" …"))
        rows.append(row)
    return rows


def latency_axis(rows: Sequence[dict[str, Any]]) -> Axis:
    """Return the axis that these rows and the text behind them need."""
    values = [row[end] for row in rows if "latency" in row for end in ("low", "high")]
    field, quantity, unit = LATENCY
    return Axis(field=field, quantity=quantity, unit=unit, scale=fit_scale(values))


def latency_by_device_plot(records: Sequence[Record], theme: Theme) -> Spec:
    """Plot one mark per device, the fastest first, with its interval; of a device that failed, the reason."""
    rows = device_rows(records)
    x = latency_axis(rows)
    fastest = {"condition": {"test": "datum.fastest", "value": theme.series[1]}, "value": theme.series[0]}
    names = {"title": None, "labelLimit": 0, "ticks": False, "domain": False, "grid": True}
    y = {"field": "device", "type": "nominal", "sort": [row["device"] for row in rows], "axis": names}
    measured = {"transform": [{"filter": "isValid(datum.latency)"}]}
    failed = {"transform": [{"filter": "!isValid(datum.latency)"}]}
    text = {"field": "text", "type": "nominal"}
    look = {"type": "text", "align": "left", "baseline": "middle", "fontSize": 11}
    rule = {
        "mark": {"type": "rule", "strokeWidth": 2.5},
        "encoding": {"x": x.channel | {"field": "low"}, "x2": {"field": "high"}, "y": y, "color": fastest},
    }
    hollow = {"test": "datum.doubted", "value": theme.background or "var(--background)"}
    fill = {"condition": [hollow, fastest["condition"]], "value": fastest["value"]}
    point = {
        "mark": {"type": "point", "size": 60, "strokeWidth": 1.5, "shape": "circle"},
        "encoding": {"x": x.channel, "y": y, "stroke": fastest, "fill": fill},
    }
    label = {
        "mark": look | {"dx": 9, "color": theme.ink},
        "encoding": {"x": x.channel | {"field": "high"}, "y": y, "text": text},
    }
    reason = {"mark": look | {"x": 4, "color": theme.muted}, "encoding": {"y": y, "text": text}}
    layers = [measured | rule, measured | point, measured | label, failed | reason]
    return {"data": {"values": rows}, "height": {"step": STEP}, "layer": layers}
