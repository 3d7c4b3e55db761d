"""The GitHub action: its file, and its steps run as a runner runs them."""

# ruff: noqa: SIM300  expected == actual

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import onnxruntime
import pytest

from mnbench.families import parse_variant
from mnbench.model.build import build_model
from mnbench.results.record import Runtime
from mnbench.results.store import ResultsFile

pytestmark = pytest.mark.slow

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
INSTALL, GATE = ACTION["runs"]["steps"]
VARIANT = "v1-a0.25-r32"


@pytest.mark.parametrize("step", [INSTALL, GATE], ids=lambda step: step["name"])
def test_no_input_is_written_into_a_script(step):
    """Every input reaches its step as a variable of the environment: a script holds no expression."""
    assert "${{" not in step["run"]
    assert "bash" == step["shell"]
    used = set(re.findall(r"inputs\.([\w-]+)", json.dumps(step["env"])))
    assert used <= set(ACTION["inputs"])
    assert all(re.search(rf"\${name}\b", step["run"]) for name in step["env"])


def test_every_input_is_used_and_every_output_is_set():
    """None is a dead letter."""
    used = {name for step in (INSTALL, GATE) for name in re.findall(r"inputs\.([\w-]+)", json.dumps(step["env"]))}
    assert set(ACTION["inputs"]) == used
    for name, output in ACTION["outputs"].items():
        assert f"${{{{ steps.{GATE['id']}.outputs.{name} }}}}" == output["value"]
        assert f'echo "{name}=' in GATE["run"]


@pytest.fixture
def runner(workspace):
    """Run a step of the action with these inputs, as a runner does; its exit code, log, and what it left behind."""
    temporary = workspace.parent / "runner"
    installed = temporary / "mnbench" / "bin"
    installed.mkdir(parents=True)
    (installed / "mnbench").write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m mnbench "$@"\n', encoding="utf-8"
    )
    (installed / "mnbench").chmod(0o755)

    def run(step, **inputs):
        chosen = {name: facts.get("default", "") for name, facts in ACTION["inputs"].items()} | {
            name.replace("_", "-"): value for name, value in inputs.items()
        }
        env = {
            name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda match: chosen[match[1]], value)
            for name, value in step["env"].items()
        }
        script = temporary / "step.sh"
        script.write_text(step["run"], encoding="utf-8")
        for name in ("summary", "output"):
            (temporary / name).write_text("before\n", encoding="utf-8")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
            cwd=workspace,
            env=os.environ
            | {"RUNNER_TEMP": str(temporary), "GITHUB_ACTION_PATH": str(ROOT)}
            | {"GITHUB_STEP_SUMMARY": str(temporary / "summary"), "GITHUB_OUTPUT": str(temporary / "output")}
            | env,
            capture_output=True,
            text=True,
            check=False,
        )
        summary, output = ((temporary / name).read_text(encoding="utf-8") for name in ("summary", "output"))
        return done, summary, dict(line.split("=", 1) for line in output.splitlines()[1:])

    return run


@pytest.fixture
def table(workspace, make_record):
    """A table whose first row is what is there now, and whose other rows the test names."""

    def write(*others):
        runtime = Runtime(name="onnxruntime", version=onnxruntime.__version__)
        facts = {"model_sha256": build_model(parse_variant(VARIANT)).sha256, "runtime": runtime}
        row = make_record(0.25, 32, **facts)
        for item in (
            row,
            *(msgspec.structs.replace(row, variant=name, architecture=name.partition("-")[0]) for name in others),
        ):
            ResultsFile(workspace / "results", "cpu").append(item)

    return write


def test_an_unchanged_table_passes(runner, table, workspace):
    """The summary goes where GitHub reads it, behind what is there; the reports are where the output says."""
    table()
    done, summary, outputs = runner(GATE)
    assert 0 == done.returncode, done.stderr
    assert {"verdict": "pass", "reports": "mnbench-reports"} == outputs
    assert summary.startswith("before\n### mnbench: no row is slower, 1 passed\n")
    assert "::notice title=mnbench%3A no row is slower, 1 passed::".replace(", ", "%2C ") in done.stdout
    names = {"summary.md", "annotations.txt", "junit.xml", "gate.json", "bencher.json", "benchmark-action.json"}
    assert names == {path.name for path in (workspace / "mnbench-reports").iterdir()}
    assert all(name in ACTION["outputs"]["reports"]["description"] for name in names)


def test_a_missing_row_fails_the_step(runner, table):
    """With mnbench's own exit code, after everything is reported."""
    table("gone-a1-r64")
    done, summary, outputs = runner(GATE, reports="deep/er")
    assert (4, "inconclusive", "deep/er") == (done.returncode, outputs["verdict"], outputs["reports"])
    assert "| `gone-a1-r64` | missing |" in summary
    assert "::error title=gone-a1-r64 is missing::" in done.stdout


def test_a_table_that_is_not_there_is_an_error(runner, table):
    """Reports of an earlier step in the same folder are not taken for this one's."""
    table()
    runner(GATE)
    done, summary, outputs = runner(GATE, table="nowhere.jsonl")
    assert (1, "error", "before\n") == (done.returncode, outputs["verdict"], summary)
    assert "the table does not exist" in done.stderr


def test_inputs_are_words_and_never_code(runner, table, workspace):
    """Blanks and lines part words; what a shell would run or expand stays as it is."""
    table()
    done, _, _ = runner(GATE, arguments="--allow busy\n  --allow $(touch%20x) *")
    assert 2 == done.returncode
    assert "$(touch%20x)" in done.stderr
    done, _, outputs = runner(GATE, arguments="--allow busy\n --min-effect=2%", models="")
    assert (0, "pass") == (done.returncode, outputs["verdict"])
    done, _, _ = runner(GATE, table="$(touch x).jsonl")
    assert "$(touch x).jsonl: the table does not exist" in done.stderr
    done, _, _ = runner(GATE, base_ref="--help")
    assert 1 == done.returncode
    assert not (workspace / "x").exists()


def test_the_tool_is_installed_from_the_action_itself(runner, tmp_path):
    """Into an environment of its own; other packages come after, and are words too."""
    log = tmp_path / "log"
    fake = tmp_path / "python"
    # It makes the environment's Python a copy of itself, and writes down what it is asked for.
    fake.write_text(
        f'#!/bin/bash\necho "$(basename "$0") $*" >> {log}\n'
        'if [[ "$2" == venv ]]; then mkdir -p "$4/bin"; cp "$0" "$4/bin/python"; fi\n',
        encoding="utf-8",
    )
    fake.chmod(0o755)
    done, _, _ = runner(INSTALL, python=str(fake), requirements="onnxruntime==1.31.1 'x;y'")
    assert 0 == done.returncode, done.stderr
    built, installed, more = log.read_text(encoding="utf-8").splitlines()
    assert re.fullmatch(r"python -m venv --clear \S+/runner/mnbench", built)
    assert installed.endswith(f"--constraint {ROOT}/constraints.txt {ROOT}")
    assert more.endswith("onnxruntime==1.31.1 'x;y'")
    log.unlink()
    runner(INSTALL, python=str(fake))
    assert 2 == len(log.read_text(encoding="utf-8").splitlines())
