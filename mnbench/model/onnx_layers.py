"""Conversion of any ONNX model to layers, so that one counter serves all models."""

import re
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

import onnx
from onnx import helper, shape_inference

from mnbench.errors import BuildError, first_line
from mnbench.network.layer import Layer, Shape, Tensor
from mnbench.network.variant import Precision

KINDS = {
    "Conv": "conv",
    "BatchNormalization": "batch_norm",
    "Gemm": "fully_connected",
    "MatMul": "fully_connected",
}


def onnx_layers(proto: onnx.ModelProto, model_name: str) -> tuple[Layer, ...]:
    """Return a layer for each node that computes, in the graph's order, with shapes from ONNX's shape inference.

    A node that reads only constants, such as one that widens int8 weights, is a constant itself.

    Raises:
        BuildError: a shape is not known, or the graph has control flow.
    """
    graph = proto.graph
    constants: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    shapes = _shapes(proto, model_name)
    layers: list[Layer] = []
    for index, node in enumerate(graph.node):
        scope = node.name or f"{node.op_type}_{index}"
        if any(attribute.type == onnx.AttributeProto.GRAPH for attribute in node.attribute):
            raise BuildError(
                f"{model_name}: node {scope} is control flow ({node.op_type})", hint="only plain graphs can be counted"
            )
        if all(name in constants for name in node.input if name):
            constants.update((name, shapes.get(name, ())) for name in node.output)
            continue
        read = [name for name in node.input if name and name not in constants]
        written = [name for name in node.output if name]
        unknown = [name for name in (*read, *written) if name not in shapes]
        if unknown:
            raise BuildError(
                f"{model_name}: the shape of {unknown[0]} at node {scope} is not known",
                hint="give the input's size with --res, or export the model with fixed shapes",
            )
        attributes: Mapping[str, Any] = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        weights = _weights(node, attributes, constants)
        window = attributes if node.op_type in ("Conv", "MaxPool", "AveragePool") else {}
        kernel = attributes.get("kernel_shape", weights[0][2:] if node.op_type == "Conv" and weights else ())
        if node.op_type == "GlobalAveragePool":
            kernel = shapes[node.input[0]][2:]
        layers.append(
            Layer(
                scope=scope,
                kind=_kind(node, graph.initializer),
                inputs=tuple(Tensor(name, shapes[name]) for name in read),
                outputs=tuple(Tensor(name, shapes[name]) for name in written),
                weights=weights,
                kernel=_pair(kernel),
                stride=_pair(window.get("strides", ())),
                padding=_padding(window.get("pads", ())),
                groups=window.get("group", 1),
            )
        )
    return tuple(layers)


def detect_precision(proto: onnx.ModelProto) -> Precision:
    """Return the precision of most of the model's numbers."""
    if any(node.op_type == "DequantizeLinear" for node in proto.graph.node):
        return "int8"
    halves = onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16
    return "fp16" if any(tensor.data_type in halves for tensor in proto.graph.initializer) else "fp32"


def _kind(node: onnx.NodeProto, initializers: Iterable[onnx.TensorProto]) -> str:
    if node.op_type == "Clip":
        bounds = {tensor.name: tensor for tensor in initializers if tensor.name in node.input[1:]}
        values = [float(onnx.numpy_helper.to_array(bounds[name])) for name in node.input[1:] if name in bounds]
        return "relu6" if values == [0.0, 6.0] else "clip"
    return KINDS.get(node.op_type, re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", node.op_type).lower())


def _weights(node: onnx.NodeProto, attributes: Mapping[str, Any], constants: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """Return the shapes of trainable operands. Other constants, such as shapes, are not parameters."""
    shapes = [constants[name] for name in node.input if name in constants]
    match node.op_type:
        case "Conv" | "PRelu":
            return tuple(shapes)
        case "BatchNormalization":
            return tuple(shapes[:2])
        case "Gemm" | "MatMul" if node.input[0] in constants or node.input[1] in constants:
            left = node.input[0] in constants
            summed = _summed(node.op_type, attributes, shapes[0], left=left)
            return ((prod(shapes[0]) // summed, summed), *shapes[1:])
        case _:
            return ()


def _summed(op: str, attributes: Mapping[str, Any], weight: Shape, *, left: bool) -> int:
    """Return how many numbers a fully connected layer sums for each output."""
    if len(weight) == 1:
        return weight[0]
    turned = op == "Gemm" and bool(attributes.get("transA" if left else "transB", 0))
    return weight[-1] if left != turned else weight[-2]


def _pair(sizes: Any) -> tuple[int, int]:
    """Return height and width; 1-D convolutions have only a width."""
    height, width = (1, 1, *sizes)[-2:]
    return height, width


def _padding(pads: Sequence[int]) -> tuple[int, int, int, int]:
    """Return top, left, bottom and right; 1-D convolutions have only left and right."""
    before, after = pads[: len(pads) // 2], pads[len(pads) // 2 :]
    return (0, 0, *before)[-2], (0, *before)[-1], (0, 0, *after)[-2], (0, *after)[-1]


def _shapes(proto: onnx.ModelProto, model_name: str) -> dict[str, Shape]:
    """Return the shape of every tensor whose sizes are all known."""
    try:
        graph = shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True).graph
    except (shape_inference.InferenceError, ValueError, RuntimeError) as failure:
        raise BuildError(
            f"{model_name}: its shapes contradict each other: {first_line(failure)}", hint="export the model again"
        ) from failure
    shapes: dict[str, Shape] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(dimension.HasField("dim_value") for dimension in tensor.shape.dim):
            shapes[value.name] = tuple(dimension.dim_value for dimension in tensor.shape.dim)
    return shapes
