"""Published figures beside ours: equal, truncated, or disputed with the reason."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Literal, TypeAlias

from mnbench.errors import GraphFileError
from mnbench.network.architecture import Architecture, MultAddsCounted, ParamsCounted, PublishedModel
from mnbench.network.cost import total_cost
from mnbench.network.layer import Layer
from mnbench.network.network import build_network
from mnbench.network.variant import Variant

Agreement: TypeAlias = Literal["equal", "truncated", "disputed"]
PRINTED_UNITS = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigure:
    """One published number. `key` is `mult_adds` or `params`; `of` says what the source counts."""

    variant: str
    published: PublishedModel
    key: Literal["mult_adds", "params"]
    counting: MultAddsCounted | ParamsCounted
    printed: str
    computed: int
    agreement: Agreement
    reason: str = ""


def check_published(architecture: Architecture) -> Iterator[PublishedFigure]:
    """Check each published figure of the table, in its order.

    Raises:
        GraphFileError: a figure that does not fit has no reason, or one that fits has one.
    """
    for published in architecture.published:
        variant = Variant(
            architecture=architecture,
            alpha=published.alpha,
            resolution=(published.resolution, published.resolution),
            classes=published.classes,
            options=published.options,
        )
        layers = build_network(variant).layers
        if published.mult_adds:
            ours = count_mult_adds(layers, published.mult_adds_of)
            yield _figure(variant, published, "mult_adds", published.mult_adds_of, published.mult_adds, ours)
        if published.params:
            yield _figure(
                variant,
                published,
                "params",
                published.params_of,
                published.params,
                count_params(layers, published.params_of),
            )


def count_mult_adds(layers: tuple[Layer, ...], of: MultAddsCounted) -> int:
    """Count Mult-Adds as a source does: of every layer, without the fully connected ones, or as fvcore does."""
    counted = total_cost(layer for layer in layers if of != "convolutions" or layer.kind == "conv").mult_adds
    if of != "all and normalization":
        return counted
    return counted + 2 * sum(layer.output.elements for layer in layers if layer.kind == "batch_norm")


def count_params(layers: tuple[Layer, ...], of: ParamsCounted) -> int:
    """Count parameters as a source does; each statistic of a batch normalization is as long as its gamma."""
    total = total_cost(layers)
    statistics = sum(layer.weights[0][0] for layer in layers if layer.kind == "batch_norm")
    return {
        "weights": total.weights,
        "trainable": total.params,
        "trainable and means": total.params + statistics,
        "trainable and statistics": total.params + 2 * statistics,
    }[of]


def compare_printed(printed: str, ours: int) -> Agreement:
    """Whether a printed number is ours, rounded or cut off to its digits.

    Raises:
        ValueError: it is no number with an optional k, M or B.
    """
    match = re.fullmatch(r"(\d+)(?:\.(\d+))?([kMB]?)", printed)
    if not match:
        raise ValueError(f"{printed!r} is no number such as 569M, 4.24M or 3504872")
    whole, decimals, unit = match[1], match[2] or "", match[3]
    digit = Fraction(PRINTED_UNITS[unit], 10 ** len(decimals))
    number = int(whole + decimals)
    if floor(Fraction(ours) / digit + Fraction(1, 2)) == number:
        return "equal"
    return "truncated" if floor(Fraction(ours) / digit) == number else "disputed"


def _figure(
    variant: Variant,
    published: PublishedModel,
    key: Literal["mult_adds", "params"],
    of: MultAddsCounted | ParamsCounted,
    printed: str,
    ours: int,
) -> PublishedFigure:
    agreement, reason = compare_printed(printed, ours), published.disputed.get(key, "")
    if (agreement == "disputed") != bool(reason):
        raise GraphFileError(
            variant.architecture.name,
            f"published {variant.name} of {published.source}",
            f"{key} is printed as {printed} and counted as {ours:,}",
            hint="say why in `disputed`" if not reason else "it fits: take it out of `disputed`",
        )
    return PublishedFigure(
        variant=variant.name,
        published=published,
        key=key,
        counting=of,
        printed=printed,
        computed=ours,
        agreement=agreement,
        reason=reason,
    )
