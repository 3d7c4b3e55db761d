"""Every family against independent counts, and at any α, resolution and option."""

import random
from itertools import product

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from int8 import exact_int8
from small_variants import HEAVY, NAMES, small_variant
from small_variants import SCALABLE as FAMILIES

from mnbench import families
from mnbench.errors import BuildError
from mnbench.families.shufflenet_v1 import interpolate
from mnbench.model.build import build_model
from mnbench.model.equivalence import check_equivalence
from mnbench.model.simplify import simplify
from mnbench.model.to_onnx import check_model, to_onnx
from mnbench.network.architecture import round_to_multiple
from mnbench.network.cost import total_cost
from mnbench.network.network import build_network
from mnbench.network.variant import Variant

pytestmark = pytest.mark.slow

ALPHAS = [0.25, 0.35, 0.5, 0.75, 1, 1.25, 1.4, 2, *(round(random.Random(3).uniform(0.02, 4), 3) for _ in range(20))]
RESOLUTIONS = [
    (32, 32),
    (33, 33),
    (96, 96),
    (128, 128),
    (160, 160),
    (192, 192),
    (224, 224),
    (256, 256),
    (240, 320),
    (720, 1280),
]


def variant(name, alpha=1.0, resolution=(224, 224), **options):
    """A variant of a built-in graph."""
    table = families.architecture(name)
    family_options = {key: options.pop(key) for key in ("groups", "unit", "activation") if key in options}
    return Variant(architecture=table, alpha=alpha, resolution=resolution, options=family_options, **options)


def run(proto):
    """The outputs on a seeded image."""
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (value,) = session.get_inputs()
    image = np.random.default_rng(1).standard_normal(value.shape).astype(np.float32)
    return session.run(None, {value.name: image})


@pytest.mark.parametrize(
    ("name", "alpha", "options", "trainable"),
    [
        # Keras 3's own code, counted: trainable parameters.
        ("v1", 1, {}, 4_231_976),
        ("v1", 0.75, {}, 2_585_560),
        ("v1", 0.5, {}, 1_331_592),
        ("v1", 0.25, {}, 470_072),
        ("v2", 1.4, {}, 6_108_776),
        ("v2", 1.3, {}, 5_386_792),
        ("v2", 0.75, {}, 2_636_424),
        ("v2", 0.5, {}, 1_968_680),
        ("v2", 0.35, {}, 1_677_128),
        ("v3-large", 0.75, {}, 3_993_528),
        ("v3-small", 0.75, {}, 2_041_872),
        ("v3-large-minimal", 1, {}, 3_924_288),
        ("v3-small-minimal", 1, {}, 2_044_736),
        # torchvision's metadata: num_params.
        ("v2", 1, {}, 3_504_872),
        ("v3-large", 1, {}, 5_483_032),
        ("v3-small", 1, {}, 2_542_856),
        ("shufflenet-v2", 0.5, {"unit": "torchvision"}, 1_366_792),
        ("shufflenet-v2", 1, {"unit": "torchvision"}, 2_278_604),
        ("shufflenet-v2", 1.5, {"unit": "torchvision"}, 3_503_624),
        ("shufflenet-v2", 2, {"unit": "torchvision"}, 7_393_996),
        # Megvii's code, counted: its classifiers have no bias.
        ("shufflenet-v2", 0.5, {}, 1_365_792),
        ("shufflenet-v2", 1, {}, 2_278_760),
        ("shufflenet-v2", 1.5, {}, 3_506_720),
        ("shufflenet-v2", 2, {}, 7_402_600),
        ("shufflenet-v1", 2, {"groups": 3}, 5_449_776),
        ("shufflenet-v1", 2, {"groups": 8}, 6_521_232),
        ("shufflenet-v1", 1.5, {"groups": 3}, 3_441_168),
        ("shufflenet-v1", 1.5, {"groups": 8}, 4_268_952),
        ("shufflenet-v1", 1, {"groups": 3}, 1_864_728),
        ("shufflenet-v1", 1, {"groups": 8}, 2_433_768),
        ("shufflenet-v1", 0.5, {"groups": 3}, 717_324),
        ("shufflenet-v1", 0.5, {"groups": 8}, 1_010_448),
    ],
)
def test_parameters_equal_independent_code(name, alpha, options, trainable):
    """Trainable parameters are the very integers of torchvision, Keras and Megvii."""
    assert total_cost(build_network(variant(name, alpha, **options)).layers).params == trainable


@pytest.mark.parametrize("name", FAMILIES)
def test_cost_is_monotone_in_alpha_and_resolution(name):
    """More channels or more pixels never cost less."""
    for resolution in RESOLUTIONS[::3]:
        costs = [total_cost(build_network(variant(name, alpha, resolution)).layers) for alpha in sorted(ALPHAS)]
        for figure in ("params", "mult_adds", "memory_access"):
            grown = [getattr(cost, figure) for cost in costs]
            assert grown == sorted(grown)
    for alpha in ALPHAS[::5]:
        squares = [total_cost(build_network(variant(name, alpha, size)).layers) for size in RESOLUTIONS[:8]]
        for figure in ("mult_adds", "memory_access"):
            grown = [getattr(cost, figure) for cost in squares]
            assert grown == sorted(grown)


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 8])
@given(alpha=st.floats(0.001, 4))
def test_groups_divide_their_channels(groups, alpha):
    """Whatever α, each group convolution's channels, and each shuffle's, are multiples of its groups."""
    for layer in build_network(variant("shufflenet-v1", alpha, (64, 64), groups=groups)).layers:
        if layer.kind == "conv":
            assert layer.inputs[0].shape[1] % layer.groups == 0
            assert layer.output.shape[1] % layer.groups == 0
        if layer.kind == "transpose":
            assert layer.inputs[0].shape[1] * layer.inputs[0].shape[2] == layer.output.shape[1] * layer.output.shape[2]


@given(alphas=st.tuples(st.floats(0.001, 4), st.floats(0.001, 4)))
def test_the_extension_of_columns_is_monotone(alphas):
    """Between and beyond the published columns channels grow with α, and meet the columns at the published α."""
    low, high = sorted(alphas)
    points = ((0.5, 48), (1, 116), (1.5, 176), (2, 244))
    assert interpolate(points, low) <= interpolate(points, high)
    assert [channels for _, channels in points] == [interpolate(points, alpha) for alpha, _ in points]


@given(st.floats(0.001, 1e5), st.integers(1, 64), st.integers(1, 64))
def test_to_multiple_is_the_nearest_that_reaches_the_minimum(channels, divisor, minimum):
    """It is a multiple, reaches the minimum, and lies within half a divisor of the channels unless the minimum asks."""
    value = round_to_multiple(channels, divisor, minimum)
    assert value % divisor == 0
    assert value >= minimum
    assert abs(value - channels) <= divisor / 2 or value - divisor < minimum


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "v1-conv" else []) for name in FAMILIES]
)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_table_layers_equal_onnx_layers(name, data):
    """What the table says is what the graph holds, node for node, at any α, resolution and option."""
    options = {"padding": data.draw(st.sampled_from(["torch", "same"])), "batch": data.draw(st.integers(1, 3))}
    options["classes"] = data.draw(st.sampled_from([None, 0, 7]))
    if name == "shufflenet-v1":
        options["groups"] = data.draw(st.sampled_from([1, 2, 3, 4, 8]))
        options["unit"] = data.draw(st.sampled_from(["paper", "megvii"]))
    if name == "shufflenet-v2":
        options["unit"] = data.draw(st.sampled_from(["paper", "torchvision", "megvii"]))
    size = st.integers(32, 90)
    built = build_network(variant(name, data.draw(st.floats(0.02, 1.5)), data.draw(st.tuples(size, size)), **options))
    model = to_onnx(built)
    check_model(model)
    assert model.node_layers == built.layers


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "alpha", "resolution"),
    [
        (name, *cell)
        for name in FAMILIES
        for cell in random.Random(name).sample(list(product(ALPHAS, RESOLUTIONS[:9])), 6)
    ],
)
def test_simplified_equals_plain_and_runs(name, alpha, resolution):
    """Over the grid of α and resolution: checked, run, simplified without changing an output or a count."""
    built = build_network(variant(name, alpha, resolution))
    plain = to_onnx(built, seed=2)
    simplified = simplify(plain, thorough=False)
    check_model(simplified)
    assert check_equivalence(plain, simplified).difference < 1e-4
    after = total_cost(simplified.node_layers)
    before = total_cost(built.layers)
    assert (after.mult_adds, after.memory_access, after.weights) == (
        before.mult_adds,
        before.memory_access,
        before.weights,
    )


@pytest.mark.slow
def test_the_largest_resolution_of_the_papers_runs():
    """ShuffleNet's 1280 × 720 builds, simplifies and runs."""
    (output,) = run(build_model(variant("shufflenet-v2", 0.5, (720, 1280))).proto)
    assert output.shape == (1, 1000)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("alpha", "resolution"), [(0.25, (128, 128)), (1, (64, 96)), (0.05, (32, 32))])
def test_activations_stay_at_unit_scale(name, alpha, resolution):
    """Behind every normalization, at every depth, the root mean square stays within a factor of five of 1."""
    proto = onnx.ModelProto()
    proto.CopyFrom(to_onnx(build_network(variant(name, alpha, resolution)), seed=5).proto)
    normalized = [node.output[0] for node in proto.graph.node if node.op_type == "BatchNormalization"]
    proto.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in normalized)
    logits, *activations = run(proto)
    assert all(0.2 < np.sqrt(np.square(activation).mean()) < 5 for activation in activations)
    assert 0.15 < logits.std() < 6


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in HEAVY])
@pytest.mark.parametrize(("precision", "bound"), [("fp16", 0.1), pytest.param("int8", 2.0, marks=exact_int8)])
def test_other_precisions_run_and_stay_near(name, precision, bound):
    """fp16 and int8 graphs pass the checker, run, keep their spread, and differ from fp32 by what such numbers cost."""
    reference = run(build_model(small_variant(name)).proto)[0]
    other = run(build_model(small_variant(name, precision=precision)).proto)[0]
    assert 0 < np.abs(other - reference).max() / reference.std() < bound
    assert 0.5 < other.std() / reference.std() < 2


@pytest.mark.parametrize("name", ["v2", "v3-small", "shufflenet-v1", "shufflenet-v2"])
def test_an_open_batch_takes_any_number_of_images(name):
    """With --batch dynamic one image gives what it gives among three."""
    proto = build_model(variant(name, 0.25, (64, 64), batch=None)).proto
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).standard_normal((3, 3, 64, 64)).astype(np.float32)
    (three,) = session.run(None, {"input": images})
    (item,) = session.run(None, {"input": images[1:2]})
    np.testing.assert_allclose(item[0], three[1], atol=1e-4 * three.std())


def test_weights_do_not_depend_on_the_batch():
    """The same seed gives the same weights for every batch."""
    item, many = (
        {
            tensor.name: tensor.raw_data
            for tensor in to_onnx(build_network(variant("v3-small", 0.25, (64, 64), batch=n))).proto.graph.initializer
        }
        for n in (1, 4)
    )
    assert item == many


@pytest.mark.parametrize("opset", [14, 15, 18, 21])
@pytest.mark.parametrize("name", ["v1", "v3-small", "shufflenet-v2"])
def test_opsets(name, opset):
    """The graph is written in the opset asked for, checked, and runs."""
    model = build_model(variant(name, 0.25, (64, 64)), opset=opset)
    assert model.opset == opset
    assert run(model.proto)[0].shape == (1, 1000)


@pytest.mark.parametrize("size", [32, 33, 64, 97])
@pytest.mark.parametrize("name", ["v1", "v2", "v3-large", "shufflenet-v1"])
def test_same_padding_is_tensorflows(name, size):
    """SAME pads what the last position lacks, the larger half behind; sizes are those of the other padding."""
    same, torch = (
        build_network(variant(name, 0.25, (size, size), padding=padding)).layers for padding in ("same", "torch")
    )
    assert [layer.output.shape for layer in same] == [layer.output.shape for layer in torch]
    for layer in same:
        if layer.kind in ("conv", "max_pool", "average_pool"):
            for axis in (0, 1):
                n, out = layer.inputs[0].shape[2 + axis], layer.output.shape[2 + axis]
                total = max(0, (out - 1) * layer.stride[axis] + layer.kernel[axis] - n)
                assert (layer.padding[axis], layer.padding[2 + axis]) == (total // 2, total - total // 2)


def test_relu_in_place_of_h_swish():
    """--activation relu leaves no h-swish, costs the same, and says so in the name."""
    plain, relu = (build_network(variant("v3-large", **options)) for options in ({}, {"activation": "relu"}))
    assert {"hard_swish"} & {layer.kind for layer in plain.layers}
    assert not {"hard_swish"} & {layer.kind for layer in relu.layers}
    assert total_cost(plain.layers) == total_cost(relu.layers)
    assert relu.variant.name == "v3-large-a1-r224-relu"


def test_features_only():
    """With no classes the network ends at its pooled features."""
    assert build_network(variant("v2", classes=0)).layers[-1].output.shape == (1, 1280)
    assert build_network(variant("v3-small", classes=0)).layers[-1].output.shape == (1, 1024)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("v1", {"groups": 3}),
        ("shufflenet-v1", {"groups": 5}),
        ("v2", {"unit": "paper"}),
        ("shufflenet-v2", {"unit": "mine"}),
        ("v2", {"activation": "relu"}),
        ("v1", {"batch": 0}),
        ("v1", {"classes": -1}),
    ],
)
def test_options_that_a_family_does_not_have_are_refused(name, options):
    """An option of another family, or an impossible value, is refused with what would be possible."""
    with pytest.raises(BuildError) as refusal:
        variant(name, **options)
    assert refusal.value.hint


def test_only_alphas_between_columns_are_extended():
    """A variant says when its widths stand in no paper."""
    assert not variant("shufflenet-v2", 1.5).has_unpublished_width
    assert variant("shufflenet-v2", 1.2).has_unpublished_width
    assert not variant("v2", 1.2).has_unpublished_width
