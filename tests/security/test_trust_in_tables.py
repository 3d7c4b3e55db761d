"""Tables and unfinished runs are data: what they would install, set, load or run needs trust."""

# ruff: noqa: SIM300  expected == actual

import json
import subprocess
from pathlib import Path

import msgspec
import pytest
from common import line_of

from mnbench.cli import main
from mnbench.results.record import Runtime, SessionOptions

DEMANDS = {
    "LD_PRELOAD": {"session": SessionOptions(environment={"LD_PRELOAD": "./evil.so"})},
    "PYTHONPATH": {"session": SessionOptions(environment={"PYTHONPATH": "."})},
    "PATH": {"session": SessionOptions(environment={"PATH": "."})},
    "OMP_NUM_THREADS": {"session": SessionOptions(environment={"OMP_NUM_THREADS": "1"})},
    "a library of the provider": {"session": SessionOptions(provider_options={"backend": "./evil.so"})},
    "a folder of the provider": {"session": SessionOptions(provider_options={"cache_dir": "evil"})},
    "a folder above home": {"session": SessionOptions(provider_options={"x": "~/../../evil"})},
    "a profile that is written": {"session": SessionOptions(options={"session.profile_file": "evil"})},
    "a model that is written": {"session": SessionOptions(options={"ep.context_file_path": "/evil"})},
    "5,000 threads": {"threads": 5000},
    "another version": {"runtime": Runtime(name="onnxruntime", version="1.30.0")},
}


@pytest.fixture(autouse=True)
def _no_process(monkeypatch):
    """Nothing is installed, and no worker starts."""

    def refuse(*_, **__):
        pytest.fail("something was started or installed")

    for module in ("targets.environments", "comparison.sides"):
        monkeypatch.setattr(f"mnbench.{module}.create_environment", refuse, raising=False)
    monkeypatch.setattr("mnbench.targets.transport._open_gateway", refuse)
    monkeypatch.setattr("mnbench.comparison.compare.runtime_version", lambda _: "1.2.3")


@pytest.fixture
def table(workspace, make_record):
    """Write a table of two rows, of which the second is changed."""

    def write(**changes):
        row = make_record(0.25, 32)
        changed = msgspec.structs.replace(row, id="run/2", variant="v1-a0.25-r64", resolution=(64, 64), **changes)
        path = workspace / "results" / "cpu.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(line_of(row) + line_of(changed))
        return "results/cpu.jsonl"

    return write


@pytest.mark.parametrize("changes", DEMANDS.values(), ids=DEMANDS)
def test_what_a_table_demands_needs_trust(invoke, table, changes):
    """One line names the table and what would be done; nothing is done."""
    result = invoke("gate", table(**changes))

    assert 1 == result.exit_code
    assert "Error: results/cpu.jsonl: " in result.stderr
    assert "this needs your trust" in result.stderr


def test_a_table_demands_all_at_once(invoke, table):
    """One line for the whole table."""
    changes = {**DEMANDS["LD_PRELOAD"], **DEMANDS["another version"]}

    assert (
        "Error: results/cpu.jsonl: installs onnxruntime==1.30.0; sets LD_PRELOAD=./evil.so: this needs your trust"
        in invoke("gate", table(**changes)).stderr
    )


@pytest.mark.parametrize("words", [("--trust",), ()], ids=["--trust", "mnbench trust"])
def test_a_trusted_table_is_announced(invoke, table, words):
    """Trusted once, it goes on, until it demands something else."""
    path = table(**DEMANDS["LD_PRELOAD"])
    if not words:
        invoke("trust")
    assert "results/cpu.jsonl: sets LD_PRELOAD=./evil.so" in invoke("gate", path, *words).stderr.splitlines()
    path = table(**DEMANDS["PATH"])
    assert "needs your trust" in invoke("gate", path).stderr


@pytest.mark.parametrize(
    "changes",
    [
        {"session": SessionOptions(options={"session.intra_op.allow_spinning": "1"})},
        {"session": SessionOptions(provider_options={"device_type": "GPU"})},
        {"provider": "EvilExecutionProvider", **DEMANDS["LD_PRELOAD"]},
    ],
    ids=["a switch", "a word", "a row that is not compared"],
)
def test_what_a_table_may_say(invoke, table, changes):
    """Switches of a runtime start and load nothing, and a row of another provider is not measured."""
    assert "trust" not in invoke("gate", table(**changes)).stderr


def test_what_the_device_file_sets_is_its_own(invoke, table, workspace):
    """A row with the variables that the trusted device file sets demands nothing more."""
    (workspace / "devices").mkdir()
    (workspace / "devices" / "cpu.toml").write_text(
        'extends = "cpu"\nname = "cpu"\nsummary = ""\n[environment]\nX = "1"\n', encoding="utf-8"
    )
    result = invoke("gate", table(session=SessionOptions(environment={"X": "1"})), "--trust")

    assert ["devices/cpu.toml: sets X=1"] == [line for line in result.stderr.splitlines() if " sets " in line]


@pytest.mark.parametrize(
    "version", ["/evil", "1.0 -r evil", "-r", "1.0\n-r evil", "@ file:///evil", "../1", "1;evil", "1 2"]
)
def test_a_version_is_a_version(invoke, table, version):
    """Line and file are named; with trust or without it, nothing is installed."""
    result = invoke("gate", table(runtime=Runtime(name="onnxruntime", version=version)), "--trust")

    assert 1 == result.exit_code
    assert "results/cpu.jsonl: line 2" in result.stderr


@pytest.mark.parametrize("name", ["./onnxruntime", "-r", "onnxruntime @ file:///evil #", "", "a b"])
def test_a_runtime_is_a_name(invoke, table, name):
    """So is what stands before the version."""
    result = invoke("gate", table(runtime=Runtime(name=name, version="1.0")), "--trust")

    assert 1 == result.exit_code
    assert "results/cpu.jsonl: line 2" in result.stderr


# Revisions


@pytest.fixture
def commit(workspace):
    """Commit files with these texts; the table is among them."""

    def make(**texts):
        for name, text in texts.items():
            path = workspace / name.replace("__main__", "mnbench/__main__.py").replace("click", "click.py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        named_by = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-m", "base")):
            subprocess.run(["git", *named_by, *words], cwd=workspace, check=True)

    return make


@pytest.fixture
def mark(tmp_path):
    """A file that code of a revision leaves behind, and such code."""
    path = tmp_path / "mark"
    return path, f"open({str(path)!r}, 'w')\n"


def test_the_tool_of_a_revision_needs_trust(invoke, table, commit, mark):
    """`--base-ref` runs the revision's own mnbench only if the user trusts it."""
    path = table()
    commit(__main__=mark[1])
    result = invoke("gate", path, "--base-ref", "HEAD")

    assert 1 == result.exit_code
    assert "Error: mnbench: runs the mnbench of revision " in result.stderr
    assert not mark[0].exists()


@pytest.mark.slow
def test_a_revision_without_a_tool_needs_no_trust(invoke, table, commit, mark):
    """This mnbench builds the base from the revision's graphs; other modules there are not run."""
    path = table()
    commit(click=mark[1])
    result = invoke("gate", path, "--base-ref", "HEAD")

    assert "trust" not in result.stderr
    assert not mark[0].exists()


# Unfinished runs


@pytest.fixture
def unfinished(workspace):
    """Write the arguments of an unfinished run."""

    def write(*arguments, folder="results"):
        path = workspace / folder / "raw" / "20990101T000000-00000000" / "arguments.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(arguments), encoding="utf-8")

    return write


@pytest.mark.parametrize("words", [("--trust",), ("--resume",), ("--trust", "--resume")], ids=" ".join)
def test_a_run_does_not_trust_itself(invoke, unfinished, workspace, words):
    """Arguments that no run stores are not repeated."""
    (workspace / "evil.toml").write_text(
        'extends = "cpu"\nname = "evil"\nsummary = ""\ngateway = "popen//python=./evil"\n', encoding="utf-8"
    )
    unfinished("v1", "--device", "evil.toml", *words)
    result = invoke("run", "--resume")

    assert 1 == result.exit_code
    assert "there is no unfinished run" in result.stderr


def test_what_is_resumed_is_said(invoke, unfinished, workspace):
    """The command, before its device asks for trust."""
    (workspace / "evil.toml").write_text(
        'extends = "cpu"\nname = "evil"\nsummary = ""\ngateway = "popen//python=./evil"\n', encoding="utf-8"
    )
    unfinished("v1", "--device", "evil.toml")
    lines = invoke("run", "--resume").stderr.splitlines()

    assert "resuming: mnbench run v1 --device evil.toml" == lines[0]
    assert "Error: evil.toml: starts ./evil: this needs your trust" in lines


@pytest.mark.parametrize("words", [("--with", "onnxruntime==1.30.0"), ("--with=onnxruntime==1.30.0",)], ids=" ".join)
def test_an_unfinished_run_installs_nothing_without_trust(invoke, unfinished, words):
    """A package that the stored command names needs trust, as one of a device file does."""
    unfinished("v1", *words)
    result = invoke("run", "--resume")

    assert 1 == result.exit_code
    assert "Error: results/raw: installs onnxruntime==1.30.0: this needs your trust" in result.stderr


def test_an_unfinished_run_starts_no_million_threads(invoke, unfinished):
    """A number that no device file may name."""
    unfinished("v1", "--threads", "1000000")

    assert "Error: results/raw: starts 1000000 threads: this needs your trust" in invoke("run", "--resume").stderr


@pytest.mark.parametrize("folder", ["elsewhere", "../elsewhere", "results/../../elsewhere"])
def test_an_unfinished_run_writes_where_it_lies(invoke, unfinished, folder):
    """The stored command names no other folder for results."""
    unfinished("v1", "--results", folder)
    result = invoke("run", "--resume")

    assert 1 == result.exit_code
    assert f"Error: results: the unfinished run writes to {folder}" in result.stderr
    assert not Path(folder).exists()


# Nothing stands in the way of what is trusted


@pytest.mark.parametrize("command", ["run", "compare", "gate", "verify", "doctor", "study"])
def test_every_command_that_starts_something_takes_trust(command):
    """`--trust` is an option of each."""
    assert "--trust" in {name for option in main.get_command(None, command).params for name in option.opts}
