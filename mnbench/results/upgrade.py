"""Upgrade older records: schema 1 had the variant's fields in its name alone, and a difference in another unit."""

from collections.abc import Iterable
from typing import Any

import msgspec

from mnbench import families
from mnbench.errors import MnbenchError
from mnbench.network.architecture import Architecture
from mnbench.network.variant import VARIANT_NAME
from mnbench.results.record import SCHEMA, Record

NAME_SUFFIXES = {"-plain": {"simplified": False}, "-bn": {"fold_batch_norm": False}}
"""The ends of names of models that were built with another form of the graph than the default."""


def upgrade(records: Iterable[Record]) -> list[Record]:
    """Return older records as records of this schema.

    Before schema 3 a difference was a share of the output's spread, which cannot be converted: it is left out.
    """
    graphs: dict[str | None, Architecture | None] = {None: None}
    upgraded: list[Record] = []
    for record in records:
        if record.schema == SCHEMA:
            upgraded.append(record)
            continue
        fields: dict[str, Any] = {}
        if record.schema == 1:
            if record.architecture not in graphs:
                graphs[record.architecture] = _read_graph(str(record.architecture))
            fields = _fields(record.variant, record.architecture, graphs[record.architecture])
        upgraded.append(msgspec.structs.replace(record, schema=SCHEMA, difference=None, **fields))
    return upgraded


def _fields(name: str, architecture: str | None, graph: Architecture | None) -> dict[str, Any]:
    """Return the fields in the name of a variant; none for a user's file."""
    fields: dict[str, Any] = {}
    for suffix, form in NAME_SUFFIXES.items():
        if name.endswith(suffix):
            name, fields = name.removesuffix(suffix), dict(form)
    match = VARIANT_NAME.fullmatch(name)
    if architecture is None or match is None:
        return {}
    fields["classes"] = None if match["classes"] is None else int(match["classes"])
    fields["padding"] = "same" if match["same"] else "torch"
    if graph:
        words = match["own"].removeprefix(architecture).split("-")[1:]
        tail = match["tail"].split("-")[1:]
        fields["options"] = (
            families.parse_options(graph, words)[0] | families.parse_options(graph, tail, after_size=True)[0]
        )
    return fields


def _read_graph(name: str) -> Architecture | None:
    """Return the graph, or None if its file is gone or wrong: its records are still readable."""
    try:
        path = families.graph_path(name)
        return families.read_architecture(path) if path else None
    except MnbenchError:
        return None
