"""Killed commands and lost streams: no worker lives on, nothing stays, and no record is lost."""

# ruff: noqa: SIM300  expected == actual

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from common import PATIENCE_S, line_of, processes, until

pytestmark = pytest.mark.slow

MNBENCH = (sys.executable, "-m", "mnbench")
SMALL = ("v1", "--alpha", "0.25", "--res", "32")
LONG = (*MNBENCH, "run", *SMALL, "--duration", "40", "--processes", "1")
ENDED_S = 2.0
KILLS = int(os.environ.get("MNBENCH_KILLS", "1"))
"""Random moments at which each command is killed."""

HOLDING = """
from mnbench.targets import transport
from mnbench.targets.device import Device
sources = transport._worker_sources()
code = "def handle(request, channel):\\n import ctypes\\n ctypes.PyDLL(None).sleep(40)"
sources["mnbench_worker.requests.hold"] = (False, code)
transport._worker_sources = lambda: sources
facts = {"name": "cpu", "summary": "", "runtime": "onnxruntime", "provider": "CPUExecutionProvider", "threads": 1}
with transport.open_worker(Device(gateway="popen", **facts), timeout_s=60) as worker:
    worker._channel.send({"kind": "hold"})
    worker._channel.receive(60)
"""
"""A worker whose C code does not let Python run."""


@contextmanager
def started(workspace, command, **variables):
    """A command in a session of its own, killed with all its processes at the end."""
    environment = os.environ | {"TMPDIR": str(workspace.parent / "temporary"), **variables}
    (workspace.parent / "temporary").mkdir(exist_ok=True)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=workspace, env=environment, start_new_session=True, **quiet) as process:
        try:
            yield process
        finally:
            if processes(group=process.pid):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("command", "number"),
    [
        (LONG, signal.SIGKILL),
        (LONG, signal.SIGHUP),
        (LONG, signal.SIGTERM),
        ((sys.executable, "-c", HOLDING), signal.SIGKILL),
    ],
    ids=["SIGKILL", "SIGHUP", "SIGTERM", "SIGKILL, in C"],
)
def test_a_worker_ends_with_its_command(workspace, command, number):
    """In the middle of a run of 40 s."""
    with started(workspace, command) as process:
        assert until(lambda: processes(parent=process.pid))
        time.sleep(2)
        process.send_signal(number)
        process.wait(PATIENCE_S)
        end = time.monotonic() + ENDED_S
        while processes(group=process.pid) and time.monotonic() < end:
            time.sleep(0.01)

        assert set() == processes(group=process.pid)


def test_a_program_ends_with_mnbench(workspace):
    """Such as pip or git."""
    code = "from mnbench.programs import run_program; run_program(['sleep', '40'])"
    with started(workspace, (sys.executable, "-c", code)) as process:
        assert until(lambda: processes(parent=process.pid))
        process.kill()
        process.wait()

        assert until(lambda: not processes(group=process.pid))


QUICK = ("--duration", "0.1", "--processes", "2", "--precision-target", "99%")
COMMANDS = {
    "run": ("run", *SMALL, *QUICK),
    "compare": ("compare", "v1-a0.25-r32", "v1-a0.25-r64", "--processes", "4", "--allow", "busy"),
    "gate": ("gate", "results/cpu.jsonl", "--base-ref", "HEAD", "--self-check", "--processes", "4", "--allow", "busy"),
    "doctor": ("doctor", "--device", "cpu"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_kill_leaves_nothing_behind(workspace, make_record, name):
    """At random moments: after the next command there is no folder, no worktree, no half-written file, no worker."""
    draw = random.Random()
    (workspace / "results").mkdir()
    (workspace / "results" / "cpu.jsonl").write_bytes(line_of(make_record(0.25, 32)))
    git = ("git", "-c", "user.name=x", "-c", "user.email=x@example.org")
    for arguments in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-m", "x")):
        subprocess.run([*git, *arguments], cwd=workspace, check=True)
    for _ in range(KILLS):
        with started(workspace, (*MNBENCH, *COMMANDS[name])) as process:
            until(lambda: any((workspace.parent / "temporary").iterdir()) or process.poll() is not None)
            time.sleep(draw.uniform(0, 2))
            process.kill()
            process.wait()
            assert until(lambda pid=process.pid: not processes(group=pid))
        with started(workspace, (*MNBENCH, "devices")) as process:
            assert 0 == process.wait(PATIENCE_S)

        assert [] == list((workspace.parent / "temporary").iterdir())
    with started(workspace, (*MNBENCH, *COMMANDS["run"])) as process:
        assert 0 == process.wait(PATIENCE_S)
    assert [] == [path.name for path in workspace.rglob("*.mnbench-part")]
    worktrees = subprocess.run(["git", "worktree", "list"], cwd=workspace, check=True, capture_output=True).stdout
    assert 1 == len(worktrees.splitlines())


def test_a_full_stderr_ends_no_measurement(workspace):
    """A disk that is full of logs."""
    command = [*MNBENCH, "run", "v1", "--alpha", "0.25", "--res", "32,64", *QUICK]
    with open("/dev/full", "wb") as full:  # noqa: PTH123  a device
        done = subprocess.run(command, cwd=workspace, stdout=subprocess.PIPE, stderr=full, check=False)

    assert 0 == done.returncode
    assert 2 == len((workspace / "results" / "cpu.jsonl").read_bytes().splitlines())


def test_an_ignored_hangup_stays_ignored(workspace):
    """As `nohup` has it."""
    command = ("sh", "-c", f"trap '' HUP; exec {' '.join(map(str, (*MNBENCH, *COMMANDS['run'])))}")
    with started(workspace, command) as process:
        assert until(lambda: processes(parent=process.pid))
        process.send_signal(signal.SIGHUP)

        assert 0 == process.wait(PATIENCE_S)
