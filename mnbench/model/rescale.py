"""Rescaling of random weights, so that every layer is at unit scale in every family, α, resolution and depth.

Errors of the predicted scales compound over fifty layers, because h-swish and squeeze-and-excite amplify large values.
So the graph runs once with a probe after each normalized or biased layer, which scales the output by a power of two
before the next layer reads it. The exponents then go into the weights, exactly. Rounding to powers of two makes the
weights the same on every machine, although machines differ in the last bit of their results.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from mnbench.model.equivalence import reference_outputs
from mnbench.model.model import IR_VERSION, OPSET
from mnbench.model.nodes import constant_operands, to_initializer, to_node, to_value_info
from mnbench.model.random_weights import Weights
from mnbench.network.layer import INPUT, Layer, Tensor
from mnbench.network.variant import Variant

SMALLEST = np.float32(1e-12)


def rescale_weights(layers: Sequence[Layer], weights: Weights, variant: Variant, *, seed: int) -> Weights:
    """Return the weights with each layer's scale corrected by a power of two. `layers` set the number of images.

    Raises:
        RuntimeUnavailable: onnxruntime is not installed.
    """
    gauged = [layer for layer in layers if layer.kind in ("batch_norm", "fully_connected") or len(layer.weights) > 1]
    exponents = _exponents(layers, gauged, weights, variant, seed)
    epsilon = variant.architecture.batch_norm_epsilon
    scaled = dict(weights)
    for layer, exponent in zip(gauged, exponents, strict=True):
        scope, scale = layer.scope, np.float32(2.0**exponent)
        if layer.kind == "batch_norm":
            # A larger variance makes the normalized output smaller.
            variance = (weights[f"{scope}.variance"] + np.float32(epsilon)) * scale**2 - np.float32(epsilon)
            scaled[f"{scope}.variance"] = np.maximum(variance, np.float32(0))
            # The mean is of the convolution's own output, which keeps its scale.
        else:
            scaled[f"{scope}.weight"] = weights[f"{scope}.weight"] / scale
    return scaled


def _exponents(
    layers: Sequence[Layer], gauged: Sequence[Layer], weights: Weights, variant: Variant, seed: int
) -> list[float]:
    """Return the exponent of two by which each probed layer is too large, in the order of the layers."""
    scopes = {layer.scope for layer in gauged}
    nodes: list[onnx.NodeProto] = []
    for layer in layers:
        nodes += _gauged(layer, variant) if layer.scope in scopes else [to_node(layer, variant)]
    numbers = weights | constant_operands(layers, open_batch=False) | _gauge_constants(gauged, weights)
    # Numbers are inputs, which are not copied; shapes must be constant.
    shapes = {name: array for name, array in numbers.items() if array.dtype == np.int64}
    image = np.random.default_rng(seed).standard_normal(layers[0].inputs[0].shape).astype(np.float32)
    feed = {INPUT: image} | {name: array for name, array in numbers.items() if name not in shapes}
    graph = onnx.GraphProto(
        name="calibration",
        node=nodes,
        input=[
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, array.shape) for name, array in feed.items()
        ],
        output=[to_value_info(Tensor(f"{layer.scope}.exponent", (1,)), 1) for layer in gauged],
        initializer=[to_initializer(name, array) for name, array in shapes.items()],
    )
    proto = helper.make_model_gen_version(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    proto.ir_version = IR_VERSION
    return [float(exponent[0]) for exponent in reference_outputs(proto.SerializeToString(), feed, name=variant.name)]


def _gauged(layer: Layer, variant: Variant) -> list[onnx.NodeProto]:
    """Return the nodes of a probed layer: without gamma, beta and bias; the exponent of its root mean square; those."""
    scope, (output,) = layer.scope, layer.outputs
    raw, exponent, shrink = f"{scope}.raw", f"{scope}.exponent", f"{scope}.shrink"
    if layer.kind == "batch_norm":
        inner = helper.make_node(
            "BatchNormalization",
            [layer.inputs[0].name, *(f"{scope}.{name}" for name in ("one", "zero", "mean", "variance"))],
            [raw],
            epsilon=variant.architecture.batch_norm_epsilon,
        )
        factor = [
            helper.make_node("Mul", [f"{scope}.gamma", shrink], [f"{scope}.factor"]),
            helper.make_node(
                "BatchNormalization",
                [raw, f"{scope}.factor", f"{scope}.beta", f"{scope}.zero", f"{scope}.one"],
                [output.name],
                epsilon=0.0,
            ),
        ]
    else:
        inner = to_node(replace(layer, weights=layer.weights[:1], outputs=(Tensor(raw, output.shape),)), variant)
        factor = [
            helper.make_node("Mul", [raw, shrink], [f"{scope}.shrunk"]),
            helper.make_node("Add", [f"{scope}.shrunk", f"{scope}.offset"], [output.name]),
        ]
    return [
        inner,
        helper.make_node("ReduceSumSquare", [raw], [f"{scope}.energy"], keepdims=0),
        helper.make_node("Mul", [f"{scope}.energy", f"{scope}.share"], [f"{scope}.square"]),
        helper.make_node("Max", [f"{scope}.square", "smallest"], [f"{scope}.positive"]),
        helper.make_node("Log", [f"{scope}.positive"], [f"{scope}.log"]),
        helper.make_node("Mul", [f"{scope}.log", "half_by_ln2"], [f"{scope}.log2"]),
        helper.make_node("Round", [f"{scope}.log2"], [exponent]),
        helper.make_node("Mul", [exponent, "minus_ln2"], [f"{scope}.minus"]),
        helper.make_node("Exp", [f"{scope}.minus"], [shrink]),
        *factor,
    ]


def _gauge_constants(gauged: Sequence[Layer], weights: Weights) -> Weights:
    numbers: Weights = {
        "smallest": np.array([SMALLEST]),
        "half_by_ln2": np.array([0.5 / math.log(2)], np.float32),
        "minus_ln2": np.array([-math.log(2)], np.float32),
    }
    for layer in gauged:
        scope, output = layer.scope, layer.output
        numbers[f"{scope}.share"] = np.array([1 / output.elements], np.float32)
        if layer.kind == "batch_norm":
            numbers[f"{scope}.one"] = np.ones(output.shape[1], np.float32)
            numbers[f"{scope}.zero"] = np.zeros(output.shape[1], np.float32)
        else:
            bias = weights.get(f"{scope}.bias", np.zeros(1, np.float32))
            numbers[f"{scope}.offset"] = bias.reshape(-1, *[1] * (len(output.shape) - 2))
    return numbers
