"""MobileNet V4-Conv: counts of independent code, layers of the graph, and a run."""

import numpy as np
import onnxruntime
import pytest

from mnbench import families
from mnbench.errors import GraphFileError
from mnbench.model.build import build_model
from mnbench.model.to_onnx import to_onnx
from mnbench.network.cost import total_cost
from mnbench.network.network import build_network
from mnbench.network.variant import Variant
from mnbench.workspace import built_in

GRAPHS = ("v4-conv-small", "v4-conv-medium", "v4-conv-large")


def variant(name, alpha=1.0, resolution=None):
    """A variant of a built-in graph, of the table's own resolution unless another is given."""
    table = families.architecture(name)
    return Variant(architecture=table, alpha=alpha, resolution=resolution or table.resolution)


@pytest.mark.parametrize(
    ("name", "alpha", "params", "mult_adds"),
    [
        # timm 1.0.31, counted by forward hooks.
        ("v4-conv-small", 1.0, 3_774_024, 186_005_568),
        ("v4-conv-small", 0.5, 2_238_952, 64_741_408),
        ("v4-conv-small", 0.35, 1_905_384, 47_723_040),
        ("v4-conv-medium", 1.0, 9_715_512, 1_080_244_224),
        ("v4-conv-large", 1.0, 32_590_864, 6_376_220_672),
    ],
)
def test_counts_equal_independent_code(name, alpha, params, mult_adds):
    """Parameters and Mult-Adds are the very integers of timm."""
    total = total_cost(build_network(variant(name, alpha)).layers)
    assert (params, mult_adds) == (total.params, total.mult_adds)


@pytest.mark.parametrize(("alpha", "outputs"), [(0.5, [16, 32, 48, 64]), (0.35, [16, 24, 32, 48])])
def test_the_stem_and_the_last_convolution_stay_below_1(alpha, outputs):
    """Blocks shrink to multiples of 8; the stem keeps 32 and the head 1280 channels."""
    layers = {layer.scope: layer for layer in build_network(variant("v4-conv-small", alpha)).layers}
    projections = [layer.output.shape[1] for scope, layer in layers.items() if scope.endswith("/project/conv")]
    assert outputs == list(dict.fromkeys(projections))
    assert [layers[scope].output.shape[1] for scope in ("conv1/conv", "conv3/conv")] == [32, 1280]


def test_blocks_have_the_depthwise_convolutions_of_their_names():
    """Without an activation behind the first; the last one has the stride."""
    layers = {layer.scope: layer for layer in build_network(variant("v4-conv-small")).layers}
    extra_dw = [scope for scope in layers if scope.startswith("block3/")]
    assert extra_dw == [
        "block3/first_depthwise/conv",
        "block3/first_depthwise/bn",
        "block3/expand/conv",
        "block3/expand/bn",
        "block3/expand/relu",
        "block3/depthwise/conv",
        "block3/depthwise/bn",
        "block3/depthwise/relu",
        "block3/project/conv",
        "block3/project/bn",
    ]
    strides = [layers[f"block3/{part}/conv"].stride for part in ("first_depthwise", "depthwise")]
    assert strides == [(1, 1), (2, 2)]
    assert "block4/first_depthwise/conv" not in layers
    assert "block8/depthwise/conv" not in layers
    assert "block4/add" in layers


@pytest.mark.parametrize("name", GRAPHS)
def test_table_layers_equal_onnx_layers(name):
    """Node for node."""
    network = build_network(variant(name, 0.25, (64, 96)))
    assert network.layers == to_onnx(network).node_layers


@pytest.mark.parametrize("name", GRAPHS)
def test_onnxruntime_runs_it(name):
    """The simplified model computes finite logits that vary."""
    model = build_model(variant(name, 0.25, (64, 64)))
    session = onnxruntime.InferenceSession(model.to_bytes(), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    (logits,) = session.run(None, {"input": image})
    assert logits.shape == (1, 1000)
    assert 0.15 < logits.std() < 6


def test_a_row_that_contradicts_the_one_above_is_refused(tmp_path):
    """As in every family."""
    text = (built_in("graphs") / "v4-conv-small.toml").read_text(encoding="utf-8")
    path = tmp_path / "v4-conv-small.toml"
    path.write_text(text.replace("input = [112, 112, 32]", "input = [112, 112, 24]", 1), encoding="utf-8")
    with pytest.raises(GraphFileError, match="row 2, key `input`"):
        families.read_architecture(path)
