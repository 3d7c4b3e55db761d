"""The tensors that a model stores, and the denormal numbers among them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.external_data_helper import uses_external_data

DENORMAL_TYPES = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.BFLOAT16)
"""fp16 is left out: CPUs compute it in fp32, where its denormal numbers are normal."""


def stored_tensors(proto: onnx.ModelProto) -> Iterator[tuple[str, TensorProto]]:
    """Yield every initializer and every Constant node's tensor with its name, also of subgraphs and local functions."""
    for body in all_bodies(proto):
        if isinstance(body, onnx.GraphProto):
            yield from ((tensor.name, tensor) for tensor in body.initializer)
        for node in body.node:
            if node.op_type == "Constant" and node.output:
                yield from ((node.output[0], entry.t) for entry in node.attribute if entry.HasField("t"))


def all_nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield every node, also of subgraphs and local functions."""
    for body in all_bodies(proto):
        yield from body.node


def all_bodies(proto: onnx.ModelProto) -> Iterator[onnx.GraphProto | onnx.FunctionProto]:
    """Yield the graph and every local function, each before the subgraphs inside it."""
    for root in (proto.graph, *proto.functions):
        bodies: list[onnx.GraphProto | onnx.FunctionProto] = [root]
        for body in bodies:
            yield body
            bodies += [graph for node in body.node for graph in subgraphs(node)]


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        yield from (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs)


def read_names(node: onnx.NodeProto) -> Iterator[str]:
    """Yield what a node reads, also in its subgraphs."""
    yield from node.input
    for inner in (inner for graph in subgraphs(node) for inner in graph.node):
        yield from read_names(inner)


def denormal_places(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where floating-point numbers are denormal: so close to 0 that many CPUs compute slowly with them."""
    kind = np.float64 if values.dtype == np.float64 else np.float32  # fp32 and bfloat16 have the same exponents
    magnitudes = np.abs(values.astype(kind, copy=False))
    return (magnitudes > 0) & (magnitudes < np.finfo(kind).tiny)


def denormal_share(proto: onnx.ModelProto) -> float:
    """Return the share of a model's floating-point weights that are denormal, 0 to 1; 0 if it has no such weights.

    Weights in other files are not read.
    """
    denormal = total = 0
    for _, tensor in stored_tensors(proto):
        if tensor.data_type in DENORMAL_TYPES and not uses_external_data(tensor):
            places = denormal_places(numpy_helper.to_array(tensor))
            denormal += int(places.sum())
            total += places.size
    return denormal / total if total else 0.0
