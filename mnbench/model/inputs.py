"""Seeded inputs for any model of fixed size."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray


def graph_inputs(proto: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that are not weights."""
    weights = {tensor.name for tensor in proto.graph.initializer}
    return [value for value in proto.graph.input if value.name not in weights]


def random_inputs(proto: onnx.ModelProto, seed: int) -> dict[str, NDArray[Any]]:
    """Standard normal numbers for every input; zeros for integers. An open size is 1."""
    random = np.random.default_rng(seed)
    feed: dict[str, NDArray[Any]] = {}
    for value in graph_inputs(proto):
        shape = [dimension.dim_value or 1 for dimension in value.type.tensor_type.shape.dim]
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        numbers = random.standard_normal(shape) if np.issubdtype(kind, np.floating) else np.zeros(shape)
        feed[value.name] = numbers.astype(kind)
    return feed
