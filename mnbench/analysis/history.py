"""Histories: each row's latency from run to run, also in older revisions of its file, and whether to compare it again.

Medians on one host differ by 8 to 13 % from hour to hour. Calibration with an anchor, a tiny model of the same run,
removes most of this difference: latency × (anchor / its median) ^ -slope, with a slope fitted to the history of each
row. This is a screening: it asks for a comparison, and never fails.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from itertools import groupby, takewhile
from math import log
from statistics import fmean, median
from typing import Any, NamedTuple

from mnbench.errors import ResultsError
from mnbench.network.row import Row
from mnbench.network.variant import ANCHOR
from mnbench.results.git_history import file_history
from mnbench.results.host_identity import HostIdentity
from mnbench.results.host_selection import select_hosts
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

    @property
    def device(self) -> str:
        return self.record.device

    @property
    def measured_at(self) -> str:
        return self.record.measured_at

    @property
    def host_identity(self) -> HostIdentity | None:
        return self.record.host_identity

    @property
    def row(self) -> tuple[str, Row, int, HostIdentity | None]:
        """The key of its row: a model on one host with one number of threads, with any runtime."""
        return self.device, self.record.row, self.record.threads, self.host_identity


@dataclass(frozen=True, slots=True, kw_only=True)
class RowHistory:
    """The points of a row, oldest first. `change` is that of the newest minimum against those before it.

    `same_model` are the points since a user's file changed last: nothing is compared with those before. `calibrated_ns`
    are the calibrated medians of those with an anchor.
    """

    points: tuple[HistoryPoint, ...]
    same_model: tuple[HistoryPoint, ...]
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

    @property
    def change_of_file(self) -> str:
        """When a user's file changed last, and how; empty if it did not."""
        if len(self.same_model) == len(self.points):
            return ""
        before, after = (point.record for point in self.points[-len(self.same_model) - 1 :][:2])
        return f"from {before.model_sha256[:6]} to {after.model_sha256[:6]} by {after.measured_at[:10]}"

    def lines(self) -> list[dict[str, Any]]:
        """Return the values of each point, for JSON and series."""
        calibrated = iter(self.calibrated_ns or ())
        older = len(self.points) - len(self.same_model)
        lines: list[dict[str, Any]] = []
        for index, point in enumerate(self.points):
            is_calibrated = self.calibrated_ns and point.anchor_ns and index >= older
            lines.append(
                {
                    "time": point.record.measured_at,
                    "commit": point.commit,
                    "run": point.record.run,
                    "model_sha256": point.record.model_sha256,
                    "latency_ns": point.median_ns,
                    "min_ns": point.min_ns,
                    "anchor_ns": point.anchor_ns,
                    "calibrated_ns": round(next(calibrated)) if is_calibrated else None,
                }
            )
        return lines


class Histories(NamedTuple):
    """The histories of rows, and a note on the hosts that are left out."""

    rows: list[RowHistory]
    notes: list[str]


def load_histories(stores: Iterable[ResultsFile], host: str | None = None) -> Histories:
    """Load the history of each row of these files, on each device's newest host or on the one that is named, or `all`.

    Raises:
        ResultsError: a file as it is now cannot be read, or holds no such host.
    """
    points = [point for store in stores for point in _load_points(store)]
    selection = select_hosts(points, host)
    selected = sorted(selection.items, key=lambda point: (_sort_key(point), point.measured_at))
    rows = [summarize_history(tuple(row)) for _, row in groupby(selected, lambda point: point.row)]
    return Histories(rows, selection.note(len({point.row for point in selection.others})))


def _sort_key(point: HistoryPoint) -> tuple[str, ...]:
    device, row, threads, host = point.row
    return device, row.id, f"{threads:4}", str(host)


def _load_points(store: ResultsFile) -> list[HistoryPoint]:
    """Return the measured records of all revisions of a file."""
    committed = _committed(store)
    records = {name: record for name, (record, _) in committed.items()} | {
        record.id: record for record in store.read_records()
    }
    anchors = {
        (record.run, record.host_identity): record.latency_ns.median
        for record in records.values()
        if is_anchor(record) and record.latency_ns
    }
    return [
        HistoryPoint(
            record=record,
            median_ns=record.latency_ns.median,
            min_ns=record.latency_ns.min,
            commit=committed[record.id][1] if record.id in committed else "",
            anchor_ns=None if is_anchor(record) else anchors.get((record.run, record.host_identity)),
        )
        for record in records.values()
        if record.latency_ns
    ]


def is_anchor(record: Record) -> bool:
    """Return whether the record is of the anchor, and not of a file of that name."""
    return record.variant == ANCHOR and record.architecture is not None


def _committed(store: ResultsFile) -> dict[str, tuple[Record, str]]:
    """Return the records of all revisions of the file, by id, with the first commit that has them."""
    first_seen: dict[str, tuple[Record, str]] = {}
    digests: set[bytes] = set()
    for commit, data in file_history(store.path):
        # A line that was broken in an old revision must not hide the others.
        with suppress(ResultsError):
            for record in parse_records(store.path, _new_lines(data, digests)):
                first_seen.setdefault(record.id, (record, commit))
    return first_seen


def _new_lines(data: bytes, digests: set[bytes]) -> Iterator[bytes]:
    """Yield the lines that no revision before has; `digests` are those of their lines."""
    for line in BytesIO(data):
        digest = sha256(line).digest()
        if digest not in digests:
            digests.add(digest)
            yield line


def summarize_history(points: tuple[HistoryPoint, ...]) -> RowHistory:
    """Compute slope, calibrated latencies and changes from a row's points."""
    same_model = _same_model(points)
    *before, newest = same_model
    recent = before[-MIN_RUNS:]
    slope = fit_slope(before)
    calibrated: tuple[float, ...] | None = None
    if slope is not None and newest.anchor_ns:
        reference = median(point.anchor_ns for point in same_model if point.anchor_ns)
        calibrated = tuple(
            point.median_ns * (point.anchor_ns / reference) ** -slope for point in same_model if point.anchor_ns
        )
    return RowHistory(
        points=points,
        same_model=same_model,
        slope=slope,
        calibrated_ns=calibrated,
        change=newest.min_ns / median(point.min_ns for point in recent) - 1 if recent else None,
        calibrated_change=calibrated[-1] / median(calibrated[-1 - MIN_RUNS : -1]) - 1 if calibrated else None,
    )


def _same_model(points: Sequence[HistoryPoint]) -> tuple[HistoryPoint, ...]:
    """Return the points since a user's file changed last. A variant stays one model: its changes are what is sought."""
    newest = points[-1].record
    if newest.architecture:
        return tuple(points)
    since = takewhile(lambda point: point.record.model_sha256 == newest.model_sha256, reversed(points))
    return tuple(since)[::-1]


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
