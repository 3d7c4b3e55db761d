"""GitHub's files: what workflows may do, their steps run as a runner runs them, and the forms of issues."""

# ruff: noqa: SIM300  expected == actual

import os
import re
import shutil
import subprocess
import tomllib
from itertools import chain
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
INPUTS = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["inputs"]
WORKFLOWS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / ".github/workflows").glob("*.yml")
}
TESTS = WORKFLOWS["tests"]["jobs"]
FORMS = {path.stem: path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"}
MATRIX = TESTS["test"]["strategy"]["matrix"]
STEPS = {step["name"]: step for job in TESTS.values() for step in job["steps"] if "run" in step}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_pin_actions_and_may_only_read(name):
    """Actions of others are pinned by commit; this repository's action gets inputs that it has."""
    assert {"contents": "read"} == WORKFLOWS[name]["permissions"]
    for job in WORKFLOWS[name]["jobs"].values():
        assert job["timeout-minutes"] <= 90
        for step in job["steps"]:
            if step.get("uses") == "./":
                assert set(step["with"]) <= set(INPUTS)
            elif "uses" in step:
                assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])
            else:
                assert "bash" == step["shell"]
                assert "${{" not in step["run"]


def test_the_gate_uses_this_action():
    """The workflow `gate` runs the action of this repository."""
    assert any(step["uses"] == "./" for step in WORKFLOWS["gate"]["jobs"]["gate"]["steps"])


def test_the_matrix_covers_the_supported_pythons():
    """It begins with the oldest supported Python, skips none, and runs the floor on the oldest."""
    versions = [tuple(map(int, python.split("."))) for python in MATRIX["python"]]
    assert f">={MATRIX['python'][0]}" == PROJECT["requires-python"]
    assert [(3, minor) for minor in range(11, 15)] == versions
    assert [{"python": "3.11", "versions": "floor"}, {"python": "3.14", "versions": "newest"}] == MATRIX["include"]


@pytest.fixture
def checkout(tmp_path):
    """A folder with what the steps read, without an environment."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def run_step(name, folder, **env):
    """Run a step's script as a runner does, not as part of the `make` that may run this test; make only prints."""
    environment = {"PATH": os.environ["PATH"], "RUNNER_TEMP": str(folder), "MAKEFLAGS": "n --no-print-directory"}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[name]["run"]],
        cwd=folder,
        env=environment | env,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("versions", [*MATRIX["versions"], *(entry["versions"] for entry in MATRIX["include"])])
def test_the_suite_runs_with_the_chosen_versions(checkout, versions):
    """Each entry of the matrix installs with its own constraints and then runs pytest."""
    chosen = checkout / "chosen"
    chosen.mkdir()
    run_step("Choose versions", checkout, VERSIONS=versions, RUNNER_TEMP=str(chosen))
    constraints = (chosen / "constraints.txt").read_text(encoding="utf-8")
    assert versions != "pinned" or (ROOT / "constraints.txt").read_text(encoding="utf-8") == constraints
    assert versions != "newest" or not constraints
    commands = run_step("Test", checkout, RUNNER_TEMP=str(chosen)).splitlines()
    installs = [command for command in commands if "pip install" in command]
    assert 2 == len(installs)
    assert all(f"--constraint {chosen}/constraints.txt " in command for command in installs)
    assert commands[-1].startswith(".venv/bin/python -m pytest ")


def test_the_floor_is_that_of_every_dependency(checkout):
    """Each requirement with its extras gives one exact version, the lowest that is allowed."""
    run_step("Choose versions", checkout, VERSIONS="floor")
    lines = (checkout / "constraints.txt").read_text(encoding="utf-8").splitlines()
    requirements = [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())]
    assert sorted(re.sub(r"\[.*\]", "", line).replace(">=", "==") for line in requirements) == sorted(lines)


def test_unknown_versions_are_refused(checkout):
    """A typing error in the matrix fails the step with the words that are known."""
    with pytest.raises(subprocess.CalledProcessError) as failure:
        run_step("Choose versions", checkout, VERSIONS="oldest")
    assert "usage: .ci/constraints pinned|floor|newest\n" == failure.value.stderr


def test_check_runs_each_check(checkout):
    """The job `check` runs linters, types, imports, generated docs and the line budget."""
    commands = run_step("Check", checkout)
    for tool in ("ruff format --check", "ruff check", "pyright", "lint-imports", "cog -I . --check", ".ci/size"):
        assert tool in commands


@pytest.mark.parametrize("name", FORMS)
def test_issue_forms_are_valid(name):
    """A form has what GitHub requires, and names commands of mnbench that exist."""
    text = FORMS[name].read_text(encoding="utf-8")
    form = yaml.safe_load(text)
    assert {"name", "description", "labels", "body"} == set(form)
    ids = [field["id"] for field in form["body"]]
    assert len(set(ids)) == len(ids)
    for field in form["body"]:
        assert field["type"] in {"textarea", "input", "dropdown"}
        assert field["attributes"]["label"]
    assert set(re.findall(r"`mnbench ([a-z]+)", text)) <= commands()


def commands():
    """The commands of mnbench that docs/commands.md documents."""
    return set(re.findall(r"^## mnbench (\w+)", (ROOT / "docs/commands.md").read_text(encoding="utf-8"), re.MULTILINE))
