"""Built models as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnbench.model.build import BuiltModel
from mnbench.network.cost import peak_activation_bytes, total_cost
from mnbench.tables.quantities import quantity
from mnbench.tables.table import Column, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedModel:
    """A model and the file it was saved to."""

    path: Path
    built: BuiltModel

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        model = self.built
        total = total_cost(model.layers, model.element_bytes)
        return {
            "variant": model.model.name,
            "alpha": model.alpha,
            "resolution": model.resolution,
            "params": total.params,
            "mult_adds": total.mult_adds,
            "memory_access": total.memory_access,
            "memory_access_bytes": total.memory_access_bytes,
            "peak_activation_bytes": peak_activation_bytes(model.layers, model.element_bytes),
            "path": str(self.path),
            "size_bytes": len(model.model.data),
            "sha256": model.model.sha256,
            "nodes": model.model.nodes,
            "nodes_before": model.plain_nodes,
            "opset": model.model.opset,
            "simplified": model.difference is not None,
            "difference": model.difference,
        }


def build_table(built: Sequence[SavedModel]) -> Table[SavedModel]:
    """One row a file."""
    columns = [
        Column[SavedModel](name="path", title="file", value=lambda built: str(built.path), left=True),
        quantity("size_bytes", lambda built: len(built.built.model.data), decimals=2),
        quantity("mult_adds", lambda built: total_cost(built.built.layers).mult_adds),
        Column[SavedModel](
            name="nodes_before", title="nodes\nbefore", value=lambda built: built.built.plain_nodes, drop_priority=2
        ),
        Column[SavedModel](name="nodes", value=lambda built: built.built.model.nodes),
        Column[SavedModel](
            name="difference", value=lambda built: built.built.difference, format="{:.0e}".format, drop_priority=1
        ),
        Column[SavedModel](
            name="sha256", value=lambda built: built.built.model.sha256, format="{:.12}".format, left=True
        ),
    ]
    notes = ["difference: the largest that simplifying made to the outputs, as a share of their spread"]
    return Table(
        columns=columns, rows=built, notes=notes if any(model.built.difference is not None for model in built) else ()
    )
