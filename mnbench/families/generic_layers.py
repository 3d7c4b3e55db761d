"""Stacked blocks: tables to layers."""

from mnbench.families import generic as spec
from mnbench.families.shufflenet import round_to_multiple
from mnbench.network.layer import Tensor
from mnbench.network.layer_builder import LayerBuilder
from mnbench.network.variant import Variant


def selected_block(table: spec.StackedBlocks, variant: Variant) -> tuple[int, spec.Block]:
    """The form of the block that a variant has, behind the number of its row."""
    unit = variant.unit or table.unit
    return next((number, row) for number, row in enumerate(table.rows, 1) if row.unit == unit)


def scale_channels(row: spec.Block, printed: int, alpha: float) -> int:
    """Channels at α, to the nearest multiple of the groups."""
    return round_to_multiple(printed * alpha, row.groups, row.groups)


def input_channels(table: spec.StackedBlocks, variant: Variant) -> int:
    """The channels of the map that goes in."""
    _, row = selected_block(table, variant)
    return scale_channels(row, row.c, variant.alpha)


def add_block_layers(table: spec.StackedBlocks, stack: LayerBuilder) -> None:
    """The chosen form, on top of itself."""
    number, row = selected_block(table, stack.variant)
    stack.row = str(number), row
    x = stack.input
    for repeat in range(1, table.times + 1):
        x = _block(stack, x, f"block{repeat}", row)


def _block(stack: LayerBuilder, x: Tensor, scope: str, row: spec.Block) -> Tensor:
    y = x
    for number, layer in enumerate(row.layers, 1):
        inner, activation = f"{scope}/{number}", "relu" if layer.relu else ""
        match layer:
            case spec.Conv():
                out = scale_channels(row, layer.c, stack.variant.alpha)
                y = stack.conv_bn(y, inner, out, layer.k, groups=layer.g, activation=activation)
            case spec.Parallel():
                y = _parallel(stack, y, inner, scale_channels(row, layer.c, stack.variant.alpha), layer)
            case spec.Add():
                y = stack.add(f"{inner}/add", x, y)
        if activation and not isinstance(layer, spec.Conv):
            y = stack.activation(y, inner, activation)
    return y


def _parallel(stack: LayerBuilder, x: Tensor, scope: str, out: int, layer: spec.Parallel) -> Tensor:
    total = stack.conv_bn(x, f"{scope}.1", out, layer.k)
    for branch in range(2, layer.n + 1):
        total = stack.add(f"{scope}.{branch}/add", total, stack.conv_bn(x, f"{scope}.{branch}", out, layer.k))
    return total
