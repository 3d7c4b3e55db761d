"""The variant of a record: from its fields, which schema 1 had in the variant's name alone."""

from collections.abc import Iterable

import msgspec

from mnbench import families
from mnbench.errors import MnbenchError, ResultsError
from mnbench.network.architecture import Architecture
from mnbench.network.variant import VARIANT_NAME, Variant
from mnbench.results.record import SCHEMA, Record

NAME_SUFFIXES = {"-plain": {"simplified": False}, "-bn": {"fold_batch_norm": False}}
"""The ends of names of models that were built with another form of the graph than the default."""


def name_suffix(*, simplified: bool, fold_batch_norm: bool) -> str:
    """Return the end of the name of a model of that form."""
    return "-plain" if not simplified else "" if fold_batch_norm else "-bn"


def upgrade(records: Iterable[Record]) -> list[Record]:
    """Return records of schema 1 as records of this schema: read the variant's fields from its name."""
    graphs: dict[str, Architecture | None] = {}
    return [_upgrade(record, graphs) if record.schema == 1 else record for record in records]


def record_variant(record: Record) -> Variant:
    """Return the variant of a record, as its graph file is now.

    Raises:
        ResultsError: the record is of a user's file.
        GraphFileError, BuildError: the graph is gone, or does not have this variant any more.
    """
    if record.architecture is None or record.alpha is None or record.resolution is None:
        raise ResultsError(f"{record.variant}: is of a model file, not of a graph", hint="name the file")
    return Variant(
        architecture=families.architecture(record.architecture),
        alpha=record.alpha,
        resolution=record.resolution,
        batch=record.batch,
        classes=record.classes,
        options=record.options,
        padding=record.padding,
        precision=record.precision,
    )


def _upgrade(record: Record, graphs: dict[str, Architecture | None]) -> Record:
    name, form = record.variant, ""
    if record.architecture is None:
        return msgspec.structs.replace(record, schema=SCHEMA)
    if record.architecture not in graphs:
        graphs[record.architecture] = _read_graph(record.architecture)
    table = graphs[record.architecture]
    for suffix in NAME_SUFFIXES:
        if name.endswith(suffix):
            name, form = name.removesuffix(suffix), suffix
    match = VARIANT_NAME.fullmatch(name)
    if match is None:
        return msgspec.structs.replace(record, schema=SCHEMA)
    words = match["own"].removeprefix(record.architecture).split("-")[1:]
    options = (
        families.parse_options(table, words)[0]
        | families.parse_options(table, match["tail"].split("-")[1:], after_size=True)[0]
        if table
        else {}
    )
    return msgspec.structs.replace(
        record,
        schema=SCHEMA,
        classes=None if match["classes"] is None else int(match["classes"]),
        options=options,
        padding="same" if match["same"] else "torch",
        **NAME_SUFFIXES.get(form, {}),
    )


def _read_graph(name: str) -> Architecture | None:
    """Return the graph, or None if its file is gone or wrong: its records are still readable."""
    try:
        path = families.graph_path(name)
        return families.read_architecture(path) if path else None
    except MnbenchError:
        return None
