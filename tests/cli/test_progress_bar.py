"""What a long command writes to stderr: lines without a terminal, nothing with --quiet, more with --verbose."""

# ruff: noqa: SIM300  expected == actual

import logging

import click
import pytest
from common import ONCE

from mnbench.bench.benchmark import BenchmarkOptions, announce_duration
from mnbench.bench.plan import SamplingConfig
from mnbench.cli import COMMANDS, main
from mnbench.cli.progress_bar import ProgressBar
from mnbench.progress import StageProgress

CASE = ("v1-a0.25-r32", *ONCE)


def test_lines_without_a_terminal_are_rare(capsys):
    """At most one line in ten seconds says how far the stage is; messages come at once; stdout stays clean."""
    time_s = 0.0
    with ProgressBar(clock=lambda: time_s) as bar:
        progress = StageProgress(bar, "measure", 100)
        for step in range(99):
            time_s += 4
            progress.advance("v1: 1.2 ms" if step == 1 else "")
        lines = capsys.readouterr()
        StageProgress(bar, "profile", 2).advance()

    assert "" == lines.out
    message, first, *others = lines.err.splitlines()
    assert ("v1: 1.2 ms", "measuring: 3 of 100, about 6 min remaining") == (message, first)
    assert 32 == len(others)
    assert "measuring: 99 of 100, about 4 s remaining" == others[-1]
    assert "" == capsys.readouterr().err


@pytest.mark.parametrize("option", ["-q", pytest.param("--quiet", marks=pytest.mark.slow)])
def test_quiet_shows_the_result_and_errors_alone(invoke, workspace, option):
    """Without it, the command says where the result is stored."""
    assert "stored in" in invoke("run", *CASE).stderr
    quiet = invoke("run", *CASE, option)

    assert (0, "") == (quiet.exit_code, quiet.stderr)
    assert "latency" in quiet.stdout
    assert "unknown graph" in invoke("run", "v9", option).stderr
    assert (workspace / "results/cpu.jsonl").exists()


@pytest.mark.slow
def test_verbose_shows_files_processes_and_latencies(invoke, workspace):
    """The log goes to stderr while the command runs, and no longer."""
    verbose = invoke("run", *CASE, "--verbose")

    assert "devices/cpu.toml" in verbose.stderr
    assert "starting a worker of device cpu on popen (" in verbose.stderr
    assert "v1-a0.25-r32 on cpu, process 1: median " in verbose.stderr
    assert "process 1" not in invoke("run", *CASE, "--fresh").stderr
    assert [] == logging.getLogger("mnbench").handlers
    assert workspace


def test_quiet_and_verbose_exclude_each_other(invoke):
    """One of them must be meant."""
    assert 2 == invoke("build", "v1", "-qv").exit_code


def test_only_commands_that_report_progress_can_be_quiet():
    """An option that does nothing for a command is refused."""
    ctx = click.Context(main)
    commands = {name: main.get_command(ctx, name) for name in COMMANDS}
    quiet = {name for name, command in commands.items() if "quiet" in [option.name for option in command.params]}

    assert {"build", "compare", "doctor", "gate", "run", "study", "verify"} == quiet


def test_a_long_run_says_how_long_it_takes():
    """Sixteen cases of at least six processes of 1.5 s and at most 20 s; a short run says nothing."""
    assert "measuring 16 cases: 4 min to 5 min" == announce_duration(16, BenchmarkOptions())
    assert "measuring 32 cases: 8 min to 11 min" == announce_duration(16, BenchmarkOptions(threads=(1, 2)))
    assert "" == announce_duration(16, BenchmarkOptions(sampling=SamplingConfig(budget_s=3.0)))
