"""The rows of a `layer-table`: what each is, and which keys it has."""

import re
from typing import Annotated, Literal, TypeAlias

import msgspec

from mnbench.network.architecture import Count, Size
from mnbench.network.toml_struct import TomlStruct
from mnbench.network.windows import Sides

Number: TypeAlias = int | str
"""A number; or the name of a cell's number or of a tensor, which stands for its channels; or two with * or /."""

Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_.-]*$")]
Activation: TypeAlias = Literal["", "relu", "relu6", "hard_swish", "sigmoid", "hard_sigmoid"]
FourSides: TypeAlias = tuple[int, int, int, int]
"""Pixels at the top, left, bottom and right."""


class TableRow(TomlStruct, frozen=True, kw_only=True, tag_field="type"):
    """Every row reads the output of the row above, or of the row whose name is `from`; `input` is printed."""

    name: Name | None = None
    from_: Name | None = msgspec.field(default=None, name="from")
    input: Size | None = None

    @property
    def label(self) -> str:
        """The row's type."""
        return str(self.__struct_config__.tag)


class Window(TableRow, frozen=True, kw_only=True):
    """A window that moves over a map.

    `p` pixels pad it on each side, or `pads` at the top, left, bottom and right. Without both, a map shrinks to
    ceil(side / s).
    """

    k: Number
    s: Number
    p: Annotated[int, msgspec.Meta(ge=0)] | None = None
    pads: FourSides | None = None

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if self.p is not None and self.pads is not None:
            raise ValueError("`p` and `pads` are both there")
        if self.sides is None and isinstance(self.k, int) and self.k % 2 == 0:
            raise ValueError(f"a window of {self.k} needs `p` or `pads`")

    @property
    def sides(self) -> Sides | None:
        """The padding on four sides; None if the variant says it."""
        return self.pads if self.p is None else (self.p, self.p, self.p, self.p)


class Filter(Window, frozen=True, kw_only=True):
    """What convolutions share. `bn`, `bias` and `act` are the table's own where a row does not say."""

    k: Number = 1
    s: Number = 1
    d: Count = 1
    bn: bool | None = None
    bias: bool | None = None
    act: Activation | None = None


class Conv(Filter, frozen=True, kw_only=True, tag="conv"):
    """A k × k convolution to c channels in g groups; `scales` says which α change its width."""

    c: Number
    g: Number = 1
    scales: Literal["always", "above 1", "never"] = "always"


class Depthwise(Filter, frozen=True, kw_only=True, tag="depthwise"):
    """A k × k convolution of each channel by itself."""


class MaxPool(Window, frozen=True, kw_only=True, tag="max_pool"):
    """The maximum of each window; with `ceil`, a last window may reach beyond the map."""

    k: Count
    s: Count
    ceil: bool = False


class AveragePool(Window, frozen=True, kw_only=True, tag="average_pool"):
    """The mean of each window; `counts_padding` as zeros or leaves it out, by default as the variant's padding does."""

    k: Count
    s: Count
    counts_padding: bool | None = None


class AdaptivePool(TableRow, frozen=True, kw_only=True, tag="adaptive_pool"):
    """The mean of windows that make the map `to` × `to`."""

    to: Count


class GlobalPool(TableRow, frozen=True, kw_only=True, tag="global_pool"):
    """The mean of each channel."""


class BatchNorm(TableRow, frozen=True, kw_only=True, tag="batch_norm"):
    act: Activation = ""


class LocalResponseNorm(TableRow, frozen=True, kw_only=True, tag="lrn"):
    """Local response normalization over five channels."""


class Act(TableRow, frozen=True, kw_only=True, tag="activation"):
    kind: Activation


class FullyConnected(TableRow, frozen=True, kw_only=True, tag="fc"):
    """A fully connected layer to c features, of the flattened map."""

    c: Number
    bias: bool = True
    act: Activation = ""


class Join(TableRow, frozen=True, kw_only=True, tag="join"):
    """Several tensors concatenated, added or multiplied."""

    op: Literal["concat", "add", "multiply"]
    of: Annotated[tuple[Name, ...], msgspec.Meta(min_length=2)]
    act: Activation = ""


class Shortcut(TableRow, frozen=True, kw_only=True, tag="shortcut"):
    """The tensor `of` added; where its shape differs it is convolved 1 × 1 (`project`), or left out."""

    of: Name = "in"
    project: bool = False
    s: Number = 1
    act: Activation = ""


class Split(TableRow, frozen=True, kw_only=True, tag="split"):
    """The two halves of the channels, by these names; the second is the row's output."""

    names: tuple[Name, Name]


class Shuffle(TableRow, frozen=True, kw_only=True, tag="shuffle"):
    """ShuffleNet's shuffle of g groups."""

    g: Number


class Select(TableRow, frozen=True, kw_only=True, tag="select"):
    """The c channels that training finds, in its order."""

    c: Number


class Pad(TableRow, frozen=True, kw_only=True, tag="pad"):
    """Zeros on each side; a negative number cuts pixels off."""

    p: FourSides


class Cell(TableRow, frozen=True, kw_only=True, tag="cell"):
    """A block of the table's `cells`, `n` times on top of each other, with these numbers.

    It reads the row above, or all tensors `of` which it has inputs. The stride `s` counts for the first of n.
    """

    cell: str
    of: tuple[Name, ...] = ()
    with_: dict[str, Number] = msgspec.field(default_factory=dict[str, Number], name="with")
    n: Count = 1


Row: TypeAlias = (
    Conv
    | Depthwise
    | MaxPool
    | AveragePool
    | AdaptivePool
    | GlobalPool
    | BatchNorm
    | LocalResponseNorm
    | Act
    | FullyConnected
    | Join
    | Shortcut
    | Split
    | Shuffle
    | Select
    | Pad
    | Cell
)


class CellTable(TomlStruct, frozen=True, kw_only=True):
    """A block: its rows, and the names of the tensors that it reads."""

    inputs: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)] = ("in",)
    rows: Annotated[tuple[Row, ...], msgspec.Meta(min_length=1)]

    @property
    def words(self) -> set[str]:
        """Every name that stands in a row in place of a number."""
        texts = [
            text
            for row in self.rows
            for text in (*(getattr(row, key, None) for key in "ckgs"), *getattr(row, "with_", {}).values())
        ]
        return {word for text in texts if isinstance(text, str) for word in re.findall(r"[a-z]\w*", text)}


class Convolution(TomlStruct, frozen=True, kw_only=True):
    """What a convolution of the table has: batch normalization, a bias, an activation."""

    bn: bool = True
    bias: bool = False
    act: Activation = "relu"
