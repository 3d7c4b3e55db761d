"""Seeded weights, and the scale of the activations that they make."""

import math

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnbench.families import read_architecture
from mnbench.model.random_weights import BETA_SPREAD, GAMMA_SPREAD, NORMALIZED, activation_moments, random_weights
from mnbench.model.to_onnx import to_onnx
from mnbench.network.layer import Layer, Tensor
from mnbench.network.network import build_network
from mnbench.network.variant import Variant
from mnbench.workspace import built_in

V1 = read_architecture(built_in("graphs") / "v1.toml")
EPSILON = 0.001
SEEDS = st.integers(0, 2**32 - 1)


def _network(alpha=0.25, resolution=(64, 64)):
    return build_network(Variant(architecture=V1, alpha=alpha, resolution=resolution))


def _weights(layers, seed=0):
    return random_weights(layers, seed=seed)


def _same(weights, other):
    return weights.keys() == other.keys() and all(np.array_equal(weights[name], other[name]) for name in weights)


def _conv(scope, *, side=8, channels=4, out=4, groups=1):
    return Layer(
        scope=scope,
        kind="conv",
        inputs=(Tensor("input", (1, channels, side, side)),),
        outputs=(Tensor(scope, (1, out, side, side)),),
        weights=(Tensor(f"{scope}.weight", (out, channels // groups, 3, 3)),),
        kernel=(3, 3),
        padding=(1, 1, 1, 1),
        groups=groups,
    )


def _norm(conv):
    return Layer(
        scope=f"{conv.scope}/bn",
        kind="batch_norm",
        inputs=conv.outputs,
        outputs=(Tensor(f"{conv.scope}/bn", conv.output.shape),),
        weights=tuple(Tensor(f"{conv.scope}/bn.{name}", (conv.output.shape[1],)) for name in ("gamma", "beta")),
        attributes={"epsilon": EPSILON},
    )


def _quadrature(function):
    """Mean and variance of function(gamma z + beta), z standard normal, gamma in 1 ± spread, beta in 0 ± spread."""
    z, of_z = np.polynomial.hermite_e.hermegauss(200)
    u, of_u = np.polynomial.legendre.leggauss(16)
    gamma, beta = 1 + GAMMA_SPREAD * u, BETA_SPREAD * u
    built = function(gamma[:, None, None] * z + beta[:, None])
    share = of_u[:, None, None] / 2 * (of_u[:, None] / 2) * (of_z / of_z.sum())
    mean = (share * built).sum()
    return mean, (share * built**2).sum() - mean**2


def _scales(alpha, resolution, seed):
    """Root mean square behind each batch normalization, and the logits' standard deviation."""
    built = _network(alpha, resolution)
    proto = onnx.ModelProto()
    proto.CopyFrom(to_onnx(built, seed=seed).proto)
    norms = [layer.output for layer in built.layers if layer.kind == "batch_norm"]
    proto.graph.output.extend(
        onnx.helper.make_tensor_value_info(norm.name, onnx.TensorProto.FLOAT, norm.shape) for norm in norms
    )
    image = np.random.default_rng(0).standard_normal((1, 3, *resolution)).astype(np.float32)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    logits, *outputs = session.run(None, {"input": image})
    return [float(np.sqrt(np.square(output).mean())) for output in outputs], float(logits.std())


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda y: np.maximum(y, 0), activation_moments("relu", NORMALIZED)),
        (lambda y: np.clip(y, 0, 6), activation_moments("relu6", NORMALIZED)),
        (lambda y: y * np.clip(y + 3, 0, 6) / 6, activation_moments("hard_swish", NORMALIZED)),
        (lambda y: np.clip(y + 3, 0, 6) / 6, activation_moments("hard_sigmoid", NORMALIZED)),
        (lambda y: y, NORMALIZED),
    ],
    ids=["relu", "relu6", "hard_swish", "hard_sigmoid", "none"],
)
def test_moments_by_quadrature(function, expected):
    """The moments behind an activation are those of its integral over z, gamma and beta."""
    assert expected == pytest.approx(_quadrature(function), abs=0.01)


@given(SEEDS)
@settings(deadline=None, max_examples=10)
def test_same_seed_same_numbers(seed):
    """A seed fixes every number."""
    assert _same(_weights(_network().layers, seed), _weights(_network().layers, seed))


@given(SEEDS, SEEDS)
@settings(deadline=None, max_examples=10)
def test_other_seed_other_numbers(seed, other):
    """Two seeds share no trainable tensor."""
    first, second = _weights(_network().layers, seed), _weights(_network().layers, other)
    trainable = [name for name in first if not name.endswith((".mean", ".variance"))]

    assert (seed == other) == any(np.array_equal(first[name], second[name]) for name in trainable)


def test_numbers_of_a_seed_are_fixed():
    """The first numbers of seed 0 are the ones that they have always been, on every machine."""
    expected = [0.3087906539, 0.0331352651, 0.2507150471, -0.2670206726]
    weights = _weights(_network(alpha=1).layers)

    assert expected == pytest.approx(weights["conv1/conv.weight"].ravel()[:4], rel=1e-6)


def test_no_two_tensors_are_the_same():
    """Tensors of one shape hold different numbers, and so do the filters of one tensor."""
    weights = [value for name, value in _weights(_network(alpha=1).layers).items() if name.endswith("conv.weight")]
    filters = [item.tobytes() for weight in weights for item in weight]

    assert len(filters) == len(set(filters))


@given(st.integers(1, 83), SEEDS)
@settings(deadline=None, max_examples=20)
def test_layers_behind_change_nothing(count, seed):
    """A layer's numbers are the same in the whole network and in its first layers alone."""
    layers = _network().layers
    whole, part = _weights(layers, seed), _weights(layers[:count], seed)

    assert _same(part, {name: whole[name] for name in part})


def test_layers_beside_change_nothing():
    """A layer's numbers do not depend on the layers before it, nor on their order."""
    layer, other = _conv("one"), _conv("other")

    assert _same(_weights([layer, _norm(layer), other]), _weights([other, layer, _norm(layer)]))
    assert _same(_weights([layer]), {"one.weight": _weights([other, layer])["one.weight"]})


@given(st.floats(0, 1, exclude_min=True), SEEDS)
@settings(deadline=None, max_examples=10)
def test_range_of_the_numbers(alpha, seed):
    """Weights fill ± sqrt(3 / fan in), gamma fills 1 ± 0.25, beta and the classifier's bias fill ± 0.25."""
    layers = _network(alpha).layers
    weights = _weights(layers, seed)
    reach = {
        layer.scope: math.sqrt(3 / math.prod(layer.weights[0].shape[1:])) for layer in layers if layer.kind == "conv"
    }
    filled = {
        1: [weights[f"{scope}.weight"] / item for scope, item in reach.items()],
        0.25: [weights[f"{layer.scope}.beta"] for layer in layers if layer.kind == "batch_norm"]
        + [weights[f"{layer.scope}.gamma"] - 1 for layer in layers if layer.kind == "batch_norm"]
        + [weights["fc.bias"]],
    }
    for limit, tensors in filled.items():
        numbers = np.concatenate([tensor.ravel() for tensor in tensors])

        assert -1.000001 * limit <= numbers.min() < -0.95 * limit
        assert 0.95 * limit < numbers.max() <= 1.000001 * limit


@given(st.floats(0, 1, exclude_min=True))
@settings(deadline=None, max_examples=10)
def test_shapes_of_the_numbers(alpha):
    """Every tensor is of 32-bit numbers and has the shape that its layer says."""
    layers = _network(alpha).layers
    names = {"conv": ["weight"], "batch_norm": ["gamma", "beta"], "fully_connected": ["weight", "bias"]}
    expected = {
        f"{layer.scope}.{name}": (weight.shape, np.float32)
        for layer in layers
        for name, weight in zip(names.get(layer.kind, []), layer.weights, strict=True)
    }
    entries = {name: (tensor.shape, tensor.dtype) for name, tensor in _weights(layers).items()}

    assert expected == {name: item for name, item in entries.items() if not name.endswith((".mean", ".variance"))}


def test_numbers_are_uniform():
    """A million weights have the mean and variance of a uniform distribution, 0 and 1 / fan in."""
    weight = _weights(_network(alpha=1).layers)["separable13/pointwise/conv.weight"].astype(np.float64)

    assert abs(weight.mean()) < 1e-4
    assert pytest.approx(1 / 1024, rel=0.01) == weight.var()


def test_kernel_that_sees_padding_alone():
    """On a map of one number only the centre of the kernel counts for the predicted variance."""
    conv = _conv("conv", side=1, groups=4)
    weights = _weights([conv, _norm(conv)])
    centre = weights["conv.weight"][:, 0, 1, 1].astype(np.float64)

    assert np.maximum(centre**2 - EPSILON, 0) == pytest.approx(weights["conv/bn.variance"], rel=1e-5)


def test_kernel_at_the_border():
    """A tap at the kernel's side misses one column of eight, and one in its corner a row as well."""
    conv = _conv("conv", side=8, groups=4)
    weights = _weights([conv, _norm(conv)])
    share = np.outer([7 / 8, 1, 7 / 8], [7 / 8, 1, 7 / 8])
    expected = (weights["conv.weight"][:, 0].astype(np.float64) ** 2 * share).sum(axis=(1, 2)) - EPSILON

    assert expected == pytest.approx(weights["conv/bn.variance"], rel=1e-5)


@pytest.mark.slow
@given(
    alpha=st.floats(0.01, 2, exclude_min=True),
    resolution=st.tuples(st.integers(32, 160), st.integers(32, 160)),
    seed=SEEDS,
)
@settings(deadline=None, max_examples=15, derandomize=True)
def test_activations_keep_their_scale(alpha, resolution, seed):
    """Behind every batch normalization and at the logits the numbers neither vanish nor explode."""
    scales, spread = _scales(alpha, resolution, seed)

    assert min(scales) >= 0.3
    assert max(scales) <= 4
    assert 0.2 <= spread <= 6


@pytest.mark.parametrize(
    ("alpha", "resolution", "seed"),
    [
        (0.010001, (32, 32), 1483315192),
        (0.010001, (32, 45), 1023614392),
        (0.010001, (34, 45), 452881546),
        (0.012834049028480208, (32, 32), 1339394870),
        (0.015403897562765674, (32, 45), 1912494361),
    ],
)
def test_narrowest_networks_keep_their_scale(alpha, resolution, seed):
    """Ten channels on a map of one number neither vanish nor explode."""
    scales, spread = _scales(alpha, resolution, seed)

    assert min(scales) >= 0.2
    assert max(scales) <= 5
    assert 0.1 <= spread <= 8


@pytest.mark.parametrize("resolution", [(32, 32), (128, 128), (224, 224)])
def test_scale_of_the_papers_own_widths(resolution):
    """At alpha 0.25 of the paper the scale is near one from the first layer to the last."""
    scales, spread = _scales(0.25, resolution, 0)

    assert min(scales) >= 0.5
    assert max(scales) <= 2
    assert 0.3 <= spread <= 3
