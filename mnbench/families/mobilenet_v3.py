"""MobileNet V3's columns: input, operator, exp size, #out, SE, NL, s."""

from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

import msgspec

from mnbench.families.mobilenet_v2 import AvgPool, WidthRule
from mnbench.network.architecture import Architecture, Count, Kernel, RowShape, Size, Stride, output_size
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
        """What the row hands to the next one."""
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
        """What the row hands to the next one."""
        return output_size(self.input, self.s, self.out)


class Pool(AvgPool, frozen=True, kw_only=True, tag_field="type", tag="pool"):
    """Global average pooling."""


class Conv2dNbn(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="conv2d NBN"):
    """A 1 × 1 convolution with bias and without batch normalization; α under 1 leaves its width as it is."""

    input: Size
    out: Count
    nl: NonLinearity

    def output(self) -> Size:
        """What the row hands to the next one."""
        return (1, 1, self.out)


class Classifier(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="classifier"):
    """The last 1 × 1 convolution, NBN, to the paper's "k" classes."""

    input: Size
    k: Count

    def output(self) -> Size:
        """What the row hands to the next one."""
        return (1, 1, self.k)


Row: TypeAlias = Conv2d | Bneck | Pool | Conv2dNbn | Classifier


class MobileNetV3(Architecture, frozen=True, kw_only=True, tag="mobilenet-v3"):
    """MobileNet V3, Large and Small, with and without the advanced blocks."""

    width: WidthRule
    squeeze: Annotated[float, msgspec.Meta(gt=0, le=1)]
    """The share of the expanded channels that squeeze-and-excite squeezes them to."""
    rows: Annotated[tuple[Row, ...], msgspec.Meta(min_length=1)]

    def row_shapes(self) -> Iterator[RowShape]:
        """Every row of the table, in order."""
        return (RowShape(str(number), row.input, row.output()) for number, row in enumerate(self.rows, 1))
