"""A run that is interrupted or killed, as a real process: nothing is lost, repeated or left behind."""

# ruff: noqa: SIM300  expected == actual

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager

import pytest
from common import PATIENCE_S, line_of, processes, until

from mnbench.results.store import ResultsFile

pytestmark = pytest.mark.slow

# A shell's background jobs, and so tests in one, ignore SIGINT and hand that on: undo it, as a terminal would have it.
MNBENCH = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("mnbench", run_name="__main__")
"""
RUN = [sys.executable, "-c", MNBENCH, "run", "v1", "--alpha", "0.25", "--res", "32,64", "--duration", "0.05"]
RUN += ["--processes", "3", "--precision-target", "99%", "--format", "json"]
CELLS = ["v1-a0.25-r32", "v1-a0.25-r64"]
VISITS = 6
"""The trials of a run, at least: those of a busy machine may differ by more than the target."""


@contextmanager
def started(workspace, command=RUN):
    """`mnbench run` in a session of its own, as in a terminal of its own; killed if the test ends before it."""
    with subprocess.Popen(
        command,
        cwd=workspace,
        env=os.environ | {"TMPDIR": str(workspace.parent)},  # a killed process leaves its models behind
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def visits(workspace):
    """How many trials are kept."""
    return len(list(workspace.glob("results/raw/*/*.npz")))


def completed(workspace):
    """Run the same command to its end; its records, and what it says on stderr."""
    with started(workspace) as process:
        stdout, stderr = process.communicate(timeout=120)
    assert 0 == process.returncode, stderr
    return json.loads(stdout)["records"], stderr


def assert_complete(workspace, records):
    """Every cell has one record with all its trials, on stdout and in a file whose every line parses."""
    lines = (workspace / "results" / "cpu.jsonl").read_text(encoding="utf-8").splitlines()
    stored = [json.loads(line) for line in lines]

    assert CELLS == [record["variant"] for record in records]
    assert sorted(CELLS) == sorted(record["variant"] for record in stored)
    assert_trials_are_kept(workspace)


def assert_trials_are_kept(workspace):
    """No cell failed; each has three trials or more, and each trial its file."""
    records = ResultsFile(workspace / "results", "cpu").read_records()

    assert {None} == {record.error for record in records}
    assert min(record.processes for record in records) >= 3
    assert visits(workspace) == sum(record.processes for record in records)


# The run itself is interrupted or killed


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["mnbench alone", "whole group"])
def test_ctrl_c_stops_cleanly_and_the_same_command_continues(workspace, send):
    """SIGINT in mid-run exits with 130 and says how to go on, leaves no process, and loses nothing that was kept."""
    with started(workspace) as process:
        until(lambda: visits(workspace) >= 2)
        send(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=PATIENCE_S)

    assert 130 == process.returncode
    assert "" == stdout
    assert "--resume continues" in stderr
    assert until(lambda: not processes(group=process.pid))
    stored = visits(workspace)
    assert f"stopped: {stored} trials are kept" in stderr
    assert 2 <= stored < VISITS

    records, message = completed(workspace)
    assert f": {stored} trials are stored" in message
    assert_complete(workspace, records)


def temporary(workspace):
    """The folders of models that commands have made for themselves."""
    return list(workspace.parent.glob("mnbench-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda item: item.name)
@pytest.mark.parametrize("delay_s", [0, 0.1, 0.3])
def test_stopped_while_building(workspace, tree, number, delay_s):
    """Ctrl-C or SIGTERM before anything is measured exits with 130 and one plain line, and leaves nothing."""
    many = ",".join(str(side) for side in range(32, 1024, 32))
    with started(workspace, [*RUN, "--quiet", "--res", many]) as process:
        until(lambda: temporary(workspace))
        time.sleep(delay_s)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=PATIENCE_S)

    assert (130, "", "stopped\n") == (process.returncode, stdout, stderr)
    assert ([], {}) == (temporary(workspace), tree(workspace))
    assert until(lambda: not processes(group=process.pid))


def test_stopped_while_starting(workspace):
    """Ctrl-C while the program imports its own modules ends it as a signal does, without a traceback."""
    stub = workspace.parent / "stub"
    stub.mkdir()
    (stub / "click.py").write_text("import pathlib, time\npathlib.Path('started').touch()\ntime.sleep(60)\n")
    with started(
        workspace, [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(stub)!r})\n{MNBENCH}"]
    ) as process:
        until((workspace / "started").exists)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=PATIENCE_S)

    assert (-signal.SIGINT, "", "") == (process.returncode, stdout, stderr)


@pytest.mark.parametrize("call", ["mkdir", "rmdir"])
def test_stopped_as_a_folder_comes_or_goes(workspace, call):
    """Ctrl-C in the middle of making or removing the folder of models leaves none behind."""
    interrupting = f"""
import os, signal
ordinary = os.{call}

def {call}(path, *rest, **options):
    if "{call}" == "mkdir":
        ordinary(path, *rest, **options)
    if "mnbench-" in os.fspath(path):
        os.kill(os.getpid(), signal.SIGINT)
    if "{call}" == "rmdir":
        ordinary(path, *rest, **options)

os.{call} = {call}
"""
    script = interrupting + MNBENCH
    with started(workspace, [sys.executable, "-c", script, *RUN[3:]]) as process:
        _, stderr = process.communicate(timeout=120)

    assert process.returncode in {0, 130}, stderr  # the folder goes so late that the run may be complete
    assert [] == temporary(workspace)


@pytest.mark.parametrize("delay_s", [0, 0.15])
def test_sigterm_while_measuring_ends_like_ctrl_c(workspace, delay_s):
    """SIGTERM in mid-run keeps what was measured, says how to go on, and leaves neither worker nor models."""
    with started(workspace) as process:
        until(lambda: visits(workspace) >= 2)
        time.sleep(delay_s)
        process.terminate()
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    stored = visits(workspace)

    assert (130, "") == (process.returncode, stdout)
    assert f"stopped: {stored} trials are kept in results/raw/" in stderr
    assert "Traceback" not in stderr
    assert [] == temporary(workspace)
    assert until(lambda: not processes(group=process.pid))
    assert_complete(workspace, completed(workspace)[0])


def test_resume_after_ctrl_c_repeats_no_visit(workspace):
    """Stopped several times, `mnbench run --resume` goes on from what is kept, to the same end."""
    stamps = {}
    for least in (1, 2, 4):  # the third process, and the fourth, measure both cases
        with started(workspace, RUN if least == 1 else [*RUN[: RUN.index("v1")], "--resume"]) as process:
            until(lambda least=least: visits(workspace) >= least)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=PATIENCE_S)
        assert 130 == process.returncode
        entries = {path: path.stat().st_mtime_ns for path in workspace.glob("results/raw/*/*.npz")}
        assert stamps == {path: entries[path] for path in stamps}
        stamps = entries
    with started(workspace, [*RUN[: RUN.index("v1")], "--resume"]) as process:
        stdout, stderr = process.communicate(timeout=PATIENCE_S)

    assert 0 == process.returncode, stderr
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    assert_complete(workspace, json.loads(stdout)["records"])


def test_ctrl_c_while_a_worker_starts_shows_no_traceback(workspace):
    """A terminal sends SIGINT to workers too: whenever it comes in a worker's start, none prints a traceback."""
    for delay in (0, 0, 0.01, 0.03, 0.08):
        with started(workspace) as process:
            until(lambda pid=process.pid: len(processes(group=pid)) > 1)
            time.sleep(delay)
            os.killpg(process.pid, signal.SIGINT)
            _, stderr = process.communicate(timeout=PATIENCE_S)

        assert 130 == process.returncode, (delay, stderr)
        assert "Traceback" not in stderr, (delay, stderr)


def test_kill_loses_at_most_the_visit_in_flight(workspace):
    """Killed at random moments, alone or with its workers, a run is continued to one record a cell."""
    draw = random.Random()
    stored = 0
    for send in (os.kill, os.killpg, os.kill, os.killpg, os.kill):
        with started(workspace) as process:
            time.sleep(draw.uniform(0.3, 1.8))
            send(process.pid, signal.SIGKILL)
            process.communicate(timeout=PATIENCE_S)
        # A worker whose run is gone ends by itself.
        assert until(lambda pid=process.pid: not processes(group=pid))
        assert stored <= visits(workspace)
        stored = visits(workspace)
    completed(workspace)
    records = ResultsFile(workspace / "results", "cpu").read_records()
    runs = {path.name for path in workspace.glob("results/raw/*-*")}

    # A kill may come so late that the run is complete: then the next one is another run.
    assert dict.fromkeys(((run, cell) for run in runs for cell in CELLS), 1) == Counter(
        (record.run, record.variant) for record in records
    )
    assert_trials_are_kept(workspace)


@pytest.mark.parametrize("number", [5, 6])
def test_kill_right_after_a_visit(workspace, number):
    """Killed as soon as a visit is kept, also the last of a cell, no record is lost and none comes twice."""
    with started(workspace) as process:
        until(lambda: visits(workspace) >= number or process.poll() is not None)
        process.kill()
        process.communicate(timeout=PATIENCE_S)
    store = ResultsFile(workspace / "results", "cpu")
    before = Counter(record.variant for record in store.read_records())
    if len(before) < len(CELLS):
        records, _ = completed(workspace)
        assert_complete(workspace, records)

    assert dict.fromkeys(CELLS, 1) == Counter(record.variant for record in store.read_records())


# Two at once


def test_two_runs_at_once_lose_no_record(workspace):
    """Two processes that measure the same cells into the same file both finish, each with its own run and records."""
    long = [*RUN, "--duration", "0.3"]
    with started(workspace, long) as item, started(workspace, long) as other:
        outputs = [process.communicate(timeout=120) for process in (item, other)]
    records = [json.loads(stdout)["records"] for stdout, _ in outputs]
    lines = (workspace / "results" / "cpu.jsonl").read_text(encoding="utf-8").splitlines()
    stored = [json.loads(line) for line in lines]

    assert [0, 0] == [item.returncode, other.returncode]
    assert 2 == len({record["run"] for record in stored})
    assert Counter(f"{record['run']}/{cell}" for record in stored for cell in [record["variant"]]) == dict.fromkeys(
        (record["id"] for result in records for record in result), 1
    )
    assert 2 * len(CELLS) == len(stored)
    assert_trials_are_kept(workspace)


# Results and clocks that are not as they were


def test_a_half_written_last_line_costs_nothing_else(workspace, make_record):
    """A run appends behind the last whole record, over what a power failure may have left of another."""
    before = line_of(make_record())
    (workspace / "results").mkdir()
    path = workspace / "results" / "cpu.jsonl"
    path.write_bytes(before + before[: len(before) // 2])
    records, _ = completed(workspace)
    first, *lines = path.read_bytes().splitlines(keepends=True)

    assert before == first
    assert sorted(record["id"] for record in records) == sorted(json.loads(line)["id"] for line in lines)


EARLIER = """
import datetime, sys, time
hours, now = float(sys.argv.pop(1)), time.time
time.time = lambda: now() - 3600 * hours


class Earlier(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) - datetime.timedelta(hours=hours)


datetime.datetime = Earlier
"""


def test_a_wall_clock_that_went_back_costs_nothing(workspace):
    """A run that was stopped after another is continued, though the clock says that it is hours before both."""

    def at(hours):
        return [sys.executable, "-c", EARLIER + MNBENCH, str(hours), *RUN[RUN.index("run") :]]

    with started(workspace, at(0)) as process:
        first = json.loads(process.communicate(timeout=120)[0])["records"]
    with started(workspace, at(2)) as process:
        until(lambda: visits(workspace) >= sum(record["processes"] for record in first) + 2)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
    with started(workspace, at(5)) as process:
        second = json.loads(process.communicate(timeout=120)[0])["records"]
    records = ResultsFile(workspace / "results", "cpu").read_records()

    assert first[0]["run"] > second[0]["run"]
    assert [record["id"] for record in first] != [record["id"] for record in second]
    assert sorted(record["id"] for record in (*first, *second)) == sorted(record.id for record in records)
    assert_trials_are_kept(workspace)
