"""Histories as a table, as JSON and as series."""

from collections.abc import Sequence
from typing import Any

from mnbench.analysis.history import CALIBRATED_THRESHOLD, CHANGE_THRESHOLD, MIN_RUNS, RowHistory
from mnbench.comparison.exports.otava import Series
from mnbench.network.variant import ANCHOR
from mnbench.tables.quantities import quantity
from mnbench.tables.table import SPARKLINE_BARS, Column, Table

SPARKLINE_POINTS = 20


def history_table(histories: Sequence[RowHistory]) -> Table[RowHistory]:
    """Return a table with a row for each history: the newest run against those before it."""
    columns = [
        quantity("variant", lambda h: h.newest.record.variant),
        quantity("device", lambda h: h.newest.record.device, drop_priority=2),
        quantity("threads", lambda h: h.newest.record.threads, drop_priority=4),
        Column[RowHistory](name="runs", value=lambda h: len(h.points)),
        Column[RowHistory](
            name="first", value=lambda h: h.points[0].record.measured_at[:10], left=True, drop_priority=3
        ),
        quantity("latency_ns", lambda h: h.newest.median_ns),
        Column[RowHistory](name="change", title="minimum\nchanged", format=_percent),
        Column[RowHistory](name="calibrated_change", title="calibrated\nmedian", format=_percent),
        Column[RowHistory](name="slope", format="{:.2f}".format, drop_priority=5),
        Column[RowHistory](name="medians", value=_sparkline, left=True, drop_priority=1),
        Column[RowHistory](
            name="alarm", value=lambda h: "compare" if h.needs_comparison else None, left=True, style=_style
        ),
    ]
    return Table(columns=columns, rows=histories, title="from run to run", notes=_notes(histories))


def histories_to_dict(histories: Sequence[RowHistory]) -> dict[str, Any]:
    """Return the values for JSON."""
    return {
        "rows": [
            {
                "variant": history.newest.record.variant,
                "device": history.newest.record.device,
                "threads": history.newest.record.threads,
                "slope": history.slope,
                "change": history.change,
                "calibrated_change": history.calibrated_change,
                "alarm": history.needs_comparison,
                "points": _lines(history),
            }
            for history in histories
        ]
    }


def histories_to_series(histories: Sequence[RowHistory]) -> Series:
    """Return a series for each row; names say the threads and the host if rows share device and variant."""
    series: dict[str, list[dict[str, Any]]] = {}
    for history in histories:
        record = history.newest.record
        name = f"{record.device}/{record.variant}"
        if name in series:
            name += f", {record.threads} threads, {record.setting.host.name}".replace("/", "-")
        if name in series:
            name += f" {record.setting.host.digest}"
        series[name] = _lines(history)
    return series


def _lines(history: RowHistory) -> list[dict[str, Any]]:
    calibrated = iter(history.calibrated_ns or ())
    return [
        {
            "time": point.record.measured_at,
            "commit": point.commit,
            "run": point.record.run,
            "latency_ns": point.median_ns,
            "min_ns": point.min_ns,
            "anchor_ns": point.anchor_ns,
            "calibrated_ns": round(next(calibrated)) if history.calibrated_ns and point.anchor_ns else None,
        }
        for point in history.points
    ]


def _sparkline(history: RowHistory) -> str:
    """Return the last medians as bars between the smallest and the largest."""
    values = [point.median_ns for point in history.points[-SPARKLINE_POINTS:]]
    least, most = min(values), max(values)
    step = (most - least) / (len(SPARKLINE_BARS) - 1) or 1
    return "".join(SPARKLINE_BARS[round((value - least) / step)] for value in values)


def _percent(share: float) -> str:
    return f"{share:+.1%}"


def _style(history: RowHistory) -> str:
    return "yellow" if history.needs_comparison else ""


def _notes(histories: Sequence[RowHistory]) -> list[str]:
    notes = [f"changes: of the newest run against the median of the {MIN_RUNS} before it, or of as many as there are"]
    if all(history.slope is None for history in histories):
        notes.append(f"nothing is calibrated: that takes {MIN_RUNS} runs with the anchor {ANCHOR} (run --anchor)")
    alarms = [history.newest.record for history in histories if history.needs_comparison]
    if alarms:
        notes.append(
            f"compare: the minimum grew by {CHANGE_THRESHOLD:.0%} or, where that is known, the calibrated median by "
            f"{CALIBRATED_THRESHOLD:.0%}; to decide, run mnbench gate results/{alarms[0].device}.jsonl --all"
        )
    return notes
