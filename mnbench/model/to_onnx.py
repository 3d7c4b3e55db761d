"""Networks straight to ONNX protos, one node a layer, named by its scope."""

from dataclasses import dataclass, field, replace

import onnx
from onnx import helper

import mnbench
from mnbench.errors import BuildError, first_line
from mnbench.model.model import IR_VERSION, MIN_OPSET, OPSET, Model
from mnbench.model.nodes import constant_operands, to_initializer, to_node, to_value_info
from mnbench.model.random_weights import Weights, random_weights
from mnbench.model.rescale import rescale_weights
from mnbench.network.cost import total_cost
from mnbench.network.network import Network, build_network
from mnbench.network.variant import Variant, format_alpha, format_resolution

RESCALE_PIXELS = 224 * 224
MAX_RESCALE_IMAGES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedWeights:
    """A checkpoint's weights by the names that `random_weights` gives, and the variant that they fit.

    `source` goes into the model's metadata.
    """

    variant: Variant
    weights: Weights = field(repr=False)
    source: str


def to_onnx(
    network: Network, *, seed: int = 0, opset: int = OPSET, pretrained: PretrainedWeights | None = None
) -> Model:
    """Return the plain graph: convolution, batch normalization and activation are nodes of their own.

    Input (N, 3, H, W) float32, output (N, classes) logits or (N, C) features. The same network and seed give the same
    bytes.

    Raises:
        BuildError: this onnx cannot write that opset.
        RuntimeUnavailable: onnxruntime, which rescales random weights, is not installed.
    """
    variant, newest = network.variant, onnx.defs.onnx_opset_version()
    if not MIN_OPSET <= opset <= newest:
        raise BuildError(f"opset {opset} is impossible", hint=f"{MIN_OPSET} to {newest}; the default is {OPSET}")
    opsets = [helper.make_opsetid("", opset)]
    ir_version = max(IR_VERSION, helper.find_min_ir_version_for(opsets))
    proto = onnx.ModelProto(ir_version=ir_version, opset_import=opsets)
    graph = proto.graph
    graph.name = variant.name
    graph.node.extend(to_node(layer) for layer in network.layers)
    graph.input.append(to_value_info(network.layers[0].inputs[0], variant.batch))
    graph.output.extend(to_value_info(tensor, variant.batch) for tensor in network.outputs)
    weights = pretrained.weights if pretrained else _weights(variant, seed)
    numbers = weights | constant_operands(network.layers, open_batch=variant.batch is None)
    graph.initializer.extend(to_initializer(name, array) for name, array in numbers.items())
    proto.producer_name = "mnbench"
    proto.producer_version = mnbench.__version__
    total = total_cost(network.layers)
    helper.set_model_props(
        proto,
        {
            "architecture": variant.architecture.name,
            "alpha": format_alpha(variant.alpha),
            "resolution": format_resolution(variant.resolution),
            **({"weights": pretrained.source} if pretrained else {"seed": str(seed)}),
            "mnbench_version": mnbench.__version__,
            "params": str(total.params),
            "mult_adds": str(total.mult_adds),
            "memory_access": str(total.memory_access),
        },
    )
    return Model(name=variant.name, proto=proto, variant=variant)


def check_model(model: Model) -> None:
    """Run ONNX's own full checker, shape inference included.

    Raises:
        BuildError: the checker refuses the model.
    """
    try:
        onnx.checker.check_model(model.to_bytes(), full_check=True)  # pyright: ignore[reportUnknownMemberType]
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as failure:
        raise BuildError(
            f"{model.origin}: ONNX's checker refuses it: {first_line(failure)}", hint="export the model again"
        ) from failure


def _weights(variant: Variant, seed: int) -> Weights:
    """Return random weights, the same for every batch: rescaled with one image, or with a few where they are small."""
    height, width = variant.resolution
    images = max(1, min(MAX_RESCALE_IMAGES, RESCALE_PIXELS // (height * width)))
    layers = build_network(replace(variant, batch=images)).layers
    weights = random_weights(layers, seed=seed, beta=variant.architecture.random_beta)
    return rescale_weights(layers, weights, variant, seed=seed)
