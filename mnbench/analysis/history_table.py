"""What became of each row, as a table, as JSON and as series."""

from collections.abc import Sequence
from typing import Any

from mnbench.analysis.history import ALARM, ANCHOR, CALIBRATED_ALARM, LEAST_RUNS, History
from mnbench.comparison.exports.otava import Series
from mnbench.tables.markup import BARS
from mnbench.tables.table import Column, Table
from mnbench.units import in_ms

SHOWN = 20


def history_table(histories: Sequence[History]) -> Table[History]:
    """One row a row; the newest run beside those before it."""
    columns = [
        Column[History](name="variant", value=lambda h: h.newest.record.variant, left=True),
        Column[History](name="device", value=lambda h: h.newest.record.device, left=True, rank=2),
        Column[History](name="threads", value=lambda h: h.newest.record.threads, rank=4),
        Column[History](name="runs", value=lambda h: len(h.points)),
        Column[History](name="first", value=lambda h: h.points[0].record.measured_at[:10], left=True, rank=3),
        Column[History](name="latency_ns", title="latency", unit="ms", value=lambda h: h.newest.median_ns, show=in_ms),
        Column[History](name="change", title="minimum\nchanged", value=lambda h: h.change, show=_percent),
        Column[History](
            name="calibrated_change", title="calibrated\nmedian", value=lambda h: h.calibrated_change, show=_percent
        ),
        Column[History](name="slope", value=lambda h: h.slope, show="{:.2f}".format, rank=5),
        Column[History](name="medians", value=_sparkline, left=True, rank=1),
        Column[History](name="alarm", value=lambda h: "compare" if h.alarm else None, left=True, style=_style),
    ]
    return Table(columns=columns, rows=histories, title="from run to run", notes=_notes(histories))


def history_payload(histories: Sequence[History]) -> dict[str, Any]:
    """For programs."""
    return {
        "rows": [
            {
                "variant": one.newest.record.variant,
                "device": one.newest.record.device,
                "threads": one.newest.record.threads,
                "slope": one.slope,
                "change": one.change,
                "calibrated_change": one.calibrated_change,
                "alarm": one.alarm,
                "points": _lines(one),
            }
            for one in histories
        ]
    }


def of_histories(histories: Sequence[History]) -> Series:
    """A file a row; of several CPUs or numbers of threads, the names of all but the first say which they are."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in histories:
        record = one.newest.record
        name = f"{record.device}/{record.variant}"
        if name in found:
            name += f", {record.threads} threads, {record.host.get('cpu')}".replace("/", "-")
        found[name] = _lines(one)
    return found


def _lines(history: History) -> list[dict[str, Any]]:
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


def _sparkline(history: History) -> str:
    """The last medians, between the smallest and the largest of them."""
    values = [point.median_ns for point in history.points[-SHOWN:]]
    least, most = min(values), max(values)
    step = (most - least) / (len(BARS) - 1) or 1
    return "".join(BARS[round((value - least) / step)] for value in values)


def _percent(share: float) -> str:
    return f"{share:+.1%}"


def _style(history: History) -> str:
    return "yellow" if history.alarm else ""


def _notes(histories: Sequence[History]) -> list[str]:
    notes = [f"changes: of the newest run against the median of the {LEAST_RUNS} before it, or of as many as there are"]
    if all(one.slope is None for one in histories):
        notes.append(f"nothing is calibrated: that takes {LEAST_RUNS} runs with the anchor {ANCHOR} (run --anchor)")
    alarms = [one.newest.record for one in histories if one.alarm]
    if alarms:
        notes.append(
            f"compare: the minimum grew by {ALARM:.0%} or, where that is known, the calibrated median by "
            f"{CALIBRATED_ALARM:.0%}; whether it is slower tells mnbench gate results/{alarms[0].device}.jsonl --all"
        )
    return notes
