"""ShuffleNets: tables to layers."""

from mnbench.families import shufflenet as spec
from mnbench.families.shufflenet import interpolate, round_to_multiple
from mnbench.network.layer import Tensor
from mnbench.network.layer_builder import LayerBuilder


def add_shufflenet_v1_layers(table: spec.ShuffleNetV1, stack: LayerBuilder) -> None:
    """Pointwise group convolutions and channel shuffle (paper, Figure 2)."""
    x, alpha, width = stack.input, stack.variant.alpha, table.width
    groups = stack.variant.groups or table.groups
    unit = table.units[stack.variant.unit or table.unit]
    for number, row in enumerate(table.rows, 1):
        stack.row = str(number), row
        match row:
            case spec.Conv1():
                out = round_to_multiple(
                    interpolate(width.conv1, alpha) * row.channels(groups) / 24, groups, width.minimum
                )
                x = stack.conv_bn(x, "conv1", out, row.k, row.s, activation=table.activation)
            case spec.MaxPool():
                x = stack.max_pool(x, "max_pool", row.k, row.s)
            case spec.Stage():
                # The stride-2 unit adds out - in channels to those that it pools: there must be some at the smallest α.
                out = round_to_multiple(row.channels(groups) * alpha, groups, row.s * x.shape[1])
                for repeat in range(row.repeat):
                    scope = f"stage{row.stage}.{repeat + 1 + (row.s == 1)}"
                    # "We do not apply group convolution on the first pointwise layer" of Stage 2: it has few inputs.
                    first = groups if row.stage > 2 or row.s == 1 else 1
                    x = _unit_v1(stack, x, scope, out, row.s, groups=groups, first=first, unit=unit)
            case spec.GlobalPool():
                x = stack.flatten(stack.global_average_pool(x, "pool"))
            case spec.FullyConnected():
                stack.classifier(x, row.classes, bias=table.classifier_bias)
            case spec.Image():
                pass


def add_shufflenet_v2_layers(table: spec.ShuffleNetV2, stack: LayerBuilder) -> None:
    """Channel split and shuffle (paper, Figure 3 c and d)."""
    x, alpha, width = stack.input, stack.variant.alpha, table.width
    unit = table.units[stack.variant.unit or table.unit]
    convs = {1: "conv5", 3: "conv1"}
    for number, row in enumerate(table.rows, 1):
        stack.row = str(number), row
        match row:
            case spec.ScaledConv():
                out = round_to_multiple(interpolate(row.points(), alpha), width.divisor, width.minimum)
                x = stack.conv_bn(x, convs.get(row.k, "conv"), out, row.k, row.s, activation=table.activation)
            case spec.MaxPool():
                x = stack.max_pool(x, "max_pool", row.k, row.s)
            case spec.ScaledStage():
                out = round_to_multiple(interpolate(row.points(), alpha), width.divisor, row.s * x.shape[1])
                for repeat in range(row.repeat):
                    scope = f"stage{row.stage}.{repeat + 1 + (row.s == 1)}"
                    x = _unit_v2(stack, x, scope, unit) if row.s == 1 else _down_v2(stack, x, scope, out, unit)
            case spec.GlobalPool():
                x = stack.flatten(stack.global_average_pool(x, "pool"))
            case spec.FullyConnected():
                stack.classifier(x, row.classes, bias=unit.classifier_bias)
            case spec.Image():
                pass


def _unit_v1(
    stack: LayerBuilder, x: Tensor, scope: str, out: int, stride: int, *, groups: int, first: int, unit: spec.UnitV1
) -> Tensor:
    """Shuffling behind the depthwise convolution instead of before it moves a quarter as much at stride 2.

    The function is the same: a depthwise convolution does not care which channel is which.
    """
    inside = round_to_multiple(out / 4, groups, groups)
    added = out - x.shape[1] if stride > 1 else out
    y = stack.conv_bn(x, f"{scope}/reduce", inside, 1, groups=first, activation="relu")
    y = stack.conv_bn(y, f"{scope}/depthwise", inside, 3, stride, groups=inside)
    if groups > 1:
        y = stack.channel_shuffle(y, f"{scope}/shuffle", inside // groups if unit.transposed else groups)
    y = stack.conv_bn(y, f"{scope}/expand", added, 1, groups=groups)
    if stride > 1:
        y = stack.concat(f"{scope}/concat", [stack.average_pool(x, f"{scope}/pool", 3, stride), y])
    else:
        y = stack.add(f"{scope}/add", x, y)
    return stack.activation(y, scope, "relu")


def _unit_v2(stack: LayerBuilder, x: Tensor, scope: str, unit: spec.UnitV2) -> Tensor:
    if unit.shuffles_first:
        x = stack.channel_shuffle(x, f"{scope}/shuffle", x.shape[1] // 2)
    left, right = stack.split_channels(x, f"{scope}/split")
    right = _branch_v2(stack, right, f"{scope}/right", right.shape[1], right.shape[1], stride=1)
    return _joined_v2(stack, left, right, scope, unit)


def _down_v2(stack: LayerBuilder, x: Tensor, scope: str, out: int, unit: spec.UnitV2) -> Tensor:
    """The stride-2 unit: no split, both branches see all channels."""
    channels = x.shape[1]
    stored = out // 2 if unit.halves else channels
    left = stack.conv_bn(x, f"{scope}/left/depthwise", channels, 3, 2, groups=channels)
    left = stack.conv_bn(left, f"{scope}/left/pointwise", stored, 1, activation="relu")
    right = _branch_v2(stack, x, f"{scope}/right", out // 2, out - stored, stride=2)
    return _joined_v2(stack, left, right, scope, unit)


def _joined_v2(stack: LayerBuilder, left: Tensor, right: Tensor, scope: str, unit: spec.UnitV2) -> Tensor:
    joined = stack.concat(f"{scope}/concat", [left, right])
    return joined if unit.shuffles_first else stack.channel_shuffle(joined, f"{scope}/shuffle", 2)


def _branch_v2(stack: LayerBuilder, x: Tensor, scope: str, inside: int, out: int, *, stride: int) -> Tensor:
    x = stack.conv_bn(x, f"{scope}/reduce", inside, 1, activation="relu")
    x = stack.conv_bn(x, f"{scope}/depthwise", inside, 3, stride, groups=inside)
    return stack.conv_bn(x, f"{scope}/pointwise", out, 1, activation="relu")
