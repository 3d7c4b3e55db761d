"""What a long command writes to stderr: lines without a terminal, nothing with --quiet, more with --verbose."""

# ruff: noqa: SIM300  expected == actual

import logging
from io import StringIO

import click
import pytest
from common import ONCE
from rich.console import Console

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


def reports(progress, clock):
    """Report a stage of 16 steps whose time its steps do not say: 13 processes of 4 s each.

    A step that was done, a case within its target, is open again after the eleventh.
    """
    for process, done in enumerate((0, 0, 0, 0, 0, 0, 0, 0, 3, 16, 15, 16, 16)):
        clock.time_s += 4
        detail = f"widest interval ±{9 - process / 2:.1f}%" if process else ""
        progress.report(done=done, detail=detail, remaining_s=60.0 - 5 * process)


class Clock:
    """A clock that a test moves."""

    time_s = 0.0

    def __call__(self):
        return self.time_s


def test_lines_say_the_widest_interval_and_the_time_that_the_stage_expects(capsys):
    """Also before the first row is done."""
    clock = Clock()
    with ProgressBar(clock=clock) as bar:
        reports(StageProgress(bar, "measure", 16), clock)

    assert [
        "measuring: 0 of 16, widest interval ±8.0%, about 50 s remaining",
        "measuring: 0 of 16, widest interval ±6.5%, about 35 s remaining",
        "measuring: 3 of 16, widest interval ±5.0%, about 20 s remaining",
        "measuring: 16 of 16, widest interval ±3.5%, about 5 s remaining",
    ] == capsys.readouterr().err.splitlines()


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 80 columns in place of stderr; what is on its last line after each report."""
    screen = Console(file=StringIO(), force_terminal=True, width=80, color_system=None, legacy_windows=False)
    monkeypatch.setattr("rich.console.Console", lambda **_: screen)

    class Terminal:
        """What a bar shows there."""

        def __init__(self):
            self.bars = []

        def shown(self, bar):
            self.bars.append(bar._bar)
            page = Console(file=StringIO(), width=80, color_system=None, legacy_windows=False)
            page.print(bar._bar.get_renderable())
            return page.file.getvalue().splitlines()

    return Terminal()


def test_a_bar_says_the_widest_interval_and_the_time_that_the_stage_expects(terminal):
    """On one line of a narrow terminal, whole; the bar goes on from report to report."""
    clock, lines = Clock(), []
    with ProgressBar(clock=clock) as bar:
        progress = StageProgress(lambda report: (bar(report), lines.append(terminal.shown(bar))), "measure", 16)
        reports(progress, clock)

    assert 1 == len(set(terminal.bars))
    assert {1} == set(map(len, lines))
    first, last = lines[1][0], lines[-1][0]
    assert first.startswith("measuring ")
    assert first.rstrip().endswith("0/16 0 s about 60 s remaining")
    assert last.rstrip().endswith("16/16 0 s widest interval ±3.0%")


def test_a_bar_estimates_the_time_of_a_stage_that_does_not(terminal):
    """From the steps behind the first; the next stage has a bar of its own, whose time begins with it."""
    clock = Clock()
    with ProgressBar(clock=clock) as bar:
        building = StageProgress(bar, "build", 4)
        assert terminal.shown(bar)[0].rstrip().endswith("0/4 0 s")
        clock.time_s += 20
        building.advance()
        assert "remaining" not in terminal.shown(bar)[0]
        clock.time_s += 3
        building.advance()
        assert "about 6 s remaining" in terminal.shown(bar)[0]
        for step_s in (3, 5):
            measuring = StageProgress(bar, "measure", 3)
            for _ in range(2):
                clock.time_s += step_s
                measuring.advance()
            assert f"about {step_s} s remaining" in terminal.shown(bar)[0]

    assert 3 == len(set(terminal.bars))


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
    """Sixteen cases that share 43 s measure at once; a run of a minute and more says so before it begins."""
    quick, thorough = (
        BenchmarkOptions(sampling=preset()) for preset in (SamplingConfig.quick, SamplingConfig.thorough)
    )
    assert "" == announce_duration(16, 1, BenchmarkOptions())
    assert "measuring 91 cases: 4 min at most" == announce_duration(91, 1, BenchmarkOptions())
    assert "measuring 32 cases: 86 s at most" == announce_duration(16, 1, BenchmarkOptions(threads=(1, 2)))
    assert "measuring 32 cases: 86 s at most" == announce_duration(16, 2, BenchmarkOptions())
    assert "measuring 16 cases: 5 min at most" == announce_duration(16, 1, thorough)
    assert "" == announce_duration(91, 1, quick)


def test_each_run_of_few_cases_has_the_budget_of_eight():
    """A run is what one device measures with one number of threads; fleets and emulated devices are not announced."""
    thorough = BenchmarkOptions(sampling=SamplingConfig.thorough())
    assert "measuring 1 case: 3 min at most" == announce_duration(1, 1, thorough)
    assert "measuring 8 cases: 3 min at most" == announce_duration(8, 1, thorough)
    assert "measuring 3 cases: 8 min at most" == announce_duration(1, 3, thorough)
    assert "" == announce_duration(8, 0, thorough)
