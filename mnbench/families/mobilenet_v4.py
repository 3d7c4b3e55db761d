"""MobileNet V4-Conv: input, block, DW K1, DW K2, expanded dim, output dim, stride (paper, Tables 11, 12, 14)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec

from mnbench.families.mobilenet_v2 import WidthRule
from mnbench.network.architecture import Architecture, Count, Kernel, Option, Size, Stride, output_size
from mnbench.network.head_options import HEAD_OPTIONS
from mnbench.network.layer import Tensor
from mnbench.network.layer_builder import LayerBuilder
from mnbench.network.toml_struct import TomlStruct


class Sized(TomlStruct, frozen=True, kw_only=True):
    """The columns of every row with weights."""

    input: Size
    out: Count
    s: Stride = 1

    def output(self) -> Size:
        return output_size(self.input, self.s, self.out)


class Conv2D(Sized, frozen=True, kw_only=True, tag_field="type", tag="Conv2D"):
    """A k × k convolution, batch normalization and ReLU."""

    k: Kernel
    widens_only: bool = False
    """α under 1 leaves its width as it is."""


class FusedIB(Sized, frozen=True, kw_only=True, tag_field="type", tag="FusedIB"):
    """A k × k convolution to `exp` channels with ReLU, and a 1 × 1 convolution, which is linear.

    With `activates` it is two plain convolutions, as in the code of Conv-S: both have ReLU, and α scales `exp` itself.
    """

    k: Kernel
    exp: Count
    activates: bool = False


class ExtraDW(Sized, frozen=True, kw_only=True, tag_field="type", tag="ExtraDW"):
    """The universal inverted bottleneck with both depthwise convolutions."""

    k1: Kernel
    k2: Kernel
    exp: Count


class IB(Sized, frozen=True, kw_only=True, tag_field="type", tag="IB"):
    """The universal inverted bottleneck with the middle depthwise convolution alone: an inverted residual."""

    k2: Kernel
    exp: Count


class ConvNext(Sized, frozen=True, kw_only=True, tag_field="type", tag="ConvNext"):
    """The universal inverted bottleneck with the first depthwise convolution alone."""

    k1: Kernel
    exp: Count


class FFN(Sized, frozen=True, kw_only=True, tag_field="type", tag="FFN"):
    """The universal inverted bottleneck without depthwise convolutions."""

    exp: Count


class AvgPool(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="AvgPool"):
    input: Size

    def output(self) -> Size:
        return (1, 1, self.input[2])


class Classifier(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="classifier"):
    """The last 1 × 1 convolution, with bias, to the classes."""

    input: Size
    out: Count

    def output(self) -> Size:
        return (1, 1, self.out)


Bottleneck: TypeAlias = ExtraDW | IB | ConvNext | FFN
Row: TypeAlias = Conv2D | FusedIB | Bottleneck | AvgPool | Classifier


class MobileNetV4(Architecture, frozen=True, kw_only=True, tag="mobilenet-v4"):
    options: ClassVar[Mapping[str, Option]] = HEAD_OPTIONS
    activation: Literal["relu"]
    width: WidthRule
    rows: Annotated[tuple[Row, ...], msgspec.Meta(min_length=1)]

    def describe_row(self, row: TomlStruct) -> str:
        """Return the row's type, its depthwise kernels by their columns, and its stride."""
        columns = msgspec.to_builtins(row)
        shown = [f"{key}={columns[key]}" for key in ("k1", "k2") if key in columns]
        return " ".join([super().describe_row(row), *shown])

    def add_row(self, builder: LayerBuilder, x: Tensor, row: Row) -> Tensor:
        """Add a fused or a universal inverted bottleneck (paper, Figure 3), or another row."""
        alpha, width, activation = builder.variant.alpha, self.width, self.activation
        match row:
            case Conv2D():
                out = width.scale(row.out, alpha, widens_only=row.widens_only)
                return builder.conv_bn(x, builder.numbered("conv"), out, row.k, row.s, activation=activation)
            case AvgPool():
                return builder.global_average_pool(x, "pool")
            case Classifier():
                return builder.classifier(builder.flatten(x), row.out)
            case _:
                inside = width.round_width(x.shape[1] * row.exp / row.input[2])
                out, scope = width.scale(row.out, alpha), builder.numbered("block")
        if not isinstance(row, FusedIB):
            return _add_bottleneck(builder, x, scope, row, inside, out, activation)
        inside = width.scale(row.exp, alpha) if row.activates else inside
        x = builder.conv_bn(x, f"{scope}/fused", inside, row.k, row.s, activation=activation)
        return builder.conv_bn(x, f"{scope}/project", out, 1, activation=activation * row.activates)


def _add_bottleneck(
    builder: LayerBuilder, x: Tensor, scope: str, row: Bottleneck, inside: int, out: int, activation: str
) -> Tensor:
    """Add a universal inverted bottleneck; the last of its depthwise convolutions has the stride."""
    y = x
    if isinstance(row, ExtraDW | ConvNext):
        y = builder.depthwise_bn(y, f"{scope}/first_depthwise", row.k1, row.s if isinstance(row, ConvNext) else 1)
    y = builder.conv_bn(y, f"{scope}/expand", inside, 1, activation=activation)
    if isinstance(row, ExtraDW | IB):
        y = builder.depthwise_bn(y, f"{scope}/depthwise", row.k2, row.s, activation=activation)
    y = builder.conv_bn(y, f"{scope}/project", out, 1)
    return builder.add(f"{scope}/add", x, y) if row.s == 1 and x.shape == y.shape else y
