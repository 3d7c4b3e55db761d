"""Costs as tables: of variants, of layers, of layer types, of a graph's rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from posixpath import commonpath
from typing import Any

import msgspec

from mnbench.network.cost import Cost, cost, cost_by_type, layer_cost, peak_activation_bytes
from mnbench.network.layer import Layer, Shape
from mnbench.network.network import Network
from mnbench.network.toml_struct import Table as TomlRow
from mnbench.network.variant import Source, Variant, alpha_text, resolution_text
from mnbench.tables.table import Column, Table
from mnbench.units import in_millions, in_percent_2


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A variant or file with its layers."""

    source: Source
    resolution: tuple[int, int] | None
    layers: Sequence[Layer]
    element_bytes: int

    @property
    def peak(self) -> int:
        """The bytes that activations hold at most."""
        return peak_activation_bytes(self.layers, self.element_bytes)

    @property
    def alpha(self) -> float | None:
        """The width multiplier, of a variant."""
        return self.source.alpha if isinstance(self.source, Variant) else None

    @property
    def extended(self) -> bool:
        """Whether its widths stand in no paper, because the paper prints columns and no formula."""
        return isinstance(self.source, Variant) and self.source.extended

    @property
    def total(self) -> Cost:
        """What all its layers cost."""
        return cost(self.layers, self.element_bytes)

    def payload(self, *, layers: bool = False) -> dict[str, Any]:
        """For programs."""
        total = self.total
        found: dict[str, Any] = {
            "variant": self.source.name,
            "alpha": self.alpha,
            "resolution": self.resolution,
            "extended": self.extended,
            **_cost_payload(total),
            "peak_activation_bytes": self.peak,
            "types": {kind: _cost_payload(one) for kind, one in cost_by_type(self.layers, self.element_bytes).items()},
        }
        if layers:
            found["layers"] = [_layer_payload(layer, self.element_bytes) for layer in self.layers]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A label, shapes and a cost: what layers, types and rows have in common."""

    label: str
    kind: str = ""
    read: Shape = ()
    written: Shape = ()
    cost: Cost
    total: Cost


def cost_table(counted: Sequence[Counted]) -> Table[Counted]:
    """One row a variant."""
    columns = [
        Column[Counted](name="variant", value=lambda c: c.source.name, left=True),
        Column[Counted](name="alpha", title="α", value=lambda c: c.alpha, show=alpha_text),
        Column[Counted](
            name="resolution", title="res", value=lambda c: resolution_text(c.resolution) if c.resolution else None
        ),
        *_cost_columns(lambda c: c.total),
        Column[Counted](
            name="peak_activation_bytes",
            title="peak\nactivations",
            unit="MB",
            value=lambda c: c.peak,
            show=in_millions(2),
            rank=1,
        ),
    ]
    extended = [one.source.name for one in counted if one.extended]
    notes = [f"not published: the widths of {', '.join(extended)} lie between or beyond the paper's columns"]
    return Table(columns=columns, rows=counted, notes=notes if extended else ())


def layer_table(counted: Counted) -> Table[Line]:
    """One row a layer, in the order in which they run."""
    lines = [
        Line(
            label=layer.scope,
            kind=layer.type,
            read=layer.inputs[0].shape if layer.inputs else (),
            written=layer.output.shape,
            cost=layer_cost(layer, counted.element_bytes),
            total=counted.total,
        )
        for layer in counted.layers
    ]
    return _lines(f"{counted.source.name}, layer by layer", "scope", lines, shapes=True)


def type_table(counted: Counted) -> Table[Line]:
    """One row a layer type, as in Table 2 of the MobileNet paper."""
    lines = [
        Line(label=kind, cost=one, total=counted.total)
        for kind, one in cost_by_type(counted.layers, counted.element_bytes).items()
    ]
    return _lines(f"{counted.source.name}, by layer type", "type", lines, shapes=False)


def row_table(network: Network) -> Table[Line]:
    """One row for each row of the graph's table, with the shapes and costs that α and resolution make of it."""
    variant = network.variant
    total = cost(network.layers, variant.element_bytes)
    lines = [
        Line(
            label=f"{number:<4}  {_block(layers)}",
            kind=_printed(row),
            read=layers[0].inputs[0].shape,
            written=layers[-1].output.shape,
            cost=cost(layers, variant.element_bytes),
            total=total,
        )
        for (number, row), layers in _rows(network)
    ]
    architecture = variant.architecture
    title = (
        f"{architecture.title} at α = {alpha_text(variant.alpha)}, {resolution_text(variant.resolution)}\n"
        f"{architecture.paper}, {architecture.table}"
    )
    notes = [
        f"row {one.row}: the paper prints {one.key} = {one.printed}, used is {one.used}: {one.reason}"
        for one in architecture.errata
    ]
    if variant.extended:
        notes.append("not published: the widths at this α lie between or beyond the paper's columns")
    summed = Line(label="      total", cost=total, total=total)
    return _lines(title, "row", [*lines, summed], shapes=True, notes=notes)


def row_payload(network: Network) -> dict[str, Any]:
    """For programs."""
    variant = network.variant
    return {
        "variant": variant.name,
        "alpha": variant.alpha,
        "resolution": variant.resolution,
        **_cost_payload(cost(network.layers, variant.element_bytes)),
        "rows": [
            {
                "row": number,
                "scope": _block(layers),
                "type": _printed(row),
                "input": layers[0].inputs[0].shape,
                "output": layers[-1].output.shape,
                **_cost_payload(cost(layers, variant.element_bytes)),
            }
            for (number, row), layers in _rows(network)
        ],
    }


def _rows(network: Network) -> list[tuple[tuple[str, TomlRow], list[Layer]]]:
    """The layers of each row; of a repeated row, each time by itself."""
    groups = groupby(zip(network.rows, network.layers, strict=True), key=itemgetter(0))
    return [(row, [layer for _, layer in group]) for row, group in groups]


def _block(layers: Sequence[Layer]) -> str:
    """The scope that a row's layers share, or the first and the last of several blocks."""
    first, last = (layer.scope.rpartition("/")[0] or layer.scope for layer in (layers[0], layers[-1]))
    shared = commonpath([first, last])
    return shared or f"{first.partition('/')[0]} … {last.partition('/')[0]}"


def _printed(row: TomlRow) -> str:
    """The row's type and those of its columns that are neither shapes nor widths: `bottleneck t6 n2 s2`."""
    columns = msgspec.to_builtins(row)
    kept = [f"{key}{columns[key]}" for key in ("k", "t", "n", "repeat", "s") if columns.get(key, 1) != 1]
    flags = [word for key, word in (("se", "SE"),) if columns.get(key)] + [
        columns[key] for key in ("nl",) if key in columns
    ]
    return " ".join([columns["type"], *kept, *flags])


def _lines(title: str, label: str, lines: Sequence[Line], *, shapes: bool, notes: Sequence[str] = ()) -> Table[Line]:
    columns = [Column[Line](name=label, value=lambda line: line.label, left=True)]
    if shapes:
        columns += [
            Column[Line](name="type", value=lambda line: line.kind, left=True),
            Column[Line](name="input", value=lambda line: _times(line.read), rank=1),
            Column[Line](name="output", value=lambda line: _times(line.written)),
        ]
    columns += _cost_columns(lambda line: line.cost)
    columns.append(
        share_column("mult_adds", "Mult-Adds", lambda line: share(line.cost.mult_adds, line.total.mult_adds))
    )
    if not shapes:
        columns.append(share_column("params", "params", lambda line: share(line.cost.params, line.total.params)))
    return Table(columns=columns, rows=lines, title=title, notes=notes)


def _cost_columns(of: Callable[[Any], Cost]) -> list[Column[Any]]:
    return [
        Column[Any](name="params", unit="M", value=lambda row: of(row).params, show=in_millions(3), rank=2),
        Column[Any](
            name="mult_adds", title="Mult-Adds", unit="M", value=lambda row: of(row).mult_adds, show=in_millions(2)
        ),
        Column[Any](
            name="memory_access",
            title="memory\naccess",
            unit="M",
            value=lambda row: of(row).memory_access,
            show=in_millions(3),
            rank=3,
        ),
        Column[Any](
            name="memory_access_bytes",
            title="memory\naccess",
            unit="MB",
            value=lambda row: of(row).memory_access_bytes,
            show=in_millions(2),
        ),
    ]


def _cost_payload(one: Cost) -> dict[str, int]:
    return {
        "params": one.params,
        "mult_adds": one.mult_adds,
        "memory_access": one.memory_access,
        "memory_access_bytes": one.memory_access_bytes,
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


def share_column(name: str, title: str, value: Callable[[Any], float | None]) -> Column[Any]:
    """A share, with two decimals, as papers print it."""
    return Column[Any](name=f"{name}_share", title=title, unit="share", value=value, show=in_percent_2)


def share(part: int, whole: int) -> float:
    """A part as a share of the whole."""
    return part / whole if whole else 0.0


def _times(shape: Shape) -> str:
    """Without the batch, and in the papers' order: height × width × channels."""
    if len(shape) == 4:
        _, channels, height, width = shape
        return f"{height}×{width}×{channels}"
    return "×".join(str(side) for side in shape[1:])
