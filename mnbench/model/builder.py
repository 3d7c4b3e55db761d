"""Networks straight to ONNX protos, one node a layer, named by its scope."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

import mnbench
from mnbench.errors import BuildError
from mnbench.model.model import IR_VERSION, OPSET, Model
from mnbench.model.weights import seeded_weights
from mnbench.network.cost import cost
from mnbench.network.layer import Layer, Tensor
from mnbench.network.network import Network
from mnbench.network.variant import alpha_text, resolution_text

BOUNDS = {"relu6.min": np.float32(0), "relu6.max": np.float32(6)}


def build(network: Network, *, seed: int = 0) -> Model:
    """The plain graph: convolution, batch normalization and activation are nodes of their own.

    Input (1, 3, H, W) float32, output (1, classes) logits. Same network and seed, same bytes.
    """
    variant = network.variant
    epsilon = variant.architecture.batch_norm_epsilon
    weights = seeded_weights(network.layers, batch_norm_epsilon=epsilon, seed=seed)
    nodes = [_node(layer, epsilon) for layer in network.layers]
    used = {name for node in nodes for name in node.input}
    constants = {name: np.asarray(value) for name, value in BOUNDS.items() if name in used}
    graph = onnx.GraphProto(
        name=variant.name,
        node=nodes,
        input=[_value(network.layers[0].inputs[0])],
        output=[_value(network.layers[-1].output)],
        initializer=[_tensor(name, value) for name, value in (weights | constants).items()],
    )
    proto = helper.make_model_gen_version(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    proto.ir_version = IR_VERSION
    proto.producer_name = "mnbench"
    proto.producer_version = mnbench.__version__
    total = cost(network.layers)
    helper.set_model_props(
        proto,
        {
            "architecture": variant.architecture.name,
            "alpha": alpha_text(variant.alpha),
            "resolution": resolution_text(variant.resolution),
            "seed": str(seed),
            "mnbench_version": mnbench.__version__,
            "params": str(total.params),
            "mult_adds": str(total.mult_adds),
            "memory_access": str(total.memory_access),
        },
    )
    return Model(name=variant.name, proto=proto)


def check(model: Model) -> None:
    """ONNX's own full checker, shape inference included.

    Raises:
        BuildError: the checker refuses the model.
    """
    try:
        onnx.checker.check_model(model.data, full_check=True)  # pyright: ignore[reportUnknownMemberType]
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as failure:
        raise BuildError(
            f"{model.name}: ONNX's checker refuses it: {first_line(failure)}", hint="export the model again"
        ) from failure


def first_line(failure: BaseException) -> str:
    """The first line of a message that may have many."""
    return next((line.strip() for line in str(failure).splitlines() if line.strip()), type(failure).__name__)


def _node(layer: Layer, epsilon: float) -> onnx.NodeProto:  # noqa: PLR0911  one return a kind
    read = [tensor.name for tensor in layer.inputs]
    match layer.kind:
        case "conv":
            weights = ["weight", "bias"][: len(layer.weights)]
            return _make("Conv", layer, read, weights, kernel_shape=layer.kernel, strides=layer.stride,
                         pads=layer.padding, group=layer.groups)  # fmt: skip
        case "batch_norm":
            return _make("BatchNormalization", layer, read, ["gamma", "beta", "mean", "variance"], epsilon=epsilon)
        case "relu":
            return _make("Relu", layer, read)
        case "relu6":
            return _make("Clip", layer, [*read, *BOUNDS])
        case "global_average_pool":
            return _make("GlobalAveragePool", layer, read)
        case "flatten":
            return _make("Flatten", layer, read)
        case "fully_connected":
            return _make("Gemm", layer, read, ["weight", "bias"], transB=1)
        case kind:
            raise BuildError(f"{layer.scope}: no node for a layer of kind {kind}", hint="report this as a defect")


def _make(op: str, layer: Layer, read: list[str], weights: Iterable[str] = (), **attributes: Any) -> onnx.NodeProto:
    inputs = [*read, *(f"{layer.scope}.{name}" for name in weights)]
    return helper.make_node(op, inputs, [tensor.name for tensor in layer.outputs], name=layer.scope, **attributes)


def _value(tensor: Tensor) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(tensor.name, onnx.TensorProto.FLOAT, tensor.shape)


def _tensor(name: str, value: NDArray[np.float32]) -> onnx.TensorProto:
    return onnx.TensorProto(
        name=name,
        dims=value.shape,
        data_type=onnx.TensorProto.FLOAT,
        raw_data=value.astype("<f4", copy=False).tobytes(),
    )
