"""A run that Ctrl-C ended, within this process: its command and `--resume` take up what it kept."""

# ruff: noqa: SIM300  expected == actual

import json

import pytest
from common import SMALL
from filelock import FileLock

from mnbench.results.store import ResultsFile


@pytest.fixture
def interrupt(fake_worker):
    """Have the worker's request of that number interrupted, as by Ctrl-C."""

    def at(number):
        def first_run_ns():
            if len(fake_worker.requests) == number:
                raise KeyboardInterrupt
            return 1_500_000

        fake_worker.changes["first_run_ns"] = first_run_ns

    return at


TRIALS, PROCESSES = 4, 3
"""Two cases have two trials each: first, each case is alone in a process; then they share one."""


def measured(fake_worker, *interrupted):
    """Count the trials that the worker measured, in all requests but those of these numbers."""
    sessions = [len(request["sessions"]) for _, request, _ in fake_worker.requests]
    return sum(count for number, count in enumerate(sessions, 1) if number not in interrupted)


TWO = ("run", "v1", "--alpha", "0.25", "--res", "32,64", "--processes", "2", "--format", "json")


def test_ctrl_c_keeps_what_was_measured_and_says_so(invoke, fake_worker, interrupt):
    """Ctrl-C ends `run` with 130 and the line that says how to go on; the same command continues."""
    interrupt(3)
    stopped = invoke(*TWO)
    continued = invoke(*TWO)

    assert (130, "") == (stopped.exit_code, stopped.stdout)
    assert "stopped: 2 trials are kept in results/raw/" in stopped.stderr
    assert "--resume continues" in stopped.stderr
    assert 0 == continued.exit_code
    assert ": 2 trials are stored (--fresh starts anew)" in continued.stderr
    assert [2, 2] == [record["processes"] for record in json.loads(continued.stdout)["records"]]
    assert TRIALS == measured(fake_worker, 3)


def test_fresh_measures_all_again(invoke, fake_worker, interrupt):
    """`--fresh` gives an unfinished run up and makes every visit."""
    interrupt(2)
    assert 130 == invoke("run", "v1", *SMALL, "--processes", "3").exit_code
    assert 0 == invoke("run", "v1", *SMALL, "--processes", "3", "--fresh").exit_code
    assert 5 == len(fake_worker.requests)


@pytest.mark.parametrize("number", range(1, PROCESSES + 1))
def test_resume_continues_the_last_run(invoke, fake_worker, interrupt, number):
    """`--resume` alone takes up the command as it was given, and repeats no visit."""
    interrupt(number)
    stopped = invoke(*TWO)
    continued = invoke("run", "--resume")

    assert (130, 0) == (stopped.exit_code, continued.exit_code)
    assert [2, 2] == [record["processes"] for record in json.loads(continued.stdout)["records"]]
    assert TRIALS == measured(fake_worker, number)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, 2 * PROCESSES + 1))
def test_resume_repeats_no_thread_count(invoke, fake_worker, interrupt, workspace, number):
    """Interrupted anywhere among several thread counts, the ones that are complete are not measured again."""
    interrupt(number)
    stopped = invoke(*TWO, "--threads", "1,2")
    continued = invoke("run", "--resume")
    records = json.loads(continued.stdout)["records"]

    assert (130, 0) == (stopped.exit_code, continued.exit_code)
    assert [1, 1, 2, 2] == [record["threads"] for record in records]
    assert 2 * TRIALS == measured(fake_worker, number)
    assert sorted(record["id"] for record in records) == sorted(
        record.id for record in ResultsFile(workspace / "results", "cpu").read_records()
    )


@pytest.mark.slow
def test_resume_has_the_exit_code_of_the_run(invoke, fake_worker, interrupt):
    """Interrupted again it is 130, with a failed cell 1, and nothing is left to resume after that."""
    interrupt(2)
    first = invoke(*TWO)
    interrupt(4)
    second = invoke("run", "--resume")
    fake_worker.changes["outputs"] = list
    third = invoke("run", "--resume")
    last = invoke("run", "--resume")

    assert [130, 130, 1, 1] == [item.exit_code for item in (first, second, third, last)]
    assert "" == second.stdout
    assert "cases could not be measured" in third.stderr
    assert "there is no unfinished run" in last.stderr


@pytest.mark.slow
def test_resume_after_the_last_record_makes_no_visit(invoke, fake_worker, monkeypatch):
    """Stopped when all is measured but not shown, the run is shown from what it kept."""
    with monkeypatch.context() as stopping:
        stopping.setattr("mnbench.results.store.RunFolder.finish", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        stopped = invoke(*TWO)
    continued = invoke("run", "--resume")

    assert (130, 0) == (stopped.exit_code, continued.exit_code)
    assert [2, 2] == [record["processes"] for record in json.loads(continued.stdout)["records"]]
    assert TRIALS == measured(fake_worker)


@pytest.mark.slow
def test_resume_finds_results_elsewhere(invoke, fake_worker, interrupt, workspace):
    """`--results` tells where the unfinished run is; a run that was finished is none."""
    interrupt(2)
    invoke(*TWO, "--results", "elsewhere")

    assert 1 == invoke("run", "--resume").exit_code
    assert 0 == invoke("run", "--resume", "--results", "elsewhere").exit_code
    assert 1 == invoke("run", "--resume", "--results", "elsewhere").exit_code
    assert TRIALS == measured(fake_worker, 2)
    assert not (workspace / "results").exists()


def test_resume_passes_over_a_run_that_another_process_is_at(invoke, interrupt, workspace):
    """While a run is measured, there is nothing to resume of it."""
    interrupt(2)
    invoke(*TWO)
    (marker,) = workspace.glob("results/raw/*/arguments.json")
    with FileLock(marker.with_name("lock")):
        held = invoke("run", "--resume")

    assert (1, True) == (held.exit_code, "there is no unfinished run" in held.stderr)
