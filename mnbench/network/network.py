"""A table's rows become layers with shapes, at any α and resolution."""

from collections.abc import Iterable
from dataclasses import dataclass

from mnbench.network.layer import INPUT, OUTPUT, Layer, Shape, Tensor
from mnbench.network.variant import Variant
from mnbench.network.width import scaled
from mnbench.spec.architecture import AvgPool, Conv, ConvDepthwise, FullyConnected, Row, Softmax


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A variant's layers, in the order in which they run, each with the number of the row it comes from."""

    variant: Variant
    layers: tuple[Layer, ...]
    rows: tuple[str, ...]


def network(variant: Variant) -> Network:
    """Every layer of the variant, from its input (1, 3, H, W) to its logits (1, classes).

    Maps shrink as ceil(side / stride), with the symmetric padding of the papers' frameworks.
    """
    architecture = variant.architecture
    first = next(architecture.numbered_rows())[1]
    stack = _Stack(variant, Tensor(INPUT, (1, first.input[2], *variant.resolution)))
    rows: list[str] = []
    for number, row in architecture.numbered_rows():
        stack.add(row)
        rows.extend([number] * (len(stack.layers) - len(rows)))
    return Network(variant=variant, layers=tuple(stack.layers), rows=tuple(rows))


class _Stack:
    """Layers one on another; `top` is the tensor that the next layer reads."""

    def __init__(self, variant: Variant, top: Tensor) -> None:
        self.variant = variant
        self.top = top
        self.layers: list[Layer] = []
        self.convs = 0
        self.blocks = 0
        self.depthwise_open = False

    def add(self, row: Row) -> None:
        channels = self.top.shape[1]
        match row:
            case Conv():
                out = scaled(row.filter[3], self.variant.alpha, self.variant.architecture.width)
                self._conv(self._conv_scope(row), out, row.filter[:2], row.s, groups=1)
            case ConvDepthwise():
                self.blocks += 1
                self.depthwise_open = True
                self._conv(f"separable{self.blocks}/depthwise", channels, row.filter[:2], row.s, groups=channels)
            case AvgPool():
                self._push("pool", "global_average_pool", (1, channels, 1, 1), kernel=_map_of(self.top))
                self._push("flatten", "flatten", (1, channels))
            case FullyConnected():
                classes = row.filter[1]
                weights = ((classes, channels), (classes,))
                self._push("fc", "fully_connected", (1, classes), weights=weights, name=OUTPUT)
            case Softmax():
                pass

    def _conv_scope(self, row: Conv) -> str:
        """A 1 × 1 convolution behind a depthwise one is the other half of the separable convolution."""
        if self.depthwise_open and row.filter[:2] == (1, 1):
            self.depthwise_open = False
            return f"separable{self.blocks}/pointwise"
        self.convs += 1
        return f"conv{self.convs}"

    def _conv(self, scope: str, out: int, kernel: tuple[int, int], stride: int, *, groups: int) -> None:
        batch, channels, height, width = self.top.shape
        shape = (batch, out, -(-height // stride), -(-width // stride))
        top, left = kernel[0] // 2, kernel[1] // 2
        self._push(
            f"{scope}/conv",
            "conv",
            shape,
            weights=((out, channels // groups, *kernel),),
            kernel=kernel,
            stride=(stride, stride),
            padding=(top, left, top, left),
            groups=groups,
        )
        self._push(f"{scope}/bn", "batch_norm", shape, weights=((out,), (out,)))
        activation = self.variant.architecture.activation
        self._push(f"{scope}/{activation}", activation, shape)

    def _push(
        self,
        scope: str,
        kind: str,
        shape: Shape,
        *,
        name: str = "",
        weights: Iterable[Shape] = (),
        kernel: tuple[int, int] = (1, 1),
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        groups: int = 1,
    ) -> None:
        output = Tensor(name or scope, shape)
        self.layers.append(
            Layer(
                scope=scope,
                kind=kind,
                inputs=(self.top,),
                outputs=(output,),
                weights=tuple(weights),
                kernel=kernel,
                stride=stride,
                padding=padding,
                groups=groups,
            )
        )
        self.top = output


def _map_of(tensor: Tensor) -> tuple[int, int]:
    return tensor.shape[2], tensor.shape[3]
