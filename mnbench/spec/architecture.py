"""An architecture: the paper's table, one row a line, in the paper's own columns."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec

from mnbench.errors import ArchitectureError
from mnbench.spec.decode import Table, decode

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
Size: TypeAlias = tuple[Count, Count, Count]
"""Height, width and channels, in the papers' order."""


class Conv(Table, frozen=True, tag_field="type", tag="Conv"):
    """A full convolution, batch normalization and the activation. `filter` is kernel × kernel × in × out."""

    s: Literal[1, 2]
    filter: tuple[Count, Count, Count, Count]
    input: Size

    def output(self) -> Size:
        """What the row hands to the next one."""
        return _strided(self.input, self.s, self.filter[3])


class ConvDepthwise(Table, frozen=True, tag_field="type", tag="Conv dw"):
    """A depthwise convolution, batch normalization and the activation. `filter` is kernel × kernel × channels."""

    s: Literal[1, 2]
    filter: tuple[Count, Count, Count]
    input: Size

    def output(self) -> Size:
        """What the row hands to the next one."""
        return _strided(self.input, self.s, self.filter[2])


class AvgPool(Table, frozen=True, tag_field="type", tag="Avg Pool"):
    """Global average pooling: `pool` is the whole map at ρ = 1."""

    s: Literal[1]
    pool: tuple[Count, Count]
    input: Size

    def output(self) -> Size:
        """What the row hands to the next one."""
        return (1, 1, self.input[2])


class FullyConnected(Table, frozen=True, tag_field="type", tag="FC"):
    """The classifier: `filter` is in × classes, and a bias."""

    s: Literal[1]
    filter: tuple[Count, Count]
    input: Size

    def output(self) -> Size:
        """What the row hands to the next one."""
        return (1, 1, self.filter[1])


class Softmax(Table, frozen=True, tag_field="type", tag="Softmax"):
    """The papers' last row. Networks end at the logits before it, as every reference implementation's do."""

    s: Literal[1]
    input: Size

    def output(self) -> Size:
        """What the row hands to the next one."""
        return self.input


class Repeat(Table, frozen=True, tag_field="type", tag="Repeat"):
    """The papers' "5×" brace: the rows inside, that many times."""

    times: Count
    rows: tuple[Conv | ConvDepthwise, ...]


Row: TypeAlias = Conv | ConvDepthwise | AvgPool | FullyConnected | Softmax


class Width(Table, frozen=True):
    """How α reaches channels: printed × α, to a multiple of `divisor`, never under `minimum`."""

    divisor: Count
    minimum: Count


class Erratum(Table, frozen=True):
    """Where the table must differ from what the paper prints, and why."""

    row: str
    key: str
    printed: int | str
    used: int | str
    reason: str


class Architecture(Table, frozen=True):
    """One file of `graphs/`."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: str
    paper: str
    table: str
    activation: Literal["relu", "relu6"]
    batch_norm_epsilon: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    rows: Annotated[tuple[Row | Repeat, ...], msgspec.Meta(min_length=1)]
    width: Width
    errata: tuple[Erratum, ...] = ()

    @property
    def resolution(self) -> tuple[int, int]:
        """The table's own input height and width: ρ = 1."""
        height, width, _ = next(self.numbered_rows())[1].input
        return height, width

    def numbered_rows(self) -> Iterator[tuple[str, Row]]:
        """Every row with its number in the paper's table: 14.1 and 14.2 come as often as row 14 says."""
        for number, row in enumerate(self.rows, 1):
            if isinstance(row, Repeat):
                for _ in range(row.times):
                    yield from ((f"{number}.{inner}", one) for inner, one in enumerate(row.rows, 1))
            else:
                yield str(number), row


def read_architecture(path: Path) -> Architecture:
    """Read and check one table.

    Raises:
        ArchitectureError: unknown or missing key, a value out of range, or a row whose printed input is not what
            the rows above it give.
    """
    architecture = decode(path, Architecture, ArchitectureError)
    rows = list(architecture.numbered_rows())
    given: Size = rows[0][1].input
    for number, row in rows:
        if row.input != given:
            _refuse(path, number, "input", row.input, f"the rows above it give {_times(given)}")
        if isinstance(row, Conv | ConvDepthwise) and row.filter[2] != row.input[2]:
            _refuse(path, number, "filter", row.filter, f"its input has {row.input[2]} channels")
        if isinstance(row, FullyConnected) and row.filter[0] != row.input[2]:
            _refuse(path, number, "filter", row.filter, f"its input has {row.input[2]} channels")
        if isinstance(row, AvgPool) and row.pool != row.input[:2]:
            _refuse(path, number, "pool", row.pool, f"it must cover its whole input, {_times(row.input[:2])}")
        given = row.output()
    return architecture


def _refuse(path: Path, number: str, key: str, value: tuple[int, ...], why: str) -> None:
    raise ArchitectureError(
        path,
        f"row {number}, key `{key}`",
        f"is {_times(value)}, but {why}",
        hint="the table must agree with itself at α = 1: mend that row, or the one above it",
    )


def _strided(size: Size, stride: int, channels: int) -> Size:
    return (-(-size[0] // stride), -(-size[1] // stride), channels)


def _times(sizes: tuple[int, ...]) -> str:
    return " × ".join(str(size) for size in sizes)
