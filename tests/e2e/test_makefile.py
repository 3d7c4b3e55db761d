"""`make` and the environment that it sets up: an existing one is kept, an unusable one is made anew."""

# ruff: noqa: SIM300  expected == actual

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[2] / "Makefile"

PYTHON = """#!/bin/sh
# Stands for Python: -m venv copies it into a new environment, -m pip is logged, and may fail or kill make's shell.
case "$*" in
  *venv*) rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo venv >>log ;;
  *"pip install"*) echo pip >>log; test ! -e killed || kill -9 $PPID; test ! -e offline ;;
esac
"""


@pytest.fixture
def make(tmp_path):
    """A function that makes the environment after a change of the pins; it returns what was done."""
    shutil.copy(MAKEFILE, tmp_path)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "pyproject.toml").touch()

    def run(*, succeeds=True):
        for name in ("log", "constraints.txt"):
            (tmp_path / name).write_text("")
        os.utime(tmp_path / "constraints.txt", (2e9, 2e9))
        done = subprocess.run(
            ["make", "PYTHON=./python", ".venv/ready"], cwd=tmp_path, capture_output=True, check=False, timeout=60
        )
        assert (0 == done.returncode) == succeeds, done.stderr
        return (tmp_path / "log").read_text().split()

    return run


def test_an_environment_is_kept(make, tmp_path):
    """A change of the pins installs packages into the environment that is there, also into the user's own."""
    assert ["venv", "pip", "pip"] == make()
    (tmp_path / ".venv/mine").touch()
    assert ["pip", "pip"] == make()
    (tmp_path / ".venv/ready").unlink()
    assert ["pip", "pip"] == make()
    assert (tmp_path / ".venv/mine").exists()


def test_a_broken_environment_is_made_anew(make, tmp_path):
    """A Python that does not start, such as one that was uninstalled, is replaced."""
    make()
    (tmp_path / ".venv/bin/python").unlink()
    assert ["venv", "pip", "pip"] == make()


def test_an_installation_that_fails_is_tried_again(make, tmp_path):
    """Without a network, the environment stays as it was; so it does when there is one again."""
    make()
    (tmp_path / "offline").touch()
    assert ["pip"] == make(succeeds=False)
    (tmp_path / "offline").unlink()
    assert ["pip", "pip"] == make()


def test_an_interrupted_environment_is_made_anew(make, tmp_path):
    """Packages that were installed half way are not trusted."""
    make()
    (tmp_path / "killed").touch()
    assert ["pip"] == make(succeeds=False)
    (tmp_path / "killed").unlink()
    assert ["venv", "pip", "pip"] == make()
    assert ["pip", "pip"] == make()
