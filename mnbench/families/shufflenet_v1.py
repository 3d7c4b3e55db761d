"""ShuffleNet V1: output size, ksize, stride, repeat, output channels by groups (paper, Table 1).

V2 takes the rows that both have from here.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import msgspec

from mnbench.network.architecture import (
    IMAGE_CHANNELS,
    Architecture,
    Count,
    Kernel,
    Option,
    OptionValue,
    RowShape,
    Size,
    Stride,
    output_size,
    reject_row,
    round_to_multiple,
)
from mnbench.network.checkpoint_layout import CheckpointLayout
from mnbench.network.head_options import HEAD_OPTIONS
from mnbench.network.layer import Tensor
from mnbench.network.layer_builder import LayerBuilder
from mnbench.network.toml_struct import TomlStruct

OutputSize: TypeAlias = tuple[Count, Count]
Points: TypeAlias = Sequence[tuple[float, int]]


def interpolate(points: Points, alpha: float) -> float:
    """Return the channels at any α: straight lines between the points, and proportional to α outside them."""
    for (alpha_low, low), (alpha_high, high) in pairwise(points):
        if alpha_low <= alpha <= alpha_high:
            return low + (high - low) * (alpha - alpha_low) / (alpha_high - alpha_low)
    alpha_end, end = points[0] if alpha < points[0][0] else points[-1]
    return end * alpha / alpha_end


class ChannelsByGroups(TomlStruct, frozen=True, kw_only=True):
    """ShuffleNet V1's columns: output channels for g groups."""

    g1: Count = msgspec.field(name="g=1")
    g2: Count = msgspec.field(name="g=2")
    g3: Count = msgspec.field(name="g=3")
    g4: Count = msgspec.field(name="g=4")
    g8: Count = msgspec.field(name="g=8")

    def channels(self, groups: int) -> int:
        return getattr(self, f"g{groups}")


class Image(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="Image"):
    s: ClassVar[int] = 1

    output: OutputSize


class MaxPool(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="MaxPool"):
    output: OutputSize
    k: Kernel
    s: Stride


class GlobalPool(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="GlobalPool"):
    s: ClassVar[int] = 0
    """It stands for the whole map."""

    output: OutputSize
    k: Count


class FullyConnected(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="FC"):
    classes: Count


class Conv1(ChannelsByGroups, frozen=True, kw_only=True, tag_field="type", tag="Conv1"):
    """The stem: a convolution, batch normalization and ReLU."""

    output: OutputSize
    k: Kernel
    s: Stride
    repeat: Literal[1]


class Stage(ChannelsByGroups, frozen=True, kw_only=True, tag_field="type", tag="Stage"):
    """`repeat` ShuffleNet units of stage `stage`."""

    stage: Count
    output: OutputSize
    s: Stride
    repeat: Count


class Unit(TomlStruct, frozen=True, kw_only=True):
    """A variant of the unit that is in use.

    `transposed`: the shuffle reads channels as (n, g), as in Megvii's code, instead of (g, n), as in the paper.
    Where g does not divide a group's channels, that is another network.
    """

    transposed: bool


class WidthRule(TomlStruct, frozen=True, kw_only=True):
    """Stages have the printed channels × α, to a multiple of the groups; Conv1 interpolates its published points."""

    conv1: Annotated[tuple[tuple[float, int], ...], msgspec.Meta(min_length=2)]
    minimum: Count


def stage_scopes(stage: int, stride: int, repeat: int) -> list[str]:
    """Return the scopes of a row's units: the first unit of a stage has stride 2, and a row of its own."""
    first = 1 if stride > 1 else 2
    return [f"stage{stage}.{number}" for number in range(first, first + repeat)]


class ShuffleNet(Architecture, frozen=True, kw_only=True):
    """The part that both ShuffleNets share: rows that print their output, and units."""

    tabulated_widths: ClassVar[bool] = True

    activation: Literal["relu"]
    alphas: tuple[float, ...]
    """The published scales."""
    unit: str
    """The unit of a variant that does not name one of `units`."""
    units: dict[str, Any]
    rows: tuple[Any, ...]

    @property
    def default_options(self) -> Mapping[str, OptionValue]:
        return {"unit": self.unit}

    def option_values(self, name: str) -> tuple[OptionValue, ...]:
        """Return the allowed values; of the unit, the table's own `units`."""
        return tuple(self.units) if name == "unit" else super().option_values(name)

    def published_alphas(self) -> Sequence[float]:
        return self.alphas

    def row_shapes(self) -> Iterator[RowShape]:
        """Return each row's printed output, and the one that follows from its stride; channels stand in columns."""
        above: Size | None = None
        for number, row in self.numbered_rows():
            if not isinstance(row, FullyConnected):
                printed: Size = (*row.output, IMAGE_CHANNELS)
                computed = output_size(above or printed, row.s, IMAGE_CHANNELS) if row.s else (1, 1, IMAGE_CHANNELS)
                yield RowShape(number, printed, computed)
                above = printed

    def add_row(self, builder: LayerBuilder, x: Tensor, row: Any) -> Tensor:
        """Add a row of a type that both ShuffleNets share."""
        match row:
            case MaxPool():
                return builder.max_pool(x, "max_pool", row.k, row.s)
            case GlobalPool():
                return builder.flatten(builder.global_average_pool(x, "pool"))
            case _:
                return x  # the image

    def check(self, path: Path) -> None:
        """Check that every printed output follows from its stride and the output above."""
        for number, printed, computed in self.row_shapes():
            if printed != computed:
                reject_row(path, number, "output", printed[:2], f"its stride makes {computed[0]} × {computed[1]}")


Row: TypeAlias = Image | Conv1 | MaxPool | Stage | GlobalPool | FullyConnected


class ShuffleNetV1(ShuffleNet, frozen=True, kw_only=True, tag="shufflenet-v1"):
    options: ClassVar[Mapping[str, Option]] = {
        "groups": Option(values=(1, 2, 3, 4, 8), spelling="g{}", inferred=True),
        "unit": Option(),
        **HEAD_OPTIONS,
    }
    layouts: ClassVar[tuple[CheckpointLayout, ...]] = (
        CheckpointLayout(
            name="Megvii",
            options={"unit": "megvii"},
            top_level={"conv1": ("first_conv.0", "first_conv.1"), "fc": ("classifier.0",)},
            block_prefix="features.{m}.",
            block_parts={
                "reduce": ("branch_main_1.0", "branch_main_1.1"),
                "depthwise": ("branch_main_1.3", "branch_main_1.4"),
                "expand": ("branch_main_2.0", "branch_main_2.1"),
            },
        ),
    )

    groups: Literal[1, 2, 3, 4, 8]
    """The groups of a variant that does not set them."""
    units: dict[str, Unit]
    classifier_bias: bool
    width: WidthRule
    rows: Annotated[tuple[Row, ...], msgspec.Meta(min_length=1)]

    @property
    def default_options(self) -> Mapping[str, OptionValue]:
        return {"groups": self.groups, "unit": self.unit}

    def add_row(self, builder: LayerBuilder, x: Tensor, row: Row) -> Tensor:
        """Add pointwise group convolutions and channel shuffle (paper, Figure 2)."""
        alpha, groups = builder.variant.alpha, builder.variant.option("groups")
        match row:
            case Conv1():
                channels = interpolate(self.width.conv1, alpha) * row.channels(groups) / 24
                out = round_to_multiple(channels, groups, self.width.minimum)
                return builder.conv_bn(x, "conv1", out, row.k, row.s, activation=self.activation)
            case Stage():
                unit = self.units[builder.variant.option("unit")]
                # The stride-2 unit adds out - in channels to those that it pools: at least one at the smallest α.
                out = round_to_multiple(row.channels(groups) * alpha, groups, row.s * x.shape[1])
                # "We do not apply group convolution on the first pointwise layer" of Stage 2: few inputs.
                first = groups if row.stage > 2 or row.s == 1 else 1
                for scope in stage_scopes(row.stage, row.s, row.repeat):
                    x = _add_unit(builder, x, scope, out, row.s, groups=groups, first=first, unit=unit)
                return x
            case FullyConnected():
                return builder.classifier(x, row.classes, bias=self.classifier_bias)
            case _:
                return super().add_row(builder, x, row)


def _add_unit(
    builder: LayerBuilder, x: Tensor, scope: str, out: int, stride: int, *, groups: int, first: int, unit: Unit
) -> Tensor:
    """Add a unit that shuffles behind the depthwise convolution: at stride 2 a quarter of the paper's memory access.

    The function is the same: a depthwise convolution does not depend on the order of channels.
    """
    inside = round_to_multiple(out / 4, groups, groups)
    added = out - x.shape[1] if stride > 1 else out
    y = builder.conv_bn(x, f"{scope}/reduce", inside, 1, groups=first, activation="relu")
    y = builder.depthwise_bn(y, f"{scope}/depthwise", 3, stride)
    if groups > 1:
        y = builder.channel_shuffle(y, f"{scope}/shuffle", inside // groups if unit.transposed else groups)
    y = builder.conv_bn(y, f"{scope}/expand", added, 1, groups=groups)
    if stride > 1:
        y = builder.concat(f"{scope}/concat", [builder.average_pool(x, f"{scope}/pool", 3, stride), y])
    else:
        y = builder.add(f"{scope}/add", x, y)
    return builder.activation(y, scope, "relu")
