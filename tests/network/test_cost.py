"""Costs, against the figures that the papers and their authors' code publish."""

from collections import Counter
from itertools import pairwise

import pytest
from common import layer_by_hand
from hypothesis import given, settings
from hypothesis import strategies as st

from mnbench.families import read_architecture
from mnbench.network.cost import Cost, cost_by_type, layer_cost, total_cost
from mnbench.network.layer import Tensor
from mnbench.network.layer_builder import LayerBuilder
from mnbench.network.network import build_network
from mnbench.network.variant import Variant
from mnbench.workspace import built_in

V1 = read_architecture(built_in("graphs") / "v1.toml")
ALPHAS = st.floats(0, 4, exclude_min=True)
SIDES = st.integers(32, 8192)
COUNTS = st.integers(1, 4096)

# Parameters and Mult-Adds of each convolution at 1.0@224 and at 0.75@128, from the docstring of slim's mobilenet_v1.py.
CONV2D_0 = (864, 10_838_016, 648, 2_654_208)
DEPTHWISE = [
    (288, 3_612_672, 216, 884_736),
    (576, 1_806_336, 432, 442_368),
    (1_152, 3_612_672, 864, 884_736),
    (1_152, 903_168, 864, 221_184),
    (2_304, 1_806_336, 1_728, 442_368),
    (2_304, 451_584, 1_728, 110_592),
    *[(4_608, 903_168, 3_456, 221_184)] * 5,
    (4_608, 225_792, 3_456, 55_296),
    (9_216, 451_584, 6_912, 110_592),
]
POINTWISE = [
    (2_048, 25_690_112, 1_152, 4_718_592),
    (8_192, 25_690_112, 4_608, 4_718_592),
    (16_384, 51_380_224, 9_216, 9_437_184),
    (32_768, 25_690_112, 18_432, 4_718_592),
    (65_536, 51_380_224, 36_864, 9_437_184),
    (131_072, 25_690_112, 73_728, 4_718_592),
    *[(262_144, 51_380_224, 147_456, 9_437_184)] * 5,
    (524_288, 25_690_112, 294_912, 4_718_592),
    (1_048_576, 51_380_224, 589_824, 9_437_184),
]
SLIM = [CONV2D_0, *(row for pair in zip(DEPTHWISE, POINTWISE, strict=True) for row in pair)]


def _layers(alpha=1.0, height=224, width=None):
    return build_network(Variant(architecture=V1, alpha=alpha, resolution=(height, width or height))).layers


def _convs(layers):
    return [layer for layer in layers if layer.kind == "conv"]


def _conv(channels, out, *, height, width, kernel=1, groups=1, stride=1, bias=False):
    builder = LayerBuilder(Variant(architecture=V1, alpha=1, resolution=(224, 224)))
    builder.row = ("1", builder.variant.architecture.rows[0])
    builder.conv(Tensor("input", (1, channels, height, width)), "conv", out, kernel, stride, groups=groups, bias=bias)
    return builder.layers[0]


@pytest.mark.parametrize(
    ("alpha", "resolution", "params", "body"),
    [(1, 224, 3_185_088, 567_716_352), (0.75, 128, 1_800_144, 106_002_432)],
)
def test_body_is_slims(alpha, resolution, params, body):
    """The convolutions have the totals of the docstring of slim's mobilenet_v1.py."""
    total = total_cost(_convs(_layers(alpha, resolution)))

    assert (params, body) == (total.params, total.mult_adds)


@pytest.mark.parametrize(("alpha", "resolution", "column"), [(1, 224, 0), (0.75, 128, 2)])
def test_every_convolution_is_slims(alpha, resolution, column):
    """Each convolution has the parameters and Mult-Adds of the docstring of slim's mobilenet_v1.py."""
    costs = [layer_cost(layer) for layer in _convs(_layers(alpha, resolution))]

    assert [row[column : column + 2] for row in SLIM] == [(cost.params, cost.mult_adds) for cost in costs]


@pytest.mark.parametrize(
    ("alpha", "resolution", "mult_adds"),
    [(1, 224, 567_716_352 + 1_024_000), (0.75, 128, 106_002_432 + 768_000)],
)
def test_total_is_body_and_classifier(alpha, resolution, mult_adds):
    """The classifier adds in x classes, and nothing else adds anything."""
    assert mult_adds == total_cost(_layers(alpha, resolution)).mult_adds


@pytest.mark.parametrize(("alpha", "params"), [(1, 4_231_976), (0.75, 2_585_560), (0.5, 1_331_592), (0.25, 470_072)])
@pytest.mark.parametrize("resolution", [224, 160])
def test_params_are_keras_trainable_ones(alpha, params, resolution):
    """Trainable parameters are those that Keras counts, whatever the resolution."""
    assert params == total_cost(_layers(alpha, resolution)).params


@pytest.mark.parametrize(
    ("alpha", "resolution", "millions"),
    [
        (1, 224, 569),  # paper, Tables 4, 6, 7 and 8; slim's mobilenet_v1.md
        (1, 192, 418),  # paper, Table 7; slim
        (1, 160, 291),  # slim; the paper's Table 7 truncates
        (1, 128, 186),  # paper, Table 7; slim
        (0.75, 224, 325),  # paper, Tables 5 and 6
        (0.75, 192, 239),  # paper, Table 10
        (0.75, 160, 166),  # paper, Table 14, misprinted there as 0.75-128
        (0.5, 192, 110),  # slim
        (0.5, 160, 77),  # slim; the paper's Table 9 truncates
        (0.5, 128, 49),  # slim
        (0.25, 224, 41),  # paper, Table 6; slim
        (0.25, 160, 21),  # slim
        (0.25, 128, 14),  # slim
    ],
)
def test_published_mult_adds_that_are_rounded(alpha, resolution, millions):
    """Published Mult-Adds are ours, rounded to a million."""
    assert millions == round(total_cost(_layers(alpha, resolution)).mult_adds / 1e6)


@pytest.mark.parametrize(
    ("alpha", "resolution", "millions"),
    [
        (1, 192, 418),  # paper, Table 7
        (1, 160, 290),  # paper, Table 7
        (1, 128, 186),  # paper, Table 7
        (0.75, 224, 325),  # paper, Tables 5 and 6
        (0.75, 192, 239),  # paper, Table 10
        (0.5, 224, 149),  # paper, Tables 6 and 12
        (0.5, 160, 76),  # paper, Table 9
        (0.25, 224, 41),  # paper, Table 6
    ],
)
def test_published_mult_adds_that_are_truncated(alpha, resolution, millions):
    """The paper's Mult-Adds, 569 apart, are ours without what is under a million."""
    assert millions == total_cost(_layers(alpha, resolution)).mult_adds // 1_000_000


@pytest.mark.parametrize(("alpha", "resolution", "millions"), [(1, 128, 185), (0.5, 128, 48)])
def test_published_mult_adds_of_the_body(alpha, resolution, millions):
    """Table 12's networks end before the classifier, and are truncated."""
    assert millions == total_cost(_convs(_layers(alpha, resolution))).mult_adds // 1_000_000


@pytest.mark.parametrize(
    ("alpha", "resolution", "millions"),
    [
        (0.75, 224, 317),  # slim's mobilenet_v1.md
        (0.75, 192, 233),  # slim's mobilenet_v1.md
        (0.75, 160, 162),  # slim's mobilenet_v1.md
        (0.75, 128, 104),  # slim's mobilenet_v1.md, less than the 106,002,432 of its own code
        (0.75, 128, 108),  # paper, Table 14
        (0.25, 192, 34),  # slim's mobilenet_v1.md
        (0.25, 224, 45),  # paper, Table 12
    ],
)
def test_disputed_mult_adds(alpha, resolution, millions):
    """Published figures that disagree with their own authors' code are more than a million away."""
    assert abs(total_cost(_layers(alpha, resolution)).mult_adds - millions * 1_000_000) > 1_000_000


@pytest.mark.parametrize(
    ("alpha", "resolution", "mult_adds", "params"),
    [(1, 224, 52.3, 0.27), (0.75, 224, 29.6, 0.15), (0.75, 160, 15.1, 0.15)],
)
def test_separable_layer_of_table_3(alpha, resolution, mult_adds, params):
    """The 512-channel separable layer costs what Table 3 of the paper prints, and so do its thinner versions."""
    layers = [layer for layer in _convs(_layers(alpha, resolution)) if layer.scope.startswith("separable7/")]
    total = total_cost(layers)

    assert (mult_adds, params) == (round(total.mult_adds / 1e6, 1), round(total.params / 1e6, 2))


def test_full_convolution_of_table_3():
    """The full convolution that the separable one replaces costs what Table 3 of the paper prints."""
    expected = (462, 2.36)
    total = layer_cost(_conv(512, 512, height=14, width=14, kernel=3))

    assert expected == (round(total.mult_adds / 1e6), round(total.params / 1e6, 2))


@pytest.mark.parametrize(
    ("kind", "percent", "printed"),
    [
        ("Conv 1×1", 94.86, 94.86),
        ("Conv DW 3×3", 3.06, 3.06),
        ("Fully Connected", 0.18, 0.18),
        ("Conv 3×3", 1.91, 1.19),
    ],
)
def test_mult_adds_by_type_of_table_2(kind, percent, printed):
    """Shares by type are those of Table 2 of the paper, but for its 1.19 %, which is 1.91 % with two digits swapped."""
    types = cost_by_type(_layers())
    share = 100 * types[kind].mult_adds / sum(cost.mult_adds for cost in types.values())

    assert percent == round(share, 2)
    assert sorted(str(printed)) == sorted(str(percent))


@pytest.mark.parametrize(
    ("kind", "percent"), [("Conv 1×1", 74.59), ("Conv DW 3×3", 1.06), ("Conv 3×3", 0.02), ("Fully Connected", 24.33)]
)
def test_params_by_type_of_table_2(kind, percent):
    """Table 2 of the paper counts weights alone, without biases and batch normalization."""
    weights = Counter()
    for layer in _layers():
        if layer.kind in ("conv", "fully_connected"):
            out, *fan_in = layer.weights[0].shape
            weights[layer.type] += out * Tensor("", tuple(fan_in)).elements

    assert percent == round(100 * weights[kind] / weights.total(), 2)


def test_types_add_up():
    """The types' costs are the total, and those with the most Mult-Adds come first."""
    layers = _layers()
    types = cost_by_type(layers)
    mult_adds = [cost.mult_adds for cost in types.values()]

    assert total_cost(layers) == sum(types.values(), Cost())
    assert sorted(mult_adds, reverse=True) == mult_adds


@given(SIDES, SIDES, COUNTS, COUNTS)
def test_memory_access_of_a_1x1_convolution(height, width, c1, c2):
    """A 1 x 1 convolution moves h*w*(c1 + c2) + c1*c2, equation 1 of the ShuffleNet V2 paper."""
    expected = height * width * (c1 + c2) + c1 * c2

    assert expected == layer_cost(_conv(c1, c2, height=height, width=width)).memory_access


@given(SIDES, SIDES, st.integers(1, 64), st.integers(1, 64), st.sampled_from([1, 2, 3, 4, 8]))
def test_memory_access_of_a_grouped_1x1_convolution(height, width, c1, c2, groups):
    """A grouped 1 x 1 convolution moves h*w*(c1 + c2) + c1*c2/g, equation 2 of the ShuffleNet V2 paper."""
    c1, c2 = c1 * groups, c2 * groups
    total = layer_cost(_conv(c1, c2, height=height, width=width, groups=groups))

    assert height * width * (c1 + c2) + c1 * c2 // groups == total.memory_access
    assert height * width * c1 * c2 // groups == total.mult_adds


def test_memory_access_of_the_first_layers():
    """The first convolution and the first depthwise one move what can be counted by hand."""
    expected = [
        224 * 224 * 3 + 112 * 112 * 32 + 3 * 3 * 3 * 32,
        2 * 112 * 112 * 32 + 3 * 3 * 32,
        112 * 112 * (32 + 64) + 32 * 64,
    ]

    assert expected == [layer_cost(layer).memory_access for layer in _convs(_layers())[:3]]


def test_memory_access_of_pooling_and_classifier():
    """Pooling reads the map and writes a number a channel, and the classifier moves its weights but not its bias."""
    expected = {"pool": 7 * 7 * 1024 + 1024, "flatten": 0, "fc": 1024 + 1000 + 1024 * 1000}

    assert expected == {layer.scope: layer_cost(layer).memory_access for layer in _layers()[-3:]}


def test_batch_normalization_and_activation_move_nothing():
    """They ride along with the convolution before, and batch normalization has two parameters a channel."""
    _, norm, activation = _layers()[:3]

    assert [Cost(params=64), Cost()] == [layer_cost(norm), layer_cost(activation)]


def test_bytes_are_four_an_element():
    """Memory access in bytes is that of 32-bit numbers."""
    total = total_cost(_layers())

    assert 4 * total.memory_access == total.memory_access_bytes


def test_bias_is_a_parameter_and_nothing_else():
    """A convolution with a bias has more parameters, and the same Mult-Adds and memory access."""
    plain = _conv(3, 8, height=32, width=32, kernel=3)
    biased = _conv(3, 8, height=32, width=32, kernel=3, bias=True)

    assert layer_cost(plain) + Cost(params=8) == layer_cost(biased)


def test_add_moves_what_it_reads_and_writes():
    """A residual addition reads two maps and writes one, and multiplies nothing."""
    expected = Cost(memory_access=30, memory_access_bytes=120)

    assert expected == layer_cost(layer_by_hand("add", {"a": 10, "b": 10}, {"c": 10}))


@settings(deadline=None)
@given(st.lists(ALPHAS, min_size=2, max_size=5), SIDES, SIDES)
def test_cost_rises_with_alpha(alphas, height, width):
    """A wider network never costs less, by any measure."""
    costs = [total_cost(_layers(alpha, height, width)) for alpha in sorted(alphas)]

    assert all(
        narrow.params <= wide.params
        and narrow.mult_adds <= wide.mult_adds
        and narrow.memory_access <= wide.memory_access
        for narrow, wide in pairwise(costs)
    )


@pytest.mark.slow
@settings(deadline=None)
@given(ALPHAS, st.lists(SIDES, min_size=2, max_size=5), SIDES)
def test_cost_rises_with_resolution(alpha, sides, other):
    """A larger image never costs less, be it higher or wider, and the parameters stay."""
    for images in ([(side, other) for side in sorted(sides)], [(other, side) for side in sorted(sides)]):
        costs = [total_cost(_layers(alpha, *image)) for image in images]

        assert all(
            small.params == large.params
            and small.mult_adds <= large.mult_adds
            and small.memory_access <= large.memory_access
            for small, large in pairwise(costs)
        )


@settings(deadline=None)
@given(ALPHAS, SIDES, SIDES)
def test_cost_is_the_same_on_its_side(alpha, height, width):
    """An image turned by a quarter costs the same."""
    assert total_cost(_layers(alpha, height, width)) == total_cost(_layers(alpha, width, height))
