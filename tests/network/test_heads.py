"""Heads: what they cost, that every backbone has them, and that their graphs run."""

# ruff: noqa: SIM300  expected == actual

import numpy as np
import onnxruntime
import pytest
from int8 import exact_int8

from mnbench import families
from mnbench.errors import BuildError
from mnbench.model.build import build_model
from mnbench.model.equivalence import check_equivalence
from mnbench.model.simplify import simplify
from mnbench.model.to_onnx import check_model, to_onnx
from mnbench.network.cost import total_cost
from mnbench.network.network import build_network

COSTS = {
    "v2-a1-r320-c81-ssdlite": (788_830_144, 4_337_013),
    "v1-a1-r320-c81-ssdlite": (1_309_162_944, 5_100_661),
    "v3-large-a1-r320-ssdlite": (613_143_104, 5_006_735),
    "v3-large-a1-r320-ssdlite-halved": (506_563_904, 3_248_255),
    "v3-small-a1-r320-ssdlite": (210_417_856, 2_518_271),
    "v3-small-a1-r320-ssdlite-halved": (162_303_424, 1_785_743),
    "v2-a0.35-r320-ssdlite": (166_713_786, 947_709),
    "v2-a0.5-r320-ssdlite": (272_348_896, 1_562_111),
    "mnasnet-a1-a1-r320-ssdlite": (837_819_232, 4_912_181),
    "v3-large-a1-r320-ssdlite-torchvision-halved": (583_171_904, 3_440_060),
    "v1-a1-r300-ssd": (1_237_129_408, 6_819_839),
    "v2-a1-r513-deeplabv3": (5_363_508_928, 4_523_541),
    "v2-a1-r513-c21-raspp": (2_740_709_056, 2_113_557),
    "v2-a1-r513-c21-raspp-os8": (8_825_853_632, 2_113_557),
    "v2-a1-r512-c21-raspp": (2_603_958_272, 2_113_557),
    "v1-a1-r513-deeplabv3": (12_760_886_976, 11_145_301),
    "v3-large-a1-r520-c21-lraspp-torchvision": (2_086_219_688, 3_221_538),
    "v3-large-a1-r520-deeplabv3-torchvision": (10_436_350_688, 11_025_477),
}
"""Mult-Adds and params, of modules of PyTorch by hooks, or sums over the layers of the authors' code."""

HEADS = ("ssdlite", "ssd", "deeplabv3", "raspp", "proposals", "crops", "embedding128")
BACKBONES = ("v1-a0.25", "v3-small-a0.5", "mnasnet-b1-a0.35", "shufflenet-v2-a0.5", "v4-conv-small-a0.5")


@pytest.mark.parametrize("name", COSTS)
def test_a_head_costs_what_the_reference_costs(name):
    """Exact integers."""
    cost = total_cost(build_network(families.parse_variant(name)).layers)

    assert COSTS[name] == (cost.mult_adds, cost.params)


def test_faster_rcnn_in_two_graphs():
    """MobileNet paper, Table 13, 300: 25.2B with 300 crops, and 6.1M."""
    proposals, crop = (
        total_cost(build_network(families.parse_variant(name)).layers)
        for name in ("v1-a1-r300-proposals", "v1-a1-r224-crops")
    )

    assert 25.2 == round((proposals.mult_adds + 300 * crop.mult_adds) / 1e9, 1)
    assert 6.1 == round((proposals.params + crop.params) / 1e6, 1)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("head", HEADS)
def test_every_backbone_has_every_head(name, head):
    """Each layer reads what a layer before it writes, and every layer is needed."""
    built = build_network(families.parse_variant(f"{name}-r97x131-{head}"))
    written = {"input"}
    for layer in built.layers:
        assert {tensor.name for tensor in layer.inputs} <= written
        written |= {tensor.name for tensor in layer.outputs}
    read = {tensor.name for layer in built.layers for tensor in layer.inputs} | {
        tensor.name for tensor in built.outputs
    }

    assert not [layer.scope for layer in built.layers if not read & {tensor.name for tensor in layer.outputs}]


def outputs(model):
    """Of a seeded image."""
    session = onnxruntime.InferenceSession(model.proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (value,) = session.get_inputs()
    image = np.random.default_rng(1).standard_normal(value.shape).astype(np.float32)
    return session.run(None, {value.name: image})


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("head", [*HEADS, "lraspp", "lraspp-torchvision", "deeplabv3-os8"])
def test_a_graph_with_a_head_is_checked_simplified_and_runs(name, head):
    """What the table says is what the graph holds; outputs have unit scale, and simplifying does not change them."""
    built = build_network(families.parse_variant(f"{name}-r97x131-b2-{head}"))
    plain = to_onnx(built, seed=2)
    check_model(plain)
    simplified = simplify(plain, thorough=False)

    assert built.layers == plain.node_layers
    assert [tensor.name for tensor in built.outputs] == [value.name for value in plain.proto.graph.output]
    assert check_equivalence(plain, simplified).difference < 1e-4
    assert all(0.1 < array.std() < 8 for array in outputs(plain))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "grows"), [("ssdlite", 10), *((head, 1) for head in HEADS[2:] if head != "proposals")]
)
@pytest.mark.parametrize(("precision", "bound"), [("fp16", 0.1), pytest.param("int8", 2.0, marks=exact_int8)])
def test_other_precisions_run_and_stay_near(head, grows, precision, bound):
    """fp16 and int8 graphs differ from fp32 by what such numbers cost; each of ssdlite's maps doubles the error."""
    reference, other = (
        outputs(build_model(families.parse_variant(f"v2-a0.35-r96-{head}{suffix}"))) for suffix in ("", f"-{precision}")
    )
    for expected, result in zip(reference, other, strict=True):
        assert 0 < np.abs(result - expected).max() / expected.std() < bound * grows


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("v1-a1-r224-c0-ssdlite", "0 classes are impossible"),
        ("v1-a1-r224-c1-crops", "1 classes are impossible"),
        ("v1-a1-r224-c20-proposals", "20 classes mean nothing here"),
        ("v2-a1-r224-bdynamic-deeplabv3", "batch dynamic is impossible"),
        ("v2-a1-r224-deeplabv3-os32", "has no DeepLabv3 head at stride 32"),
    ],
)
def test_what_a_head_cannot_have_is_refused(name, problem):
    """In one line that says what it needs."""
    with pytest.raises(BuildError) as failure:
        build_network(families.parse_variant(name))
    assert problem in failure.value.message
    assert failure.value.hint
