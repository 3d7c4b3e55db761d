"""ShuffleNet V2: output size, ksize, stride, repeat, output channels by scale (paper, Table 5)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

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
)
from mnbench.network.architecture import Count, Kernel, Option, Stride, round_to_multiple
from mnbench.network.checkpoint_layout import CheckpointLayout
from mnbench.network.layer import Tensor
from mnbench.network.layer_builder import LayerBuilder
from mnbench.network.toml_struct import TomlStruct
from mnbench.network.variant import Variant


class ChannelsByScale(TomlStruct, frozen=True, kw_only=True):
    """ShuffleNet V2's columns: output channels at four scales."""

    x0_5: Count = msgspec.field(name="0.5x")
    x1: Count = msgspec.field(name="1x")
    x1_5: Count = msgspec.field(name="1.5x")
    x2: Count = msgspec.field(name="2x")

    def points(self) -> Points:
        """Return scales and channels."""
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


class ShuffleNetV2(ShuffleNet, frozen=True, kw_only=True, tag="shufflenet-v2"):
    """ShuffleNet V2."""

    options: ClassVar[Mapping[str, Option]] = {"unit": Option()}
    checkpoints: ClassVar[tuple[CheckpointLayout, ...]] = (
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
    rows: Annotated[
        tuple[Image | Conv | MaxPool | Stage | GlobalPool | FullyConnected, ...], msgspec.Meta(min_length=1)
    ]

    def add_layers(self, builder: LayerBuilder, variant: Variant) -> None:
        """Add channel split and shuffle (paper, Figure 3 c and d)."""
        x, alpha, width = builder.input, variant.alpha, self.width
        unit = self.units[variant.option("unit")]
        convs = {1: "conv5", 3: "conv1"}
        for number, row in enumerate(self.rows, 1):
            builder.row = str(number), row
            match row:
                case Conv():
                    out = round_to_multiple(interpolate(row.points(), alpha), width.divisor, width.minimum)
                    scope = convs.get(row.k, "conv")
                    x = builder.conv_bn(x, scope, out, row.k, row.s, activation=self.activation)
                case MaxPool():
                    x = builder.max_pool(x, "max_pool", row.k, row.s)
                case Stage():
                    out = round_to_multiple(interpolate(row.points(), alpha), width.divisor, row.s * x.shape[1])
                    for repeat in range(row.repeat):
                        scope = f"stage{row.stage}.{repeat + 1 + (row.s == 1)}"
                        if row.s == 1:
                            x = _add_unit(builder, x, scope, unit)
                        else:
                            x = _add_down_unit(builder, x, scope, out, unit)
                case GlobalPool():
                    x = builder.flatten(builder.global_average_pool(x, "pool"))
                case FullyConnected():
                    builder.classifier(x, row.classes, bias=unit.classifier_bias)
                case Image():
                    pass


def _add_unit(builder: LayerBuilder, x: Tensor, scope: str, unit: Unit) -> Tensor:
    if unit.shuffles_first:
        x = builder.channel_shuffle(x, f"{scope}/shuffle", x.shape[1] // 2)
    left, right = builder.split_channels(x, f"{scope}/split")
    right = _add_branch(builder, right, f"{scope}/right", right.shape[1], right.shape[1], stride=1)
    return _join(builder, left, right, scope, unit)


def _add_down_unit(builder: LayerBuilder, x: Tensor, scope: str, out: int, unit: Unit) -> Tensor:
    """Add the stride-2 unit: no split, both branches read all channels."""
    left_out = out // 2 if unit.halves else x.shape[1]
    left = builder.depthwise_bn(x, f"{scope}/left/depthwise", 3, 2)
    left = builder.conv_bn(left, f"{scope}/left/pointwise", left_out, 1, activation="relu")
    right = _add_branch(builder, x, f"{scope}/right", out // 2, out - left_out, stride=2)
    return _join(builder, left, right, scope, unit)


def _join(builder: LayerBuilder, left: Tensor, right: Tensor, scope: str, unit: Unit) -> Tensor:
    joined = builder.concat(f"{scope}/concat", [left, right])
    return joined if unit.shuffles_first else builder.channel_shuffle(joined, f"{scope}/shuffle", 2)


def _add_branch(builder: LayerBuilder, x: Tensor, scope: str, inside: int, out: int, *, stride: int) -> Tensor:
    x = builder.conv_bn(x, f"{scope}/reduce", inside, 1, activation="relu")
    x = builder.depthwise_bn(x, f"{scope}/depthwise", 3, stride)
    return builder.conv_bn(x, f"{scope}/pointwise", out, 1, activation="relu")
