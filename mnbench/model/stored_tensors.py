"""The tensors that a model stores, and the denormal numbers among them."""

from collections.abc import Iterator, Sequence
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
    for initializers, nodes in _scopes(proto):
        for tensor in initializers:
            yield tensor.name, tensor
        for node in nodes:
            if node.op_type == "Constant":
                yield from ((node.output[0], entry.t) for entry in node.attribute if entry.HasField("t"))


def all_nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield every node, also of subgraphs and local functions."""
    for _, nodes in _scopes(proto):
        yield from nodes


def _scopes(proto: onnx.ModelProto) -> Iterator[tuple[Sequence[TensorProto], Sequence[onnx.NodeProto]]]:
    """Yield the initializers and the nodes of every graph and every local function."""
    graphs = [proto.graph]
    bodies = [function.node for function in proto.functions]
    while graphs or bodies:
        graph = graphs.pop(0) if graphs else None
        nodes = graph.node if graph else bodies.pop(0)
        yield (graph.initializer if graph else ()), nodes
        for attribute in (attribute for node in nodes for attribute in node.attribute):
            graphs += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


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
