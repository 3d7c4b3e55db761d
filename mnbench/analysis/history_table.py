"""Histories as a table, as JSON and as series for tools that look for changes."""

import shlex
from collections.abc import Sequence
from typing import Any

from mnbench.analysis.history import CALIBRATED_THRESHOLD, CHANGE_THRESHOLD, MIN_RUNS, RowHistory
from mnbench.network.row import row_labels
from mnbench.network.variant import ANCHOR
from mnbench.tables.quantities import quantity
from mnbench.tables.table import SPARKLINE_BARS, Column, Table

SPARKLINE_POINTS = 20


def history_table(histories: Sequence[RowHistory]) -> Table[RowHistory]:
    """Return a table with a row for each history: the newest run against those before it."""
    change_format = "{:+.1%}".format
    labels = row_labels(history.newest.record.row for history in histories)
    host_column = Column[RowHistory](name="host", value=lambda h: str(h.newest.host_identity), left=True, wrap=True)
    several_hosts = len({history.newest.host_identity for history in histories}) > 1
    columns = [
        quantity("variant", lambda h: labels[h.newest.record.row]),
        quantity("device", lambda h: h.newest.record.device, drop_priority=2),
        *([host_column] if several_hosts else []),
        quantity("threads", lambda h: h.newest.record.threads, drop_priority=4),
        Column[RowHistory](name="runs", value=lambda h: len(h.points)),
        Column[RowHistory](
            name="first", value=lambda h: h.points[0].record.measured_at[:10], left=True, drop_priority=3
        ),
        quantity("latency_ns", lambda h: h.newest.median_ns),
        Column[RowHistory](name="change", title="minimum\nchanged", format=change_format),
        Column[RowHistory](name="calibrated_change", title="calibrated\nmedian", format=change_format),
        Column[RowHistory](name="slope", format="{:.2f}".format, drop_priority=5),
        Column[RowHistory](name="medians", value=_sparkline, left=True, drop_priority=1, parts=()),
        Column[RowHistory](
            name="alarm",
            value=lambda h: "compare" if h.needs_comparison else None,
            left=True,
            style=lambda h: "yellow" if h.needs_comparison else "",
        ),
    ]
    notes = [f"changes: of the newest run against the median of the {MIN_RUNS} before it, or of as many as there are"]
    if all(history.slope is None for history in histories):
        notes.append(f"nothing is calibrated: that takes {MIN_RUNS} runs with the anchor {ANCHOR} (run --anchor)")
    notes += [
        f"{labels[history.newest.record.row]}: the file has changed {history.change_of_file}; it is not compared with"
        " earlier runs"
        for history in histories
        if history.change_of_file
    ]
    alarms = [history.newest.record for history in histories if history.needs_comparison]
    if alarms:
        table = shlex.quote(f"results/{alarms[0].device}.jsonl")
        notes.append(
            f"compare: the minimum grew by {CHANGE_THRESHOLD:.0%} or, where that is known, the calibrated median by "
            f"{CALIBRATED_THRESHOLD:.0%}; to decide, run mnbench gate {table} --all"
        )
    return Table(columns=columns, rows=histories, title="from run to run", notes=notes)


def _sparkline(history: RowHistory) -> str:
    """Return the last medians as bars between the smallest and the largest."""
    values = [point.median_ns for point in history.same_model[-SPARKLINE_POINTS:]]
    least, most = min(values), max(values)
    step = (most - least) / (len(SPARKLINE_BARS) - 1) or 1
    return "".join(SPARKLINE_BARS[round((value - least) / step)] for value in values)


def histories_to_dict(histories: Sequence[RowHistory]) -> dict[str, Any]:
    labels = row_labels(history.newest.record.row for history in histories)
    return {
        "rows": [
            {
                "variant": labels[history.newest.record.row],
                "device": history.newest.record.device,
                "host": str(history.newest.host_identity),
                "threads": history.newest.record.threads,
                "slope": history.slope,
                "change": history.change,
                "calibrated_change": history.calibrated_change,
                "alarm": history.needs_comparison,
                "points": history.lines(),
            }
            for history in histories
        ]
    }


def histories_to_series(histories: Sequence[RowHistory]) -> dict[str, list[dict[str, Any]]]:
    """Return a series for each row; names say the threads and the host if rows share device and variant.

    A file that changed begins a new series: a tool that looks for changes would find that one.
    """
    labels = row_labels(history.newest.record.row for history in histories)
    series: dict[str, list[dict[str, Any]]] = {}
    for history in histories:
        record = history.newest.record
        name = f"{record.device}/{labels[record.row]}"
        if name in series:
            name += f", {record.threads} threads, {record.host_identity}".replace("/", "-")
        series[name] = history.lines()[-len(history.same_model) :]
    return series
