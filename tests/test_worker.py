"""The worker: its timed loop, what it imports, and the Python that it needs."""

# ruff: noqa: SIM300  expected == actual

import ast
import gc
import json
import subprocess
import sys
from importlib import resources
from itertools import count

import numpy as np
import pytest
from onnx import TensorProto, helper

import mnbench.worker
from mnbench.measure import gateway
from mnbench.worker.host import peak_rss_bytes
from mnbench.worker.loop import timed_runs
from mnbench.worker.serve import serve, visit

SOURCES = gateway._sources()
REQUEST = {
    "runtime": "onnxruntime",
    "provider": "CPUExecutionProvider",
    "threads": 1,
    "options": {},
    "seed": 0,
    "warmup_runs": 2,
    "min_warmup_ns": 1,
    "min_runs": 3,
    "min_duration_ns": 1,
}


class FakeTime:
    """A clock that stands still but for runs, which take what the script says."""

    def __init__(self, *durations):
        self.now = 10**15
        self.durations = iter(durations)
        self.runs = 0

    def clock(self):
        """What the time is."""
        return self.now

    def run(self):
        """One run."""
        self.runs += 1
        self.now += next(self.durations)


# The timed loop


def test_runs_until_the_number_of_runs_is_met():
    """Where the time is short, the number of runs decides."""
    time = FakeTime(*[7, 5, 3, 9])

    assert [7, 5, 3, 9] == timed_runs(time.run, min_runs=4, min_duration_ns=1, clock=time.clock)


def test_runs_until_the_time_is_up():
    """Where runs are few, the time decides: the run that reaches it is the last."""
    time = FakeTime(*[10] * 100)

    assert [10] * 10 == timed_runs(time.run, min_runs=1, min_duration_ns=100, clock=time.clock)
    assert 10 == time.runs


def test_the_time_must_be_reached_and_not_approached():
    """One nanosecond short of the time takes one more run."""
    time = FakeTime(*[10] * 100)

    assert [10] * 11 == timed_runs(time.run, min_runs=1, min_duration_ns=101, clock=time.clock)


def test_both_minima_must_be_met():
    """Neither many runs nor a long time alone ends the loop."""
    slow, fast = FakeTime(*[1000] * 5), FakeTime(*[1] * 50)

    assert 5 == len(timed_runs(slow.run, min_runs=5, min_duration_ns=1000, clock=slow.clock))
    assert 50 == len(timed_runs(fast.run, min_runs=5, min_duration_ns=50, clock=fast.clock))


def test_there_is_always_one_run():
    """With both minima at zero, one run is timed."""
    time = FakeTime(4)

    assert [4] == timed_runs(time.run, min_runs=0, min_duration_ns=0, clock=time.clock)


def test_only_the_run_is_between_the_clock_readings():
    """Of each latency the clock is read once before and once after, and nothing else is run between."""
    calls = []
    ticks = count()

    def clock():
        calls.append("clock")
        return next(ticks)

    timed_runs(lambda: calls.append("run"), min_runs=3, min_duration_ns=0, clock=clock)

    assert ["clock", *["clock", "run", "clock"] * 3] == calls


@pytest.fixture
def collecting():
    """Garbage collection as it was, after the test."""
    before = gc.isenabled()
    yield
    (gc.enable if before else gc.disable)()


@pytest.mark.usefixtures("collecting")
@pytest.mark.parametrize("enabled", [True, False], ids=["on", "off"])
def test_garbage_collection_is_off_while_timing_and_as_before_afterwards(enabled):
    """No collection falls into a latency; afterwards it is on where it was on."""
    (gc.enable if enabled else gc.disable)()
    during = []
    timed_runs(lambda: during.append(gc.isenabled()), min_runs=2, min_duration_ns=0)

    assert [False, False] == during
    assert enabled == gc.isenabled()


@pytest.mark.usefixtures("collecting")
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_garbage_collection_is_restored_when_a_run_fails(error):
    """A run that raises ends the loop, and garbage collection is on again."""
    gc.enable()

    def run():
        raise error

    with pytest.raises(error):
        timed_runs(run, min_runs=2, min_duration_ns=0)
    assert gc.isenabled()


# A visit, with a runtime that is made up


class FakeSession:
    """A session that keeps what it was created with and counts its runs."""

    def __init__(self, model, **settings):
        self.model = model
        self.settings = settings
        self.runs = 0
        self.result = np.array([1.0, 3.0])

    def run(self):
        self.runs += 1

    def outputs(self):
        return [self.result]

    def placement(self):
        return {"CPUExecutionProvider": ["a"]}


class FakeRuntime:
    """A runtime whose one session can be looked at."""

    def __init__(self, result=None):
        self.result = result

    def Session(self, model, **settings):  # noqa: N802  a class in a runtime's module
        self.session = FakeSession(model, **settings)
        if self.result is not None:
            self.session.result = self.result
        return self.session

    @staticmethod
    def version():
        return "9.9"


class FakeChannel:
    """The worker's end of a channel: gives the request, keeps what is sent."""

    def __init__(self, request=None):
        self.request = request
        self.sent = []

    def receive(self):
        return self.request

    def send(self, message):
        self.sent.append(message)


def test_a_visit_creates_runs_first_warms_up_and_times():
    """A visit makes one first run, the warm-up and the timed runs, each kept apart."""
    runtime, channel = FakeRuntime(), FakeChannel()
    answer = visit(runtime, REQUEST | {"model": b"model"}, channel)

    assert 1 + len(answer["warmup_ns"]) + len(answer["latencies_ns"]) == runtime.session.runs
    assert len(answer["warmup_ns"]) >= 2
    assert len(answer["latencies_ns"]) >= 3
    assert b"model" == runtime.session.model
    assert {key: REQUEST[key] for key in ("provider", "threads", "options", "seed")} == runtime.session.settings
    assert ("9.9", {"CPUExecutionProvider": ["a"]}) == (answer["runtime_version"], answer["placement"])
    assert [{"finite": True, "spread": 1.0}] == answer["outputs"]


def test_a_visit_tells_how_long_it_will_take():
    """After the first run the worker says how many seconds to expect, warm-up and timed runs included."""
    channel = FakeChannel()
    visit(FakeRuntime(), REQUEST | {"model": b"", "min_warmup_ns": 10**6, "min_duration_ns": 2 * 10**6}, channel)

    assert ["expect_s"] == [key for message in channel.sent for key in message]
    assert 0.003 <= channel.sent[0]["expect_s"]


@pytest.mark.parametrize(
    ("result", "finite"),
    [
        (np.array([1.0, 2.0]), True),
        (np.array([1.0, np.nan]), False),
        (np.array([1.0, np.inf]), False),
        (np.array([1.0, -np.inf]), False),
        (np.array([1, 2], np.int64), True),
        (np.array([True, False]), True),
        (np.array([1.0, 60000.0], np.float16), True),
        (np.array([1.0, np.inf], np.float16), False),
        (np.float32(2.0), True),
    ],
    ids=["finite", "nan", "inf", "-inf", "int", "bool", "half", "half inf", "scalar"],
)
def test_outputs_that_are_not_finite_are_told(result, finite):
    """NaN and infinity in any output are told, in numbers of any kind."""
    answer = visit(FakeRuntime(result), REQUEST | {"model": b""}, FakeChannel())

    assert [finite] == [output["finite"] for output in answer["outputs"]]


def test_a_runtime_that_is_not_there_is_unavailable():
    """A request for a runtime without a module is answered, not raised."""
    channel = FakeChannel(REQUEST | {"runtime": "nonsense", "model": b""})
    serve(channel)

    assert ["runtime"] == [message["unavailable"] for message in channel.sent]
    assert "nonsense" in channel.sent[0]["error"]


# The runtime onnxruntime, in a worker of its own


def small_model(kind=TensorProto.FLOAT):
    """A model with two nodes and an input of that kind."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["input"], ["cast"], name="cast", to=TensorProto.FLOAT),
            helper.make_node("Exp", ["cast"], ["output"], name="exp"),
        ],
        "small",
        [helper.make_tensor_value_info("input", kind, (1, 3, 4, 4))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, (1, 3, 4, 4))],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


IMPORTED = """

def version():
    import json, sys
    return json.dumps(sorted(sys.modules))
"""

ALLOWED = "import sys, json, numpy.random, onnxruntime, execnet.gateway_base; print(json.dumps(sorted(sys.modules)))"


def test_the_worker_imports_the_standard_library_numpy_and_its_runtime_alone(make_device, monkeypatch):
    """In a worker there is nothing of mnbench, and no package that numpy and onnxruntime do not bring themselves."""
    name = f"{gateway.PACKAGE}.runtimes.onnxruntime"
    monkeypatch.setattr(gateway, "_sources", lambda: SOURCES | {name: (False, SOURCES[name][1] + IMPORTED)})
    answer = gateway.ask(make_device(), REQUEST | {"model": small_model()}, timeout_s=30)
    there = {name.partition(".")[0] for name in json.loads(answer["runtime_version"])}
    bare = subprocess.run([sys.executable, "-c", ALLOWED], capture_output=True, text=True, check=True).stdout
    allowed = {name.partition(".")[0] for name in json.loads(bare)} | set(sys.stdlib_module_names)

    assert {gateway.PACKAGE} == there - allowed
    assert {"numpy", "onnxruntime"} <= there
    assert "mnbench" not in there


@pytest.mark.parametrize(
    "kind", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.UINT8]
)
def test_onnxruntime_runs_models_with_inputs_of_many_kinds(make_device, kind):
    """Inputs of floats are filled with random numbers, those of integers with zeros; every node is placed."""
    answer = gateway.ask(make_device(), REQUEST | {"model": small_model(kind)}, timeout_s=30)
    floats = kind in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)

    assert [True] == [output["finite"] for output in answer["outputs"]]
    assert floats == (answer["outputs"][0]["spread"] > 0)
    assert ["CPUExecutionProvider"] == list(answer["placement"])
    assert "exp" in answer["placement"]["CPUExecutionProvider"]
    assert all(latency > 0 for latency in answer["latencies_ns"])


# Memory


def test_peak_memory_is_this_processes_own():
    """A small process started by a large one tells its own memory, not its parent's."""
    ballast = bytearray(300_000_000)
    code = "from mnbench.worker.host import peak_rss_bytes; print(peak_rss_bytes())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert 1_000_000 < int(told) < len(ballast)
    assert peak_rss_bytes() > len(ballast)


# The device's Python


def modules():
    """Every module of the worker: its name and its source."""
    return [
        pytest.param(source, id=name.removeprefix(gateway.PACKAGE) or "package")
        for name, (_, source) in SOURCES.items()
    ]


def test_every_module_is_carried():
    """What is carried to a device is every module in `mnbench/worker`."""
    folder = resources.files(mnbench.worker)
    files = sorted(path.name for path in (*folder.glob("*.py"), *folder.glob("runtimes/*.py")))

    assert files == sorted(
        "__init__.py" if package else f"{name.rpartition('.')[2]}.py" for name, (package, _) in SOURCES.items()
    )


def evaluated(tree):
    """The nodes that Python evaluates when it runs a module: all but annotations, which stay text."""
    annotations = {
        id(inner)
        for node in ast.walk(tree)
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if annotation is not None
        for inner in ast.walk(annotation)
    }
    return [node for node in ast.walk(tree) if id(node) not in annotations]


@pytest.mark.parametrize("source", modules())
def test_the_worker_compiles_on_python_3_9(source):
    """Every module has the grammar of Python 3.9, and uses nothing newer where it runs."""
    tree = ast.parse(source, feature_version=(3, 9))
    nodes = evaluated(tree)
    calls = [node for node in nodes if isinstance(node, ast.Call)]

    assert [] == [node.lineno for node in nodes if isinstance(node, ast.Match)]
    assert [] == [node.lineno for node in nodes if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)]
    assert [] == [call.lineno for call in calls if {"slots", "kw_only", "strict"} & {key.arg for key in call.keywords}]
    if any(isinstance(node, ast.AnnAssign | ast.FunctionDef) for node in ast.walk(tree)):
        assert "from __future__ import annotations" in source


@pytest.mark.parametrize("source", modules())
def test_the_worker_names_only_the_standard_library_numpy_and_its_runtime(source):
    """The imports of every module are within the worker, the standard library, numpy, or the runtime it is for."""
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {
        name.partition(".")[0]
        for node in imports
        if not getattr(node, "level", 0)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module])
    }

    assert names <= {*sys.stdlib_module_names, "numpy", "onnxruntime"}
