"""onnxruntime, onnxsim and onnx on a stranger's model: whatever happens to them costs that model alone."""

# ruff: noqa: SIM300  expected == actual

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from common import ONCE, pipe_rows, processes, until
from hostile_models import endless_loop, endless_range, exponential, good, save, zero_divisor

import mnbench
from mnbench.errors import BuildError
from mnbench.model import build, counting
from mnbench.model.isolated import HELPER, Step
from mnbench.model.reference import reference_outputs

QUICK_S = 0.5
PROMPT_S = 2.0
STEP = Step("a step", "a hint", timeout_s=30)


@pytest.fixture
def models(workspace):
    """Models that take for ever, one that is wrong, and two good ones."""
    save(workspace, good=good(), better=good(), wrong=zero_divisor())
    save(workspace, loop=endless_loop(), range=endless_range(), exponential=exponential())


@pytest.fixture
def impatient(monkeypatch):
    """Steps take half a second at most."""
    monkeypatch.setattr(counting, "COUNTING_RUN", counting.COUNTING_RUN._replace(timeout_s=QUICK_S))
    monkeypatch.setattr(counting, "SHAPE_INFERENCE", counting.SHAPE_INFERENCE._replace(timeout_s=QUICK_S))
    monkeypatch.setattr(build, "SIMPLIFICATION", build.SIMPLIFICATION._replace(timeout_s=QUICK_S))
    monkeypatch.setattr(
        "mnbench.bench.prepare.REFERENCE_RUN", Step("onnxruntime's reference run", "", timeout_s=QUICK_S)
    )
    monkeypatch.setattr(
        "mnbench.bench.verify.REFERENCE_RUN", Step("onnxruntime's reference run", "", timeout_s=QUICK_S / 8)
    )


# Time


ENDLESS = {
    "shape inference of cost": ("cost", "range.onnx", "shape inference"),
    "inlining of cost": ("cost", "exponential.onnx", "shape inference"),
    "simplification of build": ("build", "range.onnx", "simplification"),
    "functions in build": ("build", "exponential.onnx", "simplification"),
    "proof of build": ("build", "loop.onnx", "simplification"),
    "reference of run": ("run", "loop.onnx", "reference run"),
    "reference of verify": ("verify", "loop.onnx", "reference run"),
    "reference of compare": ("compare", "loop.onnx", "reference run"),
}


@pytest.mark.parametrize("attempt", ENDLESS)
@pytest.mark.usefixtures("models", "impatient", "fake_worker")
def test_a_model_without_end_is_one_line(invoke, attempt):
    """It names the model and the step; nothing is written."""
    command, file, step = ENDLESS[attempt]
    result = invoke(command, file, *{"compare": ["good.onnx"], "build": ["-o", "out.onnx"]}.get(command, []))

    assert 1 == result.exit_code
    assert result.stderr.startswith(f"Error: {file}: ")
    assert step in result.stderr
    assert f"took more than {QUICK_S:g} s" in result.stderr
    assert not Path("out.onnx").exists()


@pytest.mark.parametrize("command", [("cost",), ("run", *ONCE)], ids=lambda words: words[0])
@pytest.mark.usefixtures("models", "fake_worker")
def test_the_other_models_go_on(invoke, monkeypatch, command):
    """Of three models, the one that takes all memory has a row without values."""
    monkeypatch.setattr(counting, "_with_memory_for", lambda _: STEP._replace(memory_bytes=5 * 10**8))
    name, *options = command
    result = invoke(name, "a=good.onnx", "b=range.onnx", "c=better.onnx", *options, "--format", "md")

    rows = {row[0].removesuffix(".onnx"): set(row[1:]) for row in pipe_rows(result.stdout)[2:]}

    assert ["a", "b", "c"] == sorted(rows)
    assert rows["b"] <= {"–", "failed"}
    assert not rows["a"] <= {"–", "failed"}
    assert "range.onnx: " in result.stdout


# Crashes


def once_busy(send):
    """Do something to the helper once it computes, from a thread."""

    def watch():
        until(lambda: HELPER._process and HELPER._process.poll() is None and cpu_s(HELPER._process.pid) > BUSY_S / 3)
        send(HELPER._process.pid)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


CRASHES = {
    signal.SIGSEGV: "crashed (SIGSEGV)",
    signal.SIGABRT: "crashed (SIGABRT)",
    signal.SIGFPE: "crashed (SIGFPE)",
    signal.SIGKILL: "was killed by SIGKILL: out of memory?",
}


@pytest.mark.parametrize(
    "number",
    [signal.SIGSEGV, *(pytest.param(number, marks=pytest.mark.slow) for number in list(CRASHES)[1:])],
    ids=lambda number: number.name,
)
@pytest.mark.usefixtures("models")
def test_a_crash_costs_its_model(invoke, number):
    """The other models have their costs, and the note says what crashed."""
    HELPER.stop()
    thread = once_busy(lambda helper: os.kill(helper, number))
    result = invoke("cost", "good.onnx", "range.onnx", "better.onnx", "--format", "md")
    thread.join()

    assert 1 == result.exit_code
    assert ["good", "better", "range"] == [row[0] for row in pipe_rows(result.stdout)[2:]]
    assert f"range.onnx: ONNX's shape inference {CRASHES[number]}" in result.stdout


def test_a_helper_that_was_killed_between_two_models_starts_again():
    """Nobody notices."""
    first = HELPER.call("m", STEP, os.getpid)
    os.kill(first, signal.SIGKILL)
    until(lambda: not HELPER._running())

    assert first != HELPER.call("m", STEP, os.getpid)


def test_an_exit_is_an_error():
    """Native code may end its process; text on stdout is no answer."""
    with pytest.raises(BuildError, match=r"^m: a step ended its process with exit code 3"):
        HELPER.call("m", STEP, os._exit, 3)
    assert 2 == HELPER.call("m", STEP, os.write, 1, b"hi")


def test_memory_is_bounded():
    """A step that may take 100 MB does not get 4 GB, whatever earlier steps give back; the next step gets 200 MB."""
    with pytest.raises(BuildError, match="m: a step ran out of memory"):
        HELPER.call("m", STEP._replace(memory_bytes=10**8), np.empty, 500_000_000)
    assert 200_000_000 == HELPER.call("m", STEP, np.ones, 25_000_000).nbytes


def test_errors_come_back_as_they_are():
    """The class, the message and the hint of an error of mnbench survive the way."""
    with pytest.raises(BuildError, match="m: onnxruntime cannot load it") as caught:
        HELPER.call("m", STEP, reference_outputs, b"nonsense", {}, "m")
    assert "export the model again" == caught.value.hint


# Names


@pytest.mark.parametrize(
    "command",
    [
        ("compare", "wrong.onnx", "good.onnx"),
        ("compare", "good.onnx", "wrong.onnx"),
        ("verify", "wrong.onnx"),
        ("verify", "good.onnx", "--against", "wrong.onnx"),
        ("run", "wrong.onnx", *ONCE),
        ("build", "wrong.onnx", "-o", "out.onnx"),
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("models", "fake_worker")
def test_errors_name_the_file(invoke, command):
    """The wrong file, wherever it stands, and not the row."""
    result = invoke(*command)

    assert 1 == result.exit_code
    assert result.stderr.startswith("Error: wrong.onnx: onnxruntime")


# The current folder, and programs that use the library


@pytest.mark.parametrize(
    "name", ["json", "pickle", "numpy", "onnx", "onnxruntime", "signal", "mnbench", "sitecustomize"]
)
@pytest.mark.usefixtures("models")
def test_the_current_folder_is_not_imported_from(workspace, monkeypatch, name):
    """In a notebook, the empty path stands first."""
    (workspace / f"{name}.py").write_text(f"open({str(workspace / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend("")
    HELPER.stop()
    mnbench.cost("good.onnx")

    assert not (workspace / "ran").exists()


@pytest.mark.usefixtures("models")
def test_a_script_without_a_main_guard(workspace):
    """The helper runs nothing of the program that uses the library."""
    (workspace / "script.py").write_text("import mnbench; print(mnbench.cost('good.onnx').name)")
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (0, "good\n", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_has_a_helper_of_its_own():
    """Two processes do not read each other's answers."""
    first = HELPER.call("m", STEP, os.getpid)
    child = os.fork()
    if not child:
        os._exit(HELPER.call("m", STEP, os.getpid) == first)
    assert 0 == os.waitpid(child, 0)[1]
    assert first == HELPER.call("m", STEP, os.getpid)


# Signals

BUSY_S = 1.8
"""CPU time by which a process has started, and computes."""

MNBENCH = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("mnbench", run_name="__main__", alter_sys=True)
"""
BUSY = {
    "shape inference": ("cost", "exponential.onnx"),
    "counting run": ("cost", "loop.onnx"),
    "reference run": ("verify", "loop.onnx"),
    "simplification": ("build", "loop.onnx", "-o", "out.onnx"),
}


def cpu_s(*ids):
    """The CPU time that processes have taken."""
    return sum(int(ticks) for number in ids for ticks in _stat(number)[11:13]) / os.sysconf("SC_CLK_TCK")


def state(number):
    """R, S or D for a process that lives; Z or nothing for others."""
    return "".join(_stat(number)[:1])


def _stat(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


@contextlib.contextmanager
def started(*command):
    """A command of mnbench that computes by now, and its children; killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-P", "-c", MNBENCH, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        children = set()
        try:
            until(lambda: cpu_s(process.pid, *processes(parent=process.pid)) > BUSY_S)
            children = processes(parent=process.pid)
            yield process, children
        finally:
            for number in (process.pid, *children):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "step"),
    [
        *((signal.SIGINT, step) for step in BUSY),
        (signal.SIGTERM, "shape inference"),
        (signal.SIGHUP, "reference run"),
    ],
)
@pytest.mark.usefixtures("models")
def test_a_signal_stops_at_once(number, step):
    """Whatever native code is doing, one line comes within a second, and no process stays."""
    with started(*BUSY[step]) as (process, children):
        sent = time.monotonic()
        process.send_signal(number)
        _, stderr = process.communicate(timeout=10)
        waited_s = time.monotonic() - sent

        assert (130, "stopped\n") == (process.returncode, stderr)
        assert waited_s < PROMPT_S
        assert until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


@pytest.mark.slow
@pytest.mark.parametrize("step", ["shape inference", "counting run"])
@pytest.mark.usefixtures("models")
def test_the_helper_ends_with_a_killed_mnbench(step):
    """Two seconds after kill -9, nothing runs."""
    with started(*BUSY[step]) as (process, children):
        process.kill()
        process.wait()
        time.sleep(PROMPT_S)
        alive = [child for child in children if state(child) in ("R", "S", "D")]

    assert children
    assert [] == alive
