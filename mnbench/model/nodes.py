"""Layers as ONNX nodes: one node per layer, named by its scope."""

from collections.abc import Iterable, Sequence
from typing import Any
from zlib import crc32

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from mnbench.errors import BuildError
from mnbench.network.layer import Layer, Tensor

OPERATORS = {
    "relu": "Relu",
    "hard_swish": "HardSwish",
    "sigmoid": "Sigmoid",
    "global_average_pool": "GlobalAveragePool",
    "flatten": "Flatten",
    "add": "Add",
    "mul": "Mul",
}

OPEN_BATCH = "N"

BOUNDS = {"relu6.min": np.float32(0), "relu6.max": np.float32(6)}


def to_node(layer: Layer) -> onnx.NodeProto:  # noqa: C901, PLR0911, PLR0912  one case a kind
    read = [tensor.name for tensor in layer.inputs]
    window: dict[str, Any] = {"kernel_shape": layer.kernel, "strides": layer.stride, "pads": layer.padding}
    bias = ["weight", "bias"][: len(layer.weights)]
    match layer.kind:
        case "conv":
            return make_node("Conv", layer, read, bias, group=layer.groups, **window, **layer.attributes)
        case "batch_norm":
            norms = ["gamma", "beta", "mean", "variance"]
            return make_node("BatchNormalization", layer, read, norms, **layer.attributes)
        case "fully_connected":
            return make_node("Gemm", layer, read, bias, transB=1)
        case "relu6":
            return make_node("Clip", layer, [*read, *BOUNDS])
        case "hard_sigmoid":
            return make_node("HardSigmoid", layer, read, alpha=1 / 6, beta=0.5)
        case "max_pool":
            return make_node("MaxPool", layer, read, **window)
        case "average_pool":
            return make_node("AveragePool", layer, read, **window, **layer.attributes)
        case "lrn":
            return make_node("LRN", layer, read, size=5, alpha=1e-4, beta=0.75, bias=1.0)
        case "pad":
            return make_node("Pad", layer, read, ["sides"])
        case "gather":
            return make_node("Gather", layer, read, ["index"], axis=1)
        case "concat" | "split":
            return make_node(layer.kind.capitalize(), layer, read, ["sizes"] if layer.kind == "split" else [], axis=1)
        case "reshape":
            return make_node("Reshape", layer, read, ["shape"])
        case "transpose":
            return make_node("Transpose", layer, read, **layer.attributes)
        case "resize":
            # Neither a region nor scales are there.
            return make_node("Resize", layer, [*read, "", ""], ["sizes"], **layer.attributes)
        case kind if kind in OPERATORS:
            return make_node(OPERATORS[kind], layer, read)
        case kind:
            raise BuildError(f"{layer.scope}: no node for a layer of kind {kind}", hint="report this as a defect")


def constant_operands(layers: Iterable[Layer], *, open_batch: bool) -> dict[str, NDArray[Any]]:
    """Return the operands that are not weights: bounds and shapes. Shapes are constant because converters need that.

    With an open batch, its size in a shape is 0, which copies it from the input.
    """
    entries: dict[str, NDArray[Any]] = {}
    for layer in layers:
        if layer.kind == "relu6":
            entries |= {name: np.asarray(value) for name, value in BOUNDS.items()}
        elif layer.kind == "split":
            entries[f"{layer.scope}.sizes"] = np.array([tensor.shape[1] for tensor in layer.outputs], np.int64)
        elif layer.kind == "pad":
            top, left, bottom, right = layer.attributes["pads"]
            entries[f"{layer.scope}.sides"] = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
        elif layer.kind == "gather":
            draw = np.random.default_rng(crc32(layer.scope.encode()))
            order = draw.permutation(layer.inputs[0].shape[1])
            entries[f"{layer.scope}.index"] = order[: layer.output.shape[1]].astype(np.int64)
        elif layer.kind == "resize":
            entries[f"{layer.scope}.sizes"] = np.array(layer.output.shape, np.int64)
        elif layer.kind == "reshape":
            batch, *remainder = layer.output.shape
            entries[f"{layer.scope}.shape"] = np.array([0 if open_batch else batch, *remainder], np.int64)
    return entries


def make_node(
    op: str, layer: Layer, read: Sequence[str], weights: Iterable[str] = (), **attributes: Any
) -> onnx.NodeProto:
    """Return a node named after the layer, which reads `read` and the layer's tensors `weights`."""
    inputs = [*read, *(f"{layer.scope}.{name}" for name in weights)]
    return helper.make_node(op, inputs, [tensor.name for tensor in layer.outputs], name=layer.scope, **attributes)


def to_value_info(tensor: Tensor, batch: int | None) -> onnx.ValueInfoProto:
    """Return a graph's input or output; with batch None, the batch is open."""
    shape = (batch or OPEN_BATCH, *tensor.shape[1:])
    return helper.make_tensor_value_info(tensor.name, onnx.TensorProto.FLOAT, shape)


def to_initializer(name: str, numbers: NDArray[Any]) -> onnx.TensorProto:
    kind = helper.np_dtype_to_tensor_dtype(numbers.dtype)
    data = numbers.astype(numbers.dtype.newbyteorder("<"), copy=False).tobytes()
    return onnx.TensorProto(name=name, dims=numbers.shape, data_type=kind, raw_data=data)
