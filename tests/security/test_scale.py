"""Commands take time in proportion to the records and nodes that they show, and find a damaged line wherever it is."""

import sys

import msgspec
import onnx
import pytest
from onnx import helper

from mnbench.network.row import Row, row_labels
from mnbench.results.store import ResultsFile

RECORDS = 500
"""More than a plot draws in detail, and than rich lays out."""

SHAPE = [1, 4, 8, 8]


@pytest.fixture
def count_calls(invoke):
    """Return how many functions a command calls: their number is the same on every machine."""

    def count(*words):
        calls = 0

        def profile(_frame, event, _argument):
            nonlocal calls
            calls += event in ("call", "c_call")

        sys.setprofile(profile)
        try:
            invoke(*words)
        finally:
            sys.setprofile(None)
        return calls

    return count


def write_records(folder, make_record, count):
    """Write records of so many different rows."""
    folder.mkdir()
    records = (make_record(0.1 + index / 1000, median=10**6 + index, run=f"run{index % 7}") for index in range(count))
    lines = [msgspec.json.encode(record) + b"\n" for record in records]
    (folder / "cpu.jsonl").write_bytes(b"".join(lines))
    return lines


@pytest.mark.parametrize(
    "words",
    [
        ("table",),
        pytest.param(("table", "--format", "csv"), marks=pytest.mark.slow),
        pytest.param(("table", "--format", "json"), marks=pytest.mark.slow),
        pytest.param(("table", "--format", "md"), marks=pytest.mark.slow),
        pytest.param(("table", "--history"), marks=pytest.mark.slow),
        pytest.param(("table", "--group", "graph"), marks=pytest.mark.slow),
        ("pick", "--budget", "5ms", "--best", "params"),
        ("plot", "mult-adds"),
        pytest.param(("predict",), marks=pytest.mark.slow),
        pytest.param(("report", "-o", "report.html"), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_four_times_the_records_take_at_most_six_times_the_calls(workspace, make_record, invoke, count_calls, words):
    """No command compares each record with each."""
    write_records(workspace / "few", make_record, RECORDS)
    write_records(workspace / "many", make_record, 4 * RECORDS)
    invoke(*words, "--results", "few")  # what is imported once does not count
    few, many = (count_calls(*words, "--results", folder) for folder in ("few", "many"))
    assert many < 6 * few


def write_model(path, nodes, sides):
    """Write a graph with these nodes; `sides` are its input and its output with their shapes."""
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in sides.items()]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def write_residual(path, count):
    """Write a chain in which each node also reads one from far before it."""
    nodes = [helper.make_node("Relu", ["x"], ["t0"])]
    nodes += [helper.make_node("Add", [f"t{at - 1}", f"t{at // 2}"], [f"t{at}"]) for at in range(1, count)]
    write_model(path, nodes, {"x": SHAPE, f"t{count - 1}": SHAPE})


def write_wide(path, count):
    """Write branches that meet in one node."""
    nodes = [helper.make_node("Relu", ["x"], [f"b{at}"]) for at in range(count)]
    nodes.append(helper.make_node("Concat", [f"b{at}" for at in range(count)], ["y"], axis=1))
    write_model(path, nodes, {"x": SHAPE, "y": [1, 4 * count, 8, 8]})


@pytest.mark.parametrize("write", [write_residual, write_wide], ids=["residual", "wide"])
@pytest.mark.parametrize("words", [pytest.param(("cost",), marks=pytest.mark.slow), ("cost", "--layers")], ids=" ".join)
def test_four_times_the_nodes_take_at_most_six_times_the_calls(workspace, invoke, count_calls, words, write):
    """No node is looked for among all others."""
    write(workspace / "few.onnx", 300)
    write(workspace / "many.onnx", 1200)
    invoke(*words, "few.onnx")  # what is imported once does not count
    few, many = (count_calls(*words, f"{name}.onnx") for name in ("few", "many"))
    assert many < 6 * few


@pytest.mark.parametrize("index", [0, 20, 39], ids=["first", "middle", "last"])
@pytest.mark.parametrize("damage", [b'{"schema":3', b"\xff\n", b"[]\n"], ids=["cut short", "bytes", "a list"])
def test_a_damaged_line_is_found_wherever_it_is(workspace, make_record, invoke, index, damage):
    """Also where a newer record of the same row follows."""
    lines = write_records(workspace / "results", make_record, 40)
    lines.insert(index, damage.rstrip(b"\n") + b"\n")
    (workspace / "results" / "cpu.jsonl").write_bytes(b"".join(lines + lines[:1] * (index > 0)))
    result = invoke("table")
    assert result.exit_code == 1
    assert f"line {index + 1} is not a record" in " ".join(result.stderr.split())


def test_a_path_of_many_folders_is_labelled_at_once():
    """Two files of one name, whose paths differ in the first of 20,000 folders."""
    folders = "/".join(["a"] * 20_000)
    rows = [Row("model", None, f"{first}/{folders}/model.onnx") for first in "xy"]
    assert [f"{first}/{folders}/model" for first in "xy"] == list(row_labels(rows).values())


def test_records_of_a_host_share_its_facts(workspace, make_record):
    """The facts of a host are most of a record: thousands of copies would take gigabytes."""
    write_records(workspace / "results", make_record, 3)
    first, *others = ResultsFile(workspace / "results", "cpu").read_records()
    assert all(other.host is first.host and other.runtime is first.runtime for other in others)
