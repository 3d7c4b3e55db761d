"""MobileNet V1: type / stride, filter shape, input size (paper, Table 1)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec

from mnbench.network.architecture import (
    Architecture,
    Count,
    Kernel,
    Option,
    Size,
    Stride,
    format_size,
    output_size,
    reject_row,
)
from mnbench.network.checkpoint_layout import CheckpointLayout
from mnbench.network.head_options import HEAD_OPTIONS
from mnbench.network.layer import Tensor
from mnbench.network.layer_builder import LayerBuilder
from mnbench.network.toml_struct import TomlStruct


class Conv(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="Conv"):
    """A full convolution, batch normalization and the activation. `filter` is kernel × kernel × in × out."""

    s: Stride
    filter: tuple[Kernel, Kernel, Count, Count]
    input: Size

    def output(self) -> Size:
        return output_size(self.input, self.s, self.filter[3])


class ConvDepthwise(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="Conv dw"):
    """A depthwise convolution, batch normalization and the activation. `filter` is kernel × kernel × channels."""

    s: Stride
    filter: tuple[Kernel, Kernel, Count]
    input: Size

    def output(self) -> Size:
        return output_size(self.input, self.s, self.filter[2])


class AvgPool(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="Avg Pool"):
    """Global average pooling: `pool` is the whole map at ρ = 1."""

    s: Literal[1]
    pool: tuple[Count, Count]
    input: Size

    def output(self) -> Size:
        return (1, 1, self.input[2])


class FullyConnected(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="FC"):
    """The classifier: `filter` is in × classes, and a bias."""

    s: Literal[1]
    filter: tuple[Count, Count]
    input: Size

    def output(self) -> Size:
        return (1, 1, self.filter[1])


class Softmax(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="Softmax"):
    """The paper's last row. Networks end at the logits before it, as every reference implementation's do."""

    s: Literal[1]
    input: Size

    def output(self) -> Size:
        return self.input


class Repeat(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="Repeat"):
    """The paper's "5×" brace: the rows inside, that many times."""

    times: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    rows: Annotated[tuple[Conv | ConvDepthwise, ...], msgspec.Meta(min_length=1)]


Row: TypeAlias = Conv | ConvDepthwise | AvgPool | FullyConnected | Softmax


class WidthRule(TomlStruct, frozen=True, kw_only=True):
    """How α reaches channels: printed × α, down to a multiple of `divisor`, never under `minimum`."""

    divisor: Count
    minimum: Count

    def scale(self, printed: int, alpha: float) -> int:
        """Return the channels at width multiplier `alpha` (slim: `max(int(d * depth_multiplier), min_depth)`)."""
        return max(int(printed * alpha) // self.divisor * self.divisor, self.minimum)


class MobileNetV1(Architecture, frozen=True, kw_only=True, tag="mobilenet-v1"):
    """MobileNet V1, and its full and shallow relatives."""

    options: ClassVar[Mapping[str, Option]] = HEAD_OPTIONS
    ssd_kernel: ClassVar[int] = 1
    layouts: ClassVar[tuple[CheckpointLayout, ...]] = (
        CheckpointLayout(
            name="timm",
            top_level={"conv1": ("conv_stem", "bn1"), "fc": ("classifier",)},
            block_prefix="blocks.{stage}.{index}.",
            block_parts={"depthwise": ("conv_dw", "bn1"), "pointwise": ("conv_pw", "bn2")},
            stage_sizes={13: (1, 2, 2, 6, 2)},
        ),
    )

    activation: Literal["relu", "relu6"]
    width: WidthRule
    rows: Annotated[tuple[Row | Repeat, ...], msgspec.Meta(min_length=1)]

    def numbered_rows(self) -> Iterator[tuple[str, Row]]:
        """Return every row with its number in the paper's table; rows 14.1 and 14.2 are repeated as row 14 says."""
        for number, row in enumerate(self.rows, 1):
            if isinstance(row, Repeat):
                for _ in range(row.times):
                    yield from ((f"{number}.{inner}", repeated) for inner, repeated in enumerate(row.rows, 1))
            else:
                yield str(number), row

    def check(self, path: Path) -> None:
        """Check that the rows fit together, with their filters and pools."""
        first, row = next(self.numbered_rows())
        if not isinstance(row, Conv):
            reject_row(path, first, "input", row.input, "a table begins with a convolution")
        pooled = classified = False
        for number, row in self.numbered_rows():
            channels = row.input[2]
            match row:
                case Conv() | ConvDepthwise() if row.filter[2] != channels:
                    reject_row(path, number, "filter", row.filter, f"its input has {channels} channels")
                case Conv() | ConvDepthwise() | AvgPool() if pooled:
                    reject_row(path, number, "input", row.input, "the rows above it have pooled already")
                case FullyConnected() if row.input[:2] != (1, 1):
                    reject_row(path, number, "input", row.input, "it must be pooled to 1 × 1 first")
                case FullyConnected() if row.filter[0] != channels:
                    reject_row(path, number, "filter", row.filter, f"its input has {channels} channels")
                case AvgPool() if row.pool != row.input[:2]:
                    reject_row(
                        path, number, "pool", row.pool, f"it must cover its whole input, {format_size(row.input[:2])}"
                    )
                case FullyConnected() if classified:
                    reject_row(path, number, "filter", row.filter, "there is a classifier already")
                case _:
                    pass
            pooled, classified = pooled or isinstance(row, AvgPool), classified or isinstance(row, FullyConnected)
        super().check(path)

    def add_row(self, builder: LayerBuilder, x: Tensor, row: Row) -> Tensor:
        """Add a convolution, or half of a depthwise separable one (paper, Section 3.1)."""
        match row:
            case Conv():
                # A 1 × 1 convolution behind a depthwise one is the other half of the separable convolution.
                block, depthwise, _ = x.name.partition("/depthwise/")
                separable = depthwise and row.filter[:2] == (1, 1)
                scope = f"{block}/pointwise" if separable else builder.numbered("conv")
                out = self.width.scale(row.filter[3], builder.variant.alpha)
                return builder.conv_bn(x, scope, out, row.filter[:2], row.s, activation=self.activation)
            case ConvDepthwise():
                scope = f"{builder.numbered('separable')}/depthwise"
                return builder.depthwise_bn(x, scope, row.filter[0], row.s, activation=self.activation)
            case AvgPool():
                return builder.flatten(builder.global_average_pool(x, "pool"))
            case FullyConnected():
                return builder.classifier(x, row.filter[1])
            case Softmax():
                return x
