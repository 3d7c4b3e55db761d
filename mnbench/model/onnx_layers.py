"""Conversion of any ONNX model to layers, so that one counter serves all models."""

import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import onnx
from onnx import helper, numpy_helper, shape_inference

from mnbench.errors import BuildError, first_line
from mnbench.model.operators import Operation, count_mult_adds
from mnbench.network.layer import Layer, Shape, Tensor
from mnbench.network.variant import Precision

KINDS = {
    "BatchNormalization": "batch_norm",
    "Conv": "conv",
    "ConvInteger": "conv",
    "FusedConv": "conv",
    "Gemm": "fully_connected",
    "MatMul": "fully_connected",
    "MatMulInteger": "fully_connected",
    "QLinearConv": "conv",
    "QLinearMatMul": "fully_connected",
}

SETTINGS: Mapping[str, Container[int]] = {
    "BatchNormalization": (3, 4),
    "Clip": (1, 2),
    "ConvInteger": (2, 3),
    "DequantizeLinear": (1, 2),
    "Dropout": (1, 2),
    "DynamicQuantizeLSTM": range(8, 12),
    "DynamicQuantizeMatMul": (2, 3),
    "LSTM": (4, 5, 6),
    "GRU": (4, 5),
    "MatMulInteger": (2, 3),
    "MatMulIntegerToFloat": (2, 3, 4, 5),
    "Pad": (1, 2, 3),
    "QAttention": (3, 4, 5, 6, 7, 8),
    "QGemm": (1, 2, 4, 5, 7, 8),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QuantizeLinear": (1, 2),
    "RNN": (4, 5),
    "Resize": (1, 2, 3),
    "Upsample": (1,),
}
"""Operands that are settings, running statistics, states, scales or zero points: constants, and no parameters."""

SCALAR_OPERATORS = frozenset(
    {"Add", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Pow"}
    | {"Sub", "Where"}
)
"""A single number in these is a setting of the graph, such as the 6 of a ReLU6; more numbers are parameters."""

INT32_BIAS_OPERATORS = frozenset({"Conv", "Gemm", "QGemm", "QLinearConv"})
"""Quantized networks store the biases of these as int32; elsewhere int32 numbers are indices and shapes."""

WINDOWED_OPERATORS = frozenset(
    {"AveragePool", "Conv", "ConvInteger", "ConvTranspose", "FusedConv", "MaxPool", "QLinearConv"}
)

PRECISIONS: Mapping[int, Precision] = {
    onnx.TensorProto.FLOAT: "fp32",
    onnx.TensorProto.DOUBLE: "fp32",
    onnx.TensorProto.FLOAT16: "fp16",
    onnx.TensorProto.BFLOAT16: "fp16",
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.UINT8: "int8",
}
"""The precision of weights of each type. Tensors of other types, such as shapes and indices, are no weights."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A tensor that depends on no input, and the largest stored tensor that it is computed from."""

    shape: Shape
    element_type: int
    source: str
    number: float | None = None


def onnx_layers(proto: onnx.ModelProto, model_name: str) -> tuple[Layer, ...]:
    """Return a layer for each node that computes, in the graph's order, with shapes from ONNX's shape inference.

    A node that reads only constants, such as one that widens int8 weights, is a constant itself. Weights that several
    nodes read are parameters of the first.

    Raises:
        BuildError: a shape is not known, or the graph has control flow.
    """
    constants = {tensor.name: _constant(tensor.name, tensor) for tensor in proto.graph.initializer}
    shapes, element_types = _infer(proto, model_name)
    used = {name for node in proto.graph.node for name in node.input} | {value.name for value in proto.graph.output}
    counted: set[str] = set()
    layers: list[Layer] = []
    for index, node in enumerate(proto.graph.node):
        scope = node.name or f"{node.op_type}_{index}"
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        if any(attribute.type == onnx.AttributeProto.GRAPH for attribute in node.attribute):
            raise BuildError(
                f"{model_name}: node {scope} is control flow ({node.op_type})", hint="only plain graphs can be counted"
            )
        if all(name in constants for name in node.input if name):
            sources = sorted((constants[name] for name in node.input if name), key=lambda read: prod(read.shape))
            for name in node.output:
                source = sources[-1].source if sources else name
                constants[name] = Constant(shapes.get(name, ()), element_types.get(name, 0), source)
            if node.op_type == "Constant" and "value" in attributes:
                constants[node.output[0]] = _constant(node.output[0], attributes["value"])
            continue
        # An output that nobody reads, such as the mask of a Dropout, needs no shape.
        inputs = [name for name in node.input if name and name not in constants]
        outputs = [name for name in node.output if name and (name in shapes or name in used)]
        if unknown := [name for name in (*inputs, *outputs) if name not in shapes]:
            raise BuildError(
                f"{model_name}: the shape of {unknown[0]} at node {scope} is not known",
                hint="give the input's size with --res, or export the model with fixed shapes",
            )
        weights = _weights(node, constants)
        shared_params = sum(prod(weight.shape) for weight in weights if weight.source in counted)
        counted.update(weight.source for weight in weights)
        layers.append(
            Layer(
                scope=scope,
                kind=_kind(node, attributes, constants),
                inputs=tuple(Tensor(name, shapes[name]) for name in inputs),
                outputs=tuple(Tensor(name, shapes[name]) for name in outputs),
                weights=tuple(_sides(node, weight) for weight in weights),
                shared_params=shared_params,
                mult_adds=_mult_adds(node, attributes, constants, shapes),
                **_window(node, attributes, weights, shapes),
            )
        )
    return tuple(layers)


def detect_precision(proto: onnx.ModelProto) -> Precision:
    """Return the precision of most of the model's weights."""
    stored = [entry.t for node in proto.graph.node if node.op_type == "Constant" for entry in node.attribute]
    elements: Counter[Precision] = Counter()
    for tensor in (*proto.graph.initializer, *stored):
        if precision := PRECISIONS.get(tensor.data_type):
            elements[precision] += prod(tensor.dims)
    return elements.most_common(1)[0][0] if elements else "fp32"


def _constant(name: str, tensor: onnx.TensorProto) -> Constant:
    """Return a stored tensor; its number, if it is a single one of the types that weights have."""
    single = prod(tensor.dims) == 1 and tensor.data_type in PRECISIONS
    number = float(numpy_helper.to_array(tensor).item()) if single else None
    return Constant(tuple(tensor.dims), tensor.data_type, name, number)


def _kind(node: onnx.NodeProto, attributes: Mapping[str, Any], constants: Mapping[str, Constant]) -> str:
    if node.op_type == "Clip":
        bounds = [constants[name].number for name in node.input[1:] if name in constants]
        bounds = bounds or [attributes.get("min"), attributes.get("max")]
        return "relu6" if bounds == [0.0, 6.0] else "clip"
    if node.op_type in KINDS:
        return KINDS[node.op_type]
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", node.op_type)
    return words if words.isupper() else words.lower()


def _mult_adds(
    node: onnx.NodeProto, attributes: Mapping[str, Any], constants: Mapping[str, Constant], shapes: Mapping[str, Shape]
) -> int | None:
    return count_mult_adds(
        Operation(
            domain="" if node.domain == "ai.onnx" else node.domain,
            operator=node.op_type,
            attributes=attributes,
            inputs=[constants[name].shape if name in constants else shapes.get(name) for name in node.input],
            outputs=[shapes.get(name) for name in node.output],
        )
    )


def _weights(node: onnx.NodeProto, constants: Mapping[str, Constant]) -> list[Constant]:
    """Return the trainable operands: the matrices as they are stored, then biases, scales and slopes."""
    settings = SETTINGS.get(node.op_type, ())
    types = {*PRECISIONS, onnx.TensorProto.INT32} if node.op_type in INT32_BIAS_OPERATORS else PRECISIONS
    return [
        constants[name]
        for index, name in enumerate(node.input)
        if name in constants
        and index not in settings
        and constants[name].element_type in types
        and not (node.op_type in SCALAR_OPERATORS and prod(constants[name].shape) == 1)
    ]


def _sides(node: onnx.NodeProto, weight: Constant) -> Shape:
    """Return the shape of a weight: a bias has one side, and a matrix more."""
    if node.op_type in ("GRU", "LSTM", "RNN") and weight.source in node.input[3:4]:
        return (prod(weight.shape),)
    return (1, *weight.shape) if node.op_type == "MatMul" and len(weight.shape) == 1 else weight.shape


def _window(
    node: onnx.NodeProto, attributes: Mapping[str, Any], weights: Sequence[Constant], shapes: Mapping[str, Shape]
) -> dict[str, Any]:
    """Return kernel, stride, padding and groups of a convolution or a pooling."""
    if node.op_type == "GlobalAveragePool":
        return {"kernel": _pair(shapes[node.input[0]][2:])}
    if node.op_type not in WINDOWED_OPERATORS:
        return {}
    return {
        "kernel": _pair(attributes.get("kernel_shape", weights[0].shape[2:] if weights else ())),
        "stride": _pair(attributes.get("strides", ())),
        "padding": _padding(attributes.get("pads", ())),
        "groups": attributes.get("group", 1),
    }


def _pair(sizes: Any) -> tuple[int, int]:
    """Return height and width; 1-D convolutions have only a width."""
    height, width = (1, 1, *sizes)[-2:]
    return height, width


def _padding(pads: Sequence[int]) -> tuple[int, int, int, int]:
    """Return top, left, bottom and right; 1-D convolutions have only left and right."""
    before, after = pads[: len(pads) // 2], pads[len(pads) // 2 :]
    return (0, 0, *before)[-2], (0, *before)[-1], (0, 0, *after)[-2], (0, *after)[-1]


def _infer(proto: onnx.ModelProto, model_name: str) -> tuple[dict[str, Shape], dict[str, int]]:
    """Return the shape of every tensor whose sizes are all known, and the types of elements."""
    try:
        graph = shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True).graph
    except (shape_inference.InferenceError, ValueError, RuntimeError) as failure:
        raise BuildError(
            f"{model_name}: its shapes contradict each other: {first_line(failure)}", hint="export the model again"
        ) from failure
    values = {value.name: value.type.tensor_type for value in (*graph.input, *graph.value_info, *graph.output)}
    shapes = {
        name: tuple(dimension.dim_value for dimension in tensor.shape.dim)
        for name, tensor in values.items()
        if tensor.HasField("shape") and all(dimension.HasField("dim_value") for dimension in tensor.shape.dim)
    }
    return shapes, {name: tensor.elem_type for name, tensor in values.items()}
