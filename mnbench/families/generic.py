"""Stacks of one block in several designs, as papers time them to compare the designs."""

from collections.abc import Iterator, Mapping
from math import lcm
from pathlib import Path
from typing import Annotated, ClassVar, TypeAlias

import msgspec

from mnbench.network.architecture import (
    Architecture,
    Count,
    Kernel,
    Option,
    OptionValue,
    RowShape,
    reject_row,
    round_to_multiple,
)
from mnbench.network.layer import Shape, Tensor
from mnbench.network.layer_builder import LayerBuilder
from mnbench.network.toml_struct import TomlStruct
from mnbench.network.variant import Variant


class Conv(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="conv"):
    """A k × k convolution to c channels in g groups, batch normalization and, with `relu`, ReLU."""

    k: Kernel = 1
    c: Count
    g: Count = 1
    relu: bool = False


class Parallel(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="parallel"):
    """n convolutions of the same input, each with batch normalization, and their sum."""

    n: Annotated[int, msgspec.Meta(ge=2)]
    k: Kernel = 1
    c: Count
    relu: bool = False


class Add(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="add"):
    """A shortcut: the block's input is added."""

    relu: bool = False


LayerRow: TypeAlias = Conv | Parallel | Add


class Block(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="block"):
    """One design of the block, with c channels of input and output."""

    unit: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]+$")]
    c: Count
    layers: Annotated[tuple[LayerRow, ...], msgspec.Meta(min_length=1)]

    def scale(self, channels: int, alpha: float) -> int:
        """Return the channels at α, to the nearest multiple of all groups."""
        groups = lcm(*(layer.g for layer in self.layers if isinstance(layer, Conv)))
        return round_to_multiple(channels * alpha, groups, groups)

    def output(self) -> int:
        return next(layer.c for layer in reversed(self.layers) if not isinstance(layer, Add))


class StackedBlocks(Architecture, frozen=True, kw_only=True, tag="blocks"):
    """One block, `times` on top of each other, at α times the printed channels: the paper's ×1, ×2, ×4."""

    options: ClassVar[Mapping[str, Option]] = {"unit": Option()}
    min_side: ClassVar[int] = 1

    input: tuple[Count, Count]
    times: Annotated[int, msgspec.Meta(ge=1, le=100)]
    unit: str
    """The design of a variant that does not name one."""
    beta: float = 0.0
    """The mean of batch normalization's beta. Without shortcuts, ReLU sets half of all numbers to 0, and rounding
    errors grow layer by layer until outputs cannot be compared; from 2 on it sets few to 0."""
    rows: Annotated[tuple[Block, ...], msgspec.Meta(min_length=1)]

    @property
    def resolution(self) -> tuple[int, int]:
        return self.input

    @property
    def default_options(self) -> Mapping[str, OptionValue]:
        return {"unit": self.unit}

    @property
    def random_beta(self) -> float:
        return self.beta

    def option_values(self, name: str) -> tuple[OptionValue, ...]:
        return tuple(row.unit for row in self.rows) if name == "unit" else super().option_values(name)

    def input_shape(self, variant: Variant) -> Shape:
        _, row = self._selected_block(variant)
        return (variant.batch or 1, row.scale(row.c, variant.alpha), *variant.resolution)

    def add_layers(self, builder: LayerBuilder) -> None:
        number, row = self._selected_block(builder.variant)
        builder.row, x = (number, row), builder.input
        for _ in range(self.times):
            x = _add_block(builder, x, builder.numbered("block"), row, builder.variant.alpha)

    def _selected_block(self, variant: Variant) -> tuple[str, Block]:
        """Return the number and the row of the variant's design."""
        return next(pair for pair in self.numbered_rows() if pair[1].unit == variant.option("unit"))

    def row_shapes(self) -> Iterator[RowShape]:
        for number, row in enumerate(self.rows, 1):
            yield RowShape(str(number), (*self.input, row.c), (*self.input, row.output()))

    def check(self, path: Path) -> None:
        """Check that each block's output has the shape of its input."""
        for row, (number, printed, output) in zip(self.rows, self.row_shapes(), strict=True):
            if printed != output:
                reject_row(path, number, "c", printed, f"its layers output {output[2]} channels")
            for layer, below in zip(row.layers[1:], row.layers, strict=False):
                if isinstance(layer, Add) and not isinstance(below, Add) and below.c != row.c:
                    reject_row(path, number, "c", printed, f"it is added to {below.c} channels")


def _add_block(builder: LayerBuilder, x: Tensor, scope: str, row: Block, alpha: float) -> Tensor:
    y = x
    for number, layer in enumerate(row.layers, 1):
        inner, activation = f"{scope}/{number}", "relu" if layer.relu else ""
        match layer:
            case Conv():
                y = builder.conv_bn(y, inner, row.scale(layer.c, alpha), layer.k, groups=layer.g, activation=activation)
            case Parallel():
                y = _add_parallel(builder, y, inner, row.scale(layer.c, alpha), layer)
            case Add():
                y = builder.add(f"{inner}/add", x, y)
        if activation and not isinstance(layer, Conv):
            y = builder.activation(y, inner, activation)
    return y


def _add_parallel(builder: LayerBuilder, x: Tensor, scope: str, out: int, layer: Parallel) -> Tensor:
    total = builder.conv_bn(x, f"{scope}.1", out, layer.k)
    for branch in range(2, layer.n + 1):
        total = builder.add(f"{scope}.{branch}/add", total, builder.conv_bn(x, f"{scope}.{branch}", out, layer.k))
    return total
