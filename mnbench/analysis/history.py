"""Histories: each row's latency from run to run, also in older revisions of its file, and whether to compare it again.

Medians on one host differ by 8 to 13 % from hour to hour. Calibration with an anchor, a tiny model of the same run,
removes most of this difference: latency × (anchor / its median) ^ -slope, with a slope fitted to the history of each
row. This is a screening: it asks for a comparison, and never fails.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from math import log
from statistics import fmean, median
from typing import Any

from mnbench.errors import ResultsError
from mnbench.network.variant import ANCHOR
from mnbench.results.git_history import file_history
from mnbench.results.host_identity import HostIdentity
from mnbench.results.record import Record
from mnbench.results.store import ResultsFile, parse_records
from mnbench.tables.quantities import quantity
from mnbench.tables.table import SPARKLINE_BARS, Column, Table

MIN_RUNS = 10
"""The minimum number of runs to fit a slope, and the number of runs before the newest that it is compared with."""

CHANGE_THRESHOLD, CALIBRATED_THRESHOLD = 0.10, 0.07
"""The changes of the minimum and of the calibrated median from which a comparison is needed."""

SPARKLINE_POINTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPoint:
    """A row in one run, with the anchor's latency in that run and the first commit with the record."""

    record: Record
    median_ns: int
    min_ns: int
    commit: str
    anchor_ns: int | None

    @property
    def row(self) -> tuple[str, str, int, HostIdentity]:
        """The key of its row: a variant on one host with one number of threads, with any runtime."""
        return self.record.device, self.record.variant, self.record.threads, self.record.setting.host


@dataclass(frozen=True, slots=True, kw_only=True)
class RowHistory:
    """The points of a row, oldest first. `change` is that of the newest minimum against those before it.

    `calibrated_ns` are the calibrated medians of the points with an anchor.
    """

    points: tuple[HistoryPoint, ...]
    slope: float | None
    calibrated_ns: tuple[float, ...] | None
    change: float | None
    calibrated_change: float | None

    @property
    def newest(self) -> HistoryPoint:
        return self.points[-1]

    @property
    def needs_comparison(self) -> bool:
        """Whether to compare the row again: by the calibrated median, or else by the minimum."""
        if self.calibrated_change is not None:
            return self.calibrated_change >= CALIBRATED_THRESHOLD
        return self.change is not None and self.change >= CHANGE_THRESHOLD

    def lines(self) -> list[dict[str, Any]]:
        """Return the values of each point, for JSON and series."""
        calibrated = iter(self.calibrated_ns or ())
        return [
            {
                "time": point.record.measured_at,
                "commit": point.commit,
                "run": point.record.run,
                "latency_ns": point.median_ns,
                "min_ns": point.min_ns,
                "anchor_ns": point.anchor_ns,
                "calibrated_ns": round(next(calibrated)) if self.calibrated_ns and point.anchor_ns else None,
            }
            for point in self.points
        ]


def load_histories(store: ResultsFile) -> list[RowHistory]:
    """Load the history of each row.

    Raises:
        ResultsError: the file as it is now cannot be read.
    """
    committed = _committed(store)
    records = {name: record for name, (record, _) in committed.items()} | {
        record.id: record for record in store.read_records()
    }
    anchors = {
        record.run: record.latency_ns.median
        for record in records.values()
        if record.variant == ANCHOR and record.latency_ns
    }
    points = [
        HistoryPoint(
            record=record,
            median_ns=record.latency_ns.median,
            min_ns=record.latency_ns.min,
            commit=committed[record.id][1] if record.id in committed else "",
            anchor_ns=anchors.get(record.run) if record.variant != ANCHOR else None,
        )
        for record in records.values()
        if record.latency_ns
    ]
    points.sort(key=lambda point: (*point.row, point.record.measured_at))
    return [summarize_history(tuple(row)) for _, row in groupby(points, lambda point: point.row)]


def _committed(store: ResultsFile) -> dict[str, tuple[Record, str]]:
    """Return the records of all revisions of the file, by id, with the first commit that has them."""
    first_seen: dict[str, tuple[Record, str]] = {}
    recorded: set[bytes] = set()
    for commit, data in file_history(store.path):
        lines = [line for line in data.split(b"\n") if line not in recorded]
        recorded.update(lines)
        # A line that was broken in an old revision must not hide the others.
        with suppress(ResultsError):
            for record in parse_records(store.path, b"\n".join(lines) + b"\n"):
                first_seen.setdefault(record.id, (record, commit))
    return first_seen


def summarize_history(points: tuple[HistoryPoint, ...]) -> RowHistory:
    """Compute slope, calibrated latencies and changes from a row's points."""
    *before, newest = points
    recent = before[-MIN_RUNS:]
    slope = fit_slope(before)
    calibrated: tuple[float, ...] | None = None
    if slope is not None and newest.anchor_ns:
        reference = median(point.anchor_ns for point in points if point.anchor_ns)
        calibrated = tuple(
            point.median_ns * (point.anchor_ns / reference) ** -slope for point in points if point.anchor_ns
        )
    return RowHistory(
        points=points,
        slope=slope,
        calibrated_ns=calibrated,
        change=newest.min_ns / median(point.min_ns for point in recent) - 1 if recent else None,
        calibrated_change=calibrated[-1] / median(calibrated[-1 - MIN_RUNS : -1]) - 1 if calibrated else None,
    )


def fit_slope(points: Sequence[HistoryPoint]) -> float | None:
    """Fit the slope of log latency over log anchor, between 0 and 1; None if there are too few runs.

    Only runs of the same model and runtime are compared: a step between two models is not noise.
    """
    pairs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for point in points:
        if point.anchor_ns:
            same = point.record.model_sha256, point.record.runtime.version
            pairs.setdefault(same, []).append((log(point.anchor_ns), log(point.median_ns)))
    if sum(map(len, pairs.values())) < MIN_RUNS:
        return None
    products = squares = 0.0
    for pair in pairs.values():
        middle = fmean(x for x, _ in pair), fmean(y for _, y in pair)
        products += sum((x - middle[0]) * (y - middle[1]) for x, y in pair)
        squares += sum((x - middle[0]) ** 2 for x, _ in pair)
    return min(1.0, max(0.0, products / squares)) if squares else 0.0


def history_table(histories: Sequence[RowHistory]) -> Table[RowHistory]:
    """Return a table with a row for each history: the newest run against those before it."""
    change_format = "{:+.1%}".format
    columns = [
        quantity("variant", lambda h: h.newest.record.variant),
        quantity("device", lambda h: h.newest.record.device, drop_priority=2),
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
    alarms = [history.newest.record for history in histories if history.needs_comparison]
    if alarms:
        notes.append(
            f"compare: the minimum grew by {CHANGE_THRESHOLD:.0%} or, where that is known, the calibrated median by "
            f"{CALIBRATED_THRESHOLD:.0%}; to decide, run mnbench gate results/{alarms[0].device}.jsonl --all"
        )
    return Table(columns=columns, rows=histories, title="from run to run", notes=notes)


def _sparkline(history: RowHistory) -> str:
    """Return the last medians as bars between the smallest and the largest."""
    values = [point.median_ns for point in history.points[-SPARKLINE_POINTS:]]
    least, most = min(values), max(values)
    step = (most - least) / (len(SPARKLINE_BARS) - 1) or 1
    return "".join(SPARKLINE_BARS[round((value - least) / step)] for value in values)


def histories_to_dict(histories: Sequence[RowHistory]) -> dict[str, Any]:
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
                "points": history.lines(),
            }
            for history in histories
        ]
    }


def histories_to_series(histories: Sequence[RowHistory]) -> dict[str, list[dict[str, Any]]]:
    """Return a series for each row; names say the threads and the host if rows share device and variant."""
    series: dict[str, list[dict[str, Any]]] = {}
    for history in histories:
        record = history.newest.record
        name = f"{record.device}/{record.variant}"
        if name in series:
            name += f", {record.threads} threads, {record.setting.host.name}".replace("/", "-")
        if name in series:
            name += f" {record.setting.host.digest}"
        series[name] = history.lines()
    return series
