"""Networks of any family as pure TOML: rows of convolutions, pools and joins, and cells of such rows."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, NamedTuple, NoReturn, cast

import msgspec

from mnbench.errors import BuildError, GraphFileError
from mnbench.families import table_rows as rows
from mnbench.families.mobilenet_v2 import WidthRule
from mnbench.families.table_rows import CellTable, Convolution, Number, Row
from mnbench.network.architecture import Architecture, Count, Option, RowShape, format_size
from mnbench.network.head_options import HEAD_OPTIONS
from mnbench.network.layer import Tensor
from mnbench.network.layer_builder import LayerBuilder

CLASSES = "classes"
"""As a width: the variant's number of classes."""


class Amount(NamedTuple):
    """A number, and whether it is a width at the variant's α already."""

    number: int
    scaled: bool


class LayerTable(Architecture, frozen=True, kw_only=True, tag="layer-table"):
    """A network as a list of rows; `cells` are its blocks, by the names that rows use.

    `convolution` holds what a convolution has behind it where its row does not say.
    """

    options: ClassVar[Mapping[str, Option]] = HEAD_OPTIONS
    min_side: ClassVar[int] = 8

    input: tuple[Count, Count]
    classes: Count = 1000
    convolution: Convolution = Convolution()
    cells: dict[str, CellTable] = msgspec.field(default_factory=dict[str, CellTable])
    width: WidthRule | None = None
    rows: Annotated[tuple[Row, ...], msgspec.Meta(min_length=1)]

    @property
    def resolution(self) -> tuple[int, int]:
        return self.input

    @property
    def has_width_rule(self) -> bool:
        return self.width is not None

    @property
    def has_open_padding(self) -> bool:
        parts = [*self.rows, *(row for cell in self.cells.values() for row in cell.rows)]
        windows = [row for row in parts if isinstance(row, rows.Window)]
        return any(row.sides is None and row.k != 1 and row.s != 1 for row in windows)

    def row_shapes(self) -> Iterator[RowShape]:
        """Return nothing: printed inputs are compared when the network is built."""
        return iter(())

    def add_layers(self, builder: LayerBuilder) -> None:
        """Add all rows, and flatten what they output."""
        network, x = _Rows(self, builder, {"input": builder.input}), builder.input
        for number, row in self.numbered_rows():
            builder.row = number, row
            self._check_input(builder, row, x)
            x = network.add(row, x)
        if len(x.shape) > 2:
            builder.flatten(x)

    def _check_input(self, builder: LayerBuilder, row: Row, x: Tensor) -> None:
        """Check a printed input at the size for which it is printed."""
        variant, printed = builder.variant, row.input
        if printed is None or (variant.alpha, variant.resolution) != (1, self.input):
            return
        _, channels, *sides = x.shape
        if (*sides, channels) != printed:
            rows_give = format_size((*sides, channels))
            _refuse(builder, f"prints {format_size(printed)} as its input, but the rows above it give {rows_give}")


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of a table or of one cell, with the tensors and numbers that they can name."""

    table: LayerTable
    builder: LayerBuilder
    tensors: dict[str, Tensor]
    numbers: Mapping[str, Amount] = field(default_factory=dict[str, Amount])
    prefix: str = ""

    def add(self, row: Row, x: Tensor) -> Tensor:
        """Add one row behind `x`, and return its output."""
        y = self._add_row(row, x if row.from_ is None else self._tensor(row.from_))
        if row.name:
            self.tensors[row.name] = y
        return y

    def _add_cells(self, row: rows.Cell, x: Tensor) -> Tensor:
        """Add a cell `n` times; only the first has the stride `s`."""
        cell = self.table.cells.get(row.cell)
        if cell is None:
            self._refuse(f"names the cell {row.cell}, which the table does not have")
        sources = [self._tensor(name) for name in row.of] or [x]
        if len(sources) != len(cell.inputs):
            self._refuse(f"gives {len(sources)} inputs to the cell {row.cell}, which has {len(cell.inputs)}")
        if unknown := row.with_.keys() - cell.words:
            self._refuse(f"gives {', '.join(sorted(unknown))} to the cell {row.cell}, which does not use it")
        numbers = {name: self._amount(value) for name, value in row.with_.items()}
        for repeat in range(row.n):
            stride = {"s": Amount(1, scaled=False)} if repeat and "s" in numbers else {}
            tensors = dict(zip(cell.inputs, sources, strict=True))
            block = _Rows(self.table, self.builder, tensors, numbers | stride, f"{self._scope(row, row.cell)}/")
            x = sources[0]
            for part in cell.rows:
                x = block.add(part, x)
            sources[0] = x
        return x

    def _add_row(self, row: Row, x: Tensor) -> Tensor:  # noqa: C901, PLR0911, PLR0912  one case a kind of row
        builder, scope = self.builder, self._scope(row, row.label)
        match row:
            case rows.Conv() | rows.Depthwise():
                return self._add_convolution(row, x, scope)
            case rows.MaxPool():
                return builder.max_pool(x, scope, row.k, row.s, sides=row.sides, ceil=row.ceil)
            case rows.AveragePool():
                return builder.average_pool(x, scope, row.k, row.s, sides=row.sides, counts_padding=row.counts_padding)
            case rows.AdaptivePool():
                return builder.adaptive_average_pool(x, scope, row.to)
            case rows.GlobalPool():
                return builder.global_average_pool(x, scope)
            case rows.BatchNorm():
                return self._activate(builder.batch_norm(x, scope), scope, row.act)
            case rows.LocalResponseNorm():
                return builder.local_response_norm(x, scope)
            case rows.Act():
                return builder.activation(x, scope, row.kind)
            case rows.FullyConnected():
                x = builder.flatten(x) if len(x.shape) > 2 else x
                if row.c == CLASSES:
                    return builder.classifier(x, self.table.classes, bias=row.bias)
                x = builder.fully_connected(x, scope, self._width(row.c), bias=row.bias)
                return self._activate(x, scope, row.act)
            case rows.Join():
                parts = [self._tensor(name) for name in row.of]
                return self._activate(self._join(row, scope, parts), scope, row.act)
            case rows.Shortcut():
                return self._activate(self._add_shortcut(row, x, scope), scope, row.act)
            case rows.Split():
                halves = builder.split_channels(x, scope)
                self.tensors.update(zip(row.names, halves, strict=True))
                return halves[1]
            case rows.Shuffle():
                return builder.channel_shuffle(x, scope, self._amount(row.g).number)
            case rows.Select():
                return builder.select_channels(x, scope, self._width(row.c))
            case rows.Pad():
                return builder.pad(x, scope, row.p)
            case rows.Cell():
                return self._add_cells(row, x)

    def _add_convolution(self, row: rows.Conv | rows.Depthwise, x: Tensor, scope: str) -> Tensor:
        """Add a convolution, and what the row or the table says that it has behind it."""
        builder, default = self.builder, self.table.convolution
        out = groups = x.shape[1]
        if isinstance(row, rows.Conv):
            out, groups = self._width(row.c, row.scales), self._amount(row.g).number
        if not out:
            return x
        bn = default.bn if row.bn is None else row.bn
        y = builder.conv(
            x,
            f"{scope}/conv" if bn else scope,
            out,
            self._kernel(row.k),
            self._amount(row.s).number,
            groups=groups,
            bias=default.bias if row.bias is None else row.bias,
            sides=row.sides,
            dilation=row.d,
        )
        y = builder.batch_norm(y, f"{scope}/bn") if bn else y
        return self._activate(y, scope, default.act if row.act is None else row.act)

    def _join(self, row: rows.Join, scope: str, parts: Sequence[Tensor]) -> Tensor:
        self._check_parts(row, parts)
        if row.op == "concat":
            return self.builder.concat(scope, parts)
        combine = self.builder.add if row.op == "add" else self.builder.multiply
        total, *others = parts
        for number, part in enumerate(others, 1):
            total = combine(f"{scope}/{row.op}{number}", total, part)
        return total

    def _check_parts(self, row: rows.Join, parts: Sequence[Tensor]) -> None:
        """Check that the tensors can be joined; a gate of one pixel a channel fits any map."""
        sizes = " and ".join(format_size((*part.shape[2:], part.shape[1])) for part in parts)
        sides = {part.shape[2:] for part in parts} - ({(1, 1)} if row.op == "multiply" else set())
        if len(sides) > 1:
            name, (number, _) = self.table.name, self.builder.row
            raise BuildError(f"{name}: row {number} joins maps of {sizes}", hint="choose another resolution")
        if row.op != "concat" and len({part.shape[1] for part in parts}) > 1:
            self._refuse(f"has different numbers of channels to {row.op}: {sizes}")

    def _add_shortcut(self, row: rows.Shortcut, x: Tensor, scope: str) -> Tensor:
        """Add a tensor where shapes allow, or where a projection makes them equal."""
        source = self._tensor(row.of)
        if source.shape != x.shape:
            if not row.project:
                return x
            source = self.builder.conv_bn(source, f"{scope}/project", x.shape[1], 1, self._amount(row.s).number)
        return self.builder.add(f"{scope}/add", x, source)

    def _activate(self, x: Tensor, scope: str, kind: str) -> Tensor:
        return self.builder.activation(x, scope, kind) if kind else x

    def _scope(self, row: Row, label: str) -> str:
        """Return the scope of a row: its name, or its type or cell with a number."""
        if row.name and not (isinstance(row, rows.Cell) and row.n > 1):
            return f"{self.prefix}{row.name}"
        return self.builder.numbered(f"{self.prefix}{row.name or label}")

    def _tensor(self, name: str) -> Tensor:
        return self.tensors.get(name) or self._refuse(f"reads {name}, but no row above it has that name")

    def _width(self, value: Number, scales: str = "always") -> int:
        """Return a number of channels at the variant's α; 0 are the classes of a variant without any."""
        variant, rule = self.builder.variant, self.table.width
        if value == CLASSES:
            return self.table.classes if variant.classes is None else variant.classes
        count, scaled = self._amount(value)
        if scaled or rule is None:
            return count
        alpha = variant.alpha
        if not variant.option("head") and (scales == "never" or (scales == "above 1" and alpha < 1)):
            return count
        return rule.scale(count, alpha)

    def _kernel(self, value: Number) -> tuple[int, int]:
        """Return the height and width of a kernel: those of `1x7`, or one number for both."""
        sides = re.fullmatch(r"(\d+)x(\d+)", str(value))
        size = (int(sides[1]), int(sides[2])) if sides else (self._amount(value).number,) * 2
        return cast("tuple[int, int]", size)

    def _amount(self, value: Number) -> Amount:
        """Return a number as it is, or what a name or two with * or / stand for."""
        if isinstance(value, int):
            amount = Amount(value, scaled=False)
        else:
            first, *others = re.split(r" ([*/]) ", value)
            amount = self._named_amount(first)
            if others:
                other = self._named_amount(others[1])
                count = amount.number * other.number if others[0] == "*" else amount.number // other.number
                amount = Amount(count, amount.scaled or other.scaled)
        if amount.number < 1:
            self._refuse(f"has {value} where a number from 1 on is needed")
        return amount

    def _named_amount(self, name: str) -> Amount:
        if name.isdecimal():
            return Amount(int(name), scaled=False)
        if name in self.numbers:
            return self.numbers[name]
        return Amount(self._tensor(name).shape[1], scaled=True)

    def _refuse(self, problem: str) -> NoReturn:
        _refuse(self.builder, problem)


def _refuse(builder: LayerBuilder, problem: str) -> NoReturn:
    """Refuse a row that cannot be built at any size."""
    number, _ = builder.row
    raise GraphFileError(builder.variant.architecture.name, f"row {number}", problem, hint="fix this row of the table")
