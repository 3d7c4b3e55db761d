"""Networks as tables of rows: what rows mean, and errors that name row and problem."""

# ruff: noqa: SIM300  expected == actual

import pytest

from mnbench import families
from mnbench.errors import BuildError, GraphFileError
from mnbench.network.checkpoint_layout import expand_braces
from mnbench.network.network import build_network
from mnbench.network.variant import Variant

HEAD = """
family = "layer-table"
name = "mine"
title = "Mine"
paper = "none"
table = "none"
batch_norm_epsilon = 1e-5
input = [32, 32]
classes = 10
"""


@pytest.fixture
def build(tmp_path):
    """Build the network of these rows and cells."""

    def network(text, resolution=(32, 32), **options):
        path = tmp_path / "mine.toml"
        path.write_text(HEAD + text, encoding="utf-8")
        table = families.architecture(str(path))
        return build_network(Variant(architecture=table, resolution=resolution, **options))

    return network


def rows(*lines):
    """The text of a table's rows."""
    return "rows = [\n" + ",\n".join(f"  {{ {line} }}" for line in lines) + "\n]\n"


def test_a_row_reads_the_row_above_or_the_one_that_it_names(build):
    """Two branches of one row, joined in the order that the row says."""
    built = build(
        rows(
            'type = "conv", name = "a", c = 4',
            'type = "conv", name = "b", c = 8, k = 3',
            'type = "conv", name = "c", c = 16, from = "a"',
            'type = "join", op = "concat", of = ["c", "b"]',
        )
    )
    by_scope = {layer.scope: layer for layer in built.layers}

    assert "a/relu" == by_scope["b/conv"].inputs[0].name == by_scope["c/conv"].inputs[0].name
    assert ["c/relu", "b/relu"] == [tensor.name for tensor in by_scope["join1"].inputs]
    assert (1, 24, 32, 32) == by_scope["join1"].output.shape


CELLS = """
[cells.inverted]
rows = [
  { type = "conv", c = "in * t" },
  { type = "depthwise", k = "k", s = "s" },
  { type = "conv", c = "c", act = "" },
  { type = "shortcut" },
]

[cells.outer]
inputs = ["x", "y"]
rows = [
  { type = "cell", name = "deep", cell = "inverted", of = ["x"], with = { t = 2, k = 3, c = "x / 2", s = 1 } },
  { type = "join", op = "concat", of = ["deep", "y"] },
]
"""


def test_a_cell_is_repeated_and_only_the_first_has_the_stride(build):
    """Expansions follow the block's own input; equal shapes have a shortcut."""
    built = build(
        rows('type = "conv", c = 4', 'type = "cell", cell = "inverted", with = { t = 6, k = 5, c = 8, s = 2 }, n = 3')
        + CELLS
    )
    widths = [layer.output.shape[1:3] for layer in built.layers if layer.groups > 1]

    assert [(24, 16), (48, 16), (48, 16)] == widths
    assert ["inverted2/shortcut1/add", "inverted3/shortcut1/add"] == [
        layer.scope for layer in built.layers if layer.kind == "add"
    ]


def test_a_cell_uses_another_cell_and_several_inputs(build):
    """Widths that were computed from a tensor are passed on as they are, also at another α."""
    text = rows(
        'type = "conv", name = "a", c = 8',
        'type = "conv", name = "b", c = 16',
        'type = "cell", cell = "outer", of = ["a", "b"]',
    )
    for alpha, channels in ((1.0, 4 + 16), (0.5, 2 + 8)):
        built = build(text + CELLS + "[width]\ndivisor = 1\nminimum = 1\n", alpha=alpha)
        assert channels == built.layers[-2].output.shape[1]


def test_classes_and_features(build):
    """`classes` is the variant's number; without any, the convolution to them is left out."""
    text = rows('type = "conv", c = 8', 'type = "conv", c = "classes", bn = false, bias = true', 'type = "global_pool"')

    assert [10] == [build(text).outputs[0].shape[1]]
    assert [7] == [build(text, classes=7).outputs[0].shape[1]]
    assert [8] == [build(text, classes=0).outputs[0].shape[1]]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (rows('type = "conv", c = 8, from = "nowhere"'), "row 1: reads nowhere, but no row above it has that name"),
        (rows('type = "cell", cell = "none"'), "row 1: names the cell none, which the table does not have"),
        (rows('type = "cell", cell = "inverted", with = { q = 1 }') + CELLS, "gives q to the cell inverted"),
        (rows('type = "cell", cell = "outer"') + CELLS, "gives 1 inputs to the cell outer, which has 2"),
        (rows('type = "conv", c = 8', 'type = "conv", c = 8, input = [32, 32, 4]'), "prints 32 × 32 × 4 as its input"),
        (rows('type = "conv", c = "in + 2"'), "row 1"),
        (rows('type = "conv", c = 8, k = 4'), "row 1"),
        (rows('type = "conv", c = 8, p = 1, pads = [0, 0, 1, 1]'), "row 1"),
        (rows('type = "conv", c = 0'), "row 1"),
    ],
)
def test_a_wrong_row_is_named(build, text, problem):
    """The error names the table, the row and what is wrong with it."""
    with pytest.raises(GraphFileError, match="mine") as failure:
        build(text)
    assert problem in failure.value.message


@pytest.mark.parametrize(
    ("name", "fields", "problem"),
    [
        ("vgg16", {"alpha": 0.5}, "alpha 0.5 is impossible"),
        ("vgg16", {"resolution": (97, 131)}, "cannot pool"),
        ("inception-v3", {"resolution": (32, 32)}, "has windows of 3 × 3 on a map of"),
        ("alexnet", {"options": {"head": "ssdlite"}}, "does not pool its last map"),
        ("v1", {"options": {"filters": 128}}, "means nothing here"),
        ("v1", {"options": {"head": "ssdlite", "tail": "halved"}}, "has no option `tail`"),
    ],
)
def test_what_a_network_does_not_allow_is_refused(name, fields, problem):
    """One line says what is impossible."""
    table = families.architecture(name)
    with pytest.raises(BuildError) as failure:
        build_network(Variant(architecture=table, **{"resolution": table.resolution, **fields}))
    assert problem in failure.value.message


def test_braces():
    """As in a shell; the last vary first."""
    assert ["a1.x", "a1.y", "a2.x", "a2.y"] == expand_braces("a{1..2}.{x,y}")
    assert ["fc"] == expand_braces("fc")
