"""The numbers that an ONNX graph stores: which of them are weights, and in which precision."""

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import onnx
from onnx import TensorProto, numpy_helper

from mnbench.model.stored_tensors import all_bodies, stored_tensors
from mnbench.network.layer import Shape, Tensor
from mnbench.network.variant import Precision

SETTINGS: Mapping[str, Container[int]] = {
    "BatchNormalization": (3, 4),
    "Clip": (1, 2),
    "ConvInteger": (2, 3),
    "DequantizeLinear": (1, 2),
    "Dropout": (1, 2),
    "DynamicQuantizeLSTM": range(8, 12),
    "DynamicQuantizeMatMul": (2, 3),
    "GatherBlockQuantized": (1, 2, 3),
    "LSTM": (4, 5, 6),
    "GRU": (4, 5),
    "MatMulBnb4": (2,),
    "MatMulInteger": (2, 3),
    "MatMulIntegerToFloat": (2, 3, 4, 5),
    "MatMulNBits": (2, 3, 4),
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

INT32_BIAS_OPERATORS = frozenset({"Conv", "ConvTranspose", "Gemm", "QGemm", "QLinearConv"})
"""Quantized networks store the biases of these as int32; elsewhere int32 numbers are indices and shapes."""

ATTRIBUTE_WEIGHTS: Mapping[str, tuple[str, ...]] = {
    "LinearClassifier": ("coefficients", "intercepts"),
    "LinearRegressor": ("coefficients", "intercepts"),
    "SVMClassifier": ("coefficients", "support_vectors", "rho"),
    "SVMRegressor": ("coefficients", "support_vectors", "rho"),
    "TreeEnsemble": ("nodes_splits", "leaf_weights"),
    "TreeEnsembleClassifier": ("nodes_values", "class_weights"),
    "TreeEnsembleRegressor": ("nodes_values", "target_weights"),
}
"""Attributes that hold parameters, by operator of the domain ai.onnx.ml."""

PACKED_MATRICES = frozenset({"MatMulBnb4", "MatMulNBits"})
"""Operators that read a matrix of K × N numbers, several in a byte."""

SMALL_TYPES = {"FLOAT8": 8, "FLOAT4": 4, "UINT4": 4, "INT4": 4, "UINT2": 2, "INT2": 2}
"""The bits of types whose numpy type is wider than what is stored, by how their names begin."""

PRECISIONS: Mapping[int, Precision] = {
    TensorProto.FLOAT: "fp32",
    TensorProto.DOUBLE: "fp32",
    TensorProto.FLOAT16: "fp16",
    TensorProto.BFLOAT16: "fp16",
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "int8",
    **{kind: "int8" for name, kind in TensorProto.DataType.items() if name.startswith(tuple(SMALL_TYPES))},
}
"""The precision of weights of each type; int8 stands for eight bits and fewer. Other types, such as those of shapes and
indices, are no weights."""


def element_bits(element_type: int) -> int | None:
    """Return the bits of an element of an ONNX type; None if they are not fixed or the type is not known."""
    if element_type in (TensorProto.UNDEFINED, TensorProto.STRING):
        return None
    name = TensorProto.DataType.Name(element_type)  # pyright: ignore[reportArgumentType]
    for prefix, bits in SMALL_TYPES.items():
        if name.startswith(prefix):
            return bits
    return 8 * onnx.helper.tensor_dtype_to_np_dtype(element_type).itemsize


@dataclass(frozen=True, slots=True)
class Constant:
    """A tensor that depends on no input; its shape is None if it is not known.

    `stored` is the largest stored tensor that it is computed from; `number` is its value if it is a single number of
    the types that weights have.
    """

    shape: Shape | None
    element_type: int
    stored: Tensor
    number: float | None = None


def stored_constant(name: str, tensor: TensorProto) -> Constant:
    """Return a tensor that the file stores."""
    stored_inside = tensor.data_location != TensorProto.EXTERNAL
    single = stored_inside and prod(tensor.dims) == 1 and tensor.data_type in PRECISIONS
    number = float(numpy_helper.to_array(tensor).item()) if single else None
    stored = Tensor(name, tuple(tensor.dims), element_bits(tensor.data_type))
    return Constant(stored.shape, tensor.data_type, stored, number)


def node_weights(
    scope: str, node: onnx.NodeProto, attributes: Mapping[str, Any], constants: Mapping[str, Constant]
) -> list[Tensor]:
    """Return the trainable operands: the matrices as they are stored, then biases, scales and slopes."""
    settings = SETTINGS.get(node.op_type, ())
    types = {*PRECISIONS, TensorProto.INT32} if node.op_type in INT32_BIAS_OPERATORS else PRECISIONS
    weights = [
        _weight(node, index, attributes, constants[name])
        for index, name in enumerate(node.input)
        if name in constants
        and index not in settings
        and constants[name].element_type in types
        and not (node.op_type in SCALAR_OPERATORS and prod(_trained_shape(constants[name])) == 1)
    ]
    if node.domain == "ai.onnx.ml":
        for name in ATTRIBUTE_WEIGHTS.get(node.op_type, ()):
            numbers = attributes.get(name, ())
            size = prod(numbers.dims) if isinstance(numbers, TensorProto) else len(numbers)
            if name == "nodes_values":
                # A leaf has no threshold: its number is a filler.
                size -= list(attributes["nodes_modes"]).count(b"LEAF")
            weights.append(Tensor(f"{scope}.{name}", (size,)))
    return weights


def _weight(node: onnx.NodeProto, index: int, attributes: Mapping[str, Any], weight: Constant) -> Tensor:
    """Return a weight with the sides that it has in the operator: a bias has one, and a matrix more."""
    shape, bits = _trained_shape(weight), weight.stored.element_bits
    if node.op_type in PACKED_MATRICES and index == 1:
        shape, bits = (attributes["N"], attributes["K"]), attributes.get("bits", 4)
    elif node.op_type == "GatherBlockQuantized" and weight.element_type == TensorProto.UINT8:
        bits = attributes.get("bits", 4)
        shape = (*shape[:-1], prod(shape[-1:]) * 8 // bits)
    elif node.op_type in ("GRU", "LSTM", "RNN") and index == 3:
        shape = (prod(shape),)
    elif node.op_type == "MatMul" and len(shape) == 1:
        shape = (1, *shape)
    return Tensor(weight.stored.name, shape, bits)


def _trained_shape(weight: Constant) -> Shape:
    return weight.stored.shape if weight.shape is None else weight.shape


def detect_precision(proto: onnx.ModelProto) -> Precision:
    """Return the precision of most of the model's weights: int8 stands for eight bits and fewer."""
    sizes = [(tensor.data_type, prod(tensor.dims)) for _, tensor in stored_tensors(proto)]
    graphs = (body for body in all_bodies(proto) if isinstance(body, onnx.GraphProto))
    sizes += [(entry.values.data_type, prod(entry.dims)) for graph in graphs for entry in graph.sparse_initializer]
    elements: Counter[Precision] = Counter()
    for element_type, size in sizes:
        if precision := PRECISIONS.get(element_type):
            elements[precision] += size
    return elements.most_common(1)[0][0] if elements else "fp32"
