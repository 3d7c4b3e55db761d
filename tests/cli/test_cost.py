"""`mnbench cost`, and how graphs, widths and resolutions are named on the command line."""

# ruff: noqa: SIM300  expected == actual

import json

import pytest
from common import COST, SMALL, csv_rows, misfits, own_model, pipe_rows
from onnx_graphs import speech_model

# cost


def test_cost_json_holds_the_contract(invoke):
    """`cost --format json` has every key that others script against, with the figures of the paper's network."""
    result = invoke("cost", "v1", "--format", "json")
    payload = json.loads(result.stdout)

    assert [] == misfits(payload, COST)
    assert "" == result.stderr
    assert ("v1-a1-r224", 1, [224, 224]) == (payload["variant"], payload["alpha"], payload["resolution"])
    assert (4_231_976, 567_716_352 + 1_024_000) == (payload["params"], payload["mult_adds"])
    assert payload["memory_access_bytes"] == 4 * payload["memory_access"]


def test_cost_json_of_several_variants_is_a_list(invoke):
    """Several variants give `costs`, in the order asked for."""
    payload = json.loads(invoke("cost", "v1", "--alpha", "1,0.5", "--res", "224,160", "--format", "json").stdout)

    assert ["costs"] == list(payload)
    assert ["v1-a1-r224", "v1-a1-r160", "v1-a0.5-r224", "v1-a0.5-r160"] == [
        item["variant"] for item in payload["costs"]
    ]
    assert [] == [misfit for item in payload["costs"] for misfit in misfits(item, COST)]


def test_a_variants_name_is_that_variant(invoke):
    """A variant's name stands where a graph does; options that its name does not settle apply to it."""
    names = ["v1-a0.5-r160-b4", "shufflenet-v1-g8-a1-r64-fp16"]
    plain = json.loads(invoke("cost", *names, "--format", "json").stdout)
    changed = json.loads(invoke("cost", *names, "--batch", "1", "--precision", "fp32", "--format", "json").stdout)

    assert names == [item["variant"] for item in plain["costs"]]
    assert ["v1-a0.5-r160", "shufflenet-v1-g8-a1-r64"] == [item["variant"] for item in changed["costs"]]


def test_cost_json_layers_and_types_add_up(invoke):
    """Layers and types, each with scope or name, kind and costs, sum to the totals."""
    payload = json.loads(invoke("cost", "v1", *SMALL, "--layers", "--format", "json").stdout)
    layer = {key: COST[key] for key in ("params", "mult_adds", "memory_access")} | {"scope": str, "kind": str}

    assert [] == [misfit for item in payload["layers"] for misfit in misfits(item, layer)]
    for key in ("params", "mult_adds", "memory_access", "memory_access_bytes"):
        assert payload[key] == sum(item[key] for item in payload["layers"])
        assert payload[key] == sum(item[key] for item in payload["types"].values())


@pytest.mark.parametrize(
    ("arguments", "label", "rows"),
    [((), "variant", 1), (("--types",), "type", None), (("--layers",), "scope", 84)],
    ids=["variants", "types", "layers"],
)
def test_cost_csv_holds_base_units(invoke, arguments, label, rows):
    """`cost --format csv` is one header and a row each, in base units, below which nothing stands."""
    result = csv_rows(invoke("cost", "v1", *arguments, "--format", "csv").stdout)

    assert rows in (None, len(result))
    assert label == next(iter(result[0]))
    assert 568_740_352 == sum(int(row["mult_adds"]) for row in result)


def test_published_names_what_sources_print_accuracies_of(invoke):
    """V1's Table 7 is 4 × 4; groups that are the table's own are not named; other precisions keep the choice."""
    result = json.loads(invoke("cost", "v1", "shufflenet-v1", "--published", "--format", "json").stdout)["costs"]
    names = [item["variant"] for item in result]
    int8 = invoke("cost", "v1", "--published", "--precision", "int8", "--format", "csv").stdout

    for alpha in (1, 0.75, 0.5, 0.25):
        assert {f"v1-a{alpha:g}-r{side}" for side in (224, 192, 160, 128)} <= set(names)
    assert {"shufflenet-v1-a1-r224", "shufflenet-v1-g8-a2-r224"} <= set(names)
    assert not any("-g3-" in name or "-c" in name for name in names)
    assert "v1-a0.25-r128-int8," in int8


@pytest.mark.parametrize(
    "options", [("--alpha", "1"), ("--rho", "0.5"), ("--classes", "0"), ("--unit", "megvii"), ("--groups", "1")]
)
def test_published_leaves_nothing_to_choose(invoke, options):
    """What `--published` says cannot be said again."""
    result = invoke("cost", "shufflenet-v1", "--published", *options)

    assert 2 == result.exit_code
    assert "--published selects the variants" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("--types",), ("--layers",)], ids=["variants", "types", "layers"])
def test_cost_md_is_one_pipe_table(invoke, arguments):
    """`cost --format md` is a pipe table whose every row has as many cells as its header."""
    header, rule, *rows = pipe_rows(invoke("cost", "v1", *arguments, "--format", "md").stdout)

    assert {"---", "---:"} >= set(rule)
    assert {len(header)} == {len(row) for row in (rule, *rows)}
    assert rows


def test_cost_rich_shows_titles_and_units(invoke):
    """The table for people has α, millions and megabytes."""
    result = invoke("cost", "v1", "--alpha", "0.5")

    assert ["v1-a0.5-r224", "0.5", "224", "1.332", "149.50"] == result.stdout.splitlines()[-1].split()[:5]
    assert "Mult-Adds" in result.stdout
    assert "α" in result.stdout
    assert "" == result.stderr


def test_cost_counts_a_file_as_its_table(invoke):
    """`cost` of a plain `.onnx` gives the figures of the graph that it was built from."""
    invoke("build", "v1", *SMALL, "--no-simplify")
    table, file = (
        json.loads(invoke("cost", source, *more, "--format", "json").stdout)
        for source, more in (("v1", SMALL), ("v1-a0.25-r32.onnx", ()))
    )

    assert (f"{table['variant']}.onnx", None) == (file["variant"], file["alpha"])
    same = [key for key in COST if key not in ("variant", "alpha")]
    assert [table[key] for key in same] == [file[key] for key in same]


def test_cost_of_files_shows_their_inputs(invoke, workspace):
    """A file has an input in place of α and resolution; a table of both kinds has all three."""
    (workspace / "speech.onnx").write_bytes(speech_model().SerializeToString())
    (workspace / "own.onnx").write_bytes(own_model())
    speech = ["speech.onnx", "--dim", "samples=512", "--input", "rate=16000"]
    files = csv_rows(invoke("cost", *speech, "--format", "csv").stdout)
    mixed = csv_rows(invoke("cost", "own.onnx", "v1", "--format", "csv").stdout)

    assert [("1×512 +1", False)] == [(row["shape"], "alpha" in row) for row in files]
    assert [("own", "", "1×3×8×8"), ("v1-a1-r224", "1.0", "")] == [
        (row["variant"], row["alpha"], row["shape"]) for row in mixed
    ]
    assert "shape" not in csv_rows(invoke("cost", "v1", "--format", "csv").stdout)[0]


def test_cost_says_which_sizes_it_took_as_1(invoke):
    """An open first axis that nobody gives is noted, as `run` does."""
    invoke("build", "v1", *SMALL, "--batch", "dynamic", "--no-simplify", "-o", "open.onnx")

    note = "the first axis of input is open and was taken as 1"
    assert note in invoke("cost", "open.onnx").stdout
    assert note not in invoke("cost", "open.onnx", "--batch", "1").stdout


def test_cost_refuses_two_tables_at_once(invoke):
    """`--layers` with `--types` is a usage error."""
    assert 2 == invoke("cost", "v1", "--layers", "--types").exit_code


@pytest.mark.parametrize("command", ["cost", "build"])
def test_a_graph_must_be_named(invoke, command):
    """Without a graph, `cost` and `build` say what to type."""
    result = invoke(command)

    assert 2 == result.exit_code
    assert f"mnbench {command} v1" in result.stderr


# α, --res and --rho


def test_rho_is_a_share_of_the_tables_own_resolution(invoke):
    """`--rho 0.714` asks for what `--res 160` does."""
    by_rho, by_res = (
        invoke("cost", "v1", *size, "--format", "json").stdout for size in (("--rho", "0.714"), ("--res", "160"))
    )

    assert by_res == by_rho
    assert "v1-a1-r160" == json.loads(by_res)["variant"]


def test_rho_and_res_exclude_each_other(invoke):
    """Both at once are a usage error that says why."""
    result = invoke("cost", "v1", "--rho", "0.714", "--res", "160")

    assert 2 == result.exit_code
    assert "--res and --rho both set the input size" in result.stderr


def test_height_and_width_may_differ(invoke):
    """`--res 240x320` is height × width, and part of the variant's name."""
    payload = json.loads(invoke("cost", "v1", "--res", "240x320", "--format", "json").stdout)

    assert ("v1-a1-r240x320", [240, 320]) == (payload["variant"], payload["resolution"])


@pytest.mark.parametrize("size", ["224x", "x224", "224x224x3", "224,", "0x", "1e2", "2 2 4"])
def test_half_a_size_is_a_usage_error(invoke, size):
    """A size that is not one number, or two with an x between, is refused and never guessed."""
    assert 2 == invoke("cost", "v1", "--res", size).exit_code


def test_options_for_graphs_are_refused_for_files(invoke):
    """`--alpha` with an `.onnx` file is a usage error that names the file."""
    result = invoke("cost", "model.onnx", "--alpha", "0.5")

    assert 2 == result.exit_code
    assert "model.onnx is a finished model" in result.stderr
