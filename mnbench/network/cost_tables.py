"""Costs as tables: of variants, of layers, of layer types, of a graph's rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from posixpath import commonpath
from typing import Any

from mnbench.network.cost import Cost, cost_by_type, layer_cost, peak_activation_bytes, total_cost
from mnbench.network.layer import Layer, Shape
from mnbench.network.network import Network
from mnbench.network.toml_struct import TomlStruct as TomlRow
from mnbench.network.variant import ModelSource, Variant, format_alpha, format_resolution
from mnbench.tables.quantities import quantity
from mnbench.tables.table import Column, Table
from mnbench.units import format_percent_2


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedModel:
    """A variant or file with its layers."""

    source: ModelSource
    resolution: tuple[int, int] | None
    layers: Sequence[Layer]
    element_bytes: int

    @property
    def peak_bytes(self) -> int:
        """The bytes that activations hold at most."""
        return peak_activation_bytes(self.layers, self.element_bytes)

    @property
    def alpha(self) -> float | None:
        """The width multiplier, of a variant."""
        return self.source.alpha if isinstance(self.source, Variant) else None

    @property
    def extended(self) -> bool:
        """Whether no paper gives its widths, because the paper prints columns and no formula."""
        return isinstance(self.source, Variant) and self.source.has_unpublished_width

    @property
    def total(self) -> Cost:
        """The cost of all its layers."""
        return total_cost(self.layers, self.element_bytes)

    def to_dict(self, *, layers: bool = False) -> dict[str, Any]:
        """For programs."""
        total = self.total
        entries: dict[str, Any] = {
            "variant": self.source.name,
            "alpha": self.alpha,
            "resolution": self.resolution,
            "extended": self.extended,
            **_cost_payload(total),
            "peak_activation_bytes": self.peak_bytes,
            "types": {
                kind: _cost_payload(cost) for kind, cost in cost_by_type(self.layers, self.element_bytes).items()
            },
        }
        if layers:
            entries["layers"] = [_layer_payload(layer, self.element_bytes) for layer in self.layers]
        return entries


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """A row of a cost table: a layer, a type or a row of the graph."""

    label: str
    kind: str = ""
    input_shape: Shape = ()
    output_shape: Shape = ()
    cost: Cost
    total: Cost


def cost_table(counted: Sequence[CountedModel]) -> Table[CountedModel]:
    """One row a variant."""
    columns = [
        quantity("variant", lambda c: c.source.name),
        Column[CountedModel](name="alpha", title="α", format=format_alpha),
        Column[CountedModel](
            name="resolution", title="res", value=lambda c: format_resolution(c.resolution) if c.resolution else None
        ),
        *_cost_columns(lambda c: c.total),
        quantity("peak_activation_bytes", lambda c: c.peak_bytes, drop_priority=1),
    ]
    extended = [model.source.name for model in counted if model.extended]
    notes = [f"not published: the widths of {', '.join(extended)} lie between or beyond the paper's columns"]
    return Table(columns=columns, rows=counted, notes=notes if extended else ())


def layer_table(counted: CountedModel) -> Table[CostRow]:
    """One row a layer, in the order in which they run."""
    lines = [
        CostRow(
            label=layer.scope,
            kind=layer.type,
            input_shape=layer.inputs[0].shape if layer.inputs else (),
            output_shape=layer.output.shape,
            cost=layer_cost(layer, counted.element_bytes),
            total=counted.total,
        )
        for layer in counted.layers
    ]
    return _lines(f"{counted.source.name}, layer by layer", "scope", lines, shapes=True)


def type_table(counted: CountedModel) -> Table[CostRow]:
    """One row a layer type, as in Table 2 of the MobileNet paper."""
    lines = [
        CostRow(label=kind, cost=cost, total=counted.total)
        for kind, cost in cost_by_type(counted.layers, counted.element_bytes).items()
    ]
    return _lines(f"{counted.source.name}, by layer type", "type", lines, shapes=False)


def row_table(network: Network) -> Table[CostRow]:
    """One row for each row of the graph's table, with the shapes and costs that α and resolution make of it."""
    variant, architecture = network.variant, network.variant.architecture
    total = total_cost(network.layers, variant.element_bytes)
    lines = [
        CostRow(
            label=f"{number:<4}  {_block(layers)}",
            kind=architecture.describe_row(row),
            input_shape=layers[0].inputs[0].shape,
            output_shape=layers[-1].output.shape,
            cost=total_cost(layers, variant.element_bytes),
            total=total,
        )
        for (number, row), layers in _rows(network)
    ]
    title = (
        f"{architecture.title} at α = {format_alpha(variant.alpha)}, {format_resolution(variant.resolution)}\n"
        f"{architecture.paper}, {architecture.table}"
    )
    notes = [
        f"row {erratum.row}: the paper prints {erratum.key} = {erratum.printed}, used is {erratum.used}: "
        f"{erratum.reason}"
        for erratum in architecture.errata
    ]
    if variant.has_unpublished_width:
        notes.append("not published: the widths at this α lie between or beyond the paper's columns")
    summed = CostRow(label="      total", cost=total, total=total)
    return _lines(title, "row", [*lines, summed], shapes=True, notes=notes)


def row_costs_to_dict(network: Network) -> dict[str, Any]:
    """For programs."""
    variant = network.variant
    return {
        "variant": variant.name,
        "alpha": variant.alpha,
        "resolution": variant.resolution,
        **_cost_payload(total_cost(network.layers, variant.element_bytes)),
        "rows": [
            {
                "row": number,
                "scope": _block(layers),
                "type": variant.architecture.describe_row(row),
                "input": layers[0].inputs[0].shape,
                "output": layers[-1].output.shape,
                **_cost_payload(total_cost(layers, variant.element_bytes)),
            }
            for (number, row), layers in _rows(network)
        ],
    }


def _rows(network: Network) -> list[tuple[tuple[str, TomlRow], list[Layer]]]:
    """Return the layers of each row; a repeated row comes as often as it is repeated."""
    groups = groupby(zip(network.rows, network.layers, strict=True), key=itemgetter(0))
    return [(row, [layer for _, layer in group]) for row, group in groups]


def _block(layers: Sequence[Layer]) -> str:
    """Return the scope that a row's layers share, or the first and the last of several blocks."""
    first, last = (layer.scope.rpartition("/")[0] or layer.scope for layer in (layers[0], layers[-1]))
    shared = commonpath([first, last])
    return shared or f"{first.partition('/')[0]} … {last.partition('/')[0]}"


def _lines(
    title: str, label: str, lines: Sequence[CostRow], *, shapes: bool, notes: Sequence[str] = ()
) -> Table[CostRow]:
    columns = [Column[CostRow](name=label, value=lambda line: line.label, left=True)]
    if shapes:
        columns += [
            Column[CostRow](name="type", value=lambda line: line.kind, left=True),
            Column[CostRow](name="input", value=lambda line: _times(line.input_shape), drop_priority=1),
            Column[CostRow](name="output", value=lambda line: _times(line.output_shape)),
        ]
    columns += _cost_columns(lambda line: line.cost)
    columns.append(
        fraction_column("mult_adds", "Mult-Adds", lambda line: fraction(line.cost.mult_adds, line.total.mult_adds))
    )
    if not shapes:
        columns.append(fraction_column("params", "params", lambda line: fraction(line.cost.params, line.total.params)))
    return Table(columns=columns, rows=lines, title=title, notes=notes)


def _cost_columns(of: Callable[[Any], Cost]) -> list[Column[Any]]:
    return [
        quantity("params", lambda row: of(row).params, decimals=3),
        quantity("mult_adds", lambda row: of(row).mult_adds, decimals=2),
        quantity("memory_access", lambda row: of(row).memory_access, decimals=3, drop_priority=3),
        quantity("memory_access_bytes", lambda row: of(row).memory_access_bytes, decimals=2),
    ]


def _cost_payload(cost: Cost) -> dict[str, int]:
    return {
        "params": cost.params,
        "mult_adds": cost.mult_adds,
        "memory_access": cost.memory_access,
        "memory_access_bytes": cost.memory_access_bytes,
    }


def _layer_payload(layer: Layer, element_bytes: int) -> dict[str, Any]:
    return {
        "scope": layer.scope,
        "kind": layer.kind,
        "type": layer.type,
        "inputs": [tensor.shape for tensor in layer.inputs],
        "outputs": [tensor.shape for tensor in layer.outputs],
        "weights": layer.weights,
        "kernel": layer.kernel,
        "stride": layer.stride,
        "padding": layer.padding,
        "groups": layer.groups,
        **_cost_payload(layer_cost(layer, element_bytes)),
    }


def fraction_column(name: str, title: str, value: Callable[[Any], float | None]) -> Column[Any]:
    """Return a column of shares, with two decimals, as papers print them."""
    return Column[Any](name=f"{name}_share", title=title, unit="share", value=value, format=format_percent_2)


def fraction(part: int, whole: int) -> float:
    """Return a part as a share of the whole."""
    return part / whole if whole else 0.0


def _times(shape: Shape) -> str:
    """Without the batch, and in the papers' order: height × width × channels."""
    if len(shape) == 4:
        _, channels, height, width = shape
        return f"{height}×{width}×{channels}"
    return "×".join(str(side) for side in shape[1:])
