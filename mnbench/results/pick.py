"""Pick the most accurate network within a budget: measured latency and size, published accuracy."""

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import msgspec

from mnbench.families.published_accuracy import PublishedAccuracy
from mnbench.network.variant import ELEMENT_BYTES
from mnbench.results.columns import record_accuracy
from mnbench.results.record import Record

Fit: TypeAlias = Literal["picked", "fits", "too slow", "too large", "too slow, too large"]


class PickCandidate(msgspec.Struct, frozen=True, kw_only=True):
    """A measured variant and how it fits the budget. `high_ns` is the upper end of its latency's interval."""

    variant: str
    device: str
    threads: int
    runtime: str
    top1: float
    source: str
    latency_ns: int
    high_ns: int
    size_bytes: int
    mult_adds: int
    trusted: bool
    fit: Fit


class Pick(msgspec.Struct, frozen=True, kw_only=True):
    """The candidates of a device, the most accurate first; the variants `unknown` have no published accuracy."""

    device: str
    budget_ns: int
    max_bytes: int | None
    candidates: tuple[PickCandidate, ...]
    unknown: tuple[str, ...]

    @property
    def picked(self) -> PickCandidate | None:
        """The candidate that was picked; None if no candidate fits."""
        return next((candidate for candidate in self.candidates if candidate.fit == "picked"), None)


def pick(records: Iterable[Record], *, budget_ns: int, max_bytes: int | None = None) -> list[Pick]:
    """Pick a variant for each device. A variant fits if the upper end of its interval and its weights do.

    The interval includes the host's drift if it was calibrated. Of equally accurate variants, the fastest is picked.
    """
    devices: dict[str, list[Record]] = {}
    for record in records:
        if record.latency_ns and record.batch == 1:
            devices.setdefault(record.device, []).append(record)
    return [_choice(device, mine, budget_ns, max_bytes) for device, mine in devices.items()]


def _choice(device: str, records: Sequence[Record], budget_ns: int, max_bytes: int | None) -> Pick:
    known: list[tuple[Record, PublishedAccuracy]] = []
    unknown: dict[str, None] = {}
    for record in records:
        accuracy = record_accuracy(record)
        if accuracy:
            known.append((record, accuracy))
        else:
            unknown[record.variant] = None
    candidates = [_candidate(record, accuracy, budget_ns, max_bytes) for record, accuracy in known]
    candidates.sort(key=lambda candidate: (-candidate.top1, candidate.latency_ns))
    best = next((at for at, candidate in enumerate(candidates) if candidate.fit == "fits"), None)
    if best is not None:
        candidates[best] = msgspec.structs.replace(candidates[best], fit="picked")
    return Pick(
        device=device,
        budget_ns=budget_ns,
        max_bytes=max_bytes,
        candidates=tuple(candidates),
        unknown=tuple(unknown),
    )


def _candidate(record: Record, accuracy: PublishedAccuracy, budget_ns: int, max_bytes: int | None) -> PickCandidate:
    assert record.latency_ns
    _, high_ns = record.latency_ns.interval
    size_bytes = record.params * ELEMENT_BYTES[record.precision]
    slow, large = high_ns > budget_ns, max_bytes is not None and size_bytes > max_bytes
    fit: Fit = "fits"
    if slow:
        fit = "too slow, too large" if large else "too slow"
    elif large:
        fit = "too large"
    return PickCandidate(
        variant=record.variant,
        device=record.device,
        threads=record.threads,
        runtime=f"{record.runtime.name} {record.runtime.version}",
        top1=accuracy.top1,
        source=accuracy.source,
        latency_ns=record.latency_ns.median,
        high_ns=high_ns,
        size_bytes=size_bytes,
        mult_adds=record.mult_adds,
        trusted=record.trusted,
        fit=fit,
    )
