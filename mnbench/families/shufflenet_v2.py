"""ShuffleNet V2: output size, ksize, stride, repeat, output channels by scale (paper, Table 5)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec

from mnbench.families.shufflenet_v1 import (
    FullyConnected,
    GlobalPool,
    Image,
    MaxPool,
    OutputSize,
    Points,
    ShuffleNet,
    interpolate,
    stage_scopes,
)
from mnbench.network.architecture import Count, Kernel, Option, Stride, round_to_multiple
from mnbench.network.checkpoint_layout import CheckpointLayout
from mnbench.network.head_options import HEAD_OPTIONS
from mnbench.network.layer import Tensor
from mnbench.network.layer_builder import LayerBuilder
from mnbench.network.toml_struct import TomlStruct


class ChannelsByScale(TomlStruct, frozen=True, kw_only=True):
    """ShuffleNet V2's columns: output channels at four scales."""

    x0_5: Count = msgspec.field(name="0.5x")
    x1: Count = msgspec.field(name="1x")
    x1_5: Count = msgspec.field(name="1.5x")
    x2: Count = msgspec.field(name="2x")

    def points(self) -> Points:
        return ((0.5, self.x0_5), (1, self.x1), (1.5, self.x1_5), (2, self.x2))


class Conv(ChannelsByScale, frozen=True, kw_only=True, tag_field="type", tag="Conv"):
    """Conv1 or Conv5: a convolution, batch normalization and ReLU."""

    output: OutputSize
    k: Kernel
    s: Stride
    repeat: Literal[1]


class Stage(ChannelsByScale, frozen=True, kw_only=True, tag_field="type", tag="Stage"):
    """`repeat` ShuffleNet V2 units of stage `stage`."""

    stage: Count
    output: OutputSize
    s: Stride
    repeat: Count


class Unit(TomlStruct, frozen=True, kw_only=True):
    """A variant of the units that is in use.

    `halves`: both branches of the stride-2 unit output half of the channels (torchvision). Otherwise the left one
    keeps its input's channels and the right one fills up (the paper's complexity, Megvii's code). `shuffles_first`:
    a stride-1 unit begins by parting even channels from odd ones (Megvii's code), and none ends with a shuffle.
    """

    halves: bool
    shuffles_first: bool
    classifier_bias: bool


class WidthRule(TomlStruct, frozen=True, kw_only=True):
    """Channels interpolate the printed columns, to the nearest multiple of `divisor`."""

    divisor: Count
    minimum: Count


Row: TypeAlias = Image | Conv | MaxPool | Stage | GlobalPool | FullyConnected


class ShuffleNetV2(ShuffleNet, frozen=True, kw_only=True, tag="shufflenet-v2"):
    options: ClassVar[Mapping[str, Option]] = {"unit": Option(), **HEAD_OPTIONS}
    layouts: ClassVar[tuple[CheckpointLayout, ...]] = (
        CheckpointLayout(
            name="Megvii",
            options={"unit": "megvii"},
            top_level={
                "conv1": ("first_conv.0", "first_conv.1"),
                "conv5": ("conv_last.0", "conv_last.1"),
                "fc": ("classifier.0",),
            },
            block_prefix="features.{m}.",
            block_parts={
                "left/depthwise": ("branch_proj.0", "branch_proj.1"),
                "left/pointwise": ("branch_proj.2", "branch_proj.3"),
                "right/reduce": ("branch_main.0", "branch_main.1"),
                "right/depthwise": ("branch_main.3", "branch_main.4"),
                "right/pointwise": ("branch_main.5", "branch_main.6"),
            },
        ),
        CheckpointLayout(
            name="torchvision",
            options={"unit": "torchvision"},
            top_level={"conv1": ("conv1.0", "conv1.1"), "conv5": ("conv5.0", "conv5.1"), "fc": ("fc",)},
            block_prefix="stage{stage}.{index}.",
            block_parts={
                "left/depthwise": ("branch1.0", "branch1.1"),
                "left/pointwise": ("branch1.2", "branch1.3"),
                "right/reduce": ("branch2.0", "branch2.1"),
                "right/depthwise": ("branch2.3", "branch2.4"),
                "right/pointwise": ("branch2.5", "branch2.6"),
            },
        ),
    )

    units: dict[str, Unit]
    width: WidthRule
    rows: Annotated[tuple[Row, ...], msgspec.Meta(min_length=1)]

    def add_row(self, builder: LayerBuilder, x: Tensor, row: Row) -> Tensor:
        """Add channel split and shuffle (paper, Figure 3 c and d)."""
        alpha, width, unit = builder.variant.alpha, self.width, self.units[builder.variant.option("unit")]
        match row:
            case Conv():
                out = round_to_multiple(interpolate(row.points(), alpha), width.divisor, width.minimum)
                scope = {1: "conv5", 3: "conv1"}.get(row.k, "conv")
                return builder.conv_bn(x, scope, out, row.k, row.s, activation=self.activation)
            case Stage():
                out = round_to_multiple(interpolate(row.points(), alpha), width.divisor, row.s * x.shape[1])
                for scope in stage_scopes(row.stage, row.s, row.repeat):
                    x = _add_unit(builder, x, scope, out, row.s, unit)
                return x
            case FullyConnected():
                return builder.classifier(x, row.classes, bias=unit.classifier_bias)
            case _:
                return super().add_row(builder, x, row)


def _add_unit(builder: LayerBuilder, x: Tensor, scope: str, out: int, stride: int, unit: Unit) -> Tensor:
    """Add a unit: at stride 1 it splits the channels, at stride 2 both branches read all of them."""
    if stride == 1:
        if unit.shuffles_first:
            x = builder.channel_shuffle(x, f"{scope}/shuffle", x.shape[1] // 2)
        left, right = builder.split_channels(x, f"{scope}/split")
        inside, right_out = right.shape[1], right.shape[1]
    else:
        left_out = out // 2 if unit.halves else x.shape[1]
        left = builder.depthwise_bn(x, f"{scope}/left/depthwise", 3, stride)
        left = builder.conv_bn(left, f"{scope}/left/pointwise", left_out, 1, activation="relu")
        right, inside, right_out = x, out // 2, out - left_out
    right = builder.conv_bn(right, f"{scope}/right/reduce", inside, 1, activation="relu")
    right = builder.depthwise_bn(right, f"{scope}/right/depthwise", 3, stride)
    right = builder.conv_bn(right, f"{scope}/right/pointwise", right_out, 1, activation="relu")
    joined = builder.concat(f"{scope}/concat", [left, right])
    return joined if unit.shuffles_first else builder.channel_shuffle(joined, f"{scope}/shuffle", 2)
