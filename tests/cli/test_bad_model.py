"""Several files on one command line, of which one is bad."""

import json

import pytest
from common import ONCE, pipe_rows
from onnx import helper
from onnx_graphs import model_of

import mnbench
from mnbench.errors import BuildError


@pytest.fixture
def files(workspace):
    """Two good models, and between them one that cannot be read."""
    model = model_of(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")], {"x": [1, 8]}, {"y": [1, 2]}, {"w": [8, 2]}
    )
    (workspace / "in").mkdir()
    for name in ("a", "b"):
        model.save(workspace / f"in/{name}.onnx")
    (workspace / "in/bad.onnx").write_text("version https://git-lfs.github.com/spec/v1\n", encoding="utf-8")
    return "in/a.onnx", "in/bad.onnx", "in/b.onnx"


@pytest.mark.parametrize("command", [["cost"], ["build", "--no-simplify"], ["run", *ONCE]])
@pytest.mark.usefixtures("fake_worker")
def test_good_ones_are_done(invoke, files, command):
    """The good models have their rows, the bad one has a row without values and a note; the exit code is 1."""
    name, *options = command
    result = invoke(name, *files, *options, "--format", "md")
    _, _, *rows = pipe_rows(result.stdout)

    assert result.exit_code == 1
    assert [row[0].removesuffix(".onnx") for row in rows] == ["a", "b", "bad"]
    assert set(rows[2][1:]) <= {"–", "failed"}
    assert "in/bad.onnx: is " in result.stdout
    assert "1 of 3" in result.stderr


@pytest.mark.parametrize(("command", "key"), [("cost", "costs"), ("build", "models"), ("run", "records")])
@pytest.mark.usefixtures("fake_worker")
def test_json_names_the_bad_one(invoke, files, command, key):
    """JSON holds what was done, and apart from it the bad model with its error and hint."""
    options = ["--no-simplify"] if command == "build" else []
    payload = json.loads(invoke(command, *files, *options, "--format", "json").stdout)

    assert len(payload[key]) == 2
    assert [entry["variant"] for entry in payload["rejected"]] == ["bad"]
    assert set(payload["rejected"][0]) == {"variant", "error", "hint"}


def test_costs_of_layers(invoke, files):
    """With a table for each model, the bad one has its own."""
    result = invoke("cost", *files, "--types", "--format", "md")

    assert result.stdout.count("Fully Connected") == 2
    assert "in/bad.onnx" in result.stdout


@pytest.mark.usefixtures("fake_worker")
def test_only_bad_ones(invoke, files, workspace):
    """A run of bad models alone leaves no results."""
    (workspace / "in/worse.onnx").write_bytes(b"")
    result = invoke("run", files[1], "in/worse.onnx")

    assert result.exit_code == 1
    assert "2 of 2" in result.stderr
    assert not (workspace / "results").exists()


@pytest.mark.usefixtures("fake_worker")
def test_python(files):
    """In Python, the bad model of several is in `rejected`, and the error of a single one is raised."""
    results = mnbench.run(files, roofline=False)

    assert [record.variant for record in results] == ["a", "b"]
    assert list(results.rejected) == ["bad"]
    with pytest.raises(BuildError):
        mnbench.run(files[1])
