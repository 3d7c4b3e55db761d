"""Models that load one resource of a runtime: arithmetic, memory bandwidth, or almost nothing."""

from collections.abc import Sequence
from math import prod, sqrt
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from mnbench.model.model import IR_VERSION, OPSET, Model

SIDE = 480
CHAINED = 2
COLUMNS = 1024
IDLE_NODES = 16
IDLE_INPUTS = 9
"""The number of inputs of a quantized convolution."""


def matmul_model(batch: int) -> Model:
    """Build a square matrix product with 111 M Mult-Adds per batch."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="matmul")]
    shape = (batch * SIDE, SIDE)
    return _model("matmul", nodes, {"x": shape}, {"y": shape}, {"w": _weights(SIDE, SIDE)})


def convolution_model(kernel: int, channels: int, side: int, batch: int) -> Model:
    """Build a few convolutions in a row, without activations."""
    names = ["x", *(f"y{at}" for at in range(CHAINED))]
    weights = {f"w{at}": _weights(channels, channels, kernel, kernel) for at in range(CHAINED)}
    nodes = [
        helper.make_node("Conv", [read, weight], [written], name=f"conv_{weight}", pads=[kernel // 2] * 4)
        for read, written, weight in zip(names, names[1:], weights, strict=False)
    ]
    shape = (batch, channels, side, side)
    return _model(f"conv{kernel}x{kernel}", nodes, {"x": shape}, {names[-1]: shape}, weights)


def memory_read_model(size_bytes: int) -> Model:
    """Build a fully connected layer that reads a matrix of this size once."""
    rows = size_bytes // 4 // COLUMNS
    nodes = [
        helper.make_node("Cast", ["x"], ["row"], name="cast", to=onnx.TensorProto.FLOAT),
        _ones("matrix"),
        helper.make_node("Gemm", ["row", "matrix"], ["y"], name="read", transB=1),
    ]
    size = {"size": np.array((rows, COLUMNS), np.int64)}
    return _model("read", nodes, {"x": (1, COLUMNS)}, {"y": (1, rows)}, size, integers=True)


def idle_model() -> Model:
    """Build nodes that do almost nothing, half of them with two tensors and half with many."""
    few = [helper.make_node("Neg", [f"few{at}" if at else "x"], [f"few{at + 1}"]) for at in range(IDLE_NODES)]
    many = [
        helper.make_node("Concat", [f"few{at + 1}"] * IDLE_INPUTS, [f"many{at}"], axis=0) for at in range(IDLE_NODES)
    ]
    return _model("idle", [*few, *many], {"x": (1,)}, {f"many{at}": (IDLE_INPUTS,) for at in range(IDLE_NODES)}, {})


def _model(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, tuple[int, ...]],
    outputs: dict[str, tuple[int, ...]],
    numbers: dict[str, NDArray[Any]],
    *,
    integers: bool = False,
) -> Model:
    kind = onnx.TensorProto.INT64 if integers else onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(item, kind, shape) for item, shape in inputs.items()],
        [helper.make_tensor_value_info(item, onnx.TensorProto.FLOAT, shape) for item, shape in outputs.items()],
        [numpy_helper.from_array(array, item) for item, array in numbers.items()],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return Model(name=name, proto=helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION))


def _ones(name: str) -> onnx.NodeProto:
    """Return a large constant that takes no space in the file: a runtime computes it once, when it opens a session."""
    value = numpy_helper.from_array(np.ones(1, np.float32))
    return helper.make_node("ConstantOfShape", ["size"], [name], name=name, value=value)


def _weights(*shape: int) -> NDArray[np.float32]:
    """Draw seeded weights that keep the standard deviation from input to output."""
    return (np.random.default_rng(0).standard_normal(shape) / sqrt(prod(shape[1:]))).astype(np.float32)
