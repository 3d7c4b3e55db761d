"""Built models as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnbench.model.build import Made
from mnbench.network.cost import cost, peak_activation_bytes
from mnbench.tables.table import Column, Table
from mnbench.units import in_millions


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A model and the file it was saved to."""

    path: Path
    made: Made

    def payload(self) -> dict[str, Any]:
        """For programs."""
        made = self.made
        total = cost(made.layers, made.element_bytes)
        return {
            "variant": made.model.name,
            "alpha": made.alpha,
            "resolution": made.resolution,
            "params": total.params,
            "mult_adds": total.mult_adds,
            "memory_access": total.memory_access,
            "memory_access_bytes": total.memory_access_bytes,
            "peak_activation_bytes": peak_activation_bytes(made.layers, made.element_bytes),
            "path": str(self.path),
            "size_bytes": len(made.model.data),
            "sha256": made.model.sha256,
            "nodes": made.model.nodes,
            "nodes_before": made.nodes_before,
            "opset": made.model.opset,
            "simplified": made.difference is not None,
            "difference": made.difference,
        }


def build_table(built: Sequence[Built]) -> Table[Built]:
    """One row a file."""
    columns = [
        Column[Built](name="path", title="file", value=lambda built: str(built.path), left=True),
        Column[Built](
            name="size_bytes",
            title="size",
            unit="MB",
            value=lambda built: len(built.made.model.data),
            show=in_millions(2),
        ),
        Column[Built](
            name="mult_adds",
            title="Mult-Adds",
            unit="M",
            value=lambda built: cost(built.made.layers).mult_adds,
            show=in_millions(1),
        ),
        Column[Built](name="nodes_before", title="nodes\nbefore", value=lambda built: built.made.nodes_before, rank=2),
        Column[Built](name="nodes", value=lambda built: built.made.model.nodes),
        Column[Built](name="difference", value=lambda built: built.made.difference, show="{:.0e}".format, rank=1),
        Column[Built](name="sha256", value=lambda built: built.made.model.sha256, show="{:.12}".format, left=True),
    ]
    notes = ["difference: the largest that simplifying made to the outputs, as a share of their spread"]
    return Table(
        columns=columns, rows=built, notes=notes if any(one.made.difference is not None for one in built) else ()
    )
