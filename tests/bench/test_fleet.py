"""A fleet: real Dask workers of this machine as boards, one of which dies."""

# ruff: noqa: SIM300  expected == actual

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from common import ONCE, SMALL, TWICE, until

distributed = pytest.importorskip("distributed", reason="there is no Dask")

pytestmark = [
    pytest.mark.slow,
    # Dask's own, of sockets and loops at its end
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

QUIET = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING": "False",
}


class Boards:
    """A scheduler and its workers, each in a process of its own, with files in folders of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes, self.address = folder, {}, ""

    def open(self):
        """A fleet without boards."""
        file = self.folder / "scheduler.json"
        self._start(
            "scheduler", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", file
        )
        assert until(lambda: file.exists() and file.read_text()), (self.folder / "scheduler.log").read_text()
        self.address = json.loads(file.read_text())["address"]

    def start(self, name, *, resource):
        """A board with that resource."""
        self._start(
            name, "worker", self.address, "--name", name, "--nthreads", "2", "--no-nanny", "--no-dashboard",
            "--host", "127.0.0.1", "--resources", f"{resource}=1", "--local-directory", self.folder / name,
        )  # fmt: skip
        assert until(lambda: "Registered to" in (self.folder / f"{name}.log").read_text())

    def kill(self, name):
        """End it at once, with its children."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self):
        """End all, workers first."""
        for name in reversed(list(self.processes)):
            self.processes[name].terminate()
            self.processes[name].wait(20)

    def _start(self, name, *words):
        with (self.folder / f"{name}.log").open("w") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_" + words[0], *map(str, words[1:])],
                stderr=log, stdout=log, start_new_session=True, env=os.environ | QUIET,
            )  # fmt: skip


@pytest.fixture
def boards(tmp_path, monkeypatch):
    """A fleet without boards."""
    started = Boards(tmp_path)
    try:
        started.open()
        monkeypatch.setenv("MNBENCH_SCHEDULER", started.address)
        yield started
    finally:
        started.stop()


def records(workspace):
    """What was kept, of all devices."""
    return [
        json.loads(line)
        for path in sorted((workspace / "results").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def test_a_board_that_dies_costs_nothing(boards, workspace):
    """Of three boards, two of one device, one dies amid the run: each cell is measured once, on its own device."""
    for name, resource in {"one": "pi", "two": "pi", "three": "x86"}.items():
        boards.start(name, resource=resource)
    command = [sys.executable, "-m", "mnbench", "run", "v1", "v2", "--alpha", "0.25,0.5", "--res", "32,64"]
    command += ["--device", "fleet", *TWICE, "--duration", "0.3"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert until(lambda: list(workspace.glob("results/raw/*/*.npz")))
        boards.kill("one")
        _, said = run.communicate(timeout=200)
    result = records(workspace)

    assert (0, None) == (run.returncode, next((item["error"] for item in result if item["error"]), None)), said
    assert "board one is lost" in said
    cells = {f"{name}-a{alpha}-r{side}" for name in ("v1", "v2") for alpha in (0.25, 0.5) for side in (32, 64)}
    assert Counter({(device, cell): 1 for device in ("pi", "x86") for cell in cells}) == Counter(
        (item["device"], item["variant"]) for item in result
    )
    assert {"x86": {"three"}, "pi": {"one", "two"}}["x86"] == {
        item["host"]["board"] for item in result if item["device"] == "x86"
    }
    assert {item["host"]["board"] for item in result if item["device"] == "pi"} <= {"one", "two"}
    assert all(item["processes"] == 2 for item in result)


def test_one_device_of_a_fleet(boards, workspace, invoke):
    """`fleet:pi` measures on that device alone; the boards' folders are empty when they have ended."""
    for name, resource in {"one": "pi", "two": "x86"}.items():
        boards.start(name, resource=resource)
    result = invoke("run", "v1", *SMALL, *ONCE, "--device", "fleet:pi")

    assert 0 == result.exit_code, result.output
    assert [("pi", "one")] == [(record["device"], record["host"]["board"]) for record in records(workspace)]
    boards.stop()
    boards.processes.clear()
    assert [] == [path for name in ("one", "two") for path in (boards.folder / name).rglob("mnbench/*")]


def test_another_mnbench_is_refused(boards, invoke, monkeypatch):
    """Boards with other sources measure nothing."""
    boards.start("one", resource="pi")
    monkeypatch.setattr("mnbench.bench.fleet.source_fingerprint", lambda: "0.0 (another)")
    monkeypatch.setattr("mnbench.bench.fleet.BOARD_TIMEOUT_S", 0.1)
    result = invoke("run", "v1", *SMALL, *ONCE, "--device", "fleet")

    assert 1 == result.exit_code
    assert "Error: device pi: board one has another mnbench" in result.stderr


@pytest.mark.parametrize(
    ("device", "message"), [("fleet", "the fleet has no board"), ("fleet:pi", "no board of the fleet has device pi")]
)
@pytest.mark.usefixtures("boards")
def test_no_board(invoke, device, message):
    """A fleet without the board that is asked for is one line."""
    result = invoke("run", "v1", *SMALL, *ONCE, "--device", device)

    assert (1, f"Error: {message}") == (result.exit_code, result.stderr.splitlines()[0])


def test_no_scheduler(invoke, monkeypatch):
    """A scheduler that does not answer is one line; other devices are measured."""
    monkeypatch.setattr("mnbench.bench.fleet.CONNECT_S", 1)
    result = invoke("run", "v1", *SMALL, *ONCE, "--device", "cpu,fleet", env={"MNBENCH_SCHEDULER": "tcp://127.0.0.1:1"})

    assert 1 == result.exit_code
    assert "Error: no Dask scheduler answers at tcp://127.0.0.1:1" in result.stderr
    assert "v1-a0.25-r32" in result.stdout


def test_no_dask(invoke, monkeypatch):
    """Dask is an extra: without it the error says how to get it."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = invoke("run", "v1", *SMALL, *ONCE, "--device", "fleet", env={"MNBENCH_SCHEDULER": "tcp://127.0.0.1:1"})

    assert [
        "Error: distributed is not installed, and a fleet needs it",
        'Hint: in a checkout of mnbench: pip install ".[fleet]"',
    ] == result.stderr.splitlines()[:2]
