"""Start-up: a command imports what it needs and no more."""

# ruff: noqa: SIM300  expected == actual

import json
import subprocess
import sys

import pytest

from mnbench.cli import COMMANDS
from mnbench.results.store import ResultsFile

HEAVY = ("execnet", "msgspec", "numpy", "onnx", "onnxruntime", "onnxsim", "rich")

IMPORTED = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
from mnbench.cli import main
main(sys.argv[1:])
"""


def heavy_imports(*words, cwd, **environment):
    """Which of the heavy packages a command has imported by its end."""
    finished = subprocess.run(
        [sys.executable, "-c", IMPORTED, *words],
        cwd=cwd,
        env=environment or None,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert 0 == finished.returncode, finished.stderr
    assert finished.stdout
    return [name for name in json.loads(finished.stderr) if name in HEAVY]


@pytest.mark.parametrize("words", [(), ("--help",), ("--version",)], ids=["alone", "--help", "--version"])
def test_help_imports_nothing_heavy(tmp_path, words):
    """`mnbench`, `--help` and `--version` need nothing but Click."""
    assert [] == heavy_imports(*words, cwd=tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_imports_nothing_that_counts_or_runs(tmp_path, command):
    """`--help` of a command needs what reads its arguments, and neither ONNX nor numpy, a runtime or rich."""
    assert set() == set(heavy_imports(command, "--help", cwd=tmp_path)) - {"msgspec"}


@pytest.mark.parametrize(
    "words",
    [("cost", "v1"), ("cost", "v1", "--layers"), ("graphs",), ("graphs", "show", "v1"), ("devices",)],
    ids=" ".join,
)
def test_tables_need_no_model(tmp_path, words):
    """Counting and showing graphs imports neither ONNX nor numpy, and no runtime."""
    assert ["msgspec", "rich"] == heavy_imports(*words, cwd=tmp_path)


@pytest.mark.parametrize("words", [("table",), ("pick", "--budget", "1s")], ids=["table", "pick"])
def test_reading_results_needs_neither_a_worker_nor_a_model(workspace, make_record, words):
    """Tables of stored records import neither execnet nor onnx, and no runtime."""
    ResultsFile(workspace / "results", "cpu").append(make_record())

    assert {"execnet", "onnx", "onnxruntime", "onnxsim"}.isdisjoint(heavy_imports(*words, cwd=workspace))


@pytest.mark.parametrize("form", ["json"])
def test_json_needs_no_rich(tmp_path, form):
    """What is printed for programs does not import what prints for people."""
    assert ["msgspec"] == heavy_imports("cost", "v1", "--format", form, cwd=tmp_path)


@pytest.mark.slow
def test_a_file_is_counted_without_a_runtime(tmp_path):
    """Counting an `.onnx` file imports neither onnxruntime nor onnxsim nor execnet; a plain graph needs no onnxsim."""
    plain = ("build", "v1", "--no-simplify", "--alpha", "0.25", "--res", "32")
    assert {"onnxsim", "execnet"}.isdisjoint(heavy_imports(*plain, cwd=tmp_path))
    for words in (("cost", "v1-a0.25-r32.onnx"),):
        assert {"onnxruntime", "onnxsim", "execnet"}.isdisjoint(heavy_imports(*words, cwd=tmp_path))


@pytest.mark.slow
def test_building_needs_no_gateway(tmp_path):
    """Building and simplifying starts no worker, and does not import what would."""
    assert "execnet" not in heavy_imports("build", "v1", "--alpha", "0.25", "--res", "32", cwd=tmp_path)


def test_completion_imports_nothing_heavy(tmp_path):
    """A press of the tab key waits for neither ONNX nor numpy, a runtime or rich."""
    words = {"_MNBENCH_COMPLETE": "bash_complete", "COMP_WORDS": "mnbench cost v2", "COMP_CWORD": "2"}
    code = IMPORTED.replace("main(sys.argv[1:])", "main(prog_name='mnbench')")
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=words, capture_output=True, text=True, check=False, timeout=60
    )

    assert "plain,v2\n" == finished.stdout
    assert set() == {name for name in json.loads(finished.stderr) if name in HEAVY} - {"msgspec"}
