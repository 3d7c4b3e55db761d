"""The most that activations take at once."""

import pytest
from common import layer_by_hand
from hypothesis import given, settings
from hypothesis import strategies as st

from mnbench.families import read_architecture
from mnbench.network.cost import peak_activation_bytes
from mnbench.network.layer import Layer, Tensor
from mnbench.network.network import build_network
from mnbench.network.variant import Variant
from mnbench.workspace import built_in

V1 = read_architecture(built_in("graphs") / "v1.toml")
ALPHAS = st.floats(0, 4, exclude_min=True)
SIDES = st.integers(32, 8192)
COUNTS = st.integers(1, 4096)


def _layers(alpha=1.0, height=224, width=None):
    return build_network(Variant(architecture=V1, alpha=alpha, resolution=(height, width or height))).layers


def _liveness_peak(layers, in_place=("relu6", "flatten")):
    """The peak in elements, from the first and the last step at which each tensor is held."""
    size, first, last = {}, {}, {}
    for step, layer in enumerate(layers):
        for tensor in layer.inputs:
            size[tensor.name] = tensor.elements
            first.setdefault(tensor.name, -1)
            last[tensor.name] = step
        for tensor in layer.outputs:
            size[tensor.name] = tensor.elements
            first[tensor.name] = step
    held = []
    for step, layer in enumerate([None, *layers], -1):
        living = {name for name in size if first[name] <= step <= last.get(name, len(layers))}
        if layer and layer.kind in in_place:
            living -= {tensor.name for tensor in layer.inputs if last[tensor.name] == step}
        held.append(sum(size[name] for name in living))
    return max(held)


def test_peak_of_v1():
    """V1 holds most at its first pointwise convolution: 32 channels in and 64 out at 112 x 112."""
    expected = 4 * 112 * 112 * (32 + 64)

    assert expected == peak_activation_bytes(_layers())


@pytest.mark.parametrize(
    ("layers", "elements"),
    [
        ([layer_by_hand("conv", {"x": 10}, {"y": 20})], 30),
        ([layer_by_hand("relu6", {"x": 10}, {"y": 10})], 10),
        ([layer_by_hand("conv", {"x": 10}, {"a": 20}), layer_by_hand("conv", {"a": 20}, {"y": 5})], 30),
        ([layer_by_hand("conv", {"x": 1}, {"a": 20}), layer_by_hand("relu6", {"a": 20}, {"y": 20})], 21),
        ([layer_by_hand("conv", {"x": 10}, {"a": 10}), layer_by_hand("add", {"x": 10, "a": 10}, {"y": 10})], 30),
        ([layer_by_hand("relu6", {"x": 10}, {"a": 10}), layer_by_hand("add", {"x": 10, "a": 10}, {"y": 10})], 30),
        (
            [
                layer_by_hand("conv", {"x": 2}, {"a": 10}),
                layer_by_hand("conv", {"a": 10}, {"b": 30}),
                layer_by_hand("conv", {"b": 30}, {"c": 10}),
                layer_by_hand("add", {"a": 10, "c": 10}, {"y": 10}),
            ],
            10 + 30 + 10,
        ),
        (
            [layer_by_hand("split", {"x": 10}, {"a": 5, "b": 5}), layer_by_hand("concat", {"a": 5, "b": 5}, {"y": 10})],
            20,
        ),
        ([layer_by_hand("split", {"x": 10}, {"a": 5, "y": 5}), layer_by_hand("conv", {"a": 5}, {"z": 50})], 60),
    ],
    ids=[
        "one convolution",
        "in place",
        "freed behind its reader",
        "in place behind a convolution",
        "residual",
        "not in place where a branch reads on",
        "residual round two convolutions",
        "split and joined",
        "an early output lives on",
    ],
)
def test_peak_by_hand(layers, elements):
    """The peak is what can be counted by hand, and what liveness gives."""
    assert 4 * elements == peak_activation_bytes(layers)
    assert elements == _liveness_peak(layers)


@st.composite
def _graphs(draw):
    """Layers that read any earlier tensors, once or twice, and write one or two."""
    sizes = {"x": draw(COUNTS)}
    layers = []
    for index in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["conv", "add", "relu6", "flatten", "split"]))
        read = draw(st.lists(st.sampled_from(sorted(sizes)), min_size=1, max_size=2 if kind == "add" else 1))
        built = (
            {f"t{index}": sizes[read[0]]}
            if kind in ("relu6", "flatten")
            else {f"t{index}{branch}": draw(COUNTS) for branch in ("ab" if kind == "split" else "a")}
        )
        layers.append(
            Layer(
                scope=f"{index}",
                kind=kind,
                inputs=tuple(Tensor(name, (1, sizes[name])) for name in read),
                outputs=tuple(Tensor(name, (1, size)) for name, size in built.items()),
            )
        )
        sizes |= built
    return layers


@settings(deadline=None)
@given(_graphs())
def test_peak_is_that_of_liveness(layers):
    """On any graph the peak is the most that is alive at one step."""
    assert 4 * _liveness_peak(layers) == peak_activation_bytes(layers)


@settings(deadline=None)
@given(ALPHAS, SIDES, SIDES)
def test_peak_of_any_variant(alpha, height, width):
    """On any variant the peak is the most that is alive at one step."""
    layers = _layers(alpha, height, width)

    assert 4 * _liveness_peak(layers, ("batch_norm", "relu6", "flatten")) == peak_activation_bytes(layers)
