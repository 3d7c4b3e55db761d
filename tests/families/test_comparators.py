"""Comparators at α = 1 alone: their graphs at even and odd sizes."""

# ruff: noqa: SIM300  expected == actual

import numpy as np
import onnx
import onnxruntime
import pytest
from small_variants import FIXED, SMALL_SIZES, small_variant

from mnbench import families
from mnbench.errors import BuildError
from mnbench.model.equivalence import check_equivalence
from mnbench.model.simplify import simplify
from mnbench.model.to_onnx import check_model, to_onnx
from mnbench.network.cost import total_cost
from mnbench.network.network import build_network
from mnbench.network.variant import Variant

pytestmark = pytest.mark.slow

ODD_SIZES = {
    "alexnet": (101, 67),
    "alexnet-torchvision": (239, 249),
    "nasnet-mobile": (97, 129),
    "vgg16": (231, 257),
}
"""Where 97 × 131 pixels are impossible."""


def sizes(name):
    """A small size and an odd one that it allows."""
    return SMALL_SIZES.get(name, (64, 64)), ODD_SIZES.get(name, (97, 131))


@pytest.mark.parametrize("name", FIXED)
def test_table_layers_equal_onnx_layers(name):
    """What the table says is what the graph holds, node for node."""
    for size in sizes(name):
        built = build_network(Variant(architecture=families.architecture(name), resolution=size, batch=2, classes=7))
        model = to_onnx(built)
        check_model(model)
        assert model.node_layers == built.layers


@pytest.mark.parametrize("name", [name for name in FIXED if name != "vgg16"])
def test_simplified_equals_plain_and_runs(name):
    """Simplified without changing an output or a count."""
    size = sizes(name)[1]
    built = build_network(Variant(architecture=families.architecture(name), resolution=size))
    plain = to_onnx(built, seed=2)
    simplified = simplify(plain, thorough=False)
    check_model(simplified)
    before, after = total_cost(built.layers), total_cost(simplified.node_layers)

    assert check_equivalence(plain, simplified).difference < 1e-4
    assert (before.mult_adds, before.memory_access) == (after.mult_adds, after.memory_access)


@pytest.mark.parametrize("name", FIXED)
def test_activations_stay_at_unit_scale(name):
    """Behind every normalization or else every convolution, the root mean square stays within a factor of five of 1."""
    proto = onnx.ModelProto()
    proto.CopyFrom(to_onnx(build_network(small_variant(name)), seed=5).proto)
    kinds = {node.op_type for node in proto.graph.node}
    scaled = "BatchNormalization" if "BatchNormalization" in kinds else "Conv"
    tensors = [node.output[0] for node in proto.graph.node if node.op_type == scaled]
    proto.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in tensors)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (value,) = session.get_inputs()
    image = np.random.default_rng(1).standard_normal(value.shape).astype(np.float32)
    logits, *activations = session.run(None, {value.name: image})

    scales = {name: float(np.sqrt(np.square(map_).mean())) for name, map_ in zip(tensors, activations, strict=True)}
    assert {} == {name: scale for name, scale in scales.items() if not 0.2 < scale < 5}
    assert 0.15 < logits.std() < 6


@pytest.mark.parametrize("name", FIXED)
def test_same_padding_changes_a_layer_or_is_refused(name):
    """TensorFlow's padding means something where a window that halves a map is padded as the variant says."""
    table = families.architecture(name)
    if not table.has_open_padding:
        with pytest.raises(BuildError, match="padding same means nothing here"):
            Variant(architecture=table, resolution=table.resolution, padding="same")
        return
    sides = [side + more for side in table.resolution[:1] for more in (0, 2)]  # at some sizes both are the same
    usual, same = (
        [
            layer.padding
            for side in sides
            for layer in build_network(Variant(architecture=table, resolution=(side, side), padding=padding)).layers
        ]
        for padding in ("torch", "same")
    )
    assert usual != same


def test_what_does_not_join_is_refused():
    """NASNet's halves of a map of odd sides have other sizes."""
    with pytest.raises(BuildError, match="joins maps of") as failure:
        build_network(Variant(architecture=families.architecture("nasnet-mobile"), resolution=(131, 131)))
    assert failure.value.hint == "choose another resolution"
