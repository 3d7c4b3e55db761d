"""The command line: what each command prints, where, and in which shape."""

# ruff: noqa: SIM300  expected == actual

import csv
import json
import shlex
from io import StringIO

import click
import onnx
import pytest
from click.shell_completion import ShellComplete
from rich.console import Console

from mnbench.cli import COMMANDS, main
from mnbench.records.record import Issue
from mnbench.records.store import Store
from mnbench.records.table import latency_table
from mnbench.show.render import rich
from mnbench.spec import locate

NUMBER = (int, float)
SIZE = [int, int]
COST = {
    "variant": str,
    "alpha": NUMBER,
    "resolution": SIZE,
    "params": int,
    "mult_adds": int,
    "memory_access": int,
    "memory_access_bytes": int,
    "peak_activation_bytes": int,
}
BUILD = COST | {"path": str, "sha256": str, "nodes": int, "nodes_before": int, "opset": int, "simplified": bool}
RECORD = {
    "variant": str,
    "alpha": NUMBER,
    "resolution": SIZE,
    "device": str,
    "provider": str,
    "runtime": {"name": str, "version": str},
    "threads": int,
    "latency_ns": {"median": int, "low": int, "high": int, "p10": int, "p90": int, "min": int},
    "first_run_ns": int,
    "session_ns": int,
    "peak_rss_bytes": int,
    "processes": int,
    "runs": int,
    "mult_adds": int,
    "memory_access_bytes": int,
    "params": int,
    "placement": {"nodes": NUMBER, "mult_adds": NUMBER},
    "issues": list,
    "model_sha256": str,
    "host": dict,
}
SMALL = ("--alpha", "0.25", "--res", "32")
QUICK = (*SMALL, "--processes", "2", "--duration", "0.05")
PAPER = [(alpha, side) for alpha in (1.0, 0.75, 0.5, 0.25) for side in (224, 192, 160, 128)]


def misfits(value, shape, path="$"):
    """Where a JSON value lacks a key of `shape`, or holds something of another type."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [path]
        missing = [f"{path}.{key}" for key in shape if key not in value]
        return missing + [
            found for key in shape if key in value for found in misfits(value[key], shape[key], f"{path}.{key}")
        ]
    if isinstance(shape, list):
        if not isinstance(value, list) or len(value) != len(shape):
            return [path]
        pairs = enumerate(zip(value, shape, strict=True))
        return [found for index, (one, kind) in pairs for found in misfits(one, kind, f"{path}[{index}]")]
    right = isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
    return [] if right else [path]


def every_command(group=main, path=()):
    """Each command and subcommand, by its words."""
    yield path, group
    if isinstance(group, click.Group):
        with click.Context(group) as ctx:
            for name in group.list_commands(ctx):
                yield from every_command(group.get_command(ctx, name), (*path, name))


EVERY = dict(every_command())


def examples(command):
    """The command lines of a command's `Example:`."""
    lines = (command.epilog or "").splitlines()
    return [line.split("   ")[0].strip() for line in map(str.strip, lines) if line.startswith("mnbench ")]


def csv_rows(text):
    """Each row of a csv table, by its columns' names."""
    return list(csv.DictReader(StringIO(text)))


def pipe_rows(text):
    """The cells of each line of a markdown table, its header and rule included."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


BUILT_IN = sorted(path.stem for path in locate.built_in("graphs").glob("*.toml"))


def at_width(width, records):
    """The lines that a terminal of that width shows of a latency table."""
    screen = StringIO()
    rich(latency_table(records), Console(width=width, force_terminal=True, color_system=None, file=screen))
    return screen.getvalue().splitlines()


def completions(arguments, incomplete):
    """What the shell would offer next: kind and value."""
    offered = ShellComplete(main, {}, "mnbench", "_MNBENCH_COMPLETE").get_completions(arguments, incomplete)
    return [(one.type, one.value) for one in offered]


@pytest.fixture
def mine(workspace):
    """A graph of the user's own: V1 by another name, in `./graphs`."""
    text = (locate.built_in("graphs") / "v1.toml").read_text(encoding="utf-8")
    (workspace / "graphs").mkdir()
    path = workspace / "graphs" / "mine.toml"
    path.write_text(text.replace('name = "v1"', 'name = "mine"').replace("MobileNet V1", "Mine"), encoding="utf-8")
    return path


@pytest.fixture
def stored(workspace, make_record):
    """Results of three cells, in the order in which they were measured."""
    records = [make_record(0.5, 160, 2_000_000), make_record(1.0, 224, 9_000_000), make_record(0.25, 128, 300_000)]
    for record in records:
        Store(workspace / "results", "cpu").append(record)
    return records


# Help


@pytest.mark.parametrize("path", [path for path in EVERY if path], ids=" ".join)
def test_every_command_has_help_with_an_example(invoke, path):
    """`--help` of every command says what it does and shows a command line to type."""
    result = invoke(*path, "--help")

    assert 0 == result.exit_code
    assert "Example:\n" in result.stdout
    assert f"  mnbench {' '.join(path)}" in result.stdout
    assert EVERY[path].help.splitlines()[0].rstrip(".") in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    "line", sorted({line for command in EVERY.values() for line in examples(command)}), ids=lambda line: line
)
def test_every_example_can_be_typed(line):
    """Each example names commands and options that there are."""
    command, words = main, shlex.split(line)[1:]
    while isinstance(command, click.Group) and words:
        with click.Context(command) as ctx:
            command = command.get_command(ctx, words.pop(0))

    assert command is not None
    assert command.make_context("example", words)


def test_the_examples_are_found():
    """The test above has at least one example a command to look at."""
    assert [] == [path for path, command in EVERY.items() if path and not examples(command)]


def test_mnbench_alone_shows_what_to_type_first(invoke):
    """`mnbench` without a command shows the commands, and first lines to type."""
    result = invoke()

    assert 0 == result.exit_code
    assert "To begin:" in result.stdout
    assert "  mnbench run v1 --alpha" in result.stdout
    assert [] == [name for name in COMMANDS if f"\n  {name} " not in result.stdout]


@pytest.mark.parametrize("name", COMMANDS)
def test_summaries_are_the_first_lines_of_the_commands_own_help(name):
    """The summary that `mnbench --help` shows without importing a command is the command's own first line."""
    assert EVERY[name,].help.splitlines()[0] == COMMANDS[name]


def test_version(invoke):
    """`--version` names the program and its version."""
    assert "mnbench, version " in invoke("--version").stdout


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
    assert ["v1-a1-r224", "v1-a1-r160", "v1-a0.5-r224", "v1-a0.5-r160"] == [one["variant"] for one in payload["costs"]]
    assert [] == [misfit for one in payload["costs"] for misfit in misfits(one, COST)]


def test_cost_json_layers_and_types_add_up(invoke):
    """Layers and types, each with scope or name, kind and costs, sum to the totals."""
    payload = json.loads(invoke("cost", "v1", *SMALL, "--layers", "--format", "json").stdout)
    layer = {key: COST[key] for key in ("params", "mult_adds", "memory_access")} | {"scope": str, "kind": str}

    assert [] == [misfit for one in payload["layers"] for misfit in misfits(one, layer)]
    for key in ("params", "mult_adds", "memory_access", "memory_access_bytes"):
        assert payload[key] == sum(one[key] for one in payload["layers"])
        assert payload[key] == sum(one[key] for one in payload["types"].values())


@pytest.mark.parametrize(
    ("arguments", "label", "rows"),
    [((), "variant", 1), (("--types",), "type", None), (("--layers",), "scope", 84)],
    ids=["variants", "types", "layers"],
)
def test_cost_csv_holds_base_units(invoke, arguments, label, rows):
    """`cost --format csv` is one header and a row each, in base units, below which nothing stands."""
    found = csv_rows(invoke("cost", "v1", *arguments, "--format", "csv").stdout)

    assert rows in (None, len(found))
    assert label == next(iter(found[0]))
    assert 568_740_352 == sum(int(row["mult_adds"]) for row in found)


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

    assert None is file["alpha"]
    assert [table[key] for key in COST if key != "alpha"] == [file[key] for key in COST if key != "alpha"]


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
    assert "--res and --rho say the same in two ways" in result.stderr


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


# build


def test_build_json_holds_the_contract_and_the_file_is_there(invoke, workspace):
    """`build --format json` tells of the file at its default path, which holds what is told."""
    result = invoke("build", "v1", "--alpha", "0.5", "--res", "160", "--format", "json")
    payload = json.loads(result.stdout)
    model = onnx.load(workspace / "v1-a0.5-r160.onnx")

    assert [] == misfits(payload, BUILD)
    assert ["v1-a0.5-r160.onnx"] == [path.name for path in workspace.iterdir()]
    assert "v1-a0.5-r160.onnx" == payload["path"]
    assert payload["nodes"] == len(model.graph.node)
    assert payload["opset"] == model.opset_import[0].version
    assert payload["nodes"] < payload["nodes_before"]
    assert payload["simplified"] is True
    assert 1_331_592 == payload["params"]


def test_build_json_of_several_variants_is_a_list(invoke, workspace):
    """Several variants give `models` and a file each."""
    payload = json.loads(invoke("build", "v1", "--alpha", "0.25", "--res", "32,64", "--format", "json").stdout)

    assert ["models"] == list(payload)
    assert [] == [misfit for one in payload["models"] for misfit in misfits(one, BUILD)]
    assert ["v1-a0.25-r32.onnx", "v1-a0.25-r64.onnx"] == sorted(path.name for path in workspace.iterdir())
    assert len({one["sha256"] for one in payload["models"]}) == 2


def test_build_writes_where_o_says(invoke, workspace):
    """`-o` names the file; its folder is made if it is missing."""
    payload = json.loads(invoke("build", "v1", *SMALL, "-o", "models/small.onnx", "--format", "json").stdout)

    assert "models/small.onnx" == payload["path"]
    assert (workspace / "models" / "small.onnx").is_file()


def test_build_refuses_one_file_for_several_models(invoke, workspace):
    """`-o` with several variants is a usage error, and nothing is written."""
    assert 2 == invoke("build", "v1", "--alpha", "1,0.5", "-o", "one.onnx").exit_code
    assert [] == list(workspace.iterdir())


@pytest.mark.parametrize(
    ("option", "simplified", "batch_norms"), [(None, True, 0), ("--no-simplify", False, 27), ("--keep-bn", True, 27)]
)
def test_no_simplify_and_keep_bn_leave_batch_normalization(invoke, workspace, option, simplified, batch_norms):
    """Batch normalization goes into the convolutions unless `--no-simplify` or `--keep-bn` is given."""
    payload = json.loads(invoke("build", "v1", *SMALL, *([option] if option else []), "--format", "json").stdout)
    nodes = [node.op_type for node in onnx.load(workspace / payload["path"]).graph.node]

    assert batch_norms == nodes.count("BatchNormalization")
    assert simplified is payload["simplified"]
    if option == "--no-simplify":
        assert payload["nodes_before"] == payload["nodes"] == 84


@pytest.mark.parametrize(
    ("form", "expected"),
    [("md", "| v1-a0.25-r32.onnx |"), ("csv", "v1-a0.25-r32.onnx,1"), ("rich", "v1-a0.25-r32.onnx  1.88")],
)
def test_build_prints_tables(invoke, form, expected):
    """`build` tells what it wrote in every format of tables."""
    assert expected in invoke("build", "v1", *SMALL, "--format", form).stdout


def test_build_never_overwrites_the_model_that_it_read(invoke, workspace):
    """Simplifying a file onto itself is refused, and the file stays."""
    invoke("build", "v1", *SMALL, "--no-simplify")
    before = (workspace / "v1-a0.25-r32.onnx").read_bytes()

    result = invoke("build", "v1-a0.25-r32.onnx")

    assert 1 == result.exit_code
    assert "is the model that was read" in result.stderr
    assert before == (workspace / "v1-a0.25-r32.onnx").read_bytes()


# run


def test_run_json_holds_the_contract(invoke, fake_worker):
    """`run --format json` has every key of a record, and stderr holds the rest."""
    fake_worker.changes["placement"] = lambda: {"CPUExecutionProvider": ["conv1/conv", "fc"]}
    result = invoke("run", "v1", "--alpha", "0.25", "--res", "32,64", "--processes", "2", "--format", "json")
    payload = json.loads(result.stdout)

    assert 0 == result.exit_code
    assert ["records"] == list(payload)
    assert ["v1-a0.25-r32", "v1-a0.25-r64"] == [record["variant"] for record in payload["records"]]
    assert [] == [misfit for record in payload["records"] for misfit in misfits(record, RECORD)]
    assert "results/cpu.jsonl" in result.stderr
    assert 1_009_950 == payload["records"][0]["latency_ns"]["median"]


def test_run_keeps_records_and_renders_the_table(invoke, fake_worker, workspace):
    """`run` appends to `results/cpu.jsonl` and writes `results/cpu.md` from all of it."""
    for side in (32, 64):
        assert 0 == invoke("run", "v1", "--alpha", "0.25", "--res", side, "--processes", "2").exit_code

    records = Store(workspace / "results", "cpu").records()
    _, _, *rows = pipe_rows((workspace / "results" / "cpu.md").read_text(encoding="utf-8"))

    assert ["v1-a0.25-r32", "v1-a0.25-r64"] == [record.variant for record in records]
    assert [["v1", "0.25", "64"], ["v1", "0.25", "32"]] == [row[:3] for row in rows]
    assert 4 == len(fake_worker.requests)


def test_run_asks_for_what_the_options_say(invoke, fake_worker):
    """`--duration`, `--seed` and the device's profile reach the worker."""
    invoke("run", "v1", *SMALL, "--processes", "1", "--duration", "0.25", "--seed", "7")
    device, request, _ = fake_worker.requests[0]

    assert ("cpu", "popen") == (device.name, device.gateway)
    assert (250_000_000, 7) == (request["min_duration_ns"], request["seed"])
    assert ("onnxruntime", "CPUExecutionProvider", 1) == (request["runtime"], request["provider"], request["threads"])


@pytest.mark.usefixtures("mine")
def test_run_without_a_graph_measures_every_graph(invoke, fake_worker):
    """`mnbench run` alone measures all built-in graphs and those of `./graphs`."""
    payload = json.loads(invoke("run", *SMALL, "--processes", "1", "--format", "json").stdout)

    expected = sorted(f"{name}-a0.25-r32" for name in ["mine", *BUILT_IN])

    assert expected == sorted(record["variant"] for record in payload["records"])
    assert len(expected) == len(fake_worker.requests)


def test_run_measures_a_file_as_it_is(invoke, fake_worker, workspace):
    """An `.onnx` file's bytes reach the worker, neither simplified nor renamed."""
    invoke("build", "v1", *SMALL, "--no-simplify", "-o", "own.onnx")
    payload = json.loads(invoke("run", "own.onnx", "--processes", "1", "--format", "json").stdout)

    assert "own" == payload["records"][0]["variant"]
    assert None is payload["records"][0]["alpha"]
    sent = onnx.load_from_string(fake_worker.requests[0][1]["model"])
    assert onnx.load(workspace / "own.onnx").graph.node == sent.graph.node


def test_run_tells_apart_plain_and_simplified_graphs(invoke, fake_worker):
    """Records of plain graphs, and of graphs with batch normalization, have names of their own."""
    names = [
        json.loads(invoke("run", "v1", *SMALL, *option, "--processes", "1", "--format", "json").stdout)["records"][0][
            "variant"
        ]
        for option in ((), ("--no-simplify",), ("--keep-bn",))
    ]

    assert 3 == len(set(names))
    assert 3 == len({len(request["model"]) for _, request, _ in fake_worker.requests})


def test_run_with_a_failed_cell_shows_the_others_and_exits_with_1(invoke, fake_worker):
    """Infinite outputs cost their cell: its record says why, the JSON still parses, and the exit code is 1."""
    answers = iter([False, True])
    fake_worker.changes["outputs"] = lambda: [{"finite": next(answers), "spread": 1.0}]
    result = invoke("run", "v1", "--alpha", "0.25", "--res", "32,64", "--processes", "1", "--format", "json")
    records = json.loads(result.stdout)["records"]

    assert 1 == result.exit_code
    assert [False, True] == sorted(record["latency_ns"] is None for record in records)
    assert ["not finite" in record["error"] for record in records if record["error"]] == [True]
    assert "Error: 1 of 2 cells could not be measured\nHint: " in result.stderr


def test_ctrl_c_keeps_what_was_measured_and_says_so(invoke, fake_worker):
    """Ctrl-C ends `run` with 130 and the line that says how to go on; the same command continues."""

    def interrupt():
        if len(fake_worker.requests) == 3:
            raise KeyboardInterrupt
        return 1_500_000

    fake_worker.changes["first_run_ns"] = interrupt
    command = ("run", "v1", "--alpha", "0.25", "--res", "32,64", "--processes", "2", "--format", "json")
    stopped = invoke(*command)
    continued = invoke(*command)

    assert 130 == stopped.exit_code
    assert "" == stopped.stdout
    assert "2 of 4 visits are kept" in stopped.stderr
    assert "the same command continues" in stopped.stderr
    assert 0 == continued.exit_code
    assert "2 of 4 visits are made" in continued.stderr
    assert [2, 2] == [record["processes"] for record in json.loads(continued.stdout)["records"]]
    assert 5 == len(fake_worker.requests)


def test_fresh_measures_all_again(invoke, fake_worker):
    """`--fresh` leaves an unfinished run alone and makes every visit."""

    def interrupt():
        if len(fake_worker.requests) == 2:
            raise KeyboardInterrupt
        return 1_500_000

    fake_worker.changes["first_run_ns"] = interrupt
    assert 130 == invoke("run", "v1", *SMALL, "--processes", "3").exit_code
    assert 0 == invoke("run", "v1", *SMALL, "--processes", "3", "--fresh").exit_code
    assert 5 == len(fake_worker.requests)


def test_a_real_run_measures_with_a_real_worker(invoke):
    """One run through a worker process gives positive times, counts that add up, and full placement."""
    result = invoke("run", "v1", *QUICK, "--format", "json")
    record = json.loads(result.stdout)["records"][0]
    latency = record["latency_ns"]

    assert [] == misfits(record, RECORD)
    assert 0 < latency["min"] <= latency["p10"] <= latency["p90"]
    assert latency["low"] <= latency["median"] <= latency["high"]
    assert 0 < record["first_run_ns"]
    assert 0 < record["session_ns"]
    assert 0 < record["peak_rss_bytes"]
    assert {"nodes": 1, "mult_adds": 1} == record["placement"]
    assert 2 == record["processes"]
    assert 20 <= record["runs"]
    assert record["host"]["cpu"]
    assert 1 <= record["host"]["cores"]


# table


def test_table_json_holds_the_contract(invoke, stored):
    """`table --format json` has every key of a record, in the order of the paper's tables."""
    result = invoke("table", "--format", "json")
    payload = json.loads(result.stdout)

    assert ["records"] == list(payload)
    assert [] == [misfit for record in payload["records"] for misfit in misfits(record, RECORD)]
    assert [1, 0.5, 0.25] == [record["alpha"] for record in payload["records"]]
    assert len(stored) == len(payload["records"])
    assert "" == result.stderr


def test_table_shows_the_newest_record_of_a_cell(invoke, workspace, stored, make_record):
    """A cell measured twice has one row: the newer."""
    Store(workspace / "results", "cpu").append(make_record(1.0, 224, 8_000_000))
    payload = json.loads(invoke("table", "--format", "json").stdout)

    assert 8_000_000 == payload["records"][0]["latency_ns"]["median"]
    assert len(stored) == len(payload["records"])


@pytest.mark.usefixtures("stored")
def test_table_columns_are_those_asked_for_in_that_order(invoke):
    """`--columns` chooses and orders the columns."""
    rows = csv_rows(invoke("table", "--columns", "latency_ns, variant", "--format", "csv").stdout)

    assert ["latency_ns", "variant"] == list(rows[0])
    assert {"latency_ns": "9000000", "variant": "v1-a1-r224"} == rows[0]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("sort", "expected"),
    [("latency_ns", [0.25, 0.5, 1]), ("-latency_ns", [1, 0.5, 0.25]), ("variant", [0.25, 0.5, 1])],
)
def test_table_sorts(invoke, sort, expected):
    """`--sort COLUMN` puts the smallest first, `-COLUMN` the largest."""
    payload = json.loads(invoke("table", "--sort", sort, "--format", "json").stdout)

    assert expected == [record["alpha"] for record in payload["records"]]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("sort", ["latency_ns", "-latency_ns"])
def test_table_sorts_cells_without_a_value_last(invoke, workspace, make_record, sort):
    """A failed cell comes last, whichever way the others are sorted."""
    failed = make_record(0.75, 192, latency_ns=None, error="the worker was killed by SIGSEGV")
    Store(workspace / "results", "cpu").append(failed)
    payload = json.loads(invoke("table", "--sort", sort, "--format", "json").stdout)

    assert 0.75 == payload["records"][-1]["alpha"]


@pytest.mark.usefixtures("stored")
def test_table_prints_md_csv_and_rich(invoke):
    """The results print as a pipe table, as base units and as a table for people."""
    _, _, *pipes = pipe_rows(invoke("table", "--format", "md").stdout)
    rows = csv_rows(invoke("table", "--format", "csv").stdout)
    shown = invoke("table").stdout

    assert [["v1", "1", "224"], ["v1", "0.5", "160"], ["v1", "0.25", "128"]] == [row[:3] for row in pipes]
    assert ["9000000", "2000000", "300000"] == [row["latency_ns"] for row in rows]
    assert ["9.00", "2.00", "0.300"] == [line.split()[6] for line in shown.splitlines() if line.startswith("v1 ")]


@pytest.mark.usefixtures("stored")
def test_table_of_a_device(invoke, workspace, make_record):
    """Devices named choose among the results; without a name all are shown."""
    Store(workspace / "results", "gpu").append(make_record(device="gpu"))
    devices = {
        names: [
            record["device"] for record in json.loads(invoke("table", *names, "--format", "json").stdout)["records"]
        ]
        for names in ((), ("gpu",), ("cpu", "gpu"))
    }

    assert {(): ["cpu"] * 3 + ["gpu"], ("gpu",): ["gpu"], ("cpu", "gpu"): ["cpu"] * 3 + ["gpu"]} == devices


def test_a_failed_or_untrusted_latency_is_marked(invoke, workspace, make_record):
    """A cell without latency says `failed`, one with an issue has an exclamation mark, and notes say why."""
    store = Store(workspace / "results", "cpu")
    store.append(make_record(0.5, 160, latency_ns=None, error="no answer"))
    store.append(make_record(issues=(Issue(name="noisy", advice="end other load"),)))
    shown = invoke("table").stdout

    assert "10.0 !" in shown
    assert " failed " in shown
    assert "v1-a0.5-r160 failed: no answer" in shown
    assert "! v1-a1-r224 is noisy: end other load" in shown


# How wide tables are


def paper_records(make_record, **changes):
    """The sixteen networks, with latencies as a fast machine has them."""
    return [make_record(alpha, side, int(12.3e6 * alpha**2 * (side / 224) ** 2), **changes) for alpha, side in PAPER]


def test_the_latency_table_fits_100_columns(make_record):
    """All columns of the sixteen networks fit 100 columns, and none is cut."""
    lines = at_width(100, paper_records(make_record))

    assert max(map(len, lines)) <= 100
    assert [] == [line for line in lines if "no room" in line or "…" in line]
    assert 16 == sum(line.startswith("v1 ") for line in lines)


def test_the_latency_table_drops_columns_on_80_columns_and_says_so(make_record):
    """At 80 columns the least important columns go, a note names them, and what stays is whole."""
    lines = at_width(80, paper_records(make_record))

    assert max(map(len, lines)) <= 80
    assert "no room for min_ns, params, placed" == lines[-1].strip()
    assert [] == [line for line in lines if "…" in line]
    assert 16 == sum(line.startswith("v1 ") for line in lines)
    assert ["placed", "min"] == [word for word in ("placed", "min", "latency") if word not in " ".join(lines[:6])]


@pytest.mark.parametrize("median", [66_900, 98_700_000, 1_234_000_000], ids=["67 us", "99 ms", "1.2 s"])
def test_no_latency_is_cut_on_80_columns(make_record, median):
    """From microseconds to seconds, marked as noisy, every latency and its interval stay readable at 80 columns."""
    issues = (Issue(name="noisy", advice="end other load"),)
    records = [make_record(0.25, side, median, issues=issues, mult_adds=1_100_000) for side in (224, 32)]
    lines = at_width(80, records)

    assert max(map(len, lines)) <= 80
    assert [] == [line for line in lines if "…" in line]
    assert 2 == sum(" ! " in line for line in lines if line.startswith("v1 "))


@pytest.mark.parametrize("width", [100, 80])
def test_the_table_of_a_long_file_name_fits(make_record, width):
    """A user's own file with a long name takes its room from columns that matter less, or is shortened itself."""
    record = make_record(
        architecture=None, alpha=None, variant="mobilenet_v3_large_100_ra-f55367f5_simplified", resolution=(224, 224)
    )
    lines = at_width(width, [record])

    assert max(map(len, lines)) <= width
    assert 1 == sum("10.0" in line and "9.70–10.4" in line for line in lines)


def test_every_table_fits_100_columns_when_piped(invoke):
    """What is piped is at most 100 columns wide, whatever the terminal."""
    for arguments in (
        ("cost", "v1", "--layers"),
        ("cost", "v1", "--types"),
        ("cost", "v1", "--alpha", "0.333", "--res", "240x320"),
        ("graphs",),
        ("graphs", "show", "v1"),
        ("devices",),
        ("devices", "show", "cpu"),
    ):
        lines = invoke(*arguments).stdout.splitlines()
        assert (arguments, True) == (arguments, max(map(len, lines)) <= 100)


# graphs and devices


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize("words", [("graphs",), ("graphs", "list")], ids=" ".join)
def test_graphs_lists_built_in_graphs_and_the_users_own(invoke, words):
    """`graphs` and `graphs list` show the tables of the package and of `./graphs`."""
    shown = invoke(*words).stdout

    assert ["mine", "v1"] == [line.split()[0] for line in shown.splitlines() if line.startswith(("mine ", "v1 "))]


@pytest.mark.parametrize(("group", "key"), [("graphs", "graphs"), ("devices", "devices")])
@pytest.mark.parametrize("words", [(), ("list",)], ids=["alone", "list"])
def test_lists_print_json(invoke, group, key, words):
    """Every list takes `--format json`, with and without the word `list`."""
    result = invoke(group, *words, "--format", "json")

    assert 0 == result.exit_code
    assert {"graphs": BUILT_IN, "devices": ["cpu"]}[key] == [one["name"] for one in json.loads(result.stdout)[key]]


@pytest.mark.parametrize(
    ("words", "label", "first"),
    [
        (("graphs", "list"), "graph", BUILT_IN[0]),
        (("graphs", "show", "v1"), "row", "1     conv1"),
        (("devices", "list"), "device", "cpu"),
        (("devices", "show", "cpu"), "key", "name"),
    ],
    ids=["graphs", "graph", "devices", "device"],
)
def test_lists_print_md_and_csv(invoke, words, label, first):
    """Lists and profiles print as a pipe table and as csv, with the same rows."""
    header, _, *pipes = pipe_rows(invoke(*words, "--format", "md").stdout)
    rows = csv_rows(invoke(*words, "--format", "csv").stdout)

    assert label == header[0] == next(iter(rows[0]))
    assert first == pipes[0][0] == rows[0][label]
    assert len(pipes) == len(rows)


def test_devices_show_tells_the_profile(invoke):
    """`devices show cpu` gives provider, threads and the runtime's options."""
    shown = invoke("devices", "show", "cpu").stdout
    profile = json.loads(invoke("devices", "show", "cpu", "--format", "json").stdout)

    assert ("popen", "onnxruntime", "CPUExecutionProvider", 1) == tuple(
        profile[key] for key in ("gateway", "runtime", "provider", "threads")
    )
    assert [] == [key for key in profile["options"] if key not in shown]


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize("name", ["mine", "graphs/mine.toml"])
def test_graphs_show_takes_a_name_or_a_path(invoke, name):
    """A user's own table is shown by its name in `./graphs`, or by its path, at any α and resolution."""
    payload = json.loads(invoke("graphs", "show", name, *SMALL, "--format", "json").stdout)

    assert "mine-a0.25-r32" == payload["variant"]
    assert [1, 8, 16, 16] == payload["rows"][0]["output"]
    assert payload["mult_adds"] == sum(row["mult_adds"] for row in payload["rows"])


def test_a_path_outside_the_workspace_works_too(invoke, mine, tmp_path):
    """A table anywhere can be named by its path."""
    elsewhere = mine.rename(tmp_path / "elsewhere.toml")

    assert "Mine at α = 1, 224" in invoke("graphs", "show", elsewhere).stdout


def test_the_users_own_graph_hides_a_built_in_one(invoke, mine):
    """`./graphs/v1.toml` stands before the package's own."""
    text = mine.read_text(encoding="utf-8").replace('name = "mine"', 'name = "v1"')
    mine.with_name("v1.toml").write_text(text, encoding="utf-8")

    assert "Mine at α = 1, 224" in invoke("graphs", "show", "v1").stdout


def test_graphs_show_has_a_row_for_each_of_the_paper(invoke):
    """`graphs show v1` gives the table's rows, a total equal to `cost`'s, and the erratum."""
    shown = invoke("graphs", "show", "v1").stdout
    payload = json.loads(invoke("graphs", "show", "v1", "--format", "json").stdout)

    assert "row 17: the paper prints s = 2, used is 1" in shown
    assert "568.74" in next(line for line in shown.splitlines() if "total" in line)
    assert 29 == len(payload["rows"])
    assert ["14.1", "14.2"] * 5 == [row["row"] for row in payload["rows"] if row["row"].startswith("14.")]


def test_graphs_show_of_a_file_says_what_to_type(invoke):
    """An `.onnx` file has no rows: the error names the command that shows its layers."""
    result = invoke("graphs", "show", "model.onnx")

    assert 2 == result.exit_code
    assert "mnbench cost FILE --layers" in result.stderr


# Shell completion


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize("command", [("cost",), ("build",), ("run",), ("graphs", "show")], ids=" ".join)
def test_completion_offers_graphs(command):
    """The shell completes names of built-in graphs and of the user's own."""
    assert [("plain", name) for name in sorted(["mine", *BUILT_IN])] == completions([*command], "")
    assert [("plain", "v2")] == completions([*command], "v2")


@pytest.mark.usefixtures("workspace")
def test_completion_offers_files():
    """Where no name fits, and for paths, the shell completes files."""
    assert [("file", "mod")] == completions(["cost"], "mod")
    assert ("file", "./") in completions(["cost"], "./")
    assert [("file", "x")] == completions(["build", "v1", "-o"], "x")


@pytest.mark.parametrize("arguments", [["run", "--device"], ["devices", "show"], ["table"]], ids=" ".join)
@pytest.mark.usefixtures("stored")
def test_completion_offers_devices(arguments):
    """The shell completes names of devices wherever a command takes one."""
    assert [("plain", "cpu")] == completions(arguments, "c")


@pytest.mark.usefixtures("workspace")
def test_completion_offers_commands():
    """The shell completes commands."""
    assert [("plain", "build")] == completions([], "bu")


def test_bash_gets_completions(invoke):
    """The script that bash sources calls `mnbench` with its words in the environment."""
    words = {"_MNBENCH_COMPLETE": "bash_complete", "COMP_WORDS": "mnbench cost v2", "COMP_CWORD": "2"}

    assert "plain,v2\n" == invoke(env=words).stdout
