"""The table of models that were built: their files, and what the building changed."""

from collections.abc import Mapping
from pathlib import Path

from mnbench.model.model import Model
from mnbench.tables.quantities import quantity
from mnbench.tables.table import Column, Table
from mnbench.units import millions_formatter


def model_table(models: Mapping[Path, Model]) -> Table[Path]:
    column = Column[Path]
    size_before = column(
        name="size_bytes_before",
        title="size\nbefore",
        unit="MB",
        value=lambda path: models[path].reference.size_bytes if models[path].file else None,
        format=millions_formatter(2),
    )
    columns = [
        column(name="path", title="file", value=str, left=True),
        *([size_before] if any(model.file for model in models.values()) else []),
        quantity("size_bytes", lambda path: models[path].size_bytes, decimals=2),
        quantity("mult_adds", lambda path: models[path].cost.mult_adds),
        column(
            name="nodes_before", title="nodes\nbefore", value=lambda path: models[path].reference.nodes, drop_priority=2
        ),
        column(name="nodes", value=lambda path: models[path].nodes),
        column(name="difference", value=lambda path: models[path].difference, format="{:.0e}".format, drop_priority=1),
        column(name="sha256", value=lambda path: models[path].sha256, format="{:.12}".format, left=True),
    ]
    notes = [
        change if len(models) == 1 else f"{path}: {change}"
        for path, model in models.items()
        for change in (*model.changes, *model.not_proven)
    ]
    simplified = any(model.difference is not None for model in models.values())
    explained = ["difference: the largest that simplifying made to the outputs, as a share of their largest number"]
    return Table(columns=columns, rows=tuple(models), notes=[*(explained if simplified else []), *notes])
