"""`mnbench graphs` and `mnbench devices`: the tables there are, and one row by row."""

# ruff: noqa: SIM300  expected == actual

import json

import pytest
from common import BUILT_IN, DEVICES, SMALL, csv_rows, pipe_rows

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
    assert {"graphs": BUILT_IN, "devices": DEVICES}[key] == [load["name"] for load in json.loads(result.stdout)[key]]


@pytest.mark.parametrize(
    ("words", "label", "first"),
    [
        (("graphs", "list"), "graph", BUILT_IN[0]),
        (("graphs", "show", "v1"), "row", "1     conv1"),
        (("devices", "list"), "device", DEVICES[0]),
        (("devices", "show", "cpu"), "key", "name"),
    ],
    ids=["graphs", "graph", "devices", "device"],
)
def test_lists_print_md_and_csv(invoke, words, label, first):
    """Lists and profiles print as a pipe table and as csv, with the same rows; csv has number and scope apart."""
    header, _, *pipes = pipe_rows(invoke(*words, "--format", "md").stdout)
    rows = csv_rows(invoke(*words, "--format", "csv").stdout)

    assert label == header[0] == next(iter(rows[0]))
    assert first == pipes[0][0]
    assert first.split()[0] == rows[0][label]
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
    elsewhere = mine.rename(tmp_path / "mine.toml")

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


def test_graphs_lists_files_by_their_paths(invoke, workspace):
    """A model that a file of graphs/ names is listed with its path from here, and with the sizes that it is given."""
    (workspace / "graphs").mkdir(exist_ok=True)
    (workspace / "graphs" / "voice.toml").write_text(
        'model = "../speech.onnx"\n[dim]\nsamples = 512\n', encoding="utf-8"
    )

    assert [{"name": "voice", "path": "speech.onnx"}] == json.loads(invoke("graphs", "--format", "json").stdout)[
        "models"
    ]
    assert ["voice", "speech.onnx", "samples=512"] == invoke("graphs").stdout.splitlines()[-1].split()
