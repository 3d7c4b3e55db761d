"""A stranger's repository: git starts nothing that its configuration names, and no revision hides our modules."""

# ruff: noqa: SIM300, ARG001, ARG005, D103  expected == actual; every attack takes the same

import os
import shutil
import subprocess

import msgspec
import pytest
from common import line_of

from mnbench.results.git_history import file_history

GATE = ("gate", "results/cpu.jsonl", "--base-ref", "HEAD")
HISTORY = ("table", "--history")
SIGNATURE = "-----BEGIN PGP SIGNATURE-----\n \n AAAA\n -----END PGP SIGNATURE-----"


@pytest.fixture
def git(workspace):
    """Run git in the workspace."""

    def run(*arguments, stdin=None):
        author = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main")
        command = ["git", *author, *arguments]
        done = subprocess.run(command, cwd=workspace, check=True, capture_output=True, text=True, input=stdin)
        return done.stdout.strip()

    return run


@pytest.fixture
def evil(tmp_path):
    """A program that leaves a mark beside it when it runs."""
    path = tmp_path / "evil"
    path.write_text(f"#!/bin/sh\n: > {tmp_path / 'executed'}\nexit 1\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def repository(workspace, git, make_record):
    """A repository with two revisions of a table."""
    git("init", "--quiet")
    (workspace / "results").mkdir()
    table = workspace / "results" / "cpu.jsonl"
    (workspace / ".gitattributes").write_text("* filter=x diff=x\n")
    for text in (b"", line_of(make_record(0.25, 32, 2_000_000))):
        table.write_bytes(text)
        git("add", ".")
        git("commit", "--quiet", "-m", "x")
    return workspace


def sign(git):
    """Let the newest commit have a signature that git shall check."""
    text = git("cat-file", "commit", "HEAD")
    head, _, message = text.partition("\n\n")
    signed = f"{head}\ngpgsig {SIGNATURE}\n\n{message}\n"
    commit = git("hash-object", "-t", "commit", "-w", "--stdin", "--literally", stdin=signed)
    git("update-ref", "HEAD", commit)


def hook(name):
    return lambda folder, git, evil: shutil.copy(evil, folder / ".git" / "hooks" / name)


def hooks_path(folder, git, evil):
    (folder / "hooks").mkdir()
    shutil.copy(evil, folder / "hooks" / "post-checkout")
    git("config", "core.hooksPath", "hooks")


def setting(key):
    return lambda folder, git, evil: git("config", key, evil)


def included(folder, git, evil):
    (folder / "settings").write_text(f'[filter "x"]\nsmudge = {evil}\n')
    git("config", "include.path", "../settings")


def signature(program):
    def set_up(folder, git, evil):
        sign(git)
        git("config", "log.showSignature", "true")
        git("config", program, evil)

    return set_up


def promisor(**settings):
    """Let the table's old content be one that only a remote has."""

    def set_up(folder, git, evil):
        blob = git("rev-parse", "HEAD:results/cpu.jsonl")
        (folder / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
        git("config", "core.repositoryFormatVersion", "1")
        git("config", "extensions.partialClone", "origin")
        git("config", "remote.origin.promisor", "true")
        for key, value in settings.items():
            git("config", key.replace("_", "."), value.format(evil=evil))

    return set_up


GATE_ATTACKS = {
    "post-checkout": hook("post-checkout"),
    "post-index-change": hook("post-index-change"),
    "reference-transaction": hook("reference-transaction"),
    "core.hooksPath": hooks_path,
    "core.fsmonitor": setting("core.fsmonitor"),
    "filter.smudge": setting("filter.x.smudge"),
    "filter.process": setting("filter.x.process"),
    "include.path": included,
}
HISTORY_ATTACKS = {
    "gpg.program": signature("gpg.program"),
    "gpg.openpgp.program": signature("gpg.openpgp.program"),
    "ext": promisor(remote_origin_url="ext::{evil} %S", protocol_ext_allow="always"),
    "core.sshCommand": promisor(remote_origin_url="ssh://nohost.example/x", core_sshCommand="{evil}"),
    "uploadpack": promisor(remote_origin_url="/nowhere", remote_origin_uploadpack="{evil}"),
}
ATTACKS = {
    **{f"gate, {name}": (GATE, attack) for name, attack in GATE_ATTACKS.items()},
    **{f"table, {name}": (HISTORY, attack) for name, attack in HISTORY_ATTACKS.items()},
}


@pytest.mark.parametrize(("command", "attack"), ATTACKS.values(), ids=ATTACKS)
def test_git_starts_nothing_that_a_repository_names(invoke, repository, git, evil, command, attack):
    """No hook, filter, signing program or transport."""
    attack(repository, git, evil)
    invoke(*command, env={"MNBENCH_TRUST": "1"})

    assert not (evil.parent / "executed").exists()


def test_a_committed_folder_is_no_repository(invoke, repository, git, evil, tmp_path):
    """A clone's `results/` can hold what a bare repository does."""
    shutil.copy(repository / "results" / "cpu.jsonl", repository)
    git("add", ".")
    git("commit", "--quiet", "-m", "x")
    signature("gpg.program")(repository, git, evil)
    git("config", "core.bare", "true")
    shutil.copytree(repository / ".git", repository / "results", dirs_exist_ok=True)
    shutil.rmtree(repository / ".git")
    invoke(*HISTORY)

    assert not (evil.parent / "executed").exists()


@pytest.mark.parametrize("entry", ["", ".", "bin", "./bin"])
def test_git_is_not_found_in_the_current_folder(invoke, repository, evil, monkeypatch, entry):
    """An empty or relative entry of PATH."""
    for folder in (repository / entry, repository / "results" / entry):
        folder.mkdir(exist_ok=True)
        shutil.copy(evil, folder / "git")
    monkeypatch.setenv("PATH", f"{entry}:{os.environ['PATH']}")
    invoke(*HISTORY)

    assert not (evil.parent / "executed").exists()


def test_a_revision_leaves_nothing_in_the_repository(invoke, repository, git):
    """No worktree, no reference, and the index as it was."""
    before = {path: path.read_bytes() for path in (repository / ".git").rglob("*") if path.is_file()}
    invoke(*GATE, env={"MNBENCH_TRUST": "1"})

    assert before == {path: path.read_bytes() for path in (repository / ".git").rglob("*") if path.is_file()}


def test_a_part_of_a_history_is_read(repository, tmp_path):
    """CI jobs clone the newest commits alone."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", f"file://{repository}", str(clone)], check=True)
    ((_, data),) = file_history(clone / "results" / "cpu.jsonl")

    assert (clone / "results" / "cpu.jsonl").read_bytes() == data


PLANTED = "open({log!r}, 'a').write('{name}\\n')\nraise SystemExit(f'{{sorted(__import__(\"os\").environ)}}')\n"


@pytest.fixture
def base(repository, git, make_record, tmp_path):
    """Commit these files beside a table of one small variant; the file that they write to."""

    def commit(files, **changes):
        log = tmp_path / "log"
        log.touch()
        for name in files:
            path = repository / name
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(PLANTED.format(log=str(log), name=name))
        record = msgspec.structs.replace(make_record(0.25, 32), **changes)
        (repository / "results" / "cpu.jsonl").write_bytes(line_of(record))
        git("add", "--force", ".")
        git("commit", "--quiet", "-m", "base")
        for name in files:
            (repository / name).unlink()
        return log

    return commit


@pytest.mark.parametrize(
    "name",
    ["json.py", *(pytest.param(name, marks=pytest.mark.slow) for name in ("click.py", "numpy.py", "gettext.py"))],
)
def test_a_module_of_a_revision_is_not_executed(invoke, base, name):
    """A revision without mnbench is data: this mnbench builds its graphs."""
    log = base([name])
    invoke(*GATE, env={"MNBENCH_TRUST": "1"})

    assert "" == log.read_text()


TOOL = """
import os, sys
open({log!r}, 'a').write(' '.join(sorted(os.environ)))
import click, gettext, json
"""


@pytest.mark.parametrize("name", [pytest.param("click.py", marks=pytest.mark.slow), "json.py"])
def test_a_trusted_tool_of_a_revision_imports_what_is_installed(invoke, base, repository, git, name):
    """The revision's mnbench alone is trusted, not what lies beside it."""
    log = base([name])
    (repository / "mnbench").mkdir()
    (repository / "mnbench" / "__init__.py").touch()
    (repository / "mnbench" / "__main__.py").write_text(TOOL.format(log=str(log)))
    (repository / name).write_text(PLANTED.format(log=str(log), name=name))
    git("add", "--force", ".")
    git("commit", "--quiet", "-m", "base")
    (repository / name).unlink()
    invoke(*GATE, env={"MNBENCH_TRUST": "1", "GITHUB_TOKEN": "secret"})

    assert "PATH" in log.read_text()
    assert name not in log.read_text()


@pytest.mark.parametrize("secret", ["GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK"])
def test_a_trusted_tool_of_a_revision_gets_no_secret(invoke, base, repository, git, secret):
    """Trust in what it computes is none in what it may know."""
    log = base([])
    (repository / "mnbench").mkdir()
    (repository / "mnbench" / "__init__.py").touch()
    (repository / "mnbench" / "__main__.py").write_text(TOOL.format(log=str(log)))
    git("add", "--force", ".")
    git("commit", "--quiet", "-m", "base")
    invoke(*GATE, env={"MNBENCH_TRUST": "1", secret: "secret"})

    assert "PATH" in log.read_text()
    assert secret not in log.read_text()
