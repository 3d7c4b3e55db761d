"""Faults of real workers: what is killed, hung, wrong or out of memory costs its cell, and nothing is left behind."""

# ruff: noqa: SIM300  expected == actual

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext

import numpy as np
import pytest
from boards import Board
from common import ONCE, RUNTIME, processes, until
from onnx import TensorProto, helper

from mnbench.bench.case_trials import measure_alone
from mnbench.errors import RuntimeUnavailable, TrialError, UnreachableError
from mnbench.targets import transport
from mnbench.targets.answers import HostSnapshot, TrialAnswer

pytestmark = pytest.mark.slow


def send(name):
    """Code that kills its own process by that signal."""
    return f"import os, signal, time; os.kill(os.getpid(), signal.{name}); time.sleep(20)"


CRASHES = {
    "SIGSEGV": (send("SIGSEGV"), "killed by SIGSEGV"),
    "SIGKILL": (send("SIGKILL"), "killed by SIGKILL: out of memory?"),
    "SIGABRT": ("import os; os.abort()", "killed by SIGABRT"),
    "SIGTERM": (send("SIGTERM"), "killed by SIGTERM"),
    "a signal without a name": (send("SIGRTMIN + 3"), "killed by"),
    "exit": ("import os; os._exit(3)", "exit code 3"),
    "exit as if all were well": ("import os; os._exit(0)", "exit code 0"),
    "SystemExit": ("raise SystemExit(3)", "SystemExit"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", ""),
    "exception": ("raise RuntimeError('bad node')", "RuntimeError: bad node"),
    "exception of many lines": ("raise RuntimeError('bad node\\n  at line 2\\n')", "RuntimeError: bad node"),
    "KeyError": ("raise KeyError('bad key')", "bad key"),
    "IndexError": ("raise IndexError", "IndexError"),
    "MemoryError": ("raise MemoryError", "out of memory"),
    "recursion": ("def deeper(): deeper()\ndeeper()", "RecursionError"),
    "NaN": ("import numpy as np; outputs = [np.array([0.0, 1.0, np.nan])]", "a NaN or an infinity"),
    "infinity": ("import numpy as np; outputs = [np.array([0.0, 1.0, -np.inf])]", "a NaN or an infinity"),
    "no array": ("outputs = [['a', 'b', 'c']]", "not an array"),
    "another shape": ("import numpy as np; outputs = [np.arange(4.0)]", "other shapes"),
    "wrong answer": ("import numpy as np; outputs = [np.array([0.0, 1.0, 2.5])]", "outputs differ"),
    "no outputs": ("outputs = []", "other shapes"),
    "pipes closed": ("import os, time; os.closerange(0, 100); time.sleep(20)", ""),
}


@pytest.mark.usefixtures("made_up_runtime")
@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_costs_its_cell(measure_codes, crash):
    """However a worker ends, its cell's record says so in one line, the others are measured, and no process is left."""
    code, expected = CRASHES[crash]
    before = processes(parent=os.getpid())
    errors = measure_codes(code)

    assert ["first", "second", "third"] == sorted(errors)
    assert (None, None) == (errors["first"], errors["third"])
    assert expected in errors["second"]
    assert 1 == len(errors["second"].splitlines())
    assert before >= processes(parent=os.getpid())


@pytest.mark.usefixtures("made_up_runtime")
@pytest.mark.skipif(sys.platform != "linux", reason="Linux lists the threads of a process")
@pytest.mark.parametrize(("wanted", "expected"), [(None, "1 wanted, 2 threads"), ("2", "2 wanted")])
def test_a_worker_has_no_threads_of_numpys(measure_codes, monkeypatch, wanted, expected):
    """A worker has its main thread and execnet's; numpy has some only where the user wants them."""
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    if wanted:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", wanted)
    code = """
import os
raise RuntimeError(f"{os.environ['OPENBLAS_NUM_THREADS']} wanted, {len(os.listdir('/proc/self/task'))} threads")
"""

    assert expected in measure_codes(code)["second"]


HANGS = {
    "asleep": "import time; time.sleep(60)",
    "busy": "while True: pass",
    "stopped": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "deaf": "import signal, time\nfor one in (signal.SIGTERM, signal.SIGINT): signal.signal(one, signal.SIG_IGN)\n"
    "time.sleep(60)",
}


@pytest.mark.usefixtures("made_up_runtime")
@pytest.mark.parametrize("hang", HANGS)
def test_a_hang_costs_its_cell(measure_codes, hang):
    """A worker that gives no answer is ended after the time-out, and the others are measured."""
    before = processes(parent=os.getpid())
    errors = measure_codes(HANGS[hang], timeout_s=2.0, budget_s=0.001)

    assert (None, None) == (errors["first"], errors["third"])
    assert "the worker hangs" in errors["second"]
    assert before >= processes(parent=os.getpid())


@pytest.mark.usefixtures("made_up_runtime")
def test_a_slow_model_is_no_hang(make_plan, make_cell):
    """Runs that take long, as the first one showed, are waited for beyond the time-out."""
    plan = make_plan(make_cell(data=b"import time; time.sleep(0.3)"), timeout_s=1.5, max_settle_s=0.0, min_runs=8)

    assert 8 == len(measure_alone(plan, plan.cases[0]).latencies_ns)


def test_a_slow_model_among_fast_ones_is_no_hang(make_device):
    """Its runs take as long as its first, however short the slice before was; no longer than announced or planned."""

    def messages(_request):
        time.sleep(0.3)
        yield from [{"expected_s": 0.0}, {"expected_s": 9.0}, {"expected_s": 0.1}, {}]

    board, heartbeats = Board(messages), transport.Heartbeats(limit=3, planned_s=1.0, planned_runs=2)
    with pytest.raises(UnreachableError, match="answers wrongly"):
        transport.Worker(board, make_device(), 5.0).ask({"kind": "x"}, HostSnapshot, heartbeats=heartbeats)
    first_s, second_s, third_s, last_s = board.channels[0].waits_s[1:]

    assert (5.0, 5.0, 5.2) == (first_s, second_s, last_s)
    assert 5.0 + 2 * (1.0 + 2 * 0.3) <= third_s < 5.0 + 2 * 9.0


@pytest.mark.usefixtures("made_up_runtime")
def test_a_hang_after_the_first_run_is_ended_too(measure_codes):
    """A worker that runs once and then hangs is ended after what the first run let expect."""
    errors = measure_codes(
        "runs = globals().get('runs', 0) + 1\nimport time; time.sleep(60 * (runs > 1))",
        timeout_s=2.0,
        budget_s=0.001,
        max_settle_s=0.1,
    )

    assert "the worker hangs" in errors["second"]


@pytest.mark.usefixtures("made_up_runtime")
def test_a_worker_starts_with_the_devices_variables(measure_codes, make_device):
    """And with those that it would have."""
    code = f"import os; assert (os.environ['PAGES'], os.environ['PATH']) == {('huge', os.environ['PATH'])}"

    assert [None] * 3 == list(measure_codes(code, make_device(environment={"PAGES": "huge"})).values())
    assert "KeyError" in measure_codes(code)["second"]


@pytest.mark.usefixtures("made_up_runtime")
def test_what_a_runtime_prints_does_no_harm(measure_codes, capfd):
    """A runtime that prints does not disturb the channel, and stdout stays free for data."""
    errors = measure_codes("import os; print('loading'); os.write(1, b'noise')")

    assert {"first": None, "second": None, "third": None} == errors
    assert "" == capfd.readouterr().out


@pytest.mark.parametrize(
    "request_of",
    [
        {"model": bytes(10**6)},
        {"sessions": [{"model": bytes(6 * 10**5)}, {"model": "/a/path"}, {"model": bytes(4 * 10**5)}]},
    ],
    ids=["one model", "several sessions"],
)
def test_large_models_may_be_sent_slowly(make_device, monkeypatch, request_of):
    """A request has more time than the time-out by the bytes of all its models: 100 kB/s."""
    limits_s = []
    monkeypatch.setattr(transport, "_aborting", lambda _, limit_s: nullcontext(limits_s.append(limit_s)))
    worker = transport.Worker(Board(lambda _: []), make_device(), 2.0)
    worker.send(request_of | {"kind": "trial"})

    assert 12.0 == limits_s[-1]


def test_a_missing_runtime_stops_the_run(make_device, monkeypatch):
    """Where a runtime cannot be imported, the hint is the command that installs it, and no process is left."""
    sources = transport._worker_sources()
    sources[f"{transport.WORKER_PACKAGE}.runtimes.onnxruntime"] = (False, "import a_runtime_that_is_not_there")
    monkeypatch.setattr(transport, "_worker_sources", lambda: sources)
    before = processes(parent=os.getpid())
    session = {"runtime": "onnxruntime", "cores": []}
    request = {"kind": "trial", "limits": None, "sides": 1, "protocol": {}, "sessions": [session]}

    with pytest.raises(RuntimeUnavailable, match="device cpu: onnxruntime cannot be imported: No module") as caught:
        transport.call_worker(make_device(), request, TrialAnswer, timeout_s=20)
    assert "pip install onnxruntime" == caught.value.hint
    assert before >= processes(parent=os.getpid())


def test_a_missing_provider_stops_the_run(make_plan, make_cell, make_device):
    """A provider that the runtime lacks is named, with those that there are."""
    plan = make_plan(make_cell(), device=make_device(provider="NonsenseExecutionProvider"))

    with pytest.raises(RuntimeUnavailable, match=r"has no NonsenseExecutionProvider here, only .*CPU"):
        measure_alone(plan, plan.cases[0])


def test_a_model_that_the_runtime_refuses_costs_its_cell(make_plan, make_cell):
    """Bytes that are no model are that cell's failure, in one line."""
    plan = make_plan(make_cell(data=b"no model"))

    with pytest.raises(TrialError) as caught:
        measure_alone(plan, plan.cases[0])
    assert 1 == len(caught.value.message.splitlines())


@pytest.mark.parametrize("target", [TensorProto.FLOAT, TensorProto.STRING])
def test_a_model_of_text_is_measured(invoke, workspace, target):
    """Texts are fed and compared; one that the model cannot read is an error with what was fed."""
    path = cast(workspace, TensorProto.STRING, target)
    result = invoke("run", path, *ONCE, "--input", "input=1.5", "--format", "json")
    (record,) = json.loads(result.stdout)["records"]

    assert (None, 0.0) == (record["error"], record["difference"])
    if target == TensorProto.FLOAT:
        result = invoke("run", path, *ONCE)
        assert 1 == result.exit_code
        assert "onnxruntime fails in Cast `cast`" in result.stderr
        assert "it was fed input 1×3×4×4" in result.stderr


@pytest.mark.parametrize("kind", [TensorProto.INT16, TensorProto.UINT32, TensorProto.BOOL, TensorProto.DOUBLE])
def test_a_model_of_any_numbers_is_measured(invoke, workspace, kind):
    """Inputs and outputs of every kind of number are fed, bound and compared."""
    result = invoke("run", cast(workspace, TensorProto.FLOAT, kind), *ONCE, "--format", "json")
    (record,) = json.loads(result.stdout)["records"]

    assert (None, 0.0) == (record["error"], record["difference"])


def cast(workspace, source, target):
    """The path of a model that makes one kind of value another."""
    graph = helper.make_graph(
        [helper.make_node("Cast", ["input"], ["output"], name="cast", to=target)],
        "cast",
        [helper.make_tensor_value_info("input", source, (1, 3, 4, 4))],
        [helper.make_tensor_value_info("output", target, (1, 3, 4, 4))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (workspace / "cast.onnx").write_bytes(model.SerializeToString())
    return "cast.onnx"


# Memory that runs out, in workers whose address space is limited


@pytest.fixture
def limited(tmp_path, make_device):
    """A device that is this machine, where a process may have 3 GB of addresses."""
    path = tmp_path / "limited"
    path.write_text(f'#!/bin/sh\nulimit -v 3000000\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return make_device(gateway=f"popen//python={path}")


@pytest.mark.usefixtures("made_up_runtime")
@pytest.mark.parametrize(
    "code", ["bytearray(4 * 10**9)", "import numpy as np; np.ones(10**9)"], ids=["Python", "numpy"]
)
def test_a_memory_limit_costs_its_cell(measure_codes, limited, code):
    """Memory that a process may not have is that cell's failure, and the others are measured."""
    errors = measure_codes(code, device=limited)

    assert {"first": None, "second": "out of memory", "third": None} == errors


def test_a_runtime_without_memory_costs_its_cell(make_cell, make_plan, limited):
    """A real model whose activations are too large fails with what onnxruntime says, in one line."""
    size = helper.make_tensor("size", TensorProto.INT64, (1,), [2 * 10**9])
    graph = helper.make_graph(
        [
            helper.make_node("Expand", ["input", "size"], ["large"], name="expand"),
            helper.make_node("ReduceSum", ["large"], ["output"], name="sum"),
        ],
        "large",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 1))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, (1, 1))],
        [size],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    plan = make_plan(make_cell(data=model.SerializeToString(), image=np.ones((1, 1), np.float32)), device=limited)

    with pytest.raises(TrialError, match=r"(?i)alloc|memory") as caught:
        measure_alone(plan, plan.cases[0])
    assert 1 == len(caught.value.message.splitlines())


# Clocks that jump

JUMPING = """
import itertools, time
hours = itertools.count()
time.time = lambda: 1e9 - 3600.0 * next(hours)
"""


def test_a_clock_that_jumps_in_the_worker_changes_nothing(made_up_runtime, measure_codes):
    """Where the device's wall clock goes back an hour at each reading, visits end and all is measured."""
    made_up_runtime[f"{transport.WORKER_PACKAGE}.runtimes.onnxruntime"] = (False, JUMPING + RUNTIME)
    errors = measure_codes("import time; assert time.time() > time.time(); time.sleep(0.001)")

    assert {"first": None, "second": None, "third": None} == errors


# Gateways that cannot start: in a process of its own, which may hang.

ASK = """
import json, sys
from mnbench.errors import MnbenchError
from mnbench.targets import start, transport
from mnbench.targets.answers import HostSnapshot
from mnbench.targets.device import Device
transport.START_TIMEOUT_S = start.START_TIMEOUT_S = 2.0
facts = {"summary": "", "runtime": "onnxruntime", "provider": "CPUExecutionProvider", "threads": 1}
try:
    device = Device(name="cpu", gateway=sys.argv[1], **facts)
    transport.call_worker(device, {"runtime": "onnxruntime"}, HostSnapshot, timeout_s=2)
except MnbenchError as error:
    print(json.dumps([type(error).__name__, error.message, error.hint]))
"""


def failure(specification):
    """What `ask` raises for a gateway: the error's name, message and hint; nothing if it hangs or raises another."""
    command = [sys.executable, "-c", ASK, specification]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True) as process:
        try:
            stdout, _ = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail("a gateway that gives no answer is waited for without end")
    assert until(lambda: not processes(group=process.pid))
    return json.loads(stdout or "[]")


@pytest.mark.parametrize(
    ("specification", "expected"),
    [
        ("popen//python=/nonexistent", "No such file or directory"),
        ("popen//python=/", "Permission denied"),
        ("popen//python=/bin/false", ""),
        ("nonsense", "no gateway type"),
    ],
    ids=["no such program", "a folder", "a program that ends", "no such gateway"],
)
def test_a_gateway_that_cannot_start(specification, expected):
    """A device that cannot be reached is one error in one line that names it, and what to mend."""
    name, message, hint = failure(specification)

    assert UnreachableError.__name__ == name
    assert message.startswith("device cpu: ")
    assert expected in message
    assert 1 == len(message.splitlines())
    assert hint


@pytest.mark.parametrize(
    "text",
    [
        "read line; exit 1",
        "echo 'python: not found' >&2; exit 127",
        "echo Welcome to this device; cat > /dev/null",
        "cat > /dev/null",
    ],
    ids=["ends after the first line", "not found", "prints a banner", "never answers"],
)
def test_a_program_that_is_no_python(tmp_path, text):
    """A device whose Python is none is one error that stops the run: no failed cells, no traceback, no hang."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    name, message, _ = failure(f"popen//python={path}")

    assert UnreachableError.__name__ == name
    assert message.startswith("device cpu: ")
    assert 1 == len(message.splitlines())


@pytest.mark.usefixtures("made_up_runtime")
def test_another_python_measures(make_device, make_plan, make_cell):
    """A gateway to another interpreter, here this one by its path, carries the worker there."""
    plan = make_plan(
        make_cell(data=b""), device=make_device(gateway=f"popen//python={sys.executable}"), duration_s=0.01
    )

    assert len(measure_alone(plan, plan.cases[0]).latencies_ns) >= 2
