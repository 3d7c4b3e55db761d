"""The line budget of the package."""

# ruff: noqa: SIM300  expected == actual

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def size(tmp_path):
    """Run `.ci/size` on a package of so many lines with this budget."""
    (tmp_path / ".ci").mkdir()
    shutil.copyfile(ROOT / ".ci" / "size", tmp_path / ".ci" / "size")
    (tmp_path / "mnbench" / "deep").mkdir(parents=True)

    def run(lines, budget):
        (tmp_path / "pyproject.toml").write_text(f"[tool.mnbench]\nline_budget = {budget}\n", encoding="utf-8")
        (tmp_path / "mnbench" / "top.py").write_text("pass\n" * (lines - 3), encoding="utf-8")
        (tmp_path / "mnbench" / "deep" / "below.py").write_text("pass\n" * 3, encoding="utf-8")
        (tmp_path / "mnbench" / "page.js").write_text("\n" * 1000, encoding="utf-8")
        command = [sys.executable, tmp_path / ".ci" / "size"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def test_a_package_within_its_budget_passes(size):
    """The budget itself is allowed; only lines of Python count."""
    done = size(lines=1200, budget=1200)
    assert (0, "mnbench/**/*.py has 1,200 lines; line_budget is 1,200\n", "") == (
        done.returncode,
        done.stdout,
        done.stderr,
    )


def test_a_package_over_its_budget_fails(size):
    """One line says how many lines are too many, and where the budget is."""
    done = size(lines=1205, budget=1200)
    assert (1, "") == (done.returncode, done.stdout)
    assert "mnbench/**/*.py has 1,205 lines, 5 over line_budget = 1200 in pyproject.toml\n" == done.stderr


def test_the_repository_has_a_budget():
    """Its own `.ci/size` reads a budget from pyproject.toml and counts the package."""
    done = subprocess.run([ROOT / ".ci" / "size"], capture_output=True, text=True, check=False)
    assert "line_budget" in done.stdout + done.stderr
