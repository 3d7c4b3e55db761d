"""Count the costs of a variant or an ONNX file."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from mnbench.network.cost_tables import (
    CountedModel,
    cost_table,
    layer_table,
    row_costs_to_dict,
    row_table,
    type_table,
)
from mnbench.network.network import build_network
from mnbench.network.variant import ModelSource, Variant
from mnbench.tables.table import Table

Per: TypeAlias = Literal["model", "layer", "type", "row"]


@dataclass(frozen=True, kw_only=True)
class Costs:
    """The costs of a variant or file; `per` is what the rows of its table are."""

    counted: CountedModel
    per: Per = "model"

    @property
    def name(self) -> str:
        """The name of the variant or the file."""
        return self.counted.source.name

    @property
    def params(self) -> int:
        """The number of trainable parameters."""
        return self.counted.total.params

    @property
    def mult_adds(self) -> int:
        """The number of multiply-adds of one inference."""
        return self.counted.total.mult_adds

    @property
    def memory_access(self) -> int:
        """The number of elements that all layers read and write."""
        return self.counted.total.memory_access

    @property
    def memory_access_bytes(self) -> int:
        """The bytes that all layers read and write."""
        return self.counted.total.memory_access_bytes

    @property
    def peak_activation_bytes(self) -> int:
        """The largest number of bytes that activations take at once."""
        return self.counted.peak_bytes

    def table(self) -> Table[Any]:
        """Return one row for the model, each layer, each layer type, or each row of the graph."""
        source = self.counted.source
        if self.per == "row" and isinstance(source, Variant):
            return row_table(build_network(source))
        if self.per == "layer":
            return layer_table(self.counted)
        return type_table(self.counted) if self.per == "type" else cost_table([self.counted])

    def to_dict(self) -> dict[str, Any]:
        """Return the costs in base units, with the layers or the rows if the table has them."""
        source = self.counted.source
        if self.per == "row" and isinstance(source, Variant):
            return row_costs_to_dict(build_network(source))
        return self.counted.to_dict(layers=self.per == "layer")

    def __str__(self) -> str:
        """Return the table as text."""
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table().to("html")


def count_model(source: ModelSource) -> CountedModel:
    """Count a variant's layers, or those of an ONNX file; only a file needs the onnx package.

    Raises:
        FileError, BuildError: the file cannot be read.
    """
    if isinstance(source, Variant):
        layers = build_network(source).layers
        return CountedModel(
            source=source, resolution=source.resolution, layers=layers, element_bytes=source.element_bytes
        )
    from mnbench.model.build import build_model  # noqa: PLC0415  variants need no onnx

    model = build_model(source, simplified=False)
    return CountedModel(
        source=source, resolution=model.resolution, layers=model.layers, element_bytes=model.element_bytes
    )
