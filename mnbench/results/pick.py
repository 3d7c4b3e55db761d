"""Pick the most accurate network within a budget: measured latency and size, published accuracy."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from mnbench.network.architecture import METRICS
from mnbench.network.row import row_labels
from mnbench.network.variant import ELEMENT_BYTES
from mnbench.results.columns import record_accuracy
from mnbench.results.record import Record
from mnbench.tables.quantities import quantity
from mnbench.tables.table import Column, Table
from mnbench.units import format_ms, millions_formatter

Criterion: TypeAlias = Literal["top1", "coco_map", "voc_miou", "cityscapes_miou", "params"]
Fit: TypeAlias = Literal["picked", "fits", "too slow", "too large", "too slow, too large"]

FIT_STYLES = {"picked": "green", "fits": ""}
MAX_LISTED_VARIANTS = 3


class PickCandidate(msgspec.Struct, frozen=True, kw_only=True):
    """A measured variant and how it fits the budget.

    `accuracy` is the published one of the kind that is asked for (or top-1), in percent; `high_ns` is the upper end of
    its latency's interval.
    """

    variant: str
    device: str
    threads: int
    runtime: str
    accuracy: float | None
    source: str | None
    params: int
    latency_ns: int
    high_ns: int
    size_bytes: int
    mult_adds: int | None
    trusted: bool
    fit: Fit

    def value(self, best: Criterion) -> float:
        return self.params if best == "params" else self.accuracy or 0.0


def _percent(candidate: PickCandidate) -> float | None:
    return candidate.accuracy


SOURCE_COLUMN = Column[PickCandidate](name="source", title="accuracy from", left=True, drop_priority=3)


class Pick(msgspec.Struct, frozen=True, kw_only=True):
    """The candidates of a device on one host, the best first: of the highest published accuracy or the most `params`.

    The variants `unknown` have no published accuracy of that kind, and are candidates for the most params alone.
    """

    device: str
    host: str
    budget_ns: int
    max_bytes: int | None
    best: Criterion
    candidates: tuple[PickCandidate, ...]
    unknown: tuple[str, ...]

    @property
    def picked(self) -> PickCandidate | None:
        """The candidate that was picked; None if no candidate fits."""
        return next((candidate for candidate in self.candidates if candidate.fit == "picked"), None)

    def to_dict(self) -> dict[str, Any]:
        return msgspec.to_builtins(self) | {"picked": msgspec.to_builtins(self.picked)}

    def table(self) -> Table[PickCandidate]:
        several = len({(candidate.threads, candidate.runtime) for candidate in self.candidates}) > 1
        columns = [
            quantity("variant"),
            *([quantity("params")] if self.best == "params" else [quantity(self.best, _percent)]),
            quantity("latency_ns"),
            quantity("high_ns", title="at most"),
            quantity("size_bytes"),
            quantity("mult_adds", drop_priority=2),
            Column[PickCandidate](
                name="fit", title="", left=True, style=lambda candidate: FIT_STYLES.get(candidate.fit, "dim")
            ),
            *([] if self.best == "params" else [SOURCE_COLUMN]),
        ]
        if several:
            columns += [quantity("threads"), Column[PickCandidate](name="runtime", left=True, drop_priority=1)]
        size = f" and {millions_formatter(1)(self.max_bytes)} MB" if self.max_bytes else ""
        title = f"{self.device} on {self.host}: at most {format_ms(self.budget_ns)} ms{size}"
        return Table(columns=columns, rows=self.candidates, title=title, notes=self._notes())

    def __repr__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table().to("html")

    def _notes(self) -> list[str]:
        picked, notes = self.picked, list[str]()
        if picked is None:
            notes.append("no measured variant fits")
        else:
            if self.best == "params":
                best, better_word, value = "largest", "larger", f"{millions_formatter(2)(picked.params)} M params"
            else:
                best, better_word, value = "most accurate", "more accurate", f"{picked.accuracy:.1f} %"
            fitting = sum(candidate.fit in ("fits", "picked") for candidate in self.candidates)
            summary = f"{picked.variant}: {value} in {format_ms(picked.latency_ns)} ms"
            notes.append(f"{summary}, the {best} of {fitting} that fit")
            better = [
                candidate for candidate in self.candidates if candidate.value(self.best) > picked.value(self.best)
            ]
            if better:
                least = min(better, key=lambda candidate: candidate.high_ns)
                notes.append(f"{better_word}, but {least.fit}: {len(better)} variants; the fastest is {least.variant}")
            if not picked.trusted:
                notes.append("its latency has issues: see mnbench table")
        notes.append("at most: the upper end of the latency's interval; size: of the weights")
        if self.best != "params":
            notes.append(f"{METRICS[self.best]}: as published, not measured here")
        if self.unknown and self.best != "params":
            names, more = ", ".join(self.unknown[:MAX_LISTED_VARIANTS]), len(self.unknown) - MAX_LISTED_VARIANTS
            notes.append(f"without a published accuracy: {names}{f' and {more} more' if more > 0 else ''}")
        return notes


def pick(
    records: Iterable[Record], *, budget_ns: int, max_bytes: int | None = None, best: Criterion = "top1"
) -> list[Pick]:
    """Pick a variant for each device on each host. A variant fits if the upper end of its interval and its weights do.

    The interval includes the host's drift if it was calibrated. Of equally good variants, the fastest is picked.
    """
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record.latency_ns and record.batch in (1, None):
            groups.setdefault((record.device, str(record.host_identity)), []).append(record)
    return [_pick(device, host, mine, budget_ns, max_bytes, best) for (device, host), mine in groups.items()]


def _pick(
    device: str, host: str, records: Sequence[Record], budget_ns: int, max_bytes: int | None, best: Criterion
) -> Pick:
    labels = row_labels(record.row for record in records)
    candidates = [_candidate(record, labels[record.row], budget_ns, max_bytes, best) for record in records]
    unknown = dict.fromkeys(candidate.variant for candidate in candidates if candidate.accuracy is None)
    if best != "params":
        candidates = [candidate for candidate in candidates if candidate.accuracy is not None]
    candidates.sort(key=lambda candidate: (-candidate.value(best), candidate.latency_ns))
    index = next((index for index, candidate in enumerate(candidates) if candidate.fit == "fits"), None)
    if index is not None:
        candidates[index] = msgspec.structs.replace(candidates[index], fit="picked")
    return Pick(
        device=device,
        host=host,
        budget_ns=budget_ns,
        max_bytes=max_bytes,
        best=best,
        candidates=tuple(candidates),
        unknown=tuple(unknown),
    )


def _candidate(record: Record, label: str, budget_ns: int, max_bytes: int | None, best: Criterion) -> PickCandidate:
    assert record.latency_ns
    accuracy = record_accuracy(record)
    fitting = accuracy if accuracy and accuracy.metric == ("top1" if best == "params" else best) else None
    _, high_ns = record.latency_ns.interval
    size_bytes = record.params * ELEMENT_BYTES[record.precision]
    slow, large = high_ns > budget_ns, max_bytes is not None and size_bytes > max_bytes
    fit: Fit = "fits"
    if slow:
        fit = "too slow, too large" if large else "too slow"
    elif large:
        fit = "too large"
    return PickCandidate(
        variant=label,
        device=record.device,
        threads=record.threads,
        runtime=f"{record.runtime.name} {record.runtime.version}",
        accuracy=fitting.percent if fitting else None,
        source=fitting.source if fitting else None,
        params=record.params,
        latency_ns=record.latency_ns.median,
        high_ns=high_ns,
        size_bytes=size_bytes,
        mult_adds=record.mult_adds,
        trusted=record.trusted,
        fit=fit,
    )
