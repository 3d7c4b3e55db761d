"""A choice as a table: what was picked, what it beat, and what is more accurate and does not fit."""

from typing import Any

import msgspec

from mnbench.results.pick import Pick, PickCandidate
from mnbench.tables.table import Column, Table
from mnbench.units import format_ms, millions_formatter

FIT_STYLES = {"picked": "green", "fits": ""}
MAX_LISTED_VARIANTS = 3


def pick_table(choice: Pick) -> Table[PickCandidate]:
    """One row a variant, the most accurate first."""
    several = len({(candidate.threads, candidate.runtime) for candidate in choice.candidates}) > 1
    columns = [
        Column[PickCandidate](name="variant", value=lambda candidate: candidate.variant, left=True),
        Column[PickCandidate](
            name="top1", title="top-1", unit="%", value=lambda candidate: candidate.top1, format="{:.1f}".format
        ),
        Column[PickCandidate](
            name="latency_ns",
            title="latency",
            unit="ms",
            value=lambda candidate: candidate.latency_ns,
            format=format_ms,
        ),
        Column[PickCandidate](
            name="high_ns", title="at most", unit="ms", value=lambda candidate: candidate.high_ns, format=format_ms
        ),
        Column[PickCandidate](
            name="size_bytes",
            title="size",
            unit="MB",
            value=lambda candidate: candidate.size_bytes,
            format=millions_formatter(1),
        ),
        Column[PickCandidate](
            name="mult_adds",
            title="Mult-Adds",
            unit="M",
            value=lambda candidate: candidate.mult_adds,
            format=millions_formatter(1),
            drop_priority=2,
        ),
        Column[PickCandidate](
            name="fit",
            title="",
            value=lambda candidate: candidate.fit,
            left=True,
            style=lambda candidate: FIT_STYLES.get(candidate.fit, "dim"),
        ),
        Column[PickCandidate](
            name="source", title="top-1 from", value=lambda candidate: candidate.source, left=True, drop_priority=3
        ),
    ]
    if several:
        columns.append(Column[PickCandidate](name="threads", value=lambda candidate: candidate.threads))
        columns.append(
            Column[PickCandidate](name="runtime", value=lambda candidate: candidate.runtime, left=True, drop_priority=1)
        )
    size = f" and {millions_formatter(1)(choice.max_bytes)} MB" if choice.max_bytes else ""
    title = f"{choice.device}: at most {format_ms(choice.budget_ns)} ms{size}"
    return Table(columns=columns, rows=choice.candidates, title=title, notes=[*_notes(choice)])


def pick_to_dict(choice: Pick) -> dict[str, Any]:
    """For programs."""
    return msgspec.to_builtins(choice) | {"picked": msgspec.to_builtins(choice.picked)}


def _notes(choice: Pick) -> list[str]:
    picked = choice.picked
    if picked is None:
        notes = ["nothing that was measured fits"]
    else:
        beaten = sum(candidate.fit == "fits" for candidate in choice.candidates)
        what = f"{picked.variant}: {picked.top1:.1f} % in {format_ms(picked.latency_ns)} ms"
        notes = [f"{what}, the most accurate of {beaten + 1} that fit"]
        better = [candidate for candidate in choice.candidates if candidate.top1 > picked.top1]
        if better:
            least = min(better, key=lambda candidate: candidate.high_ns)
            notes.append(f"more accurate, and {least.fit}: {len(better)}; the fastest of them is {least.variant}")
        if not picked.trusted:
            notes.append("its latency has issues: see mnbench table")
    notes.append(
        "at most: the upper end of the latency's interval; size: of its weights; top-1: as published, not ours"
    )
    if choice.unknown:
        named, more = ", ".join(choice.unknown[:MAX_LISTED_VARIANTS]), len(choice.unknown) - MAX_LISTED_VARIANTS
        notes.append(f"without a published accuracy: {named}{f' and {more} more' if more > 0 else ''}")
    return notes
