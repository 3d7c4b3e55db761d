"""A pick as a table: the picked variant, the other candidates, and the candidates that do not fit."""

from typing import Any

import msgspec

from mnbench.results.pick import Pick, PickCandidate
from mnbench.tables.quantities import quantity
from mnbench.tables.table import Column, Table
from mnbench.units import format_ms, millions_formatter

FIT_STYLES = {"picked": "green", "fits": ""}
MAX_LISTED_VARIANTS = 3


def pick_table(choice: Pick) -> Table[PickCandidate]:
    """Return a table with a row for each candidate, the most accurate first."""
    several = len({(candidate.threads, candidate.runtime) for candidate in choice.candidates}) > 1
    columns = [
        quantity("variant"),
        quantity("top1"),
        quantity("latency_ns"),
        quantity("high_ns", title="at most"),
        quantity("size_bytes"),
        quantity("mult_adds", drop_priority=2),
        Column[PickCandidate](
            name="fit", title="", left=True, style=lambda candidate: FIT_STYLES.get(candidate.fit, "dim")
        ),
        Column[PickCandidate](name="source", title="top-1 from", left=True, drop_priority=3),
    ]
    if several:
        columns.append(quantity("threads"))
        columns.append(Column[PickCandidate](name="runtime", left=True, drop_priority=1))
    size = f" and {millions_formatter(1)(choice.max_bytes)} MB" if choice.max_bytes else ""
    title = f"{choice.device}: at most {format_ms(choice.budget_ns)} ms{size}"
    return Table(columns=columns, rows=choice.candidates, title=title, notes=[*_notes(choice)])


def pick_to_dict(choice: Pick) -> dict[str, Any]:
    """Return the values for JSON."""
    return msgspec.to_builtins(choice) | {"picked": msgspec.to_builtins(choice.picked)}


def _notes(choice: Pick) -> list[str]:
    picked = choice.picked
    if picked is None:
        notes = ["no measured variant fits"]
    else:
        beaten = sum(candidate.fit == "fits" for candidate in choice.candidates)
        summary = f"{picked.variant}: {picked.top1:.1f} % in {format_ms(picked.latency_ns)} ms"
        notes = [f"{summary}, the most accurate of {beaten + 1} that fit"]
        better = [candidate for candidate in choice.candidates if candidate.top1 > picked.top1]
        if better:
            least = min(better, key=lambda candidate: candidate.high_ns)
            notes.append(f"more accurate, but {least.fit}: {len(better)} variants; the fastest is {least.variant}")
        if not picked.trusted:
            notes.append("its latency has issues: see mnbench table")
    notes.append(
        "at most: the upper end of the latency's interval; size: of the weights; top-1: as published, not measured here"
    )
    if choice.unknown:
        named, more = ", ".join(choice.unknown[:MAX_LISTED_VARIANTS]), len(choice.unknown) - MAX_LISTED_VARIANTS
        notes.append(f"without a published accuracy: {named}{f' and {more} more' if more > 0 else ''}")
    return notes
