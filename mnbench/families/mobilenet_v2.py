"""MobileNet V2's columns: input, operator, t, c, n, s."""

from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

import msgspec

from mnbench.network.architecture import Architecture, Count, Kernel, RowShape, Size, Stride, output_size
from mnbench.network.toml_struct import TomlStruct


class WidthRule(TomlStruct, frozen=True, kw_only=True):
    """How α reaches channels: to the nearest multiple of `divisor`, never under `minimum`, nor under 90 %."""

    divisor: Count
    minimum: Count

    def round_width(self, channels: float) -> int:
        """Slim's `_make_divisible`, which torchvision and Keras share. Monotone in `channels`."""
        rounded = max(self.minimum, int(channels + self.divisor / 2) // self.divisor * self.divisor)
        return rounded + self.divisor if rounded < 0.9 * channels else rounded

    def scale(self, printed: int, alpha: float, *, widens_only: bool = False) -> int:
        """Channels at width multiplier `alpha`; where it `widens_only`, an α under 1 leaves them as they are."""
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
        """What the row hands to the next one."""
        return output_size(self.input, self.s, self.c)


class Bottleneck(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="bottleneck"):
    """`n` inverted residuals (the paper's Table 1) to c channels, expanded t times; the first has stride s."""

    input: Size
    t: Count
    c: Count
    n: Count
    s: Stride

    def output(self) -> Size:
        """What the row hands to the next one."""
        return output_size(self.input, self.s, self.c)


class AvgPool(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="avgpool"):
    """Global average pooling."""

    input: Size
    k: Count

    def output(self) -> Size:
        """What the row hands to the next one."""
        return (1, 1, self.input[2])


class Classifier(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="classifier"):
    """The paper's last 1 × 1 convolution, to its "k" classes."""

    input: Size
    k: Count

    def output(self) -> Size:
        """What the row hands to the next one."""
        return (1, 1, self.k)


Row: TypeAlias = Conv2d | Bottleneck | AvgPool | Classifier


class MobileNetV2(Architecture, frozen=True, kw_only=True, tag="mobilenet-v2"):
    """MobileNet V2."""

    activation: Literal["relu6"]
    width: WidthRule
    rows: Annotated[tuple[Row, ...], msgspec.Meta(min_length=1)]

    def row_shapes(self) -> Iterator[RowShape]:
        """Every row of the table, in order."""
        return (RowShape(str(number), row.input, row.output()) for number, row in enumerate(self.rows, 1))
