"""MobileNet V3: input, operator, exp size, #out, SE, NL, s (paper, Tables 1 and 2)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec

from mnbench.families.mobilenet_v2 import AvgPool, Classifier, WidthRule, add_inverted_residual
from mnbench.network.architecture import Architecture, Count, Kernel, Option, Size, Stride, output_size
from mnbench.network.checkpoint_layout import CheckpointLayout
from mnbench.network.head_options import HEAD_OPTIONS, TAIL_OPTION, has_halved_first_expansion
from mnbench.network.layer import Tensor
from mnbench.network.layer_builder import LayerBuilder
from mnbench.network.toml_struct import TomlStruct

NonLinearity: TypeAlias = Literal["RE", "HS"]


class Conv2d(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="conv2d"):
    """A k × k convolution, batch normalization and the non-linearity."""

    input: Size
    k: Kernel
    out: Count
    nl: NonLinearity
    s: Stride

    def output(self) -> Size:
        return output_size(self.input, self.s, self.out)


class Bneck(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="bneck"):
    """An inverted residual with `exp` channels inside, squeeze-and-excite if `se`, and `out` channels behind."""

    input: Size
    k: Kernel
    exp: Count
    out: Count
    se: bool
    nl: NonLinearity
    s: Stride

    def output(self) -> Size:
        return output_size(self.input, self.s, self.out)


class Pool(AvgPool, frozen=True, kw_only=True, tag_field="type", tag="pool"):
    """Global average pooling, by V3's word."""


class Conv2dNbn(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="conv2d NBN"):
    """A 1 × 1 convolution with bias and without batch normalization; α under 1 leaves its width as it is."""

    input: Size
    out: Count
    nl: NonLinearity

    def output(self) -> Size:
        return (1, 1, self.out)


Row: TypeAlias = Conv2d | Bneck | Pool | Conv2dNbn | Classifier


class MobileNetV3(Architecture, frozen=True, kw_only=True, tag="mobilenet-v3"):
    """MobileNet V3, Large and Small, with and without the advanced blocks."""

    options: ClassVar[Mapping[str, Option]] = {
        "activation": Option(values=("relu",), after_size=True),
        **HEAD_OPTIONS,
        **TAIL_OPTION,
    }
    """ReLU in place of h-swish, as in the paper's Table 5."""
    layouts: ClassVar[tuple[CheckpointLayout, ...]] = (
        CheckpointLayout(
            name="torchvision",
            epsilon=1e-3,
            top_level={
                "conv1": ("features.0.0", "features.0.1"),
                "conv2": ("features.{last}.0", "features.{last}.1"),
                "head": ("classifier.0",),
                "fc": ("classifier.3",),
            },
            block_prefix="features.{n}.block.{at}.",
            block_parts={
                "expand": ("0", "1"),
                "depthwise": ("0", "1"),
                "squeeze_excite/reduce": ("fc1",),
                "squeeze_excite/expand": ("fc2",),
                "project": ("0", "1"),
            },
        ),
        CheckpointLayout(
            name="timm",
            top_level={
                "conv1": ("conv_stem", "bn1"),
                "conv2": ("blocks.{stages}.0.conv", "blocks.{stages}.0.bn1"),
                "head": ("conv_head",),
                "fc": ("classifier",),
            },
            block_prefix="blocks.{stage}.{index}.",
            block_parts={
                "expand": ("conv_pw", "bn1"),
                "depthwise": ("conv_dw", "bn2"),
                "squeeze_excite/reduce": ("se.conv_reduce",),
                "squeeze_excite/expand": ("se.conv_expand",),
                "project": ("conv_pwl", "bn3"),
            },
            unexpanded={"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")},
            stage_sizes={15: (1, 2, 3, 4, 2, 3), 11: (1, 2, 3, 2, 3)},
        ),
    )

    width: WidthRule
    squeeze: Annotated[float, msgspec.Meta(gt=0, le=1)]
    """The share of the expanded channels that squeeze-and-excite squeezes them to."""
    rows: Annotated[tuple[Row, ...], msgspec.Meta(min_length=1)]

    def describe_row(self, row: TomlStruct) -> str:
        """Return the row's type and columns, with SE and the non-linearity by the paper's abbreviations."""
        flags = ["SE"] if isinstance(row, Bneck) and row.se else []
        non_linearity = [row.nl] if isinstance(row, Conv2d | Bneck | Conv2dNbn) else []
        return " ".join([super().describe_row(row), *flags, *non_linearity])

    def add_row(self, builder: LayerBuilder, x: Tensor, row: Row) -> Tensor:
        """Add an inverted residual with squeeze-and-excite and h-swish (paper, Figure 4 and Section 5), or another."""
        alpha, width = builder.variant.alpha, self.width
        activations = {"RE": "relu", "HS": builder.variant.option("activation") or "hard_swish"}
        match row:
            case Conv2d():
                out = width.scale(row.out // 2 if builder.has_halved_tail(x, row.s) else row.out, alpha)
                return builder.conv_bn(x, builder.numbered("conv"), out, row.k, row.s, activation=activations[row.nl])
            case Bneck():
                channels, expands, halved = x.shape[1], row.exp != row.input[2], builder.has_halved_tail(x, row.s)
                exp = row.exp // 2 if halved and row.s > 1 and has_halved_first_expansion(builder.variant) else row.exp
                inside = width.round_width(channels * (exp / row.input[2])) if expands else channels
                squeeze = width.round_width(inside * self.squeeze) if row.se else 0
                out, scope = width.scale(row.out // 2 if halved else row.out, alpha), builder.numbered("bneck")
                return add_inverted_residual(
                    builder, x, scope, inside, out, row.k, row.s, activation=activations[row.nl], squeeze=squeeze
                )
            case Pool():
                return builder.flatten(builder.global_average_pool(x, "pool"))
            case Conv2dNbn():
                out = width.scale(row.out, alpha, widens_only=True)
                return builder.activation(builder.fully_connected(x, "head/fc", out), "head", activations[row.nl])
            case Classifier():
                return builder.classifier(x, row.k)
