"""Rows of a user's files: by name and path, with a note when the file changed, and never in a variant's row."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from common import own_model
from onnx import helper
from onnx_graphs import model_of

from mnbench.bench.prepare import prepare_case
from mnbench.network.variant import InputOptions
from mnbench.results.latency_table import informative_columns
from mnbench.results.record import FedInput
from mnbench.results.store import ResultsFile


@pytest.fixture
def append(workspace, make_record):
    """Append a record of a user's file."""
    store = ResultsFile(workspace / "results", "cpu")

    def add(file, day, median, sha256, variant="net"):
        time, run = f"2026-01-{day:02}T00:00:00+00:00", f"run{day}"
        store.append(
            make_record(
                None,
                64,
                median,
                variant=variant,
                architecture=None,
                file=file,
                model_sha256=sha256 * 64,
                measured_at=time,
                run=run,
                id=f"{run}/{variant}={file}",
            )
        )
        return store

    return add


def test_two_files_of_one_name_are_two_rows(invoke, append):
    """A table names them by their folders, and each has a history of its own."""
    append("small/net.onnx", 1, 1000, "a")
    append("large/net.onnx", 2, 99000, "b")
    table = invoke("table", "--columns", "variant,graph,latency_ns", "--format", "md").stdout
    assert "| small/net | small/net |" in table
    assert "| large/net | large/net |" in table
    rows = json.loads(invoke("table", "--history", "--format", "json").stdout)["rows"]
    assert [(row["variant"], row["change"]) for row in rows] == [("large/net", None), ("small/net", None)]
    ratios = json.loads(invoke("table", "--ratio", "small/net", "--format", "json").stdout)["rows"]
    assert sorted(row["ratio"] for row in ratios) == [1, 99]
    ambiguous = invoke("table", "--ratio", "net")
    assert (ambiguous.exit_code, ambiguous.stderr.splitlines()[0]) == (1, "Error: several rows are named net")


def test_a_file_that_changed_is_the_newest_and_no_slowdown(invoke, append):
    """A note says from what to what, in the table and in the history; runs of the old file are not compared."""
    for day in range(1, 4):
        append("net.onnx", day, 1000, "a")
    append("net.onnx", 4, 9000, "b")
    said = "net: the file has changed from aaaaaa to bbbbbb"
    table = invoke("table", "--format", "md").stdout
    assert (table.count("| net |"), table.count(said)) == (1, 1)
    assert said in invoke("table", "--history", "--format", "md").stdout
    (row,) = json.loads(invoke("table", "--history", "--format", "json").stdout)["rows"]
    assert (len(row["points"]), row["change"], row["alarm"]) == (4, None, False)
    append("net.onnx", 5, 18000, "b")
    (row,) = json.loads(invoke("table", "--history", "--format", "json").stdout)["rows"]
    assert (row["change"], row["alarm"]) == (1.0, True)


def test_a_file_with_a_variants_name_is_not_that_variant(invoke, append, make_record):
    """Nor the anchor: both are rows, and the history of neither has the other's runs."""
    store = append("v1-a0.25-r64.onnx", 1, 1000, "a", variant="v1-a0.25-r64.onnx")
    append("v1-a0.25-r64.onnx", 2, 1000, "a", variant="v1-a0.25-r64")  # from before files were told apart
    store.append(make_record(0.25, 64, 5000))
    rows = json.loads(invoke("table", "--history", "--format", "json").stdout)["rows"]
    assert [len(row["points"]) for row in rows] == [1, 1, 1]
    assert len({row["variant"] for row in rows}) == 3
    assert all(point["anchor_ns"] is None for row in rows for point in row["points"])


@pytest.mark.usefixtures("fake_worker")
def test_files_of_one_name_and_of_every_name_are_measured_at_once(invoke, workspace):
    """Folders, names that no file system takes for trials, and one that a variant has."""
    files = ["a/net.onnx", "b/net.onnx", "v1-a0.25-r32.onnx", f"{'n' * 240}.onnx", "a|b.onnx"]
    for file in files:
        Path(file).parent.mkdir(exist_ok=True)
        Path(file).write_bytes(own_model())
    more = ["--processes", "2", "--format", "json"]
    twice = invoke("run", "a/net.onnx", "./a/../a/net.onnx", *more)
    assert (twice.exit_code, twice.stderr.splitlines()[0]) == (1, "Error: net is selected twice")
    result = invoke("run", *files, "other=a/net.onnx", "v1-a0.25-r32", *more)
    assert result.exit_code == 0, result.stderr
    records = json.loads(result.stdout)["records"]
    assert [*files, "a/net.onnx", None] == [record["file"] for record in records]
    names = [record["variant"] for record in records]
    assert names == ["net", "net", "v1-a0.25-r32.onnx", "n" * 240, "a|b", "other", "v1-a0.25-r32"]
    assert len(list((workspace / "results" / "raw").glob("*/*.npz"))) == 14


@pytest.mark.parametrize(
    ("sides", "batch", "expected"),
    [([4, 3, 8, 8], None, 4), ([50, 1, 16], None, None), (["N", 16], None, None), (["N", 16], 8, 8)],
)
def test_the_batch_of_a_file(tmp_path, sides, batch, expected):
    """It is that of images, or of --batch; the first axis of another array may be time."""
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": sides}, {"y": sides})
    model = replace(model, input_options=InputOptions(batch=batch))

    assert prepare_case(model, tmp_path, variant="net", seed=0).batch == expected


def test_no_column_repeats_the_batch_of_an_input(make_record):
    """The batch of a variant has a column; that of a file stands in its input."""
    image = FedInput(name="x", type="float32", shape=(8, 3, 9, 9), values="normal", sha256="a" * 64)
    file = make_record(None, 9, 1000, variant="net", architecture=None, file="net.onnx", batch=8, inputs=(image,))

    assert informative_columns(["shape", "batch"], [file]) == ["shape"]
    assert informative_columns(["shape", "batch"], [make_record(1, 9, 1000, batch=8)]) == ["batch"]
    assert informative_columns(["shape", "batch"], [file, make_record(1, 9, 1000)]) == ["shape"]
