"""Networks straight to ONNX protos, one node a layer, named by its scope."""

from dataclasses import replace
from typing import NamedTuple

import onnx
from onnx import helper

import mnbench
from mnbench.errors import BuildError, first_line
from mnbench.families.generic import Blocks
from mnbench.model.model import IR_VERSION, MIN_OPSET, OPSET, Model
from mnbench.model.nodes import constants, initializer, node, value
from mnbench.model.random_weights import Weights, seeded_weights
from mnbench.model.rescale import calibrated
from mnbench.network.cost import cost
from mnbench.network.network import Network, network
from mnbench.network.variant import Variant, alpha_text, resolution_text

GAUGED_PIXELS = 224 * 224
MOST_IMAGES = 16


class Given(NamedTuple):
    """Weights from elsewhere, by the names that `seeded_weights` gives; `source` goes into the model's metadata."""

    weights: Weights
    source: str


def build(built: Network, *, seed: int = 0, opset: int = OPSET, given: Given | None = None) -> Model:
    """The plain graph: convolution, batch normalization and activation are nodes of their own.

    Input (N, 3, H, W) float32, output (N, classes) logits or (N, C) features. Same network and seed, same bytes.
    Weights are those `given`, or seeded random numbers.

    Raises:
        BuildError: this onnx cannot write that opset.
        RuntimeUnavailable: onnxruntime, which gauges the weights, is not installed.
    """
    variant, newest = built.variant, onnx.defs.onnx_opset_version()
    if not MIN_OPSET <= opset <= newest:
        raise BuildError(f"opset {opset} is impossible", hint=f"{MIN_OPSET} to {newest}; the default is {OPSET}")
    opsets = [helper.make_opsetid("", opset)]
    ir_version = max(IR_VERSION, helper.find_min_ir_version_for(opsets))
    proto = onnx.ModelProto(ir_version=ir_version, opset_import=opsets)
    graph = proto.graph
    graph.name = variant.name
    graph.node.extend(node(layer, variant) for layer in built.layers)
    graph.input.append(value(built.layers[0].inputs[0], variant.batch))
    graph.output.append(value(built.layers[-1].output, variant.batch))
    weights = given.weights if given else _weights(variant, seed)
    numbers = weights | constants(built.layers, open_batch=variant.batch is None)
    graph.initializer.extend(initializer(name, array) for name, array in numbers.items())
    proto.producer_name = "mnbench"
    proto.producer_version = mnbench.__version__
    total = cost(built.layers)
    helper.set_model_props(
        proto,
        {
            "architecture": variant.architecture.name,
            "alpha": alpha_text(variant.alpha),
            "resolution": resolution_text(variant.resolution),
            **({"weights": given.source} if given else {"seed": str(seed)}),
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


def _weights(variant: Variant, seed: int) -> Weights:
    """The same for every batch: gauged with one image, or with a few where images are small."""
    height, width = variant.resolution
    images = max(1, min(MOST_IMAGES, GAUGED_PIXELS // (height * width)))
    layers = network(replace(variant, batch=images)).layers
    table = variant.architecture
    beta = table.beta if isinstance(table, Blocks) else 0.0
    weights = seeded_weights(layers, batch_norm_epsilon=table.batch_norm_epsilon, seed=seed, beta=beta)
    return calibrated(layers, weights, variant, seed=seed)
