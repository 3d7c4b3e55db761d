"""Published accuracy: the figure that a source prints for exactly the variant that was measured."""

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from mnbench import families
from mnbench.errors import GraphFileError
from mnbench.network.architecture import Architecture, OptionValue
from mnbench.network.variant import Padding, Precision, Variant
from mnbench.workspace import table_paths

INTEGER_SOURCES = ("quantized", "8-bit")
"""Words of a source whose figures are those of 8-bit integer weights."""

OWN_IMPLEMENTATIONS = ("own implementation",)
"""Words of a source that trained a graph of its own design."""


class PublishedAccuracy(NamedTuple):
    """An accuracy in percent, what it is (a key of `METRICS`), and its source."""

    metric: str
    percent: float
    source: str


class _Key(NamedTuple):
    """The fields in which a published figure and a variant must agree."""

    alpha: float
    resolution: tuple[int, int]
    options: frozenset[tuple[str, OptionValue]]
    classes: int | None


def published_accuracy(
    graph: str | None,
    *,
    alpha: float,
    resolution: tuple[int, int],
    classes: int | None = None,
    padding: Padding = "torch",
    precision: Precision = "fp32",
    options: Mapping[str, OptionValue] | None = None,
) -> PublishedAccuracy | None:
    """Return the first figure that the graph's file lists for a variant: files list the authors' own first.

    Figures of 8-bit weights are those of int8 alone, and no source prints any for fp16. A variant with another padding
    or activation than the papers' has none; the batch does not matter.
    """
    table = _find(graph)
    if table is None or precision == "fp16" or padding != "torch":
        return None
    key = _Key(alpha, resolution, _complete(table.architecture, options or {}), classes)
    return (table.integer if precision == "int8" else table.floating).get(key)


def published_variants(
    architecture: Architecture, *, batch: int | None = 1, padding: Padding = "torch", precision: Precision = "fp32"
) -> list[Variant]:
    """Return every variant of a graph for which a source prints an accuracy, in the file's order."""
    variants: dict[str, Variant] = {}
    for key in _index(architecture, integer=False):
        options = {name: value for name, value in key.options if architecture.default_options.get(name) != value}
        variant = Variant(
            architecture=architecture,
            alpha=key.alpha,
            resolution=key.resolution,
            options=options,
            batch=batch,
            padding=padding,
            precision=precision,
        )
        if key.classes is None:
            variants.setdefault(variant.name, variant)
    return list(variants.values())


def family_name(architecture: str | None) -> str:
    """Return the family of a graph; `own` for a user's file, and for a graph that is not here."""
    graph = find_graph(architecture)
    return graph.family if graph else "own"


def find_graph(name: str | None) -> Architecture | None:
    """Return the graph of that name; None if there is none, or its file is wrong."""
    table = _find(name)
    return table.architecture if table else None


class _Table(NamedTuple):
    architecture: Architecture
    floating: dict[_Key, PublishedAccuracy]
    integer: dict[_Key, PublishedAccuracy]


def _find(graph: str | None) -> _Table | None:
    """Return the graph of that name; None if there is none, or its file is wrong."""
    return _find_at(graph or "", os.path.abspath(""), int(monotonic()))  # noqa: PTH100  a Path is slow to make


@lru_cache
def _find_at(graph: str, folder: str, second: int) -> _Table | None:
    version = _versions(folder, second).get(graph)
    return version and _read(*version)


@lru_cache(maxsize=1)
def _versions(_folder: str, _second: int) -> dict[str, tuple[Path, int, int, int]]:
    """Return the path, inode, time and size of each graph's file: once a second, for thousands of records name it."""
    versions: dict[str, tuple[Path, int, int, int]] = {}
    for folder in ("graphs/study_networks", "graphs"):
        for name, path in table_paths(folder).items():
            with suppress(OSError):
                facts = path.stat()
                versions[name] = path, facts.st_ino, facts.st_mtime_ns, facts.st_size
    return versions


@lru_cache
def _read(path: Path, *_version: int) -> _Table | None:
    """Read a graph once for each version of its file."""
    try:
        architecture = families.read_architecture(path)
    except GraphFileError:
        return None
    return _Table(architecture, _index(architecture, integer=False), _index(architecture, integer=True))


def _index(architecture: Architecture, *, integer: bool) -> dict[_Key, PublishedAccuracy]:
    """Return every figure of fp32, or of 8-bit weights."""
    figures: dict[_Key, PublishedAccuracy] = {}
    for published in architecture.published:
        if published.accuracy is None or any(words in published.source for words in OWN_IMPLEMENTATIONS):
            continue
        if any(words in published.source for words in INTEGER_SOURCES) == integer:
            options = _complete(architecture, published.options)
            key = _Key(published.alpha, published.size, options, published.classes)
            figures.setdefault(key, PublishedAccuracy(*published.accuracy, published.source))
    return figures


def _complete(architecture: Architecture, options: Mapping[str, OptionValue]) -> frozenset[tuple[str, OptionValue]]:
    """Return all options: those that are set, and the table's own."""
    return frozenset({**architecture.default_options, **options}.items())
