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

from mnbench.errors import ResultsError
from mnbench.network.variant import ANCHOR
from mnbench.results.git_history import file_history
from mnbench.results.host_identity import HostIdentity
from mnbench.results.record import Record
from mnbench.results.store import ResultsFile, parse_records

MIN_RUNS = 10
"""The minimum number of runs to fit a slope, and the number of runs before the newest that it is compared with."""

CHANGE_THRESHOLD, CALIBRATED_THRESHOLD = 0.10, 0.07
"""The changes of the minimum and of the calibrated median from which a comparison is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPoint:
    """A row in one run, with the anchor's latency in that run and the first commit with the record."""

    record: Record
    median_ns: int
    min_ns: int
    commit: str
    anchor_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowHistory:
    """The points of a row, oldest first. `change` is that of the newest minimum against those before it."""

    points: tuple[HistoryPoint, ...]
    slope: float | None
    calibrated_ns: tuple[float, ...] | None
    change: float | None
    calibrated_change: float | None

    @property
    def newest(self) -> HistoryPoint:
        """The newest point."""
        return self.points[-1]

    @property
    def needs_comparison(self) -> bool:
        """Whether to compare the row again: by the calibrated median, or else by the minimum."""
        if self.calibrated_change is not None:
            return self.calibrated_change >= CALIBRATED_THRESHOLD
        return self.change is not None and self.change >= CHANGE_THRESHOLD


def load_histories(store: ResultsFile) -> list[RowHistory]:
    """Load the history of each row: of a variant on one host with one number of threads, with any runtime.

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
    points.sort(key=lambda point: (*_row(point), point.record.measured_at))
    return [summarize_history(tuple(row)) for _, row in groupby(points, _row)]


def summarize_history(points: tuple[HistoryPoint, ...]) -> RowHistory:
    """Compute slope, calibrated latencies and changes from a row's points."""
    *before, newest = points
    recent = before[-MIN_RUNS:]
    value = fit_slope(before)
    calibrated: tuple[float, ...] | None = None
    if value is not None and newest.anchor_ns:
        reference = median(point.anchor_ns for point in points if point.anchor_ns)
        calibrated = tuple(
            point.median_ns * (point.anchor_ns / reference) ** -value for point in points if point.anchor_ns
        )
    return RowHistory(
        points=points,
        slope=value,
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


def _row(point: HistoryPoint) -> tuple[str, str, int, HostIdentity]:
    record = point.record
    return record.device, record.variant, record.threads, record.setting.host


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
