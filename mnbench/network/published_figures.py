"""Published figures compared with our counts: equal, truncated, or disputed with the reason; and their table."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Literal, TypeAlias

from mnbench.errors import GraphFileError
from mnbench.network.architecture import METRICS, Architecture, MultAddsCounted, ParamsCounted, PublishedModel
from mnbench.network.cost import total_cost
from mnbench.network.layer import Layer
from mnbench.network.network import build_network
from mnbench.network.toml_struct import TomlStruct, read_toml
from mnbench.network.variant import Variant
from mnbench.tables.quantities import quantity
from mnbench.tables.table import Column, Table
from mnbench.workspace import find_table

Agreement: TypeAlias = Literal["equal", "truncated", "disputed"]
FIGURE_NAMES = {"mult_adds": "Mult-Adds", "params": "params"}
PRINTED_UNITS = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigure:
    """One published number and ours: `of` is what the source counts."""

    variant: str
    figure: Literal["mult_adds", "params"]
    of: MultAddsCounted | ParamsCounted
    published: str
    ours: int
    verdict: Agreement
    reason: str | None
    metric: str | None
    accuracy: float | None
    latency: dict[str, float]
    source: str


class UnbuiltSystem(TomlStruct, frozen=True, kw_only=True):
    """A system whose figures a paper prints, and why it cannot be built."""

    name: str
    source: str
    printed: str
    reason: str


class UnbuiltSystems(TomlStruct, frozen=True, kw_only=True):
    """The file of all of them."""

    systems: tuple[UnbuiltSystem, ...]


def read_unbuilt() -> tuple[UnbuiltSystem, ...]:
    """Return the systems of the papers that cannot be built."""
    return read_toml(find_table("systems", "graphs/unbuilt", GraphFileError), UnbuiltSystems, GraphFileError).systems


def unbuilt_table(systems: Sequence[UnbuiltSystem]) -> Table[UnbuiltSystem]:
    columns = [
        Column[UnbuiltSystem](name="name", title="cannot be built", left=True, wrap=True),
        Column[UnbuiltSystem](name="source", left=True, drop_priority=2),
        Column[UnbuiltSystem](name="printed", left=True, wrap=True, drop_priority=1),
        Column[UnbuiltSystem](name="reason", left=True, wrap=True),
    ]
    return Table(columns=columns, rows=systems)


def check_published(architecture: Architecture) -> Iterator[PublishedFigure]:
    """Check each published figure of the table, in its order."""
    for published in architecture.published:
        variant = Variant(
            architecture=architecture,
            alpha=published.alpha,
            resolution=published.size,
            classes=published.classes,
            options=published.options,
        )
        layers = build_network(variant).layers
        if published.mult_adds:
            ours = count_mult_adds(layers, published.mult_adds_of)
            yield _figure(variant, published, "mult_adds", published.mult_adds_of, published.mult_adds, ours)
        if published.params:
            ours = count_params(layers, published.params_of)
            yield _figure(variant, published, "params", published.params_of, published.params, ours)


def count_mult_adds(layers: tuple[Layer, ...], of: MultAddsCounted) -> int:
    """Count Mult-Adds as a source does: of every layer, without the fully connected ones, or as fvcore does."""
    counted = sum(layer.mult_adds or 0 for layer in layers if of != "convolutions" or layer.kind == "conv")
    if of != "all and normalization":
        return counted
    return counted + 2 * sum(layer.output.elements for layer in layers if layer.kind == "batch_norm")


def count_params(layers: tuple[Layer, ...], of: ParamsCounted) -> int:
    """Count parameters as a source does; each statistic of a batch normalization is as long as its gamma."""
    total = total_cost(layers)
    statistics = sum(layer.weights[0].elements for layer in layers if layer.kind == "batch_norm")
    return {
        "weights": total.weights,
        "weights and biases": total.params - 2 * statistics,
        "trainable": total.params,
        "trainable and means": total.params + statistics,
        "trainable and statistics": total.params + 2 * statistics,
    }[of]


def compare_printed(printed: str, ours: int) -> Agreement:
    """Return whether a printed number is the computed one, rounded or truncated to its digits.

    Raises:
        ValueError: it is not a number with an optional k, M or B.
    """
    match = re.fullmatch(r"(\d+)(?:\.(\d+))?([kMB]?)", printed)
    if not match:
        raise ValueError(f"{printed!r} is not a number such as 569M, 4.24M or 3504872")
    whole, decimals, unit = match[1], match[2] or "", match[3]
    digit = Fraction(PRINTED_UNITS[unit], 10 ** len(decimals))
    number = int(whole + decimals)
    if floor(Fraction(ours) / digit + Fraction(1, 2)) == number:
        return "equal"
    return "truncated" if floor(Fraction(ours) / digit) == number else "disputed"


def _figure(
    variant: Variant,
    model: PublishedModel,
    figure: Literal["mult_adds", "params"],
    of: MultAddsCounted | ParamsCounted,
    published: str,
    ours: int,
) -> PublishedFigure:
    verdict, reason = compare_printed(published, ours), model.disputed.get(figure) or None
    metric, accuracy = model.accuracy or (None, None)
    if (verdict == "disputed") != bool(reason):
        raise GraphFileError(
            variant.architecture.name,
            f"published {variant.name} of {model.source}",
            f"{figure} is printed as {published} and counted as {ours:,}",
            hint="say why in `disputed`" if not reason else "it fits: take it out of `disputed`",
        )
    return PublishedFigure(
        variant=variant.name,
        figure=figure,
        of=of,
        published=published,
        ours=ours,
        verdict=verdict,
        reason=reason,
        metric=metric,
        accuracy=accuracy,
        latency=model.latency,
        source=model.source,
    )


def published_figure_table(
    figures: Sequence[PublishedFigure], all_figures: Sequence[PublishedFigure]
) -> Table[PublishedFigure]:
    """Return one row per figure; the first note counts `all_figures`, the others say why some are disputed."""
    columns = [
        quantity("variant"),
        Column[PublishedFigure](name="figure", value=lambda row: FIGURE_NAMES[row.figure], left=True),
        Column[PublishedFigure](name="of", left=True, drop_priority=3),
        Column[PublishedFigure](name="published"),
        Column[PublishedFigure](name="ours", format="{:,}".format),
        Column[PublishedFigure](name="verdict", left=True),
        Column[PublishedFigure](name="accuracy", value=_accuracy, drop_priority=2),
        Column[PublishedFigure](name="latency", value=_latencies, left=True, drop_priority=4),
        Column[PublishedFigure](name="source", format="{:.36}".format, left=True),
    ]
    counts = count_agreements(all_figures)
    notes = [", ".join(f"{count} {word}" for word, count in counts.items())]
    reasons = {f"{figure.variant} {figure.published}": figure.reason for figure in figures if figure.reason}
    notes += [f"disputed, {published}: {reason}" for published, reason in reasons.items()]
    return Table(columns=columns, rows=figures, notes=notes)


def count_agreements(figures: Sequence[PublishedFigure]) -> dict[str, int]:
    verdicts = Counter(figure.verdict for figure in figures)
    return {"figures": len(figures), **{word: verdicts[word] for word in ("equal", "truncated", "disputed")}}


def _accuracy(figure: PublishedFigure) -> str | None:
    return f"{figure.accuracy:.1f} % {METRICS[figure.metric]}" if figure.metric else None


def _latencies(figure: PublishedFigure) -> str | None:
    return ", ".join(f"{where} {value:g}" for where, value in figure.latency.items()) or None
