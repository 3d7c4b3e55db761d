"""Any ONNX model as layers, so that the same counter serves it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import helper, shape_inference

from mnbench.errors import BuildError, first_line
from mnbench.model.model import Model
from mnbench.network.layer import Layer, Shape, Tensor

KINDS = {
    "Conv": "conv",
    "BatchNormalization": "batch_norm",
    "Gemm": "fully_connected",
    "MatMul": "fully_connected",
}


def layers_of(model: Model) -> tuple[Layer, ...]:
    """A layer for each node that computes, in the graph's order, with shapes by ONNX's shape inference.

    A node that reads constants alone, such as the one that widens int8 weights, is itself a constant.

    Raises:
        BuildError: a shape is not known, or the graph has control flow.
    """
    graph = model.proto.graph
    weights: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    shapes = _shapes(model)
    layers: list[Layer] = []
    for index, node in enumerate(graph.node):
        scope = node.name or f"{node.op_type}_{index}"
        if any(attribute.type == onnx.AttributeProto.GRAPH for attribute in node.attribute):
            raise BuildError(
                f"{model.name}: node {scope} is control flow ({node.op_type})", hint="only plain graphs can be counted"
            )
        if all(name in weights for name in node.input if name):
            weights.update((name, shapes.get(name, ())) for name in node.output)
            continue
        read = [name for name in node.input if name and name not in weights]
        written = [name for name in node.output if name]
        unknown = [name for name in (*read, *written) if name not in shapes]
        if unknown:
            raise BuildError(
                f"{model.name}: the shape of {unknown[0]} at node {scope} is not known",
                hint="give the input's size with --res, or export the model with fixed shapes",
            )
        layers.append(
            _layer(
                node,
                scope,
                inputs=tuple(Tensor(name, shapes[name]) for name in read),
                outputs=tuple(Tensor(name, shapes[name]) for name in written),
                weights=[weights[name] for name in node.input if name in weights],
            )
        )
    return tuple(layers)


def element_bytes(model: Model) -> int:
    """How many bytes most of its numbers take: 1 of a quantized model, 2 of fp16, else 4."""
    if any(node.op_type == "DequantizeLinear" for node in model.proto.graph.node):
        return 1
    halves = onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16
    return 2 if any(tensor.data_type in halves for tensor in model.proto.graph.initializer) else 4


def _layer(
    node: onnx.NodeProto, scope: str, *, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], weights: list[Shape]
) -> Layer:
    attributes: Mapping[str, Any] = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    kind = KINDS.get(node.op_type, re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", node.op_type).lower())
    if node.op_type in ("Gemm", "MatMul"):
        return Layer(
            scope=scope,
            kind=kind,
            inputs=inputs,
            outputs=outputs,
            weights=tuple(_out_first(node.op_type, attributes, weights)),
        )
    if node.op_type in ("Conv", "MaxPool", "AveragePool"):
        return Layer(
            scope=scope,
            kind=kind,
            inputs=inputs,
            outputs=outputs,
            weights=tuple(weights),
            kernel=_pair(attributes.get("kernel_shape", weights[0][2:] if weights else ())),
            stride=_pair(attributes.get("strides", ())),
            padding=_padding(attributes.get("pads", ())),
            groups=attributes.get("group", 1),
        )
    if node.op_type == "BatchNormalization":
        return Layer(scope=scope, kind=kind, inputs=inputs, outputs=outputs, weights=tuple(weights[:2]))
    if node.op_type == "Clip":
        return Layer(scope=scope, kind="relu6" if len(node.input) == 3 else "clip", inputs=inputs, outputs=outputs)
    kernel = inputs[0].shape[2:] if node.op_type == "GlobalAveragePool" else ()
    # A constant operand (a bias to add, a shape) is no parameter: parameters are what training moves.
    return Layer(scope=scope, kind=kind, inputs=inputs, outputs=outputs, kernel=_pair(kernel))


def _out_first(op: str, attributes: Mapping[str, Any], weights: list[Shape]) -> list[Shape]:
    """Fully connected weights as (out, in): MatMul, and Gemm without transB, hold them as (in, out)."""
    if weights and len(weights[0]) == 2 and (op == "MatMul" or not attributes.get("transB", 0)):
        return [weights[0][::-1], *weights[1:]]
    return weights


def _pair(sizes: Any) -> tuple[int, int]:
    """Height and width; 1-D convolutions have a width alone."""
    height, width = (1, 1, *sizes)[-2:]
    return height, width


def _padding(pads: Sequence[int]) -> tuple[int, int, int, int]:
    """Top, left, bottom and right; 1-D convolutions have left and right alone."""
    before, after = pads[: len(pads) // 2], pads[len(pads) // 2 :]
    return (0, 0, *before)[-2], (0, *before)[-1], (0, 0, *after)[-2], (0, *after)[-1]


def _shapes(model: Model) -> dict[str, Shape]:
    """The shape of every tensor whose sizes are all known."""
    try:
        graph = shape_inference.infer_shapes(model.proto, data_prop=True).graph
    except (shape_inference.InferenceError, ValueError, RuntimeError) as failure:
        raise BuildError(
            f"{model.name}: its shapes contradict each other: {first_line(failure)}", hint="export the model again"
        ) from failure
    shapes: dict[str, Shape] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(dimension.HasField("dim_value") for dimension in tensor.shape.dim):
            shapes[value.name] = tuple(dimension.dim_value for dimension in tensor.shape.dim)
    return shapes
