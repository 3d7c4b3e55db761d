"""A stranger's folder that holds links, pipes, trust in itself and modules: nothing leads out of it, nothing waits."""

# ruff: noqa: SIM300  expected == actual

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from common import line_of

from mnbench.errors import FileError
from mnbench.results import git_history
from mnbench.results.git_history import checkout_revision
from mnbench.results.store import ResultsFile

EVIL = 'extends = "cpu"\nname = "cpu"\nsummary = ""\ngateway = "popen//python=./evil"\n'
DOCTOR = ("doctor", "--quick")


def write(folder, name, text):
    """Write a file of that folder; return its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def with_program(folder):
    """Let the folder hold a program that leaves a mark; return the mark's path."""
    write(folder, "evil", f"#!/bin/sh\n: > {folder}/executed\n").chmod(0o755)
    return folder / "executed"


# Trust


@pytest.mark.parametrize(
    "variables",
    [
        {"HOME": "."},
        {"HOME": "./home"},
        {"XDG_STATE_HOME": "."},
        {"XDG_STATE_HOME": "state"},
        {"XDG_STATE_HOME": "link"},
    ],
    ids=lambda variables: "=".join(*variables.items()),
)
def test_a_folder_does_not_hold_the_trust_in_itself(invoke, workspace, monkeypatch, variables):
    """A stranger can commit the files by which trust is stored."""
    mark = with_program(workspace)
    write(workspace, "devices/cpu.toml", EVIL)
    (workspace / "state").mkdir()
    (workspace.parent / "link").symlink_to(workspace)
    monkeypatch.delenv("XDG_STATE_HOME")
    base = workspace.parent if "link" in variables.values() else workspace
    environment = {name: str(base / value) for name, value in variables.items()}
    monkeypatch.setattr("mnbench.trust._is_below", lambda *_: False, raising=False)
    invoke("trust", env=environment)
    monkeypatch.undo()
    monkeypatch.chdir(workspace)
    environment |= {"MNBENCH_TRUST": None} | ({} if "XDG_STATE_HOME" in environment else {"XDG_STATE_HOME": None})
    result = invoke(*DOCTOR, env=environment)

    assert [path for path in workspace.rglob("trusted/*") if path.is_file()]
    assert "needs your trust" in result.stderr
    assert not mark.exists()


def test_trust_is_not_stored_in_the_folder_itself(invoke, workspace):
    """One line and a hint."""
    write(workspace, "devices/cpu.toml", EVIL)
    result = invoke("trust", env={"XDG_STATE_HOME": str(workspace)})

    assert 1 == result.exit_code
    assert "lies in the folder to trust" in result.stderr
    assert not (workspace / "mnbench").exists()


@pytest.mark.parametrize("link", ["devices/cpu.toml", "devices"])
def test_trust_in_a_file_is_none_where_a_link_leads_to_it(invoke, workspace, tmp_path, link):
    """The program that a trusted file names is another one in another folder."""
    mark = with_program(workspace)
    write(tmp_path / "trusted", "devices/cpu.toml", EVIL)
    assert 0 == invoke("trust", tmp_path / "trusted").exit_code
    (workspace / link).parent.mkdir(exist_ok=True)
    (workspace / link).symlink_to(tmp_path / "trusted" / link)

    assert "starts ./evil: this needs your trust" in invoke(*DOCTOR).stderr
    assert not mark.exists()


def test_trust_in_a_table_is_none_where_a_link_leads_to_it(invoke, workspace, tmp_path, make_record):
    """The library that it names is another one there."""
    record = json.loads(line_of(make_record(0.25, 32)))
    record["session"] = {"options": {}, "provider_options": {}, "environment": {"LD_PRELOAD": "./evil.so"}}
    write(tmp_path / "trusted", "results/cpu.jsonl", f"{json.dumps(record)}\n")
    assert "trusted until changed: 1 file" in invoke("trust", tmp_path / "trusted").output
    (workspace / "results").symlink_to(tmp_path / "trusted" / "results")

    assert "this needs your trust" in invoke("gate", "results/cpu.jsonl").stderr


def test_the_hint_names_what_gives_trust(invoke, workspace, make_record):
    """`mnbench trust` cannot trust the tool of a revision."""
    write(workspace, "mnbench/__init__.py", "")
    write(workspace, "mnbench/__main__.py", "")
    write(workspace, "results/cpu.jsonl", line_of(make_record(0.25, 32)).decode())
    commit(workspace)
    stderr = invoke("gate", "results/cpu.jsonl", "--base-ref", "HEAD").stderr

    assert "this needs your trust" in stderr
    assert "--trust" in stderr
    assert "mnbench trust" not in stderr


@pytest.mark.parametrize("gateway", ["popen//", "//popen", "", "//", "popen//=x"])
def test_a_broken_gateway_is_one_line(invoke, workspace, gateway):
    """The file is trusted, and wrong."""
    write(workspace, "devices/cpu.toml", EVIL.replace("popen//python=./evil", gateway))
    result = invoke(*DOCTOR, "--trust")

    assert 1 == result.exit_code
    assert "Error: " in result.stderr


# Links in the results


@pytest.mark.parametrize("target", ["elsewhere", "missing"])
@pytest.mark.parametrize("link", ["results", "results/raw", "results/graphs", "results/studies", "results/studies/cpu"])
def test_results_do_not_lead_elsewhere(workspace, tmp_path, link, target):
    """A link is refused before anything is measured, and nothing is written where it leads."""
    (tmp_path / "elsewhere").mkdir()
    (workspace / link).parent.mkdir(parents=True, exist_ok=True)
    (workspace / link).symlink_to(tmp_path / target)
    with pytest.raises(FileError) as caught:
        ResultsFile(Path("results"), "cpu").open_run("plan", arguments=["v1"])

    assert caught.value.message.startswith(f"{link}: is a link to ")
    assert [] == list((tmp_path / "elsewhere").iterdir())
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(
    ("words", "link"),
    [
        (("run", "v1-a0.25-r32"), "results/raw"),
        (("compare", "v1-a0.25-r32", "v1-a0.25-r32", "--allow", "busy"), "results/studies/cpu"),
    ],
    ids=["run", "compare"],
)
def test_no_command_writes_where_a_link_leads(invoke, workspace, tmp_path, link, words):
    """By the command line."""
    (tmp_path / "elsewhere").mkdir()
    (workspace / link).parent.mkdir(parents=True)
    (workspace / link).symlink_to(tmp_path / "elsewhere")
    result = invoke(*words)

    assert 1 == result.exit_code
    assert f"Error: {link}: is a link to " in result.stderr
    assert [] == list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("name", ["folder", "lock"])
def test_an_unfinished_run_is_no_link(invoke, workspace, tmp_path, name):
    """Neither its folder nor its lock."""
    elsewhere = tmp_path / "elsewhere"
    write(elsewhere, "arguments.json", '["v1"]')
    precious = write(tmp_path, "precious", "x")
    run = workspace / "results" / "raw" / "2099-x"
    if name == "folder":
        run.parent.mkdir(parents=True)
        run.symlink_to(elsewhere)
    else:
        write(run, "arguments.json", '["v1"]')
        (run / "lock").symlink_to(precious)
    result = invoke("run", "--resume")

    assert "there is no unfinished run" in result.stderr
    assert ["arguments.json"] == [path.name for path in elsewhere.iterdir()]
    assert "x" == precious.read_text()


def test_the_empty_folder_of_a_killed_run_is_removed(workspace):
    """By the next run; one that has just been created may be another process's."""
    old, new = (workspace / "results" / "raw" / name for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (0, time.time() - 120))
    ResultsFile(workspace / "results", "cpu").open_run("plan")

    assert not old.exists()
    assert new.exists()


# Repositories


def commit(folder):
    """Commit the folder's files, in a new repository."""
    git = ("git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main")
    for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-m", "x")):
        subprocess.run([*git, *words], cwd=folder, check=True)


def as_pipe(path):
    """Put a pipe in a file's place, in which it waits for a writer."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def include(git):
    """Let the configuration include a pipe."""
    os.mkfifo(git / "pipe")
    with (git / "config").open("a") as file:
        file.write("[include]\npath = pipe\n")


PIPES = {
    "config": lambda git: as_pipe(git / "config"),
    "an included file": include,
    "HEAD": lambda git: as_pipe(git / "HEAD"),
    "alternates": lambda git: as_pipe(git / "objects" / "info" / "alternates"),
    "packed references": lambda git: as_pipe(git / "packed-refs"),
}


@pytest.mark.parametrize("pipe", PIPES)
@pytest.mark.parametrize(
    "words", [("table", "--history"), ("gate", "results/cpu.jsonl", "--base-ref", "x")], ids=" ".join
)
def test_git_does_not_wait_for_a_pipe(invoke, workspace, make_record, monkeypatch, pipe, words):
    """Of a repository that came in an archive."""
    monkeypatch.setattr(git_history, "ASK_TIMEOUT_S", 0.3)
    monkeypatch.setattr(git_history, "READ_TIMEOUT_S", 0.3)
    write(workspace, "results/cpu.jsonl", line_of(make_record(0.25, 32)).decode())
    commit(workspace)
    PIPES[pipe](workspace / ".git")
    begin = time.monotonic()
    invoke(*words)

    assert time.monotonic() - begin < 10


@pytest.mark.parametrize("target", ["/etc/passwd", "/dev/zero", "../../../outside", "..", "loop"])
@pytest.mark.parametrize("link", ["results/cpu.jsonl", "graphs"])
def test_a_revision_does_not_lead_elsewhere(workspace, target, link):
    """Links that lead out of its files are not there; others are."""
    write(workspace, "inside/file", "x")
    (workspace / "good").symlink_to("inside/file")
    (workspace / link).parent.mkdir(exist_ok=True)
    (workspace / link).symlink_to("../.." if target == ".." else target)
    commit(workspace)
    with checkout_revision("HEAD") as tree:
        assert "x" == (tree / "good").read_text()
        assert not (tree / link).exists()


# The current folder


@pytest.mark.parametrize("module", ["click", "msgspec", "typing"])
def test_a_module_beside_the_user_is_not_imported(workspace, module):
    """By `python -m mnbench`, which finds mnbench itself in the current folder first."""
    write(workspace, f"{module}.py", "open('executed', 'w').close()\n")
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, "-m", "mnbench", "table"]
    done = subprocess.run(command, cwd=workspace, env=environment, capture_output=True, text=True, check=False)

    assert not (workspace / "executed").exists()
    assert done.stderr.startswith("Error: results: holds no results yet")
