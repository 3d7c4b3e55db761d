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
from mnbench.worker.requests import alternating, trial
from mnbench.worker.runtimes.onnxruntime import expand_folders
from mnbench.worker.serve import serve
from mnbench.worker.session import COPY_RUNS

SOURCES = transport._worker_sources()
SESSION = {
    "runtime": "onnxruntime",
    "provider": "CPUExecutionProvider",
    "threads": 1,
    "options": {},
    "provider_options": {},
    "gpu": False,
    "cores": [],
    "inputs": {},
    "model": b"model",
}
PROTOCOL = {
    "slices": 1,
    "slice_ns": 1,
    "min_turns": 3,
    "warmup_ns": 1,
    "min_settle_ns": 1,
    "max_settle_ns": 10**9,
}


def trial_request(*sessions, sides=1, **protocol):
    """Return the request of a trial; without sessions, of one."""
    return {
        "kind": "trial",
        "seed": "0",
        "limits": None,
        "warmup_runs": 0,
        "sides": sides,
        "sessions": list(sessions or [SESSION]),
        "protocol": PROTOCOL | protocol,
    }


# A trial, with a runtime that is made up


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
    """A runtime whose sessions can be looked at; a model of b"broken" is refused."""

    def __init__(self, **changes):
        self.changes = changes
        self.sessions = []

    def Session(self, model, settings):  # noqa: N802  a class in a runtime's module
        if model == b"broken":
            raise RuntimeError("no model")
        session = FakeSession(model, settings)
        for name, value in self.changes.items():
            setattr(session, name, value)
        self.sessions.append(session)
        return session

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
def tried(monkeypatch):
    """A trial of that runtime: its answer, the latencies of its first session, and the messages before."""

    def run(runtime, request=None, **changes):
        channel = FakeChannel()
        monkeypatch.setattr("mnbench.worker.session.load_runtime", lambda _: runtime)
        answer = trial.handle(request or trial_request(SESSION | changes), channel)
        return answer, channel.sent

    return run


def runs_of(answer):
    """The runs of a trial as arrays."""
    return {name: np.frombuffer(data, np.int64) for name, data in answer["runs"].items()}


def test_a_trial_creates_runs_first_settles_warms_up_and_times(tried):
    """One first run, two blocks or more until the speed settles, one run that warms up, and three timed ones."""
    runtime = FakeRuntime()
    answer, _ = tried(runtime)
    runs, (facts,) = runs_of(answer), answer["sessions"]

    assert list(trial.RUN_COLUMNS) == list(runs)
    assert {3} == {len(values) for values in runs.values()}
    assert 1 + 2 + 1 + 3 <= runtime.sessions[0].runs
    assert ("9.9", "Release") == (answer["runtime"]["version"], answer["runtime"]["build"])
    assert ("warm", {"CPUExecutionProvider": ["a"]}, 1) == tuple(
        facts[name] for name in ("state", "placement", "threads")
    )
    assert 0 < facts["first_run_ns"]


def test_a_session_that_fails_costs_its_row_alone(tried):
    """Its error is in the answer; the session next to it in the row has no runs; the others have."""
    broken = SESSION | {"model": b"broken"}
    answer, _ = tried(FakeRuntime(), trial_request(SESSION, broken, SESSION, SESSION, sides=2))
    states = [facts["state"] for facts in answer["sessions"]]

    assert ["warm", "failed", "warm", "warm"] == states
    assert "no model" in answer["sessions"][1]["error"]
    assert {2, 3} == set(runs_of(answer)["session"].tolist())


def test_sessions_are_opened_in_random_order(tried):
    """The seed decides; facts come in the order of the request."""
    requests = [trial_request(*(SESSION | {"model": bytes([index])} for index in range(8)))] * 2
    orders = []
    for seed in ("0", "0", "1"):
        runtime = FakeRuntime()
        tried(runtime, requests[0] | {"seed": seed})
        orders.append([session.model[0] for session in runtime.sessions])

    assert orders[0] == orders[1] != orders[2]
    assert [sorted(order) for order in orders] == [list(range(8))] * 3


def test_a_session_is_created_as_the_request_says(tried):
    """Model, inputs, provider, its options, threads and session options reach the session."""
    runtime = FakeRuntime()
    image = np.arange(6, dtype=np.float16).reshape(1, 2, 3)
    asked = {"provider_options": {"device_id": "1"}, "options": {"a": "b"}, "threads": 3}
    tried(runtime, inputs={"image": ("float16", (1, 2, 3), image.tobytes())}, **asked)
    (session,) = runtime.sessions
    inputs = session.settings.pop("inputs")

    assert b"model" == session.model
    assert asked | {"provider": "CPUExecutionProvider", "profile": ""} == session.settings
    assert ["image"] == list(inputs)
    assert (image.dtype, image.tolist()) == (inputs["image"].dtype, inputs["image"].tolist())
    assert inputs["image"].flags.writeable


def test_all_threads_are_as_many_as_the_cores_allowed(tried, monkeypatch):
    """Where the request leaves threads to the worker, it uses each core that it may, and says how many."""
    monkeypatch.setattr("mnbench.worker.session.host_facts", lambda: {"cores": 5})
    runtime = FakeRuntime()
    answer, _ = tried(runtime, threads=0)

    assert (5, 5) == (answer["sessions"][0]["threads"], runtime.sessions[0].settings["threads"])


@pytest.mark.parametrize("cores", [[99_999], [-1], [2**70]], ids=["none such", "negative", "huge"])
def test_cores_that_cannot_be_bound_are_unavailable(cores):
    """A core that is not there, or that is no core's number, is answered as what the user mends."""
    channel = FakeChannel(trial_request(SESSION | {"cores": cores}))
    serve(channel)

    assert ["cores"] == [message["unavailable"] for message in channel.sent]
    assert str(cores[0]) in channel.sent[0]["error"]


def test_a_trial_says_what_it_works_on_and_for_how_long(tried):
    """Before each session is opened, and before each slice, with the time to settle and the slice included."""
    request = trial_request(*[SESSION] * 4, sides=2, max_settle_ns=10**6, slice_ns=2 * 10**6, slices=2)
    _, sent = tried(FakeRuntime(), request)

    assert [{"expected_s": 0.0, "index": index} for index in range(4)] == sorted(
        sent[:4], key=lambda message: message["index"]
    )
    assert [0, 0, 2, 2] == sorted(message["index"] for message in sent[4:])
    assert all(0.003 <= message["expected_s"] < 1 for message in sent[4:])


@pytest.mark.parametrize("module", [trial, alternating], ids=lambda module: module.__name__.rpartition(".")[2])
def test_a_busy_machine_opens_no_session(module):
    """The answer says why, and nothing was sent before it."""
    channel = FakeChannel()
    answer = module.handle(trial_request() | {"limits": {"pressure": 1e9, "load": -1e9}}, channel)

    assert ([], ["busy"]) == (channel.sent, list(answer))
    assert answer["busy"].startswith("the load is ")


def test_a_side_runs_sessions_as_the_host_asks(monkeypatch):
    """First what it has opened, and then the times of so many runs each time."""
    monkeypatch.setattr("mnbench.worker.session.load_runtime", lambda _: runtime)
    runtime, requests = FakeRuntime(), iter([(1, 4), (0, 2), None])
    channel = FakeChannel()
    channel.receive = lambda: next(requests)
    request = trial_request(SESSION, SESSION | {"model": b"1"}) | {"limits": {"pressure": 1e9, "load": 1e9}}
    alternating.handle(request | {"warmup_runs": 3}, channel)
    first, *timings = channel.sent[2:]
    runs = {session.model: session.runs for session in runtime.sessions}

    assert ["warm", "warm"] == [facts["state"] for facts in first["sessions"]]
    assert all(latency_ns > 0 for latency_ns in first["latencies_ns"])
    assert [(4, 4), (2, 2)] == [(len(latencies_ns), len(cpu_ns)) for latencies_ns, cpu_ns in timings]
    assert {b"model": 1 + 3 + 2, b"1": 1 + 3 + 4} == runs


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
def test_outputs_come_back_as_they_are(tried, result):
    """Outputs of any kind and shape come back bit by bit, to be compared."""
    answer, _ = tried(FakeRuntime(result=result))
    ((dtype, shape, data),) = answer["sessions"][0]["outputs"]
    matches = np.frombuffer(data, dtype).reshape(shape)

    assert (result.dtype, result.shape, result.tobytes()) == (matches.dtype, matches.shape, matches.tobytes())


def test_copies_are_timed_apart(tried):
    """What brings inputs to a device's own memory and outputs back is timed beside the runs."""
    done = []
    runtime = FakeRuntime(copies=lambda: {"in": lambda: done.append("in"), "out": lambda: done.append("out")})
    answer, _ = tried(runtime)

    assert ["in"] * COPY_RUNS + ["out"] * COPY_RUNS == done
    assert {"in", "out"} == set(answer["sessions"][0]["copies_ns"])
    assert {} == tried(FakeRuntime())[0]["sessions"][0]["copies_ns"]


def test_a_runtime_that_is_not_there_is_unavailable():
    """A request for a runtime without a module is answered, not raised."""
    channel = FakeChannel(trial_request(SESSION | {"runtime": "nonsense"}))
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


def call(device, changes):
    """The answer of a real worker to a trial of one session."""
    heartbeats = transport.Heartbeats(limit=2)
    return transport.call_worker(
        device, trial_request(SESSION | changes), TrialAnswer, timeout_s=30, heartbeats=heartbeats
    )


def test_the_worker_imports_the_standard_library_numpy_and_its_runtime_alone(make_device, monkeypatch):
    """In a worker there is nothing of mnbench, and no package that numpy and onnxruntime do not bring themselves."""
    name = f"{transport.WORKER_PACKAGE}.runtimes.onnxruntime"
    monkeypatch.setattr(transport, "_worker_sources", lambda: SOURCES | {name: (False, SOURCES[name][1] + IMPORTED)})
    answer = call(make_device(), {"model": small_model(), "inputs": FEED})
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
    answer = call(make_device(), feed | {"model": model})
    (session,) = answer.sessions
    (output,) = session.outputs

    assert np.allclose(np.exp(image.astype(np.float32)), output, rtol=1e-4)
    assert ["CPUExecutionProvider"] == list(session.placement)
    assert "exp" in session.placement["CPUExecutionProvider"]
    assert [3] * 4 == [values.size for values in answer.runs.values()]


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
