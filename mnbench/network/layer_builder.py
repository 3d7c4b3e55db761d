"""The builder of networks: every family adds its layers with it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any, NoReturn

from mnbench.errors import BuildError
from mnbench.network.head_options import backbone_stride, embedding_size
from mnbench.network.layer import INPUT, OUTPUT, Layer, Shape, Tensor
from mnbench.network.toml_struct import TomlStruct
from mnbench.network.variant import Variant
from mnbench.network.windows import Sides, Stride, ceil_padding, even_windows, pair, same_padding, torch_padding

Kernel = int | tuple[int, int]


class LayerBuilder:
    """Collects layers; each method adds one or more and returns their output.

    `row` is the number and the row of the table that the next layers belong to. `epsilon` is that of the next batch
    normalizations. `outputs` are the network's, if they are not that of the last layer.
    """

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.layers: list[Layer] = []
        self._counts = Counter[str]()
        self.rows: list[tuple[str, TomlStruct]] = []
        self.row: tuple[str, TomlStruct]
        self._element_bits = 8 * variant.element_bytes
        self.input = self._tensor(INPUT, variant.architecture.input_shape(variant))
        self.epsilon = variant.architecture.batch_norm_epsilon
        self.outputs: tuple[Tensor, ...] = ()
        self._strides = {INPUT: Stride(1, 1)}
        self._max_stride = backbone_stride(variant)

    def numbered(self, name: str) -> str:
        """Return the next scope of that name: `conv1`, `conv2`."""
        self._counts[name] += 1
        return f"{name}{self._counts[name]}"

    def stride(self, x: Tensor) -> int:
        """Return how many pixels of the input lie between two of a map, if it were not to stay larger."""
        return self._strides[x.name].pixels

    def conv(
        self,
        x: Tensor,
        scope: str,
        out: int,
        kernel: Kernel,
        stride: int = 1,
        *,
        groups: int = 1,
        bias: bool = False,
        sides: Sides | None = None,
        dilation: int = 1,
    ) -> Tensor:
        """Add a convolution; its map shrinks to ceil(side / stride), unless `sides` says how it is padded."""
        if x.shape[1] % groups or out % groups:
            self._refuse(
                f"has {groups} groups of {x.shape[1]} to {out} channels", "both must be multiples of the groups"
            )
        kernel = pair(kernel)
        weights = self._weights(scope, (out, x.shape[1] // groups, *kernel), bias=bias)
        fields: dict[str, Any] = {"groups": groups, "weights": weights}
        return self._window("conv", x, scope, out, kernel, stride, sides=sides, dilation=dilation, **fields)

    def conv_bn(
        self, x: Tensor, scope: str, out: int, kernel: Kernel, stride: int = 1, *, activation: str = "", **options: Any
    ) -> Tensor:
        """Add a convolution, batch normalization and, if named, an activation; `options` are those of `conv`."""
        x = self.batch_norm(self.conv(x, f"{scope}/conv", out, kernel, stride, **options), f"{scope}/bn")
        return self.activation(x, scope, activation) if activation else x

    def batch_norm(self, x: Tensor, scope: str) -> Tensor:
        """Add batch normalization."""
        norms = tuple(self._tensor(f"{scope}.{name}", x.shape[1:2]) for name in ("gamma", "beta"))
        return self.add_layer("batch_norm", scope, [x], x.shape, weights=norms, attributes={"epsilon": self.epsilon})

    def depthwise_bn(self, x: Tensor, scope: str, kernel: Kernel, stride: int = 1, *, activation: str = "") -> Tensor:
        """Add a depthwise convolution, batch normalization and, if named, an activation."""
        return self.conv_bn(x, scope, x.shape[1], kernel, stride, groups=x.shape[1], activation=activation)

    def activation(self, x: Tensor, scope: str, kind: str) -> Tensor:
        """Add an activation of this kind, named after it."""
        return self.add_layer(kind, f"{scope}/{kind}", [x], x.shape)

    def max_pool(
        self, x: Tensor, scope: str, kernel: int, stride: int, *, sides: Sides | None = None, ceil: bool = False
    ) -> Tensor:
        """Add max pooling, padded like a convolution; with `ceil`, a last window may reach beyond the map."""
        return self._window("max_pool", x, scope, x.shape[1], pair(kernel), stride, sides=sides, ceil=ceil)

    def average_pool(
        self,
        x: Tensor,
        scope: str,
        kernel: Kernel,
        stride: Kernel,
        *,
        sides: Sides | None = None,
        counts_padding: bool | None = None,
    ) -> Tensor:
        """Add average pooling, padded like a convolution; PyTorch counts the padding, TensorFlow does not."""
        if counts_padding is None:
            counts_padding = self.variant.padding == "torch"
        attributes = {"count_include_pad": int(counts_padding)}
        return self._window(
            "average_pool", x, scope, x.shape[1], pair(kernel), stride, sides=sides, attributes=attributes
        )

    def adaptive_average_pool(self, x: Tensor, scope: str, side: int) -> Tensor:
        """Add average pooling to `side` × `side`, as PyTorch's adaptive pooling; all windows must be of one size."""
        windows = [even_windows(size, side) for size in self._map(x)[2:]]
        if None in windows:
            height, width = x.shape[2:]
            self._refuse(
                f"cannot pool a map of {height} × {width} evenly to {side} × {side}", "choose another resolution"
            )
        (height, down), (width, across) = [window for window in windows if window]
        return self.average_pool(x, scope, (height, width), (down, across), sides=(0, 0, 0, 0))

    def global_average_pool(self, x: Tensor, scope: str) -> Tensor:
        """Add global average pooling: the mean of each channel, (N, C, 1, 1)."""
        batch, channels, height, width = self._map(x)
        return self.add_layer("global_average_pool", scope, [x], (batch, channels, 1, 1), kernel=(height, width))

    def add(self, scope: str, x: Tensor, y: Tensor) -> Tensor:
        return self.add_layer("add", scope, [x, y], x.shape)

    def multiply(self, scope: str, x: Tensor, gate: Tensor) -> Tensor:
        """Multiply two tensors element by element, or each channel by its gate."""
        return self.add_layer("mul", scope, [x, gate], x.shape)

    def concat(self, scope: str, parts: Sequence[Tensor], *, name: str = "") -> Tensor:
        """Join tensors along their second axis."""
        batch, _, *others = parts[0].shape
        return self.add_layer("concat", scope, parts, (batch, sum(part.shape[1] for part in parts), *others), name=name)

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
        y = self.transpose(y, f"{scope}/transpose", (0, 2, 1, 3, 4))
        return self.add_layer("reshape", f"{scope}/join", [y], x.shape)

    def local_response_norm(self, x: Tensor, scope: str) -> Tensor:
        """Add local response normalization over five channels, with α 0.0001, β 0.75 and k 1 as in Caffe's networks."""
        return self.add_layer("lrn", scope, [x], x.shape)

    def pad(self, x: Tensor, scope: str, sides: Sides) -> Tensor:
        """Add zeros around a map; a negative number cuts off as many rows or columns."""
        batch, channels, height, width = self._map(x)
        top, left, bottom, right = sides
        shape = (batch, channels, height + top + bottom, width + left + right)
        return self.add_layer("pad", scope, [x], shape, attributes={"pads": sides})

    def select_channels(self, x: Tensor, scope: str, count: int) -> Tensor:
        """Select so many channels, by an index that training finds."""
        return self.add_layer("gather", scope, [x], (x.shape[0], count, *x.shape[2:]))

    def resize(self, x: Tensor, scope: str, height: int, width: int, *, align_corners: bool, name: str = "") -> Tensor:
        """Resize a map, with linear interpolation."""
        place = "align_corners" if align_corners else "half_pixel"
        attributes = {"mode": "linear", "coordinate_transformation_mode": place}
        return self.add_layer("resize", scope, [x], (*x.shape[:2], height, width), name=name, attributes=attributes)

    def reshape(self, x: Tensor, scope: str, shape: Shape) -> Tensor:
        return self.add_layer("reshape", scope, [x], shape)

    def transpose(self, x: Tensor, scope: str, order: tuple[int, ...]) -> Tensor:
        return self.add_layer(
            "transpose", scope, [x], tuple(x.shape[axis] for axis in order), attributes={"perm": order}
        )

    def flatten(self, x: Tensor) -> Tensor:
        """Add a view of maps as features: (N, C, H, W) to (N, C·H·W)."""
        return self.add_layer("flatten", "flatten", [x], (x.shape[0], prod(x.shape[1:])))

    def fully_connected(self, x: Tensor, scope: str, out: int, *, bias: bool = True, name: str = "") -> Tensor:
        """Add a fully connected layer: (N, C) to (N, out)."""
        if len(x.shape) != 2:
            self._refuse("needs features, but the rows above it give a map", "pool before it")
        weights = self._weights(scope, (out, x.shape[1]), bias=bias)
        return self.add_layer("fully_connected", scope, [x], (x.shape[0], out), weights=weights, name=name)

    def classifier(self, x: Tensor, classes: int, *, bias: bool = True) -> Tensor:
        """Add the classifier, from pooled features to logits; nothing if the variant has no classes.

        An embedding takes its place, or that of its input if the variant has classes.
        """
        wanted = classes if self.variant.classes is None else self.variant.classes
        if size := embedding_size(self.variant):
            wanted = self.variant.classes
            x = self.fully_connected(x, "embedding", size, bias=bias, name="" if wanted else OUTPUT)
        return self.fully_connected(x, "fc", wanted, bias=bias, name=OUTPUT) if wanted else x

    def has_halved_tail(self, x: Tensor, stride: int = 1) -> bool:
        """Return whether the channels behind `x` are to be halved: those of maps of stride 32."""
        return bool(self.variant.option("tail")) and self.stride(x) * stride >= 32

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
        self,
        kind: str,
        x: Tensor,
        scope: str,
        out: int,
        kernel: tuple[int, int],
        stride: Kernel,
        *,
        sides: Sides | None = None,
        dilation: int = 1,
        ceil: bool = False,
        **fields: Any,
    ) -> Tensor:
        """Add a layer that moves a window over a map."""
        strides, stride_before = pair(stride), self._strides[x.name]
        stride_after = stride_before._replace(pixels=stride_before.pixels * max(strides))
        if self._max_stride and stride_after.pixels // stride_before.dilation > self._max_stride:
            stride_after = stride_after._replace(dilation=stride_before.dilation * max(strides))
            strides = (1, 1)
        if kind == "conv" and kernel != (1, 1):
            # torchvision dilates already the window that loses its stride.
            dilation *= (stride_after if self.variant.option("design") else stride_before).dilation
        sizes = self._map(x)[2:]
        reaches = [dilation * (size - 1) + 1 for size in kernel]
        padding = (
            self._padding(sizes, reaches, strides) if sides is None else list(zip(sides[:2], sides[2:], strict=True))
        )
        if ceil:
            padding = [
                (before, ceil_padding(size, reach, step, before, after))
                for size, reach, step, (before, after) in zip(sizes, reaches, strides, padding, strict=True)
            ]
        counts = [
            (size + sum(edges) - reach) // step + 1
            for size, reach, step, edges in zip(sizes, reaches, strides, padding, strict=True)
        ]
        if min(counts) < 1:
            self._refuse(
                f"has windows of {kernel[0]} × {kernel[1]} on a map of {sizes[0]} × {sizes[1]}",
                "use a higher resolution",
            )
        (top, bottom), (left, right) = padding
        fields |= {"kernel": kernel, "stride": strides, "padding": (top, left, bottom, right)}
        if dilation > 1:
            fields["attributes"] = {"dilations": (dilation, dilation)}
        y = self.add_layer(kind, scope, [x], (x.shape[0], out, *counts), **fields)
        self._strides[y.name] = stride_after
        return y

    def _padding(self, sizes: Sequence[int], reaches: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
        """Return the variant's padding of both axes."""
        if self.variant.padding == "torch":
            return [torch_padding(reach) for reach in reaches]
        return [same_padding(*axis) for axis in zip(sizes, reaches, strides, strict=True)]

    def _tensor(self, name: str, shape: Shape) -> Tensor:
        return Tensor(name, shape, self._element_bits)

    def _weights(self, scope: str, shape: Shape, *, bias: bool) -> tuple[Tensor, ...]:
        weight = self._tensor(f"{scope}.weight", shape)
        return (weight, self._tensor(f"{scope}.bias", shape[:1])) if bias else (weight,)

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
        self._strides |= dict.fromkeys((tensor.name for tensor in layer.outputs), self._strides[layer.inputs[0].name])

    def cut(self, count: int) -> None:
        """Keep so many layers."""
        del self.layers[count:], self.rows[count:]

    def begin(self, at: int, x: Tensor) -> None:
        """Leave out so many layers; the others read `x` as the network's input."""
        del self.layers[:at], self.rows[:at]
        image = replace(x, name=INPUT)
        for index, layer in enumerate(self.layers):
            inputs = tuple(image if tensor == x else tensor for tensor in layer.inputs)
            self.layers[index] = replace(layer, inputs=inputs)

    def end_backbone(self) -> None:
        """Let maps shrink again, and windows read neighbouring pixels."""
        self._max_stride = None
        self._strides = {name: stride._replace(dilation=1) for name, stride in self._strides.items()}
