"""Both ShuffleNets' columns: layer, output size, ksize, stride, repeat, and output channels by groups or by scale."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec

from mnbench.network.architecture import (
    IMAGE_CHANNELS,
    Architecture,
    Count,
    Kernel,
    RowShape,
    Stride,
    output_size,
    reject_row,
)
from mnbench.network.toml_struct import TomlStruct

OutputSize: TypeAlias = tuple[Count, Count]
Points: TypeAlias = Sequence[tuple[float, int]]


def interpolate(points: Points, alpha: float) -> float:
    """Channels at any α from those at a few: straight lines between the points, proportional to α outside them.

    Continuous, and monotone where the points are.
    """
    for (alpha_low, low), (alpha_high, high) in pairwise(points):
        if alpha_low <= alpha <= alpha_high:
            return low + (high - low) * (alpha - alpha_low) / (alpha_high - alpha_low)
    alpha_end, end = points[0] if alpha < points[0][0] else points[-1]
    return end * alpha / alpha_end


def round_to_multiple(channels: float, divisor: int, minimum: int) -> int:
    """The nearest multiple of `divisor` (the larger of two), and the smallest that reaches `minimum`."""
    return max(int(channels / divisor + 0.5), -(-minimum // divisor)) * divisor


class ChannelsByGroups(TomlStruct, frozen=True, kw_only=True):
    """ShuffleNet V1's columns: output channels for g groups."""

    g1: Count = msgspec.field(name="g=1")
    g2: Count = msgspec.field(name="g=2")
    g3: Count = msgspec.field(name="g=3")
    g4: Count = msgspec.field(name="g=4")
    g8: Count = msgspec.field(name="g=8")

    def channels(self, groups: int) -> int:
        """The column of that many groups."""
        return getattr(self, f"g{groups}")


class ChannelsByScale(TomlStruct, frozen=True, kw_only=True):
    """ShuffleNet V2's columns: output channels at four scales."""

    x0_5: Count = msgspec.field(name="0.5x")
    x1: Count = msgspec.field(name="1x")
    x1_5: Count = msgspec.field(name="1.5x")
    x2: Count = msgspec.field(name="2x")

    def points(self) -> Points:
        """Scale and channels."""
        return ((0.5, self.x0_5), (1, self.x1), (1.5, self.x1_5), (2, self.x2))


class Image(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="Image"):
    """The input."""

    output: OutputSize


class MaxPool(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="MaxPool"):
    """Max pooling."""

    output: OutputSize
    k: Kernel
    s: Stride


class GlobalPool(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="GlobalPool"):
    """Global average pooling."""

    output: OutputSize
    k: Count


class FullyConnected(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="FC"):
    """The classifier."""

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


class ScaledConv(ChannelsByScale, frozen=True, kw_only=True, tag_field="type", tag="Conv"):
    """Conv1 or Conv5: a convolution, batch normalization and ReLU."""

    output: OutputSize
    k: Kernel
    s: Stride
    repeat: Literal[1]


class ScaledStage(ChannelsByScale, frozen=True, kw_only=True, tag_field="type", tag="Stage"):
    """`repeat` ShuffleNet V2 units of stage `stage`."""

    stage: Count
    output: OutputSize
    s: Stride
    repeat: Count


class UnitV1(TomlStruct, frozen=True, kw_only=True):
    """A form of the unit that is in use.

    `transposed`: the shuffle reads its channels as rows of one channel a group (Megvii's code), and not as the groups
    one behind the other (the paper). Where g does not divide a group's channels, that is another network.
    """

    transposed: bool


class UnitV2(TomlStruct, frozen=True, kw_only=True):
    """A form of the units that is in use.

    `halves`: both branches of the stride-2 unit put out half of the channels (torchvision). Otherwise the left one
    keeps its input's channels and the right one fills up (the paper's complexity, Megvii's code). `shuffles_first`:
    a stride-1 unit begins by parting even channels from odd ones (Megvii's code), and none ends with a shuffle.
    """

    halves: bool
    shuffles_first: bool
    classifier_bias: bool


class WidthRuleV1(TomlStruct, frozen=True, kw_only=True):
    """Stages have the printed channels × α, to a multiple of the groups; Conv1 goes by its published points."""

    conv1: Annotated[tuple[tuple[float, int], ...], msgspec.Meta(min_length=2)]
    minimum: Count


class WidthRuleV2(TomlStruct, frozen=True, kw_only=True):
    """Channels go by the printed columns, to the nearest multiple of `divisor`."""

    divisor: Count
    minimum: Count


class ShuffleNet(Architecture, frozen=True, kw_only=True):
    """What both ShuffleNets share: rows that print their output."""

    activation: Literal["relu"]

    def printed_outputs(self) -> list[tuple[int, OutputSize]]:
        """Stride and printed output of each row that has one."""
        raise AssertionError

    def row_shapes(self) -> Iterator[RowShape]:
        """Every row of the table that prints an output, without channels: those stand in columns."""
        rows = self.printed_outputs()
        for number, (stride, output) in enumerate(rows, 1):
            above = rows[max(0, number - 2)][1]
            computed = (
                output_size((*above, IMAGE_CHANNELS), stride, IMAGE_CHANNELS) if stride else (1, 1, IMAGE_CHANNELS)
            )
            yield RowShape(str(number), (*output, IMAGE_CHANNELS), computed)

    def check(self, path: Path) -> None:
        """Hold the table against itself: every printed output is what its stride makes of the one above."""
        for number, size, computed in self.row_shapes():
            if size != computed:
                reject_row(path, number, "output", size[:2], f"its stride makes {computed[0]} × {computed[1]}")


class ShuffleNetV1(ShuffleNet, frozen=True, kw_only=True, tag="shufflenet-v1"):
    """ShuffleNet V1."""

    alphas: tuple[float, ...]
    """The published scales."""
    groups: Literal[1, 2, 3, 4, 8]
    """How many unless said otherwise."""
    unit: str
    """Which of `units` unless said otherwise."""
    units: dict[str, UnitV1]
    classifier_bias: bool
    width: WidthRuleV1
    rows: Annotated[
        tuple[Image | Conv1 | MaxPool | Stage | GlobalPool | FullyConnected, ...], msgspec.Meta(min_length=1)
    ]

    def printed_outputs(self) -> list[tuple[int, OutputSize]]:
        """Stride and printed output of each row that has one; stride 0 pools the whole map."""
        return _outputs(self.rows)


class ShuffleNetV2(ShuffleNet, frozen=True, kw_only=True, tag="shufflenet-v2"):
    """ShuffleNet V2."""

    alphas: tuple[float, ...]
    """The published scales."""
    unit: str
    """Which of `units` unless said otherwise."""
    units: dict[str, UnitV2]
    width: WidthRuleV2
    rows: Annotated[
        tuple[Image | ScaledConv | MaxPool | ScaledStage | GlobalPool | FullyConnected, ...], msgspec.Meta(min_length=1)
    ]

    def printed_outputs(self) -> list[tuple[int, OutputSize]]:
        """Stride and printed output of each row that has one; stride 0 pools the whole map."""
        return _outputs(self.rows)


def _outputs(rows: Sequence[TomlStruct]) -> list[tuple[int, OutputSize]]:
    result: list[tuple[int, OutputSize]] = []
    for row in rows:
        match row:
            case Image():
                result.append((1, row.output))
            case GlobalPool():
                result.append((0, row.output))
            case Conv1() | ScaledConv() | MaxPool() | Stage() | ScaledStage():
                result.append((row.s, row.output))
            case _:
                pass
    return result
