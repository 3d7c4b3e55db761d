"""Architecture: the keys that every graph file has, and the hooks that a family overrides."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, TypeAlias

import msgspec

from mnbench.errors import GraphFileError
from mnbench.network.checkpoint_layout import CheckpointLayout, CheckpointNames
from mnbench.network.layer import Shape, Tensor
from mnbench.network.toml_struct import TomlStruct

if TYPE_CHECKING:
    from mnbench.network.layer_builder import LayerBuilder
    from mnbench.network.variant import Variant

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
Stride: TypeAlias = Literal[1, 2]
Kernel: TypeAlias = Literal[1, 3, 5, 7, 9, 11]
"""Odd, so that padding by half of it keeps ceil(side / stride)."""
Size: TypeAlias = tuple[Count, Count, Count]
"""Height, width and channels, in the papers' order."""

OptionValue: TypeAlias = int | str

IMAGE_CHANNELS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option of a family's variants: the allowed `values`, and its `spelling` in a variant's name.

    Without `values`, the family's `option_values` gives them. The spelling stands behind the graph's name, or with
    `after_size` behind the resolution, batch, classes and padding. `inferred`: a checkpoint's shapes determine it. It
    `needs` other options to have one of these values. `about` says what it is.
    """

    values: tuple[OptionValue, ...] = ()
    spelling: str = "{}"
    after_size: bool = False
    inferred: bool = False
    about: str = ""
    needs: Mapping[str, tuple[OptionValue, ...]] = field(default_factory=dict[str, tuple[OptionValue, ...]])

    def parse(self, text: str) -> OptionValue | None:
        """Return the value with that spelling, allowed or not; None if the text is not of that form."""
        prefix = self.spelling.removesuffix("{}")
        value = text.removeprefix(prefix)
        if self.values and isinstance(self.values[0], int):
            return int(value) if text.startswith(prefix) and value.isdecimal() else None
        return value if text.startswith(prefix) and (not self.values or value in self.values) else None


class Erratum(TomlStruct, frozen=True, kw_only=True):
    """Where the table must differ from what the paper prints, and why."""

    row: str
    key: str
    printed: int | str | bool
    used: int | str | bool
    reason: str


MultAddsCounted: TypeAlias = Literal["all", "convolutions", "all and normalization"]
ParamsCounted: TypeAlias = Literal[
    "weights", "weights and biases", "trainable", "trainable and means", "trainable and statistics"
]


METRICS = {
    "top1": "ImageNet top-1 accuracy",
    "coco_map": "COCO mAP",
    "voc_miou": "VOC mIoU",
    "cityscapes_miou": "Cityscapes mIoU",
}
"""The accuracies that sources print, in percent; no two of them can be compared."""


class PublishedModel(TomlStruct, frozen=True, kw_only=True):
    """One published model: figures exactly as printed, their source, and why one that does not fit does not.

    `mult_adds` and `params` keep the printed digits and unit: "569M", "4.24M", or an exact "3504872". Sources count
    different things: `mult_adds_of` every layer, or convolutions without the classifier, or every layer and two for
    each number that batch normalization outputs; `params_of` weights alone, trainable parameters, or with batch
    normalization's moving means, or with both its statistics. `latency` is printed
    too: `{ "Pixel 1 ms" = 113 }`. `disputed` gives the reason for figures that no count of ours gives, by their key.
    The input is `resolution` pixels high, and as many wide without an `input_width`. Accuracies are percent.
    """

    source: str
    alpha: float
    resolution: Count
    input_width: Count | None = None
    groups: Count | None = None
    unit: str | None = None
    head: dict[str, int | str] = msgspec.field(default_factory=dict[str, "int | str"])
    """Options of a head: `{ head = "ssdlite", tail = "halved" }`."""
    classes: int | None = None
    mult_adds: str | None = None
    mult_adds_of: MultAddsCounted = "all"
    params: str | None = None
    params_of: ParamsCounted = "trainable"
    top1: float | None = None
    coco_map: float | None = None
    voc_miou: float | None = None
    cityscapes_miou: float | None = None
    latency: dict[str, float] = msgspec.field(default_factory=dict[str, float])
    disputed: dict[Literal["mult_adds", "params"], str] = msgspec.field(
        default_factory=dict[Literal["mult_adds", "params"], str]
    )

    @property
    def size(self) -> tuple[int, int]:
        """Return the input's height and width."""
        return self.resolution, self.input_width or self.resolution

    @property
    def accuracy(self) -> tuple[str, float] | None:
        """Return the name and the percent of the accuracy that is printed, if one is."""
        printed = ((metric, getattr(self, metric)) for metric in METRICS)
        return next(((metric, percent) for metric, percent in printed if percent is not None), None)

    @property
    def options(self) -> dict[str, OptionValue]:
        """Return the variant's options that the source names."""
        options = {"groups": self.groups, "unit": self.unit, **self.head}
        return {name: value for name, value in options.items() if value is not None}


class RowShape(NamedTuple):
    """A row's number, its printed input, and the output that the next row must take."""

    number: str
    input: Size
    output: Size


class Architecture(TomlStruct, frozen=True, kw_only=True, tag_field="family"):
    """One file of `graphs/`; each class that names itself by `tag` is a family."""

    options: ClassVar[Mapping[str, Option]] = {}
    """Options of the family's variants, in the order of their spellings in a name."""
    layouts: ClassVar[tuple[CheckpointLayout, ...]] = ()
    """The libraries whose checkpoints fit all of the family's networks."""
    min_side: ClassVar[int] = 32
    """The smallest height or width of an input, in pixels."""
    tabulated_widths: ClassVar[bool] = False
    """Whether the paper prints channels in columns and no formula, so that other α are an extension."""

    segments_linear_map: ClassVar[bool] = False
    """Whether segmentation reads the map before the last convolution."""
    ssd_kernel: ClassVar[int] = 3
    """The kernel with which SSD predicts."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]*(\.\d[a-z0-9-]*)*$")]
    short: str | None = None
    """Another name that it goes by."""
    title: str
    paper: str
    table: str
    batch_norm_epsilon: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    errata: tuple[Erratum, ...] = ()
    published: tuple[PublishedModel, ...] = ()
    checkpoint: tuple[CheckpointNames, ...] = ()
    if TYPE_CHECKING:
        # Each family declares its own, which an error lists last.
        rows: tuple[Any, ...]

    @property
    def resolution(self) -> tuple[int, int]:
        """Return the table's own input height and width: ρ = 1."""
        height, width, _ = next(self.row_shapes()).input
        return height, width

    @property
    def checkpoints(self) -> list[CheckpointLayout]:
        """Return the libraries whose checkpoints fit the network."""
        return [*self.layouts, *(names.layout() for names in self.checkpoint)]

    @property
    def has_width_rule(self) -> bool:
        """Return whether the width multiplier can scale the table."""
        return True

    @property
    def has_open_padding(self) -> bool:
        """Return whether windows that halve a map are padded as the variant says, and not as the table does."""
        return True

    @property
    def family(self) -> str:
        """Return the family's name: the `family` key of the file."""
        return str(self.__struct_config__.tag)

    @property
    def default_options(self) -> Mapping[str, OptionValue]:
        """Return the table's own value of each option that has one."""
        return {}

    @property
    def random_beta(self) -> float:
        """Return the mean of batch normalization's beta in random weights."""
        return 0.0

    def numbered_rows(self) -> Iterator[tuple[str, Any]]:
        """Return every row with its number in the paper's table, in order."""
        return ((str(number), row) for number, row in enumerate(self.rows, 1))

    def row_shapes(self) -> Iterator[RowShape]:
        return (RowShape(number, row.input, row.output()) for number, row in self.numbered_rows())

    def add_layers(self, builder: "LayerBuilder") -> None:
        """Add the layers of the builder's variant, from `builder.input` to its logits, row by row."""
        x = builder.input
        for number, row in self.numbered_rows():
            builder.row = number, row
            x = self.add_row(builder, x, row)

    def add_row(self, builder: "LayerBuilder", x: Tensor, row: Any) -> Tensor:
        """Add the layers of one row behind `x`, and return their output."""
        raise NotImplementedError

    def input_shape(self, variant: "Variant") -> Shape:
        """Return the shape of the network's input; an open batch counts as 1."""
        return (variant.batch or 1, IMAGE_CHANNELS, *variant.resolution)

    def option_values(self, name: str) -> tuple[OptionValue, ...]:
        return self.options[name].values

    def published_alphas(self) -> Sequence[float]:
        """Return the width multipliers of published models, the largest first."""
        return sorted({published.alpha for published in self.published}, reverse=True)

    def describe_row(self, row: TomlStruct) -> str:
        """Return a row's type and its columns that are neither shapes nor widths: `bottleneck t6 n2 s2`."""
        columns = msgspec.to_builtins(row)
        shown = (f"{key}{columns[key]}" for key in ("k", "t", "n", "repeat", "s") if columns.get(key, 1) != 1)
        return " ".join([columns["type"], *shown])

    def check(self, path: Path) -> None:
        """Check that each row's printed input is the output of the row above."""
        rows = list(self.row_shapes())
        for above, row in pairwise(rows):
            if row.input != above.output:
                reject_row(path, row.number, "input", row.input, f"the rows above it give {format_size(above.output)}")


def reject_row(path: Path, number: str, key: str, value: Sequence[int], why: str) -> None:
    """Refuse a row that contradicts the table."""
    raise GraphFileError(
        path,
        f"row {number}, key `{key}`",
        f"is {format_size(value)}, but {why}",
        hint="row shapes must match at α = 1: fix this row or the one above it",
    )


def output_size(size: Size, stride: int, channels: int) -> Size:
    """Return the size of the map after a layer with this stride."""
    return (-(-size[0] // stride), -(-size[1] // stride), channels)


def format_size(sizes: Sequence[int]) -> str:
    """Format sizes for people."""
    return " × ".join(map(str, sizes))


def round_to_multiple(channels: float, divisor: int, minimum: int) -> int:
    """Return the nearest multiple of `divisor` (the larger of two), or the smallest that reaches `minimum`."""
    return max(int(channels / divisor + 0.5), -(-minimum // divisor)) * divisor
