"""What every architecture's table holds, whatever its family's own columns are."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeAlias

import msgspec

from mnbench.errors import GraphFileError
from mnbench.network.toml_struct import TomlStruct

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
Stride: TypeAlias = Literal[1, 2]
Kernel: TypeAlias = Literal[1, 3, 5, 7, 9, 11]
"""Odd, so that padding by half of it keeps ceil(side / stride)."""
Size: TypeAlias = tuple[Count, Count, Count]
"""Height, width and channels, in the papers' order."""

IMAGE_CHANNELS = 3


class Erratum(TomlStruct, frozen=True, kw_only=True):
    """Where the table must differ from what the paper prints, and why."""

    row: str
    key: str
    printed: int | str | bool
    used: int | str | bool
    reason: str


MultAddsCounted: TypeAlias = Literal["all", "convolutions", "all and normalization"]
ParamsCounted: TypeAlias = Literal["weights", "trainable", "trainable and means", "trainable and statistics"]


class PublishedModel(TomlStruct, frozen=True, kw_only=True):
    """One published model: figures exactly as printed, their source, and why one that does not fit does not.

    `mult_adds` and `params` keep the printed digits and unit: "569M", "4.24M", or an exact "3504872". Sources count
    different things: `mult_adds_of` every layer, or convolutions without the classifier, or every layer and two for
    each number that batch normalization puts out; `params_of` weights alone, trainable parameters, or with batch
    normalization's moving means, or with both its statistics. `latency` is printed
    too: `{ "Pixel 1 ms" = 113 }`. `disputed` gives the reason for figures that no count of ours gives, by their key.
    """

    source: str
    alpha: float
    resolution: Count
    groups: Count | None = None
    unit: str | None = None
    classes: int | None = None
    mult_adds: str | None = None
    mult_adds_of: MultAddsCounted = "all"
    params: str | None = None
    params_of: ParamsCounted = "trainable"
    top1: float | None = None
    latency: dict[str, float] = msgspec.field(default_factory=dict[str, float])
    disputed: dict[Literal["mult_adds", "params"], str] = msgspec.field(
        default_factory=dict[Literal["mult_adds", "params"], str]
    )


class RowShape(NamedTuple):
    """What a row prints of its own shapes: its number, its input, and the output that the next row must take."""

    number: str
    input: Size
    output: Size


class Architecture(TomlStruct, frozen=True, kw_only=True, tag_field="family"):
    """One file of `graphs/`."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    short: str | None = None
    """Another name that it goes by."""
    title: str
    paper: str
    table: str
    batch_norm_epsilon: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    errata: tuple[Erratum, ...] = ()
    published: tuple[PublishedModel, ...] = ()

    @property
    def resolution(self) -> tuple[int, int]:
        """The table's own input height and width: ρ = 1."""
        height, width, _ = next(self.row_shapes()).input
        return height, width

    def row_shapes(self) -> Iterator[RowShape]:
        """Every row of the table, in order, once."""
        raise AssertionError

    def check(self, path: Path) -> None:
        """Hold the table against itself.

        Raises:
            GraphFileError: a row's printed input is not what the rows above it give.
        """
        rows = list(self.row_shapes())
        for above, row in pairwise(rows):
            if row.input != above.output:
                reject_row(path, row.number, "input", row.input, f"the rows above it give {format_size(above.output)}")


def reject_row(path: Path, number: str, key: str, value: Sequence[int], why: str) -> None:
    """Refuse a row that contradicts the table.

    Raises:
        GraphFileError: always.
    """
    raise GraphFileError(
        path,
        f"row {number}, key `{key}`",
        f"is {format_size(value)}, but {why}",
        hint="the table must agree with itself at α = 1: mend that row, or the one above it",
    )


def output_size(size: Size, stride: int, channels: int) -> Size:
    """The map behind a layer of that stride."""
    return (-(-size[0] // stride), -(-size[1] // stride), channels)


def format_size(sizes: Sequence[int]) -> str:
    """Sizes as a person writes them."""
    return " × ".join(map(str, sizes))
