"""Shapes, channels, names and limits of variants."""

import math
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mnbench.errors import BuildError
from mnbench.families import read_architecture
from mnbench.network.layer import Tensor
from mnbench.network.network import build_network
from mnbench.network.variant import InputOptions, OnnxFile, Variant, resolution_at_rho
from mnbench.workspace import built_in

V1 = read_architecture(built_in("graphs") / "v1.toml")
V1_TEXT = (built_in("graphs") / "v1.toml").read_text(encoding="utf-8")
ALPHAS = st.floats(0, 4, exclude_min=True)
SIDES = st.integers(32, 8192)

# The first convolution and the thirteen separable ones, as Table 1 prints them, with row 17 as its sizes have it.
CHANNELS = [32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
STRIDES = [2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]


def _network(alpha=1.0, resolution=(224, 224), architecture=V1):
    return build_network(Variant(architecture=architecture, alpha=alpha, resolution=resolution))


def _strided(built):
    """The first convolution and the depthwise ones: every layer that may shrink the map."""
    return [layer for layer in built.layers if layer.kind == "conv" and layer.kernel == (3, 3)]


def _widening(built):
    """The first convolution and the pointwise ones: every layer that sets a number of channels."""
    return [layer for layer in built.layers if layer.kind == "conv" and layer.groups == 1]


@settings(deadline=None)
@given(ALPHAS, SIDES, SIDES)
@example(1.0, 224, 224)
@example(0.25, 33, 8191)
def test_maps_are_ceil_of_side_over_stride(alpha, height, width):
    """Each strided convolution leaves ceil(side / stride) of the map, height and width apart."""
    built = _network(alpha, (height, width))
    expected = []
    for stride in STRIDES:
        height, width = math.ceil(height / stride), math.ceil(width / stride)
        expected.append((height, width))

    assert expected == [layer.output.shape[2:] for layer in _strided(built)]


@settings(deadline=None)
@given(ALPHAS, SIDES, SIDES)
def test_layers_are_chained(alpha, height, width):
    """Each layer reads what the one before it wrote, from the image to the logits."""
    layers = _network(alpha, (height, width)).layers

    assert [Tensor("input", (1, 3, height, width)), *(layer.output for layer in layers[:-1])] == [
        layer.inputs[0] for layer in layers
    ]
    assert Tensor("logits", (1, 1000)) == layers[-1].output


@settings(deadline=None)
@given(ALPHAS)
@example(0.25)
@example(0.75)
@example(5e-324)
def test_channels_are_those_of_the_authors_code(alpha):
    """Channels are max(int(d x alpha), 8), with no rounding to a multiple of 8."""
    expected = [max(int(printed * alpha), 8) for printed in CHANNELS]

    assert expected == [layer.output.shape[1] for layer in _widening(_network(alpha))]


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        (0.25, [8, 16, 32, 32, 64, 64, 128, 256]),
        (0.5, [16, 32, 64, 64, 128, 128, 256, 512]),
        (0.75, [24, 48, 96, 96, 192, 192, 384, 768]),
        (0.3, [9, 19, 38, 38, 76, 76, 153, 307]),
        (0.01, [8, 8, 8, 8, 8, 8, 8, 10]),
        (4, [128, 256, 512, 512, 1024, 1024, 2048, 4096]),
    ],
)
def test_channels_at_an_alpha(alpha, expected):
    """Channels are scaled, rounded down and never under 8."""
    channels = [layer.output.shape[1] for layer in _widening(_network(alpha))]

    assert expected == [*channels[:7], channels[-1]]


@settings(deadline=None)
@given(ALPHAS)
def test_depthwise_convolutions_keep_their_channels(alpha):
    """A depthwise convolution has one group and one filter a channel."""
    for layer in _strided(_network(alpha))[1:]:
        channels = layer.inputs[0].shape[1]

        assert (channels, channels, (channels, 1, 3, 3)) == (
            layer.groups,
            layer.output.shape[1],
            layer.weights[0].shape,
        )


def test_width_rule_is_the_tables(tmp_path):
    """Divisor and minimum come from the table's own `[width]`."""
    path = tmp_path / "x.toml"
    path.write_text(
        V1_TEXT.replace("divisor = 1", "divisor = 8").replace("minimum = 8", "minimum = 16"), encoding="utf-8"
    )
    built = _network(0.3, architecture=read_architecture(path))
    expected = [16, 16, 32, 32, 72, 72, 152, 152, 152, 152, 152, 152, 304, 304]

    assert expected == [layer.output.shape[1] for layer in _widening(built)]


@settings(deadline=None)
@given(ALPHAS, SIDES, SIDES)
def test_scopes_and_tensors_are_unique(alpha, height, width):
    """No two layers share a name, and no two tensors."""
    layers = _network(alpha, (height, width)).layers

    assert len(layers) == len({layer.scope for layer in layers}) == len({layer.output.name for layer in layers})


def test_scopes_follow_the_table():
    """Scopes say block, half and kind, and each layer knows the row of the table that it comes from."""
    built = _network()
    row_of = dict(zip((layer.scope for layer in built.layers), (number for number, _ in built.rows), strict=True))
    expected = {
        "conv1/conv": "1",
        "conv1/relu6": "1",
        "separable1/depthwise/conv": "2",
        "separable1/pointwise/bn": "3",
        "separable7/depthwise/conv": "14.1",
        "separable11/pointwise/relu6": "14.2",
        "separable12/depthwise/conv": "15",
        "separable13/pointwise/conv": "18",
        "pool": "19",
        "flatten": "19",
        "fc": "20",
    }

    assert expected.items() <= row_of.items()


def test_number_of_layers():
    """V1 has 27 convolutions with batch normalization and ReLU6, the pooling, its view and the classifier."""
    kinds = [layer.kind for layer in _network().layers]
    expected = [*["conv", "batch_norm", "relu6"] * 27, "global_average_pool", "flatten", "fully_connected"]

    assert expected == kinds


@pytest.mark.parametrize(
    "alpha", [0, -0.0, -1, -1e-9, float("nan"), float("inf"), float("-inf"), 1e9, 4.0000001, math.nextafter(4, 5)]
)
def test_impossible_alpha(alpha):
    """An alpha outside (0, 4] is refused, and the hint says the range."""
    with pytest.raises(BuildError, match=r"(?m)^v1: alpha \S+ is impossible$") as caught:
        _network(alpha)

    assert "above 0 and up to 4" in caught.value.hint


@pytest.mark.parametrize("alpha", [-1, 1e9, 4.0000001])
def test_impossible_alpha_is_shown_in_full(alpha):
    """The message never shows a refused alpha as one that is allowed."""
    with pytest.raises(BuildError) as caught:
        _network(alpha)

    assert alpha == float(caught.value.message.split()[2])


@pytest.mark.parametrize("alpha", [5e-324, 1e-9, 4, math.nextafter(4, 0)])
def test_extreme_alpha(alpha):
    """The range's own ends are possible."""
    layers = _network(alpha).layers

    assert layers[-1].inputs[0].shape[1] == max(int(1024 * alpha), 8)


@pytest.mark.parametrize("side", [31, 0, 7, -224, 8193, 10**6])
def test_impossible_resolution(side):
    """A side outside 32 to 8192 is refused, be it height or width, and the hint says the range."""
    for resolution, shown in (((side, side), f"{side}"), ((side, 224), f"{side}x224"), ((224, side), f"224x{side}")):
        with pytest.raises(BuildError, match=rf"(?m)^v1: resolution {shown} is impossible$") as caught:
            _network(resolution=resolution)

        assert "between 32 and 8192" in caught.value.hint


@pytest.mark.parametrize(
    ("rho", "side"), [(1, 224), (0.857, 192), (0.714, 160), (0.571, 128), (6 / 7, 192), (1 / 7, 32), (2, 448)]
)
def test_rho_is_a_share_of_the_tables_resolution(rho, side):
    """The resolution multipliers of the paper stand for its resolutions."""
    assert (side, side) == resolution_at_rho(V1, rho)


@pytest.mark.parametrize("rho", [0, -0.714, float("nan"), float("inf"), float("-inf")])
def test_impossible_rho(rho):
    """A rho that is no positive, finite number is refused."""
    with pytest.raises(BuildError, match=r"(?m)^rho \S+ is impossible$"):
        resolution_at_rho(V1, rho)


@pytest.mark.parametrize("rho", [1e-9, 0.1, 1e9, 1e300])
def test_rho_that_gives_an_impossible_resolution(rho):
    """A rho may be a number and its resolution still impossible."""
    with pytest.raises(BuildError, match="is impossible"):
        _network(resolution=resolution_at_rho(V1, rho))


@pytest.mark.parametrize(
    ("alpha", "resolution", "name"),
    [
        (1, (224, 224), "v1-a1-r224"),
        (1.0, (224, 224), "v1-a1-r224"),
        (0.5, (160, 160), "v1-a0.5-r160"),
        (0.333, (240, 320), "v1-a0.333-r240x320"),
        (0.1 + 0.2, (32, 8192), "v1-a0.30000000000000004-r32x8192"),
    ],
)
def test_name_of_a_variant(alpha, resolution, name):
    """The name holds every digit of alpha, and height and width where they differ."""
    assert name == Variant(architecture=V1, alpha=alpha, resolution=resolution).name


@settings(deadline=None)
@given(ALPHAS, ALPHAS)
def test_names_tell_alphas_apart(first, other):
    """Two variants have one name only if they have one alpha."""
    names = {Variant(architecture=V1, alpha=alpha, resolution=(224, 224)).name for alpha in (first, other)}

    assert len({first, other}) == len(names)


@pytest.mark.parametrize(
    ("input_options", "name"),
    [
        (InputOptions(), "net"),
        (InputOptions(resolution=(160, 160)), "net[res=160]"),
        (InputOptions(batch=8, resolution=(240, 320)), "net[batch=8,res=240x320]"),
        (
            InputOptions(sizes={"time": 50}, shapes={"": (1, 9)}, values={"rate": "16000"}),
            "net[time=50,1x9,rate=16000]",
        ),
    ],
)
def test_name_of_a_file(input_options, name):
    """A user's file goes by its own name, with what is given of its inputs."""
    assert name == OnnxFile(path=Path("some/net.onnx"), input_options=input_options).name
