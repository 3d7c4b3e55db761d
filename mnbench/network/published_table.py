"""Published figures beside ours, as a table."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from mnbench.network.published_figures import PublishedFigure
from mnbench.tables.quantities import quantity
from mnbench.tables.table import Column, Table

FIGURE_NAMES = {"mult_adds": "Mult-Adds", "params": "params"}


def published_figure_table(
    figures: Sequence[PublishedFigure], every: Sequence[PublishedFigure]
) -> Table[PublishedFigure]:
    """Return one row per figure; the title counts `every` figure, and the notes say why some are disputed."""
    columns = [
        quantity("variant"),
        Column[PublishedFigure](name="figure", value=lambda f: FIGURE_NAMES[f.key], left=True),
        Column[PublishedFigure](name="of", value=lambda f: f.counting, left=True, drop_priority=3),
        Column[PublishedFigure](name="published", value=lambda f: f.printed),
        Column[PublishedFigure](name="ours", value=lambda f: f.computed, format="{:,}".format),
        Column[PublishedFigure](name="verdict", value=lambda f: f.agreement, left=True),
        quantity("top1", lambda f: f.published.top1, drop_priority=2),
        Column[PublishedFigure](name="latency", value=_latency, left=True, drop_priority=4),
        Column[PublishedFigure](name="source", value=lambda f: f.published.source, format="{:.36}".format, left=True),
    ]
    counts = count_agreements(every)
    notes = [", ".join(f"{count} {word}" for word, count in counts.items())]
    reasons = {(figure.variant, figure.printed): figure.reason for figure in figures if figure.agreement == "disputed"}
    notes += [f"disputed, {variant} {printed}: {reason}" for (variant, printed), reason in reasons.items()]
    return Table(columns=columns, rows=figures, notes=notes)


def count_agreements(figures: Sequence[PublishedFigure]) -> dict[str, int]:
    """Count the figures, and those of each agreement."""
    verdicts = Counter(figure.agreement for figure in figures)
    return {"figures": len(figures), **{word: verdicts[word] for word in ("equal", "truncated", "disputed")}}


def published_figure_to_dict(figure: PublishedFigure) -> dict[str, Any]:
    """For programs."""
    published = figure.published
    return {
        "variant": figure.variant,
        "figure": figure.key,
        "of": figure.counting,
        "published": figure.printed,
        "ours": figure.computed,
        "verdict": figure.agreement,
        "reason": figure.reason or None,
        "top1": published.top1,
        "latency": published.latency,
        "source": published.source,
    }


def _latency(figure: PublishedFigure) -> str | None:
    return ", ".join(f"{where} {value:g}" for where, value in figure.published.latency.items()) or None
