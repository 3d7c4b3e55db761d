"""The worker: what it is asked for and answers, what it imports, and the Python that it needs."""

# ruff: noqa: SIM300  expected == actual

import json
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper

from mnbench.targets import transport
from mnbench.targets.answers import TrialAnswer
from mnbench.worker.host.facts import peak_rss_bytes
from mnbench.worker.requests.trial import COPY_RUNS
from mnbench.worker.requests.trial import handle as visit
from mnbench.worker.runtimes.onnxruntime import expand_folders
from mnbench.worker.serve import serve

SOURCES = transport._worker_sources()
REQUEST = {
    "runtime": "onnxruntime",
    "provider": "CPUExecutionProvider",
    "threads": 1,
    "options": {},
    "kind": "trial",
    "provider_options": {},
    "gpu": False,
    "cores": [],
    "inputs": {},
    "warmup_runs": 2,
    "min_warmup_ns": 1,
    "max_warmup_ns": 10**9,
    "min_runs": 3,
    "min_duration_ns": 1,
}


# A visit, with a runtime that is made up


class FakeSession:
    """A session that keeps what it was created with and counts its runs."""

    def __init__(self, model, settings):
        self.model = model
        self.settings = settings._asdict()
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

    def __init__(self, **changes):
        self.changes = changes

    def Session(self, model, settings):  # noqa: N802  a class in a runtime's module
        self.session = FakeSession(model, settings)
        for name, value in self.changes.items():
            setattr(self.session, name, value)
        return self.session

    LIBRARY = "libfake"

    @staticmethod
    def version():
        return "9.9"

    @staticmethod
    def build():
        return "Release"


class FakeChannel:
    """The worker's end of a channel: gives the request, keeps what is sent."""

    def __init__(self, request=None):
        self.request = request
        self.sent = []

    def receive(self):
        return self.request

    def send(self, message):
        self.sent.append(message)


@pytest.fixture
def visited(monkeypatch):
    """A visit of that runtime: its answer, and what it told before."""

    def run(runtime, **changes):
        channel = FakeChannel()
        monkeypatch.setattr("mnbench.worker.requests.trial.load_runtime", lambda _: runtime)
        return visit(REQUEST | {"model": b"model"} | changes, channel), channel.sent

    return run


def test_a_visit_creates_runs_first_warms_up_and_times(visited):
    """A visit makes one first run, the warm-up and the timed runs, each kept apart."""
    runtime = FakeRuntime()
    answer, _ = visited(runtime)

    assert 1 + len(answer["warmup_ns"]) + len(answer["latencies_ns"]) == runtime.session.runs
    assert len(answer["warmup_ns"]) >= 4
    assert len(answer["latencies_ns"]) >= 3
    assert len(answer["latencies_ns"]) == len(answer["cpu_ns"])
    assert ("9.9", "Release") == (answer["runtime"]["version"], answer["runtime"]["build"])
    assert ({"CPUExecutionProvider": ["a"]}, 1) == (answer["placement"], answer["threads"])


def test_a_session_is_created_as_the_request_says(visited):
    """Model, inputs, provider, its options, threads and session options reach the session."""
    runtime = FakeRuntime()
    image = np.arange(6, dtype=np.float16).reshape(1, 2, 3)
    asked = {"provider_options": {"device_id": "1"}, "options": {"a": "b"}, "threads": 3}
    visited(runtime, inputs={"image": ("float16", (1, 2, 3), image.tobytes())}, **asked)
    inputs = runtime.session.settings.pop("inputs")

    assert b"model" == runtime.session.model
    assert asked | {"provider": "CPUExecutionProvider", "profile": ""} == runtime.session.settings
    assert ["image"] == list(inputs)
    assert (image.dtype, image.tolist()) == (inputs["image"].dtype, inputs["image"].tolist())
    assert inputs["image"].flags.writeable


def test_all_threads_are_as_many_as_the_cores_allowed(visited, monkeypatch):
    """Where the request leaves threads to the worker, it uses each core that it may, and says how many."""
    monkeypatch.setattr("mnbench.worker.requests.trial.host_facts", lambda: {"cores": 5})
    runtime = FakeRuntime()
    answer, _ = visited(runtime, threads=0)

    assert (5, 5) == (answer["threads"], runtime.session.settings["threads"])


@pytest.mark.parametrize("cores", [[99_999], [-1], [2**70]], ids=["none such", "negative", "huge"])
def test_cores_that_cannot_be_bound_are_unavailable(cores):
    """A core that is not there, or that is no core's number, is answered as what the user mends."""
    channel = FakeChannel(REQUEST | {"model": b"", "cores": cores})
    serve(channel)

    assert ["cores"] == [message["unavailable"] for message in channel.sent]
    assert str(cores[0]) in channel.sent[0]["error"]


def test_a_visit_tells_how_long_it_will_take(visited):
    """After the first run the worker says how many seconds to expect, warm-up and timed runs included."""
    _, sent = visited(FakeRuntime(), max_warmup_ns=10**6, min_duration_ns=2 * 10**6)

    assert ["expected_s"] == [key for message in sent for key in message]
    assert 0.003 <= sent[0]["expected_s"]


@pytest.mark.parametrize(
    "result",
    [
        np.array([[1.0, np.nan], [np.inf, -2.0]]),
        np.array([1, 2], np.int64),
        np.array([True, False]),
        np.array([1.0, 60000.0], np.float16),
        np.float32(2.0),
        np.zeros((0, 3), np.float32),
    ],
    ids=["double", "int", "bool", "half", "scalar", "empty"],
)
def test_outputs_come_back_as_they_are(visited, result):
    """Outputs of any kind and shape come back bit by bit, to be compared."""
    answer, _ = visited(FakeRuntime(result=result))
    ((dtype, shape, data),) = answer["outputs"]
    matches = np.frombuffer(data, dtype).reshape(shape)

    assert (result.dtype, result.shape, result.tobytes()) == (matches.dtype, matches.shape, matches.tobytes())


def test_copies_are_timed_apart(visited):
    """What brings inputs to a device's own memory and outputs back is timed beside the runs."""
    done = []
    runtime = FakeRuntime(copies=lambda: {"in": lambda: done.append("in"), "out": lambda: done.append("out")})
    answer, _ = visited(runtime)

    assert ["in"] * COPY_RUNS + ["out"] * COPY_RUNS == done
    assert {"in", "out"} == set(answer["copies_ns"])
    assert {} == visited(FakeRuntime())[0]["copies_ns"]


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


FEED = {"input": ("float32", (1, 3, 4, 4), bytes(4 * 48))}

IMPORTED = """

def build():
    import json, sys
    return json.dumps(sorted({name.partition(".")[0] for name in sys.modules}))
"""

ALLOWED = "import sys, json, numpy.random, onnxruntime, execnet.gateway_base; print(json.dumps(sorted(sys.modules)))"


def test_the_worker_imports_the_standard_library_numpy_and_its_runtime_alone(make_device, monkeypatch):
    """In a worker there is nothing of mnbench, and no package that numpy and onnxruntime do not bring themselves."""
    name = f"{transport.WORKER_PACKAGE}.runtimes.onnxruntime"
    monkeypatch.setattr(transport, "_worker_sources", lambda: SOURCES | {name: (False, SOURCES[name][1] + IMPORTED)})
    request = REQUEST | {"model": small_model(), "inputs": FEED}
    heartbeat = transport.Heartbeats(limit=1)
    answer = transport.call_worker(make_device(), request, TrialAnswer, timeout_s=30, heartbeats=heartbeat)
    there = set(json.loads(answer.runtime.build))
    bare = subprocess.run([sys.executable, "-c", ALLOWED], capture_output=True, text=True, check=True).stdout
    allowed = {name.partition(".")[0] for name in json.loads(bare)} | set(sys.stdlib_module_names)

    assert {transport.WORKER_PACKAGE} == there - allowed
    assert {"numpy", "onnxruntime"} <= there
    assert "mnbench" not in there


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.float64, np.int64, np.uint8])
def test_onnxruntime_runs_models_with_inputs_of_many_kinds(make_device, kind):
    """Inputs of floats and of integers are fed as they were sent; every node is placed."""
    image = np.arange(48).reshape(1, 3, 4, 4).astype(kind) / kind(50)
    image = image.astype(kind)
    feed = {"inputs": {"input": (str(image.dtype), image.shape, image.tobytes())}}
    model = small_model(helper.np_dtype_to_tensor_dtype(image.dtype))
    request, heartbeat = REQUEST | feed | {"model": model}, transport.Heartbeats(limit=1)
    answer = transport.call_worker(make_device(), request, TrialAnswer, timeout_s=30, heartbeats=heartbeat)
    (output,) = answer.outputs

    assert np.allclose(np.exp(image.astype(np.float32)), output, rtol=1e-4)
    assert ["CPUExecutionProvider"] == list(answer.placement)
    assert "exp" in answer.placement["CPUExecutionProvider"]
    assert all(latency > 0 for latency in answer.latencies_ns)
    assert len(answer.latencies_ns) == len(answer.cpu_ns)


# Memory


def test_peak_memory_is_this_processes_own():
    """A small process started by a large one tells its own memory, not its parent's."""
    ballast = bytearray(300_000_000)
    code = "from mnbench.worker.host.facts import peak_rss_bytes; print(peak_rss_bytes())"
    message = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert 1_000_000 < int(message) < len(ballast)
    assert peak_rss_bytes() > len(ballast)


# onnxruntime's sessions


def test_folders_at_home_are_made_on_the_device(tmp_path, monkeypatch):
    """Options that name one below `~/` get its full path; others stay."""
    monkeypatch.setenv("HOME", str(tmp_path))
    supplied = {"trt_engine_cache_path": "~/.cache/engines", "trt_engine_cache_enable": "1", "file": "/~/not/home"}

    assert supplied | {"trt_engine_cache_path": str(tmp_path / ".cache/engines")} == expand_folders(supplied)
    assert (tmp_path / ".cache/engines").is_dir()


def test_bound_memory_lives_as_long_as_its_session(tmp_path, monkeypatch):
    """Onnxruntime reads arrays that it does not own: none of them is freed while the session may run."""
    import gc
    import weakref

    import onnx
    import onnxruntime

    from mnbench.worker.runtimes import SessionSettings
    from mnbench.worker.runtimes.onnxruntime import Session

    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Relu", ["x"], ["y"])],
            "relu",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "relu.onnx")
    arrays = []
    real = onnxruntime.OrtValue.ortvalue_from_numpy

    def watched(array, *where):
        arrays.append(weakref.ref(array))
        return real(array, *where)

    def bound(binding, name, value):
        """As onnxruntime 1.26 does it, which keeps nothing."""
        binding._iobinding.bind_ortvalue_input(name, value._ortvalue)

    monkeypatch.setattr("onnxruntime.OrtValue.ortvalue_from_numpy", watched)
    monkeypatch.setattr("onnxruntime.IOBinding.bind_ortvalue_input", bound)
    inputs = {"x": np.array([-1, 2], np.float32)}
    session = Session(str(tmp_path / "relu.onnx"), SessionSettings(inputs, "CPUExecutionProvider", {}, 1, {}))
    del inputs
    gc.collect()
    session.run()

    assert [True] == [array() is not None for array in arrays]
    assert [0, 2] == session.outputs()[0].tolist()
