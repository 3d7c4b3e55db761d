"""Published accuracy: what a source prints for exactly the variant that was measured."""

import os
from functools import lru_cache
from typing import NamedTuple

from mnbench import families
from mnbench.errors import GraphFileError
from mnbench.families.shufflenet import ShuffleNetV1, ShuffleNetV2
from mnbench.network.architecture import Architecture, PublishedModel
from mnbench.network.variant import VARIANT_NAME, Precision, Variant

INTEGER_SOURCES = ("quantized", "8-bit")
"""Words of a source whose figures are those of 8-bit integer weights."""

OWN_IMPLEMENTATIONS = ("own implementation",)
"""Words of a source that trained a graph of its own making."""


class PublishedAccuracy(NamedTuple):
    """A top-1 share of ImageNet in percent, and who prints it."""

    top1: float
    source: str


class _Key(NamedTuple):
    """What a published figure and a variant must agree in."""

    alpha: float
    resolution: int
    own: str
    classes: int | None


def published_accuracy(
    architecture: str | None, variant: str, precision: Precision = "fp32"
) -> PublishedAccuracy | None:
    """The first figure that the graph's table lists for a variant: tables list the authors' own before others'.

    Figures of 8-bit weights stand for int8 alone, and no source prints any for fp16. A variant with another padding or
    activation than the papers' has none; the batch changes no answer.
    """
    match = VARIANT_NAME.fullmatch(variant)
    if not architecture or not match or precision == "fp16" or match["same"] or match["relu"] or match["width"]:
        return None
    classes = None if match["classes"] is None else int(match["classes"])
    own = match["own"].removeprefix(architecture).lstrip("-")
    figures = _figures(os.getcwd(), architecture, precision == "int8")  # noqa: PTH109  a key, and asked for often
    default, listed = figures
    return listed.get(_Key(float(match["alpha"]), int(match["height"]), own or default, classes))


def published_variants(architecture: Architecture) -> list[Variant]:
    """Every variant of a table for which a source prints an accuracy on ImageNet, in the table's order."""
    default = _own(architecture)
    entries: dict[str, Variant] = {}
    for figure in architecture.published:
        own = _printed(figure) == default
        variant = Variant(
            architecture=architecture,
            alpha=figure.alpha,
            resolution=(figure.resolution, figure.resolution),
            groups=None if own else figure.groups,
            unit=None if own else figure.unit,
            classes=figure.classes,
        )
        if figure.classes is None and published_accuracy(architecture.name, variant.name):
            entries.setdefault(variant.name, variant)
    return list(entries.values())


def family_name(architecture: str | None) -> str:
    """The family of a graph's table; of a file, and of a graph that is not here, `own`."""
    result = _architecture(os.getcwd(), architecture) if architecture else None  # noqa: PTH109
    return str(result.__struct_config__.tag) if result else "own"


@lru_cache
def _architecture(workspace: str, name: str) -> Architecture | None:  # noqa: ARG001  the workspace's tables come first
    try:
        return families.architecture(name)
    except GraphFileError:
        return None


@lru_cache
def _figures(workspace: str, name: str, integer: bool) -> tuple[str, dict[_Key, PublishedAccuracy]]:  # noqa: FBT001
    """The table's own groups or unit, as a variant's name has it, and every figure of fp32 or of 8-bit weights."""
    architecture = _architecture(workspace, name)
    if architecture is None:
        return "", {}
    default = _own(architecture)
    entries: dict[_Key, PublishedAccuracy] = {}
    for figure in architecture.published:
        if figure.top1 is None or any(word in figure.source for word in OWN_IMPLEMENTATIONS):
            continue
        if any(word in figure.source for word in INTEGER_SOURCES) == integer:
            key = _Key(figure.alpha, figure.resolution, _printed(figure) or default, figure.classes)
            entries.setdefault(key, PublishedAccuracy(figure.top1, figure.source))
    return default, entries


def _own(architecture: Architecture) -> str:
    match architecture:
        case ShuffleNetV1():
            return f"g{architecture.groups}"
        case ShuffleNetV2():
            return architecture.unit
        case _:
            return ""


def _printed(published: PublishedModel) -> str:
    return f"g{published.groups}" if published.groups else published.unit or ""
