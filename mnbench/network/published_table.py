"""Published figures beside ours, as a table."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from mnbench.network.published_figures import Figure
from mnbench.tables.table import Column, Table

NAMES = {"mult_adds": "Mult-Adds", "params": "params"}


def figure_table(figures: Sequence[Figure], every: Sequence[Figure]) -> Table[Figure]:
    """One row a figure; the tally is of `every` figure, and the notes say why some are disputed."""
    columns = [
        Column[Figure](name="variant", value=lambda f: f.variant, left=True),
        Column[Figure](name="figure", value=lambda f: NAMES[f.key], left=True),
        Column[Figure](name="of", value=lambda f: f.of, left=True, rank=3),
        Column[Figure](name="published", value=lambda f: f.printed),
        Column[Figure](name="ours", value=lambda f: f.ours, show="{:,}".format),
        Column[Figure](name="verdict", value=lambda f: f.verdict, left=True),
        Column[Figure](name="top1", title="top-1", unit="%", value=lambda f: f.published.top1, rank=2),
        Column[Figure](name="latency", value=_latency, left=True, rank=4),
        Column[Figure](name="source", value=lambda f: f.published.source, show="{:.36}".format, left=True),
    ]
    counts = tally(every)
    notes = [", ".join(f"{count} {word}" for word, count in counts.items())]
    reasons = {(one.variant, one.printed): one.reason for one in figures if one.verdict == "disputed"}
    notes += [f"disputed, {variant} {printed}: {reason}" for (variant, printed), reason in reasons.items()]
    return Table(columns=columns, rows=figures, notes=notes)


def tally(figures: Sequence[Figure]) -> dict[str, int]:
    """How many figures there are, and how many of each verdict."""
    verdicts = Counter(figure.verdict for figure in figures)
    return {"figures": len(figures), **{word: verdicts[word] for word in ("equal", "truncated", "disputed")}}


def figure_payload(figure: Figure) -> dict[str, Any]:
    """For programs."""
    published = figure.published
    return {
        "variant": figure.variant,
        "figure": figure.key,
        "of": figure.of,
        "published": figure.printed,
        "ours": figure.ours,
        "verdict": figure.verdict,
        "reason": figure.reason or None,
        "top1": published.top1,
        "latency": published.latency,
        "source": published.source,
    }


def _latency(figure: Figure) -> str | None:
    return ", ".join(f"{where} {value:g}" for where, value in figure.published.latency.items()) or None
