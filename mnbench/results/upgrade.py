"""Upgrade older records: schema 1 had the variant's fields in its name alone, and a difference in another unit."""

from typing import Any

import msgspec

from mnbench import families
from mnbench.families.published_accuracy import find_graph
from mnbench.network.variant import VARIANT_NAME
from mnbench.results.record import SCHEMA, Record

NAME_SUFFIXES = {"-plain": {"simplified": False}, "-bn": {"fold_batch_norm": False}}
"""The ends of names of models that were built with another form of the graph than the default."""


def upgrade(record: Record) -> Record:
    """Return an older record as one of this schema.

    Before schema 3 a difference was a share of the output's spread, which cannot be converted: it is left out.
    """
    if record.schema == SCHEMA:
        return record
    fields = _fields(record.variant, record.architecture) if record.schema == 1 else {}
    return msgspec.structs.replace(record, schema=SCHEMA, difference=None, **fields)


def _fields(name: str, architecture: str | None) -> dict[str, Any]:
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
    if graph := find_graph(architecture):
        words = match["own"].removeprefix(architecture).split("-")[1:]
        tail = match["tail"].split("-")[1:]
        fields["options"] = (
            families.parse_options(graph, words)[0] | families.parse_options(graph, tail, after_size=True)[0]
        )
    return fields
