"""A new family is one module: every command and function takes it, with its options and checkpoints."""

import json
import sys
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules

import click
import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from mnbench import families
from mnbench.cli import commands
from mnbench.cli.options import select_sources, variant_options
from mnbench.errors import BuildError, GraphFileError
from mnbench.families.published_accuracy import family_name, published_variants
from mnbench.model.pretrained.checkpoint import open_checkpoint
from mnbench.model.pretrained.fit import fit_checkpoint
from mnbench.model.to_onnx import to_onnx
from mnbench.network.network import build_network
from mnbench.network.variant import Variant
from mnbench.plots.theme import LIGHT

MODULE = """
from collections.abc import Mapping
from typing import ClassVar, Literal

from mnbench.network.architecture import Architecture, Option, Size
from mnbench.network.checkpoint_layout import CheckpointLayout
from mnbench.network.toml_struct import TomlStruct


class Row(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="conv"):
    input: Size
    out: int

    def output(self):
        return (*self.input[:2], self.out)


class Toy(Architecture, frozen=True, kw_only=True, tag="toy"):
    options: ClassVar[Mapping[str, Option]] = {
        "depth": Option(values=(1, 2, 3), spelling="d{}"),
        "head": Option(values=("narrow",), after_size=True),
    }
    layouts: ClassVar[tuple[CheckpointLayout, ...]] = (
        CheckpointLayout(
            name="toymaker",
            top_level={f"conv{number}": (f"layers.{number}", f"norms.{number}") for number in range(1, 4)}
            | {"fc": ("head",)},
            block_prefix="",
            block_parts={},
        ),
    )

    rows: tuple[Row, ...]

    @property
    def default_options(self):
        return {"depth": 1}

    def add_row(self, builder, x, row):
        out = 8 if builder.variant.option("head") == "narrow" else int(row.out * builder.variant.alpha)
        for _ in range(builder.variant.option("depth")):
            x = builder.conv_bn(x, builder.numbered("conv"), out, 3, 2, activation="relu")
        return builder.classifier(builder.flatten(builder.global_average_pool(x, "pool")), 10)
"""

GRAPH = """
family = "toy"
name = "toy-net"
short = "tn"
title = "Toy"
paper = "A toy"
table = "Table 1"
batch_norm_epsilon = 0.001
rows = [{ type = "conv", input = [32, 32, 3], out = 16 }]

[[published]]
source = "a toy's README"
alpha = 0.5
resolution = 32
params = "322"
top1 = 12.5
"""


@pytest.fixture
def toy(workspace, tmp_path_factory, monkeypatch):
    """The folder of a workspace with a graph of a family whose module has been put beside the others."""
    # Commands have the options of the families that exist when they are imported; those of other tests have no toy's.
    for info in iter_modules(commands.__path__):
        import_module(f"{commands.__name__}.{info.name}")
    folder = tmp_path_factory.mktemp("modules")
    (folder / "toy.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(folder)])
    families.family_classes.cache_clear()
    (workspace / "graphs").mkdir()
    (workspace / "graphs" / "toy-net.toml").write_text(GRAPH, encoding="utf-8")
    yield workspace
    sys.modules.pop("mnbench.families.toy", None)
    families.family_classes.cache_clear()


@pytest.mark.usefixtures("toy")
def test_names_and_options_are_its_own():
    """In a variant's name, its arguments, the grid, and errors."""
    selected = families.select_variants(["tn"], alphas=[1, 0.5], options={"depth": [1, 3], "head": ["narrow"]})
    assert [variant.name for variant in selected] == [
        "toy-net-d1-a1-r32-narrow",
        "toy-net-d3-a1-r32-narrow",
        "toy-net-d1-a0.5-r32-narrow",
        "toy-net-d3-a0.5-r32-narrow",
    ]
    for variant in selected:
        assert variant == families.parse_variant(variant.name)
        assert str(variant.options["depth"]) == variant.arguments()[variant.arguments().index("--depth") + 1]
    for options in ({"depth": 4}, {"groups": 3}):
        with pytest.raises(BuildError) as refused:
            replace(selected[0], options=options)
        assert "depth" in refused.value.hint or "1, 2, 3" in refused.value.hint


@pytest.mark.usefixtures("toy")
def test_it_is_counted_built_and_published():
    """Layers of the table are those of the graph, and accuracies are found."""
    table = families.architecture("toy-net")
    (published,) = published_variants(table)
    assert (published.name, family_name("toy-net")) == ("toy-net-a0.5-r32", "toy")
    network = build_network(Variant(architecture=table, resolution=(48, 32), options={"depth": 2}))
    assert network.layers == to_onnx(network).node_layers
    assert LIGHT.family_color("toy") not in (LIGHT.family_color("own"), LIGHT.family_color("mobilenet-v1"))


@pytest.mark.usefixtures("toy")
def test_every_command_takes_it(invoke):
    """Without a word of it anywhere else."""
    listed = json.loads(invoke("graphs", "list", "--format", "json").output)
    assert "toy-net" in [graph["name"] for graph in listed["graphs"]]
    shown = json.loads(invoke("graphs", "show", "toy-net", "--alpha", "0.5", "--format", "json").output)
    assert list({row["type"] for row in shown["rows"]}) == ["conv"]
    assert invoke("cost", "toy-net", "--layers").exit_code == 0
    assert invoke("build", "toy-net", "-o", "toy.onnx").exit_code == 0
    reproduced = invoke("reproduce", "toy-net")
    assert (reproduced.exit_code, "equal" in reproduced.output) == (0, True), reproduced.output


@pytest.mark.usefixtures("toy")
def test_its_options_are_on_the_command_line():
    """Each is an option of every command that takes variants."""

    @click.command
    @variant_options
    def command(**selection):
        click.echo([source.name for source in select_sources(**selection)])

    words = ["toy-net", "--alpha", "0.5", "--depth", "2,3", "--head", "narrow"]
    assert CliRunner().invoke(command, words).output == "['toy-net-d2-a0.5-r32-narrow', 'toy-net-d3-a0.5-r32-narrow']\n"


def test_its_checkpoints_are_read(toy):
    """By the names that its module gives."""
    path = toy / "toy.safetensors"
    random = np.random.default_rng(0)
    shapes = {"layers.1.weight": (16, 3, 3, 3), "head.weight": (10, 16), "head.bias": (10,)}
    shapes |= {f"norms.1.{name}": (16,) for name in ("weight", "bias", "running_mean", "running_var")}
    save_file({name: np.abs(random.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}, path)
    variant = Variant(architecture=families.architecture("toy-net"), resolution=(32, 32))
    fitted = fit_checkpoint(open_checkpoint(path), variant, alpha=None)
    assert fitted.variant.alpha == 1.0
    assert fitted.source.endswith("names of toymaker")


def test_its_rows_are_read_strictly(toy):
    """An unknown key is refused with those that its module allows."""
    path = toy / "graphs" / "toy-net.toml"
    path.write_text(GRAPH.replace("out = 16", "out = 16, k = 3"), encoding="utf-8")
    with pytest.raises(GraphFileError) as refused:
        families.architecture("toy-net")
    assert "allowed keys: type, input, out" in refused.value.hint
