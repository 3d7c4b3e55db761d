"""The builder of networks: every family adds its layers with it."""

from collections import Counter
from collections.abc import Sequence
from math import prod
from typing import Any, NoReturn

from mnbench.errors import BuildError
from mnbench.network.layer import INPUT, OUTPUT, Layer, Shape, Tensor
from mnbench.network.toml_struct import TomlStruct
from mnbench.network.variant import Variant

Kernel = int | tuple[int, int]


class LayerBuilder:
    """Collects layers; each method adds one or more and returns their output.

    `row` is the number and the row of the table that the next layers belong to.
    """

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.layers: list[Layer] = []
        self._counts = Counter[str]()
        self.rows: list[tuple[str, TomlStruct]] = []
        self.row: tuple[str, TomlStruct]
        self._element_bits = 8 * variant.element_bytes
        self.input = self._tensor(INPUT, variant.architecture.input_shape(variant))

    def numbered(self, name: str) -> str:
        """Return the next scope of that name: `conv1`, `conv2`."""
        self._counts[name] += 1
        return f"{name}{self._counts[name]}"

    def conv(
        self, x: Tensor, scope: str, out: int, kernel: Kernel, stride: int = 1, *, groups: int = 1, bias: bool = False
    ) -> Tensor:
        """Add a convolution; its map shrinks to ceil(side / stride)."""
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        weights = self._weights(scope, (out, x.shape[1] // groups, *sides), bias=bias)
        return self._window("conv", x, scope, out, sides, stride, groups=groups, weights=weights)

    def conv_bn(
        self, x: Tensor, scope: str, out: int, kernel: Kernel, stride: int = 1, *, groups: int = 1, activation: str = ""
    ) -> Tensor:
        """Add a convolution, batch normalization and, if named, an activation."""
        x = self.conv(x, f"{scope}/conv", out, kernel, stride, groups=groups)
        norms = tuple(self._tensor(f"{scope}/bn.{name}", (out,)) for name in ("gamma", "beta"))
        x = self.add_layer("batch_norm", f"{scope}/bn", [x], x.shape, weights=norms)
        return self.activation(x, scope, activation) if activation else x

    def depthwise_bn(self, x: Tensor, scope: str, kernel: Kernel, stride: int = 1, *, activation: str = "") -> Tensor:
        """Add a depthwise convolution, batch normalization and, if named, an activation."""
        return self.conv_bn(x, scope, x.shape[1], kernel, stride, groups=x.shape[1], activation=activation)

    def activation(self, x: Tensor, scope: str, kind: str) -> Tensor:
        """Add an activation of this kind, named after it."""
        return self.add_layer(kind, f"{scope}/{kind}", [x], x.shape)

    def max_pool(self, x: Tensor, scope: str, kernel: int, stride: int) -> Tensor:
        """Add max pooling, padded like a convolution."""
        return self._window("max_pool", x, scope, x.shape[1], (kernel, kernel), stride)

    def average_pool(self, x: Tensor, scope: str, kernel: int, stride: int) -> Tensor:
        """Add average pooling, padded like a convolution."""
        return self._window("average_pool", x, scope, x.shape[1], (kernel, kernel), stride)

    def global_average_pool(self, x: Tensor, scope: str) -> Tensor:
        """Add global average pooling: the mean of each channel, (N, C, 1, 1)."""
        batch, channels, height, width = self._map(x)
        return self.add_layer("global_average_pool", scope, [x], (batch, channels, 1, 1), kernel=(height, width))

    def add(self, scope: str, x: Tensor, y: Tensor) -> Tensor:
        return self.add_layer("add", scope, [x, y], x.shape)

    def multiply(self, scope: str, x: Tensor, gate: Tensor) -> Tensor:
        """Multiply two tensors element by element, or each channel by its gate."""
        return self.add_layer("mul", scope, [x, gate], x.shape)

    def concat(self, scope: str, parts: Sequence[Tensor]) -> Tensor:
        batch, _, height, width = parts[0].shape
        return self.add_layer("concat", scope, parts, (batch, sum(part.shape[1] for part in parts), height, width))

    def split_channels(self, x: Tensor, scope: str) -> tuple[Tensor, Tensor]:
        """Split the channels into two halves."""
        batch, channels, height, width = self._map(x)
        half = (batch, channels // 2, height, width)
        left, right = self._tensor(f"{scope}/left", half), self._tensor(f"{scope}/right", half)
        self._append(Layer(scope=scope, kind="split", inputs=(x,), outputs=(left, right)))
        return left, right

    def channel_shuffle(self, x: Tensor, scope: str, groups: int) -> Tensor:
        """Move channel i of group g to channel g of group i: reshape, transpose, reshape, all of constant shape."""
        batch, channels, height, width = x.shape
        inner = channels // groups
        y = self.add_layer("reshape", f"{scope}/split", [x], (batch, groups, inner, height, width))
        y = self.add_layer("transpose", f"{scope}/transpose", [y], (batch, inner, groups, height, width))
        return self.add_layer("reshape", f"{scope}/join", [y], x.shape)

    def flatten(self, x: Tensor) -> Tensor:
        return self.add_layer("flatten", "flatten", [x], x.shape[:2])

    def fully_connected(self, x: Tensor, scope: str, out: int, *, bias: bool = True, name: str = "") -> Tensor:
        """Add a fully connected layer: (N, C) to (N, out)."""
        if len(x.shape) != 2:
            self._refuse("needs pooled features, but the rows above it have not pooled", "pool before it")
        weights = self._weights(scope, (out, x.shape[1]), bias=bias)
        return self.add_layer("fully_connected", scope, [x], (x.shape[0], out), weights=weights, name=name)

    def classifier(self, x: Tensor, classes: int, *, bias: bool = True) -> Tensor:
        """Add the classifier, from pooled features to logits; nothing if the variant has no classes."""
        wanted = classes if self.variant.classes is None else self.variant.classes
        return self.fully_connected(x, "fc", wanted, bias=bias, name=OUTPUT) if wanted else x

    def add_layer(
        self, kind: str, scope: str, inputs: Sequence[Tensor], shape: Shape, *, name: str = "", **fields: Any
    ) -> Tensor:
        """Add a layer with one output, named after its scope; `fields` are further ones of `Layer`."""
        output = self._tensor(name or scope, shape)
        mult_adds = prod(shape) * prod(fields["weights"][0].shape[1:]) if kind in ("conv", "fully_connected") else 0
        self._append(
            Layer(scope=scope, kind=kind, inputs=tuple(inputs), outputs=(output,), mult_adds=mult_adds, **fields)
        )
        return output

    def _window(
        self, kind: str, x: Tensor, scope: str, out: int, kernel: tuple[int, int], stride: int, **fields: Any
    ) -> Tensor:
        """Add a layer that moves a window over a map."""
        batch, _, height, width = self._map(x)
        shape = (batch, out, -(-height // stride), -(-width // stride))
        top, bottom = self._padding(height, kernel[0], stride)
        left, right = self._padding(width, kernel[1], stride)
        padding = (top, left, bottom, right)
        return self.add_layer(
            kind, scope, [x], shape, kernel=kernel, stride=(stride, stride), padding=padding, **fields
        )

    def _tensor(self, name: str, shape: Shape) -> Tensor:
        return Tensor(name, shape, self._element_bits)

    def _weights(self, scope: str, shape: Shape, *, bias: bool) -> tuple[Tensor, ...]:
        weight = self._tensor(f"{scope}.weight", shape)
        return (weight, self._tensor(f"{scope}.bias", shape[:1])) if bias else (weight,)

    def _padding(self, size: int, kernel: int, stride: int) -> tuple[int, int]:
        """Return the padding before and after: half a kernel each, or TensorFlow's SAME."""
        if self.variant.padding == "torch":
            return kernel // 2, kernel // 2
        lacking = max(0, (-(-size // stride) - 1) * stride + kernel - size)
        return lacking // 2, lacking - lacking // 2

    def _map(self, x: Tensor) -> tuple[int, int, int, int]:
        """Return the sizes of a map."""
        if len(x.shape) != 4:
            self._refuse("needs a map, but the rows above it have pooled", "pool once, behind the last convolution")
        batch, channels, height, width = x.shape
        return batch, channels, height, width

    def _refuse(self, problem: str, hint: str) -> NoReturn:
        raise BuildError(f"{self.variant.architecture.name}: row {self.row[0]} {problem}", hint=hint)

    def _append(self, layer: Layer) -> None:
        if any(layer.scope == other.scope for other in self.layers[-4:]):
            self._refuse(f"makes {layer.scope} a second time", "a table has one of it")
        self.layers.append(layer)
        self.rows.append(self.row)
