"""MobileNets: tables to layers."""

from mnbench.families import mobilenet_v1 as v1
from mnbench.families import mobilenet_v2 as v2
from mnbench.families import mobilenet_v3 as v3
from mnbench.network.layer import Tensor
from mnbench.network.layer_builder import LayerBuilder

ACTIVATIONS = {"RE": "relu", "HS": "hard_swish"}


def add_mobilenet_v1_layers(table: v1.MobileNetV1, stack: LayerBuilder) -> None:
    """Convolutions and depthwise separable convolutions (paper, Section 3.1)."""
    x, alpha, activation = stack.input, stack.variant.alpha, table.activation
    convs = blocks = 0
    depthwise = False
    for number, row in table.numbered_rows():
        stack.row = number, row
        match row:
            case v1.Conv():
                # A 1 × 1 convolution behind a depthwise one is the other half of the separable convolution.
                separable = depthwise and row.filter[:2] == (1, 1)
                convs += not separable
                depthwise = False
                scope = f"separable{blocks}/pointwise" if separable else f"conv{convs}"
                out = table.width.scale(row.filter[3], alpha)
                x = stack.conv_bn(x, scope, out, row.filter[:2], row.s, activation=activation)
            case v1.ConvDepthwise():
                blocks += 1
                depthwise = True
                x = _depthwise(stack, x, f"separable{blocks}/depthwise", row.filter[0], row.s, activation)
            case v1.AvgPool():
                x = stack.flatten(stack.global_average_pool(x, "pool"))
            case v1.FullyConnected():
                stack.classifier(x, row.filter[1])
            case v1.Softmax():
                pass


def add_mobilenet_v2_layers(table: v2.MobileNetV2, stack: LayerBuilder) -> None:
    """Inverted residuals with linear bottlenecks (paper, Table 1)."""
    x, alpha, width = stack.input, stack.variant.alpha, table.width
    convs = blocks = 0
    for number, row in enumerate(table.rows, 1):
        stack.row = str(number), row
        match row:
            case v2.Conv2d():
                convs += 1
                out = width.scale(row.c, alpha, widens_only=row.widens_only)
                x = stack.conv_bn(x, f"conv{convs}", out, row.k, row.s, activation=table.activation)
            case v2.Bottleneck():
                out = width.scale(row.c, alpha)
                for repeat in range(row.n):
                    blocks += 1
                    # t = 1 has no expansion, as in all code: it would only mix the channels once more.
                    inside = width.round_width(x.shape[1] * row.t) if row.t > 1 else x.shape[1]
                    stride = 1 if repeat else row.s
                    x = _inverted_residual(
                        stack, x, f"bottleneck{blocks}", inside, out, 3, stride, activation=table.activation
                    )
            case v2.AvgPool():
                x = stack.flatten(stack.global_average_pool(x, "pool"))
            case v2.Classifier():
                stack.classifier(x, row.k)


def add_mobilenet_v3_layers(table: v3.MobileNetV3, stack: LayerBuilder) -> None:
    """Inverted residuals with squeeze-and-excite and h-swish (paper, Figure 4 and Section 5)."""
    x, alpha, width = stack.input, stack.variant.alpha, table.width
    names = {"RE": "relu", "HS": "relu"} if stack.variant.relu else ACTIVATIONS
    convs = blocks = 0
    for number, row in enumerate(table.rows, 1):
        stack.row = str(number), row
        match row:
            case v3.Conv2d():
                convs += 1
                x = stack.conv_bn(
                    x, f"conv{convs}", width.scale(row.out, alpha), row.k, row.s, activation=names[row.nl]
                )
            case v3.Bneck():
                blocks += 1
                inside = (
                    width.round_width(x.shape[1] * (row.exp / row.input[2])) if row.exp != row.input[2] else x.shape[1]
                )
                squeeze = width.round_width(inside * table.squeeze) if row.se else 0
                out = width.scale(row.out, alpha)
                x = _inverted_residual(
                    stack, x, f"bneck{blocks}", inside, out, row.k, row.s, activation=names[row.nl], squeeze=squeeze
                )
            case v3.Pool():
                x = stack.flatten(stack.global_average_pool(x, "pool"))
            case v3.Conv2dNbn():
                out = width.scale(row.out, alpha, widens_only=True)
                x = stack.activation(stack.fully_connected(x, "head/fc", out), "head", names[row.nl])
            case v3.Classifier():
                stack.classifier(x, row.k)


def _depthwise(stack: LayerBuilder, x: Tensor, scope: str, kernel: int, stride: int, activation: str) -> Tensor:
    channels = x.shape[1]
    return stack.conv_bn(x, scope, channels, kernel, stride, groups=channels, activation=activation)


def _inverted_residual(
    stack: LayerBuilder,
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
    """Expand, depthwise, squeeze-and-excite if asked for, project; a shortcut where shapes allow."""
    y = x
    if inside != x.shape[1]:
        y = stack.conv_bn(y, f"{scope}/expand", inside, 1, activation=activation)
    y = _depthwise(stack, y, f"{scope}/depthwise", kernel, stride, activation)
    if squeeze:
        y = _squeeze_excite(stack, y, f"{scope}/squeeze_excite", squeeze)
    y = stack.conv_bn(y, f"{scope}/project", out, 1)
    return stack.add(f"{scope}/add", x, y) if stride == 1 and x.shape == y.shape else y


def _squeeze_excite(stack: LayerBuilder, x: Tensor, scope: str, squeeze: int) -> Tensor:
    """Each channel times a gate that all channels decide on (V3, Section 5.3), hard sigmoid, with biases."""
    y = stack.global_average_pool(x, f"{scope}/pool")
    y = stack.conv(y, f"{scope}/reduce/conv", squeeze, 1, bias=True)
    y = stack.activation(y, f"{scope}/reduce", "relu")
    y = stack.conv(y, f"{scope}/expand/conv", x.shape[1], 1, bias=True)
    gate = stack.activation(y, f"{scope}/expand", "hard_sigmoid")
    return stack.multiply(f"{scope}/scale", x, gate)
