"""A block that is stacked a few times, in several forms: what papers time to compare one design with another."""

from collections.abc import Iterator
from math import lcm
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec

from mnbench.network.architecture import Architecture, Count, Kernel, RowShape, reject_row
from mnbench.network.toml_struct import TomlStruct


class Conv(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="conv"):
    """A k × k convolution to c channels in g groups, batch normalization and, if asked for, ReLU."""

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
    """One form of the block: c channels go in and come out."""

    unit: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]+$")]
    c: Count
    layers: Annotated[tuple[LayerRow, ...], msgspec.Meta(min_length=1)]

    @property
    def groups(self) -> int:
        """What its channels must be a multiple of."""
        return lcm(*(layer.g for layer in self.layers if isinstance(layer, Conv)))

    def output(self) -> int:
        """The channels that come out, as printed."""
        return next(layer.c for layer in reversed(self.layers) if not isinstance(layer, Add))


class StackedBlocks(Architecture, frozen=True, kw_only=True, tag="blocks"):
    """One block, `times` on top of each other, at α times the printed channels: the paper's ×1, ×2, ×4."""

    input: tuple[Count, Count]
    times: Annotated[int, msgspec.Meta(ge=1, le=100)]
    unit: str
    """Which form unless said otherwise."""
    beta: float = 0.0
    """What batch normalization adds. Where ReLU cuts half of all numbers off, and no shortcut leads around it, rounding
    grows layer by layer until nothing can be compared; from 2 on it cuts off few."""
    rows: Annotated[tuple[Block, ...], msgspec.Meta(min_length=1)]

    @property
    def units(self) -> dict[str, Block]:
        """Every form by its name."""
        return {row.unit: row for row in self.rows}

    @property
    def resolution(self) -> tuple[int, int]:
        """The map that goes in."""
        return self.input

    def row_shapes(self) -> Iterator[RowShape]:
        """Every form, in order."""
        for number, row in enumerate(self.rows, 1):
            yield RowShape(str(number), (*self.input, row.c), (*self.input, row.output()))

    def check(self, path: Path) -> None:
        """Hold each form against itself: a block takes what the one below it puts out."""
        for row, (number, size, output) in zip(self.rows, self.row_shapes(), strict=True):
            if size != output:
                reject_row(path, number, "c", size, f"its layers put out {output[2]} channels")
            for layer, below in zip(row.layers[1:], row.layers, strict=False):
                if isinstance(layer, Add) and not isinstance(below, Add) and below.c != row.c:
                    reject_row(path, number, "c", size, f"it is added to {below.c} channels")
