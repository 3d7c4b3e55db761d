"""Costs as tables: of variants, of layers, of layer types, of a graph's rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from posixpath import commonpath
from typing import Any, Literal, TypeAlias

from mnbench.network.cost import Cost, cost_by_type, layer_cost, peak_activation_bytes, total_cost
from mnbench.network.layer import Layer, Shape
from mnbench.network.network import Network, build_network
from mnbench.network.variant import Variant, format_alpha, format_resolution
from mnbench.tables.quantities import quantity
from mnbench.tables.table import Column, Table
from mnbench.units import format_percent_2

Per: TypeAlias = Literal["model", "layer", "type", "row"]


@dataclass(frozen=True, kw_only=True)
class Costs:
    """The costs of a variant or a file, by its layers; `per` is what the rows of its table are.

    `inputs` are the shape of a file's first input and the number of the others. `notes` say how the costs were counted,
    or why one is not known.
    """

    name: str
    variant: Variant | None = None
    resolution: tuple[int, int] | None
    inputs: str | None = None
    layers: Sequence[Layer]
    notes: Sequence[str] = ()
    per: Per = "model"

    @cached_property
    def total(self) -> Cost:
        """The cost of all layers."""
        return total_cost(self.layers)

    @property
    def params(self) -> int:
        """The number of trainable parameters."""
        return self.total.params

    @property
    def mult_adds(self) -> int | None:
        """The number of multiply-adds of one inference; None if it is not known."""
        return self.total.mult_adds

    @property
    def memory_access(self) -> int | None:
        """The number of elements that all layers read and write; None if it is not known."""
        return self.total.memory_access

    @property
    def memory_access_bytes(self) -> int | None:
        """The bytes that all layers read and write; None if they are not known."""
        return self.total.memory_access_bytes

    @property
    def peak_activation_bytes(self) -> int | None:
        """The largest number of bytes that activations take at once; None if it is not known."""
        return peak_activation_bytes(self.layers)

    @property
    def alpha(self) -> float | None:
        """The width multiplier; None for a file."""
        return self.variant.alpha if self.variant else None

    @property
    def extended(self) -> bool:
        """Whether no paper gives the widths, because it prints columns and no formula."""
        return self.variant is not None and self.variant.has_unpublished_width

    def table(self) -> Table[Any]:
        """Return one row for the model, each layer, each layer type, or each row of the graph."""
        if self.per == "row" and self.variant:
            return row_table(build_network(self.variant))
        if self.per == "layer":
            return _layer_table(self)
        return _type_table(self) if self.per == "type" else cost_table([self])

    def to_dict(self) -> dict[str, Any]:
        """Return the costs in base units, with the layers or the rows if the table has them."""
        if self.per == "row" and self.variant:
            return row_costs_to_dict(build_network(self.variant))
        types = cost_by_type(self.layers)
        layers = [_layer_to_dict(layer) for layer in self.layers]
        return {
            "variant": self.name,
            "alpha": self.alpha,
            "resolution": self.resolution,
            "extended": self.extended,
            **cost_to_dict(self.total),
            "peak_activation_bytes": self.peak_activation_bytes,
            "types": {kind: cost_to_dict(cost) for kind, cost in types.items()},
            **({"layers": layers} if self.per == "layer" else {}),
            **({} if self.variant else {"notes": self.notes}),
        }

    def __repr__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table().to("html")


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """A row of a cost table: a layer, a type or a row of the graph, which has a `number`."""

    number: str | None = None
    label: str
    kind: str = ""
    input_shape: Shape = ()
    output_shape: Shape = ()
    cost: Cost


def cost_table(counted: Sequence[Costs]) -> Table[Costs]:
    """Return one row for each variant or file."""
    of_variants = [
        Column[Costs](name="alpha", title="α", format=format_alpha),
        Column[Costs](
            name="resolution",
            title="res",
            value=lambda costs: format_resolution(costs.resolution) if costs.resolution else None,
        ),
    ]
    of_files = [Column[Costs](name="shape", title="input", value=lambda costs: costs.inputs, left=True)]
    columns = [
        quantity("variant", lambda costs: costs.name),
        *(of_variants if any(costs.variant for costs in counted) else []),
        *(of_files if any(costs.inputs for costs in counted) else []),
        *_cost_columns(lambda costs: costs.total),
        quantity("peak_activation_bytes", drop_priority=1),
    ]
    extended = [costs.name for costs in counted if costs.extended]
    notes = [f"{costs.name}: {note}" for costs in counted for note in costs.notes]
    if extended:
        widths = ", ".join(extended)
        notes.insert(0, f"not published: the widths of {widths} lie between or beyond the paper's columns")
    return Table(columns=columns, rows=counted, notes=notes)


def _layer_table(counted: Costs) -> Table[CostRow]:
    """Return one row for each layer, in the order in which they run."""
    lines = [
        CostRow(
            label=layer.scope,
            kind=layer.type,
            input_shape=layer.inputs[0].shape if layer.inputs else (),
            output_shape=layer.outputs[0].shape if layer.outputs else (),
            cost=layer_cost(layer),
        )
        for layer in counted.layers
    ]
    title = f"{counted.name}, layer by layer"
    return _line_table(title, "scope", lines, counted.total, shapes=True, notes=counted.notes)


def _type_table(counted: Costs) -> Table[CostRow]:
    """Return one row for each layer type, as in Table 2 of the MobileNet paper."""
    types = cost_by_type(counted.layers)
    lines = [CostRow(label=kind, cost=cost) for kind, cost in types.items()]
    title = f"{counted.name}, by layer type"
    return _line_table(title, "type", lines, counted.total, shapes=False, notes=counted.notes)


def row_table(network: Network) -> Table[CostRow]:
    """Return one row for each row of the graph's table, with the shapes and costs that α and resolution make of it."""
    variant, architecture = network.variant, network.variant.architecture
    total = total_cost(network.layers)
    title = f"{architecture.title} at α = {format_alpha(variant.alpha)}, {format_resolution(variant.resolution)}"
    notes = [
        f"row {erratum.row}: the paper prints {erratum.key} = {erratum.printed}, used is {erratum.used}: "
        f"{erratum.reason}"
        for erratum in architecture.errata
    ]
    if variant.has_unpublished_width:
        notes.append("not published: the widths at this α lie between or beyond the paper's columns")
    lines = [*_row_costs(network), CostRow(number="", label="total", cost=total)]
    table = _line_table(title, "row", lines, total, shapes=True, notes=notes)
    return replace(table, subtitles=[f"{architecture.paper}, {architecture.table}"])


def row_costs_to_dict(network: Network) -> dict[str, Any]:
    variant = network.variant
    return {
        "variant": variant.name,
        "alpha": variant.alpha,
        "resolution": variant.resolution,
        **cost_to_dict(total_cost(network.layers)),
        "rows": [
            {
                "row": line.number,
                "scope": line.label,
                "type": line.kind,
                "input": line.input_shape,
                "output": line.output_shape,
                **cost_to_dict(line.cost),
            }
            for line in _row_costs(network)
        ],
    }


def _row_costs(network: Network) -> list[CostRow]:
    """Return the cost of each row; a repeated row comes as often as it is repeated."""
    lines: list[CostRow] = []
    for (number, row), group in groupby(zip(network.rows, network.layers, strict=True), key=itemgetter(0)):
        layers = [layer for _, layer in group]
        lines.append(
            CostRow(
                number=number,
                label=_block(layers),
                kind=network.variant.architecture.describe_row(row),
                input_shape=layers[0].inputs[0].shape,
                output_shape=layers[-1].output.shape,
                cost=total_cost(layers),
            )
        )
    return lines


def _block(layers: Sequence[Layer]) -> str:
    """Return the scope that a row's layers share, or the first and the last of several blocks."""
    first, last = (layer.scope.rpartition("/")[0] or layer.scope for layer in (layers[0], layers[-1]))
    shared = commonpath([first, last])
    return shared or f"{first.partition('/')[0]} … {last.partition('/')[0]}"


def _line_table(
    title: str, name: str, lines: Sequence[CostRow], total: Cost, *, shapes: bool, notes: Sequence[str] = ()
) -> Table[CostRow]:
    """Return a table of lines with their shares of the total, in which `name` is the first column."""

    def label(line: CostRow) -> str:
        return line.label if line.number is None else f"{line.number:<4}  {line.label}"

    parts = (
        Column[CostRow](name=name, value=lambda line: line.number),
        Column[CostRow](name="scope", value=lambda line: line.label),
    )
    numbered = any(line.number is not None for line in lines)
    columns = [Column[CostRow](name=name, value=label, left=True, parts=parts if numbered else None)]
    if shapes:
        columns += [
            Column[CostRow](name="type", value=lambda line: line.kind, left=True),
            Column[CostRow](name="input", value=lambda line: _times(line.input_shape), drop_priority=1),
            Column[CostRow](name="output", value=lambda line: _times(line.output_shape)),
        ]
    columns += _cost_columns(lambda line: line.cost)
    columns.append(fraction_column("mult_adds", "Mult-Adds", lambda line: _mult_adds_share(line.cost, total)))
    if not shapes:
        columns.append(fraction_column("params", "params", lambda line: fraction(line.cost.params, total.params)))
    return Table(columns=columns, rows=lines, title=title, notes=notes)


def _mult_adds_share(part: Cost, whole: Cost) -> float | None:
    if part.mult_adds is None or whole.mult_adds is None:
        return None
    return fraction(part.mult_adds, whole.mult_adds)


def _cost_columns(of: Callable[[Any], Cost]) -> list[Column[Any]]:
    return [
        quantity("params", lambda row: of(row).params, decimals=3),
        quantity("mult_adds", lambda row: of(row).mult_adds, decimals=2),
        quantity("memory_access", lambda row: of(row).memory_access, decimals=3, drop_priority=3),
        quantity("memory_access_bytes", lambda row: of(row).memory_access_bytes, decimals=2),
    ]


def cost_to_dict(cost: Cost) -> dict[str, int | None]:
    return {name: getattr(cost, name) for name in ("params", "mult_adds", "memory_access", "memory_access_bytes")}


def _layer_to_dict(layer: Layer) -> dict[str, Any]:
    return {
        "scope": layer.scope,
        "kind": layer.kind,
        "type": layer.type,
        "inputs": [tensor.shape for tensor in layer.inputs],
        "outputs": [tensor.shape for tensor in layer.outputs],
        "weights": [weight.shape for weight in layer.weights],
        **{name: getattr(layer, name) for name in ("kernel", "stride", "padding", "groups")},
        **cost_to_dict(layer_cost(layer)),
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
