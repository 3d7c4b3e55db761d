"""Rescaling of random weights, so that every layer is at unit scale in every family, α, resolution and depth.

Errors of the predicted scales compound over fifty layers, because h-swish and squeeze-and-excite amplify large values.
So the graph runs once with a probe after each normalized or biased layer, which scales the output by a power of two
before the next layer reads it. The exponents then go into the weights, exactly. Rounding to powers of two makes the
weights the same on every machine, although machines differ in the last bit of their results.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import helper

from mnbench.model.model import IR_VERSION, OPSET
from mnbench.model.nodes import constant_operands, to_initializer, to_node, to_value_info
from mnbench.model.random_weights import Weights
from mnbench.model.reference import reference_outputs
from mnbench.network.layer import INPUT, Layer, Tensor
from mnbench.network.variant import Variant

SHARED_CONSTANTS = {
    "smallest": np.array([1e-12], np.float32),
    "half_by_ln2": np.array([0.5 / math.log(2)], np.float32),
    "minus_ln2": np.array([-math.log(2)], np.float32),
}


def rescale_weights(layers: Sequence[Layer], weights: Weights, variant: Variant, *, seed: int) -> Weights:
    """Return the weights with each layer's scale corrected by a power of two. `layers` give the batch size.

    Raises:
        RuntimeUnavailable: onnxruntime is not installed.
    """
    probed = [layer for layer in layers if layer.kind in ("batch_norm", "fully_connected") or len(layer.weights) > 1]
    exponents = _exponents(layers, probed, weights, variant, seed)
    scaled = dict(weights)
    for layer, exponent in zip(probed, exponents, strict=True):
        scope, scale = layer.scope, np.float32(2.0**exponent)
        if layer.kind == "batch_norm":
            # A larger variance makes the normalized output smaller. The mean is of the convolution's own output, which
            # keeps its scale.
            epsilon = np.float32(layer.attributes["epsilon"])
            variance = (weights[f"{scope}.variance"] + epsilon) * scale**2 - epsilon
            scaled[f"{scope}.variance"] = np.maximum(variance, np.float32(0))
        else:
            scaled[f"{scope}.weight"] = weights[f"{scope}.weight"] / scale
    return scaled


def _exponents(
    layers: Sequence[Layer], probed: Sequence[Layer], weights: Weights, variant: Variant, seed: int
) -> list[float]:
    """Return the exponent of two by which each probed layer is too large, in the order of the layers."""
    scopes = {layer.scope for layer in probed}
    nodes: list[onnx.NodeProto] = []
    for layer in layers:
        nodes += _probe(layer) if layer.scope in scopes else [to_node(layer)]
    numbers = weights | constant_operands(layers, open_batch=False) | _probe_constants(probed, weights)
    # Numbers are inputs, which are not copied; shapes must be constant.
    shapes = {name: array for name, array in numbers.items() if array.dtype == np.int64}
    image = np.random.default_rng(seed).standard_normal(layers[0].inputs[0].shape).astype(np.float32)
    feed = {INPUT: image} | {name: array for name, array in numbers.items() if name not in shapes}
    float_type = onnx.TensorProto.FLOAT
    graph = onnx.GraphProto(
        name="calibration",
        node=nodes,
        input=[helper.make_tensor_value_info(name, float_type, array.shape) for name, array in feed.items()],
        output=[to_value_info(Tensor(f"{layer.scope}.exponent", (1,)), 1) for layer in probed],
        initializer=[to_initializer(name, array) for name, array in shapes.items()],
    )
    proto = helper.make_model_gen_version(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    proto.ir_version = IR_VERSION
    exponents = reference_outputs(proto.SerializeToString(), feed, name=variant.name)
    return [float(exponent[0]) for exponent in exponents if exponent is not None]


def _probe(layer: Layer) -> list[onnx.NodeProto]:
    """Return the nodes of a probed layer: without gamma, beta and bias; the exponent of its root mean square; those."""
    names = {"input": layer.inputs[0].name, "output": layer.output.name} | {name: name for name in SHARED_CONSTANTS}

    def node(operator: str, reads: str, writes: str, **attributes: Any) -> onnx.NodeProto:
        inputs = [names.get(name, f"{layer.scope}.{name}") for name in reads.split()]
        return helper.make_node(operator, inputs, [names.get(writes, f"{layer.scope}.{writes}")], **attributes)

    if layer.kind == "batch_norm":
        unscaled = node("BatchNormalization", "input one zero mean variance", "raw", **layer.attributes)
        scaled = [
            node("Mul", "gamma shrink", "factor"),
            node("BatchNormalization", "raw factor beta zero one", "output", epsilon=0.0),
        ]
    else:
        raw = Tensor(f"{layer.scope}.raw", layer.output.shape)
        unscaled = to_node(replace(layer, weights=layer.weights[:1], outputs=(raw,)))
        scaled = [node("Mul", "raw shrink", "shrunk"), node("Add", "shrunk offset", "output")]
    return [
        unscaled,
        node("ReduceSumSquare", "raw", "energy", keepdims=0),
        node("Mul", "energy share", "square"),
        node("Max", "square smallest", "positive"),
        node("Log", "positive", "log"),
        node("Mul", "log half_by_ln2", "log2"),
        node("Round", "log2", "exponent"),
        node("Mul", "exponent minus_ln2", "minus"),
        node("Exp", "minus", "shrink"),
        *scaled,
    ]


def _probe_constants(probed: Sequence[Layer], weights: Weights) -> Weights:
    constants: Weights = dict(SHARED_CONSTANTS)
    for layer in probed:
        scope, output = layer.scope, layer.output
        constants[f"{scope}.share"] = np.array([1 / output.elements], np.float32)
        if layer.kind == "batch_norm":
            constants[f"{scope}.one"] = np.ones(output.shape[1], np.float32)
            constants[f"{scope}.zero"] = np.zeros(output.shape[1], np.float32)
        else:
            bias = weights.get(f"{scope}.bias", np.zeros(1, np.float32))
            constants[f"{scope}.offset"] = bias.reshape(-1, *[1] * (len(output.shape) - 2))
    return constants
