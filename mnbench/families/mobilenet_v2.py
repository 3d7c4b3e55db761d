"""MobileNet V2: input, operator, t, c, n, s (paper, Table 2)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec

from mnbench.network.architecture import Architecture, Count, Kernel, Option, Size, Stride, output_size
from mnbench.network.checkpoint_layout import CheckpointLayout
from mnbench.network.head_options import HEAD_OPTIONS, TAIL_OPTION
from mnbench.network.layer import Tensor
from mnbench.network.layer_builder import LayerBuilder
from mnbench.network.toml_struct import TomlStruct


class WidthRule(TomlStruct, frozen=True, kw_only=True):
    """How α reaches channels: to the nearest multiple of `divisor`, never under `minimum`, nor under 90 %."""

    divisor: Count
    minimum: Count

    def round_width(self, channels: float) -> int:
        """Round as slim's `_make_divisible`, which torchvision and Keras share. Monotone in `channels`."""
        rounded = max(self.minimum, int(channels + self.divisor / 2) // self.divisor * self.divisor)
        return rounded + self.divisor if rounded < 0.9 * channels else rounded

    def scale(self, printed: int, alpha: float, *, widens_only: bool = False) -> int:
        """Return the channels at width multiplier `alpha`; with `widens_only`, an α under 1 does not change them."""
        return self.round_width(printed * (max(1.0, alpha) if widens_only else alpha))


class Conv2d(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="conv2d"):
    """A k × k convolution to c channels, batch normalization and the activation."""

    input: Size
    k: Kernel
    c: Count
    n: Literal[1]
    s: Stride
    widens_only: bool = False
    """α under 1 leaves it as it is ("to all layers except the very last convolutional layer")."""

    def output(self) -> Size:
        return output_size(self.input, self.s, self.c)


class Bottleneck(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="bottleneck"):
    """`n` inverted residuals (the paper's Table 1) to c channels, expanded t times; the first has stride s."""

    input: Size
    t: Count
    c: Count
    n: Count
    s: Stride

    def output(self) -> Size:
        return output_size(self.input, self.s, self.c)


class AvgPool(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="avgpool"):
    input: Size
    k: Count

    def output(self) -> Size:
        return (1, 1, self.input[2])


class Classifier(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="classifier"):
    """The paper's last 1 × 1 convolution, to its "k" classes."""

    input: Size
    k: Count

    def output(self) -> Size:
        return (1, 1, self.k)


Row: TypeAlias = Conv2d | Bottleneck | AvgPool | Classifier


class MobileNetV2(Architecture, frozen=True, kw_only=True, tag="mobilenet-v2"):
    options: ClassVar[Mapping[str, Option]] = {**HEAD_OPTIONS, **TAIL_OPTION}
    segments_linear_map: ClassVar[bool] = True
    layouts: ClassVar[tuple[CheckpointLayout, ...]] = (
        CheckpointLayout(
            name="torchvision",
            top_level={
                "conv1": ("features.0.0", "features.0.1"),
                "conv2": ("features.{last}.0", "features.{last}.1"),
                "fc": ("classifier.1",),
            },
            block_prefix="features.{n}.conv.",
            block_parts={"expand": ("0.0", "0.1"), "depthwise": ("{at}.0", "{at}.1"), "project": ("{at}", "{next}")},
        ),
        CheckpointLayout(
            name="timm",
            top_level={"conv1": ("conv_stem", "bn1"), "conv2": ("conv_head", "bn2"), "fc": ("classifier",)},
            block_prefix="blocks.{stage}.{index}.",
            block_parts={"expand": ("conv_pw", "bn1"), "depthwise": ("conv_dw", "bn2"), "project": ("conv_pwl", "bn3")},
            unexpanded={"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")},
            stage_sizes={17: (1, 2, 3, 4, 3, 3, 1)},
        ),
    )

    activation: Literal["relu6"]
    width: WidthRule
    rows: Annotated[tuple[Row, ...], msgspec.Meta(min_length=1)]

    def add_row(self, builder: LayerBuilder, x: Tensor, row: Row) -> Tensor:
        """Add a convolution, or inverted residuals with linear bottlenecks (paper, Table 1)."""
        alpha, width, activation = builder.variant.alpha, self.width, self.activation
        match row:
            case Conv2d():
                # A detector's last convolution shrinks too (MobileNetV3 paper, Table 6).
                shrinks = not row.widens_only or builder.variant.option("head")
                out = width.scale(row.c, alpha, widens_only=not shrinks)
                return builder.conv_bn(x, builder.numbered("conv"), out, row.k, row.s, activation=activation)
            case Bottleneck():
                out = width.scale(row.c // 2 if builder.has_halved_tail(x, row.s) else row.c, alpha)
                for repeat in range(row.n):
                    # t = 1 has no expansion, as in all code: it would only mix the channels once more.
                    inside = width.round_width(x.shape[1] * row.t) if row.t > 1 else x.shape[1]
                    scope, stride = builder.numbered("bottleneck"), 1 if repeat else row.s
                    x = add_inverted_residual(builder, x, scope, inside, out, 3, stride, activation=activation)
                return x
            case AvgPool():
                return builder.flatten(builder.global_average_pool(x, "pool"))
            case Classifier():
                return builder.classifier(x, row.k)


def add_inverted_residual(
    builder: LayerBuilder,
    x: Tensor,
    scope: str,
    inside: int,
    out: int,
    kernel: int,
    stride: int,
    *,
    activation: str,
    squeeze: int = 0,
) -> Tensor:
    """Add expand, depthwise, squeeze-and-excite if `squeeze`, project; and a shortcut where shapes allow."""
    y = x
    if inside != x.shape[1]:
        y = builder.conv_bn(y, f"{scope}/expand", inside, 1, activation=activation)
    y = builder.depthwise_bn(y, f"{scope}/depthwise", kernel, stride, activation=activation)
    if squeeze:
        y = _add_squeeze_excite(builder, y, f"{scope}/squeeze_excite", squeeze)
    y = builder.conv_bn(y, f"{scope}/project", out, 1)
    return builder.add(f"{scope}/add", x, y) if stride == 1 and x.shape == y.shape else y


def _add_squeeze_excite(builder: LayerBuilder, x: Tensor, scope: str, squeeze: int) -> Tensor:
    """Multiply each channel by a gate computed from all channels (V3, Section 5.3), hard sigmoid, with biases."""
    y = builder.global_average_pool(x, f"{scope}/pool")
    y = builder.conv(y, f"{scope}/reduce/conv", squeeze, 1, bias=True)
    y = builder.activation(y, f"{scope}/reduce", "relu")
    y = builder.conv(y, f"{scope}/expand/conv", x.shape[1], 1, bias=True)
    gate = builder.activation(y, f"{scope}/expand", "hard_sigmoid")
    return builder.multiply(f"{scope}/scale", x, gate)
