"""A board behind a real sshd on this machine: everything works there, errors are one line, and nothing is left."""

# ruff: noqa: SIM300  expected == actual

import json
import os
import subprocess
import sys
import threading
import time
import venv
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from common import ONCE, SMALL, processes, until
from execnet import gateway_io
from sshd import KILL_CONNECTION, SSHD, Board

from mnbench.bench.case_trials import measure_alone
from mnbench.errors import DeviceFileError, RuntimeUnavailable, TrialError, UnreachableError
from mnbench.hosts.host_facts import read_host
from mnbench.targets import ssh, transport
from mnbench.targets.environments import prepare_device

pytestmark = [pytest.mark.slow, pytest.mark.skipif(SSHD is None, reason="there is no sshd: .ci/sshd installs it")]


@pytest.fixture(scope="session")
def _board(tmp_path_factory):
    board = Board(tmp_path_factory.mktemp("board"))
    yield board
    board.stop()


@pytest.fixture
def board(_board):
    """A board; whatever a test did, nothing of it is left there when its connections have ended."""
    mine = processes(parent=os.getpid())
    yield _board
    ssh.close_all()
    assert until(_board.is_clean), (_board.processes(), list(_board.far.iterdir()))
    assert until(lambda: processes(parent=os.getpid()) <= mine)


@pytest.fixture
def device(board, make_device):
    """The board as a device."""
    return make_device(name="board", gateway=board.gateway())


@pytest.fixture
def profile(board, workspace, monkeypatch):
    """The board's profile, as a user writes and trusts it."""
    monkeypatch.setenv("MNBENCH_TRUST", "1")
    (workspace / "devices").mkdir()
    text = (
        f'extends = "cpu"\nname = "board"\nsummary = "over ssh"\ngateway = "{board.gateway(host="${MNBENCH_BOARD}")}"\n'
    )
    (workspace / "devices" / "board.toml").write_text(text, encoding="utf-8")


@pytest.fixture
def wrapped(tmp_path):
    """A program that does something, and then is this Python."""

    def make(lines, *, last=f'exec {sys.executable} "$@"'):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{lines}\n{last}\n")
        path.chmod(0o755)
        return path

    return make


# What works here works there


@pytest.mark.usefixtures("profile", "board")
@pytest.mark.parametrize(
    "words",
    [
        ("devices", "probe"),
        ("run", "v1", *SMALL, *ONCE, "--profile"),
        ("verify", "v1-a0.25-r32"),
        ("compare", "v1-a0.25-r32", "v1-a0.25-r64", "--budget", "1s", "--allow", "busy"),
    ],
    ids=lambda words: words[0],
)
def test_commands_work_over_ssh(invoke, words):
    """Each command that measures does so there, over a host's name from the environment."""
    device = ("board",) if words[0] == "devices" else ("--device", "board")
    result = invoke(*words, *device, env={"MNBENCH_BOARD": "board"})

    assert result.exit_code in ((0, 3, 4) if words[0] == "compare" else (0,)), result.output
    assert "Error" not in result.stderr


def test_a_model_crosses_once(board, device, tmp_path):
    """Files of one content are sent once a connection, whatever their names; the next connection sends them again."""
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(b"model")
    paths = {transport.provide_file(device, tmp_path / name) for name in ("one", "two")}
    (stored,) = board.far.glob("*/*")
    before = stored.stat().st_mtime_ns
    read_host(device)
    transport.provide_file(device, tmp_path / "two")

    assert ({str(stored)}, before, b"model") == (paths, stored.stat().st_mtime_ns, stored.read_bytes())
    ssh.close_all()
    assert until(board.is_clean)
    assert {transport.provide_file(device, tmp_path / "one")}.isdisjoint(paths)


def test_one_connection_serves_all(board, device):
    """Workers come and go over one connection; each is a process of its own."""
    connections = (board.folder / "log").read_text().count("Accepted publickey")
    for _ in range(3):
        read_host(device)

    assert connections + 1 == (board.folder / "log").read_text().count("Accepted publickey")


def test_variables_reach_the_process(device):
    """What a comparison sets for the C library is there when the process starts, whatever its text."""
    with transport._open_gateway(device, {"GLIBC_TUNABLES": "of two 'words'"}) as started:
        channel = started.remote_exec("import os; channel.send(os.environ['GLIBC_TUNABLES'])")

        assert "of two 'words'" == channel.receive(20)


@pytest.mark.usefixtures("made_up_runtime")
def test_a_model_is_read_from_the_boards_own_file(board, make_plan, make_cell, device):
    """A visit there is given a path; a temporary file of its own lies in the folder that goes."""
    code = "import tempfile; held = tempfile.mkstemp(); import time; time.sleep(0.001)"
    plan = make_plan(make_cell(data=code.encode()), device=device, duration_s=0.01)

    assert len(measure_alone(plan, plan.cases[0]).latencies_ns) >= 2
    assert list(board.far.glob("*/tmp*"))


# Faults


SLEEPS = {
    "sleeps": "import time; time.sleep(60)",
    "holds its interpreter": "import ctypes; ctypes.PyDLL(None).sleep(60)",
    "ignores signals": "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)",
}


@pytest.mark.usefixtures("made_up_runtime")
@pytest.mark.parametrize("then", [name for name in SLEEPS if name != "ignores signals"])
def test_a_lost_connection_costs_its_cell(board, device, measure_codes, then):
    """The server's process is killed amid a cell: one line says so, the others are measured, nothing is left there."""
    errors = measure_codes(KILL_CONNECTION + SLEEPS[then], device=device)

    assert (None, None) == (errors["first"], errors["third"])
    assert errors["second"].startswith("the connection to board is lost")
    assert 1 == len(errors["second"].splitlines())
    assert until(lambda: len(list(board.far.iterdir())) == 1), (
        "the lost connection's folder is gone, this one's is there"
    )


@pytest.mark.usefixtures("made_up_runtime")
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "the worker was killed by SIGKILL: out of memory?"),
        ("import os; os._exit(3)", "the worker on board exited with exit code 3"),
        ("raise MemoryError", "out of memory"),
    ],
)
def test_a_crash_there_costs_its_cell(device, measure_codes, code, expected):
    """How a worker ended is known over ssh too, and the connection goes on."""
    assert {"first": None, "second": expected, "third": None} == measure_codes(code, device=device)


def test_two_that_ask_about_a_worker_get_their_own_answers():
    """As it ends, execnet closes its pipe in a thread of its own: that answer must not be taken for its exit code."""

    class Line:
        """A channel on which answers come in the order of questions, to whoever listens."""

        def __init__(self):
            self.gateway = self
            self.answers = []
            self.asked = threading.Event()

        def newchannel(self):
            return self

        def makefile(self, _mode):
            return self

        def send(self, event):
            if isinstance(event, int):
                self.answers.append(-9 if event == gateway_io.RIO_WAIT else None)
                self.asked.set()

        def receive(self, _timeout):
            time.sleep(0.02)
            return self.answers.pop()

    line = Line()
    process = ssh.RemoteProcess(line, SimpleNamespace(kill=None), None)
    closing = threading.Thread(target=process.close_write)
    closing.start()
    line.asked.wait()
    assert -9 == process.wait()
    closing.join()


@pytest.mark.usefixtures("made_up_runtime")
@pytest.mark.parametrize("hang", SLEEPS)
def test_a_hang_there_is_ended(board, device, measure_codes, hang):
    """A worker that gives no answer is ended there, not only here."""
    errors = measure_codes(SLEEPS[hang], device=device, timeout_s=2.0, budget_s=0.001)

    assert (None, None) == (errors["first"], errors["third"])
    assert "the worker hangs" in errors["second"]
    assert until(lambda: len(board.processes()) <= 2), "the connection's own processes"


@pytest.mark.parametrize(
    ("host", "message", "hint"),
    [
        ("stranger", "its host key is unknown: ", "connect once by hand"),
        ("changed", "its host key has changed: ", "ssh-keygen -R"),
        ("locked", "SSH authentication failed: ", "ssh-copy-id"),
        ("closed", "Connection refused", "mnbench devices show board"),
        ("no-such-host.invalid", "unknown host: ", "~/.ssh/config"),
    ],
)
def test_a_board_that_cannot_be_reached(board, make_device, host, message, hint):
    """Who cannot be reached, or not be trusted, is told in one line; ssh asks nothing."""
    with pytest.raises(UnreachableError) as caught:
        read_host(make_device(name="board", gateway=board.gateway(host=host)))

    assert caught.value.message.startswith("device board: ")
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert 1 == len(caught.value.message.splitlines())


def test_no_python_there(board, make_device):
    """A Python that is not there is told with what the shell says."""
    with pytest.raises(UnreachableError, match=r"Python was not found: .*(not found|No such file)") as caught:
        read_host(make_device(name="board", gateway=board.gateway(python="/no/python")))
    assert "//python=" in caught.value.hint


OLD = f'exec {sys.executable} -c "import sys; sys.version_info = (3, 6, 9); exec(sys.argv[1])" "$2"'
"""A Python that says that it is 3.6, started as `python -c CODE`."""


def test_python_there_is_too_old(board, make_device, wrapped):
    """The Python tells its version before anything needs a newer one."""
    with pytest.raises(UnreachableError, match=r"Python 3\.6 is too old") as caught:
        read_host(make_device(name="board", gateway=board.gateway(python=wrapped("", last=OLD))))
    assert "3.9 or newer" in caught.value.hint


def test_a_talkative_shell(board, make_device, wrapped):
    """What a login prints before Python answers is the reason that is told."""
    with pytest.raises(UnreachableError, match="the remote shell prints text before Python starts"):
        read_host(make_device(name="board", gateway=board.gateway(python=wrapped("echo Welcome"))))


def test_no_numpy_there(board, make_device, make_plan, make_cell, tmp_path):
    """A Python without numpy is told by name, with what installs it."""
    venv.create(tmp_path / "bare", symlinks=True)
    device = make_device(name="board", gateway=board.gateway(python=tmp_path / "bare" / "bin" / "python"))
    plan = make_plan(make_cell(), device=device)

    with pytest.raises(RuntimeUnavailable, match="device board: numpy cannot be imported") as caught:
        measure_alone(plan, plan.cases[0])
    assert "on the device: pip install onnxruntime" == caught.value.hint


def test_no_runtime_there(device, make_plan, make_cell, monkeypatch):
    """A runtime that is missing is told by name, with what installs it."""
    sources = transport._worker_sources()
    sources[f"{transport.WORKER_PACKAGE}.runtimes.onnxruntime"] = (False, "import a_runtime_that_is_not_there")
    monkeypatch.setattr(transport, "_worker_sources", lambda: sources)
    plan = make_plan(make_cell(), device=device)

    with pytest.raises(RuntimeUnavailable, match="onnxruntime cannot be imported") as caught:
        measure_alone(plan, plan.cases[0])
    assert "on the device: pip install onnxruntime" == caught.value.hint


def test_no_space_there(board, make_device, wrapped, tmp_path):
    """A model for which there is no room costs its cell; smaller ones are kept there as ever."""
    device = make_device(name="board", gateway=board.gateway(python=wrapped("ulimit -f 8")))
    large, small = tmp_path / "large", tmp_path / "small"
    large.write_bytes(bytes(100_000))
    small.write_bytes(b"model")

    with pytest.raises(TrialError, match=r"cannot be written on board: .*File too large") as caught:
        transport.provide_file(device, large)
    assert "TMPDIR" in caught.value.hint
    assert b"model" == Path(transport.provide_file(device, small)).read_bytes()
    assert 1 == len(list(board.far.glob("*/*")))


@pytest.mark.usefixtures("profile")
def test_a_run_on_a_lost_board_says_so(invoke, workspace):
    """A board that is not there costs its cells, with exit code 1 and one line; the other device is measured."""
    result = invoke(
        "run", "v1", *SMALL, *ONCE, "--device", "board,cpu", "--format", "json", env={"MNBENCH_BOARD": "closed"}
    )

    assert 1 == result.exit_code
    assert ["cpu"] == [record["device"] for record in json.loads(result.stdout)["records"]]
    assert 1 == result.stderr.count("Error: device board: ")
    assert "Connection refused" in result.stderr
    assert not (workspace / "results" / "board.jsonl").exists()


def test_mnbench_killed_leaves_nothing(board, device):
    """Even SIGKILL of this side ends what runs there."""
    code = (
        "import sys, time; from mnbench.targets.ssh import connection_to; from mnbench.targets.device import Device\n"
        "facts = dict(summary='', runtime='onnxruntime', provider='CPUExecutionProvider', threads=1)\n"
        "connection_to(Device(name='board', gateway=sys.argv[1], **facts)); print('there', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, device.gateway], stdout=subprocess.PIPE, text=True) as process:
        assert "there\n" == process.stdout.readline()
        assert not board.is_clean()
        process.kill()
    assert until(board.is_clean)


# Profiles


@pytest.mark.usefixtures("profile")
def test_a_variable_that_is_not_set(invoke):
    """A gateway names its host by a variable; without it one line says which. Lists of devices need it not."""
    result = invoke("devices", "probe", "board", env={"MNBENCH_BOARD": None})

    assert 1 == result.exit_code
    assert "MNBENCH_BOARD is not set" in result.stderr
    assert 0 == invoke("devices", env={"MNBENCH_BOARD": None}).exit_code


def test_packages_are_not_installed_there(device):
    """A device that requires packages says how to make an environment there."""
    with pytest.raises(RuntimeUnavailable, match="not installed on other machines") as caught:
        prepare_device(msgspec.structs.replace(device, requires=("ncnn",)))
    assert "mnbench/bin/pip install ncnn numpy" in caught.value.hint


def test_a_variable_without_a_value_is_an_error_of_the_profile(make_device, monkeypatch):
    """The error names the device, the key and the variable."""
    monkeypatch.delenv("MNBENCH_BOARD", raising=False)
    with pytest.raises(DeviceFileError, match="device cpu: key `gateway`: the environment variable MNBENCH_BOARD"):
        prepare_device(make_device(gateway="ssh=${MNBENCH_BOARD}"))
