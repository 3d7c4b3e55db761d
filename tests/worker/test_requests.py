"""The worker: what it is asked for and answers, what it imports, and the Python that it needs."""

# ruff: noqa: SIM300  expected == actual

import numpy as np
import pytest
from trial_requests import SESSION, trial_request

from mnbench.worker.requests import alternating, trial
from mnbench.worker.serve import serve
from mnbench.worker.session import COPY_RUNS


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
        monkeypatch.setattr("mnbench.worker.session.import_module", lambda _: runtime)
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


def test_a_runtime_with_a_clock_of_its_own_is_timed_by_it(tried):
    """Each run takes what that clock says; the CPU time and the memory of its process are unknown."""
    runtime = FakeRuntime()
    runtime.clock = lambda: 7 * sum(session.runs for session in runtime.sessions)
    answer, _ = tried(runtime)
    runs = runs_of(answer)

    assert {7} == set(runs["latency_ns"].tolist())
    assert {0} == set(runs["cpu_ns"].tolist())
    assert answer["peak_rss_bytes"] is None


def test_a_runtime_may_know_its_library_itself(tried):
    """It lies in no wheel."""
    runtime = FakeRuntime()
    runtime.library_sha256 = lambda: "ab"
    answer, _ = tried(runtime)

    assert "ab" == answer["runtime"]["library_sha256"]


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
    monkeypatch.setattr("mnbench.worker.session.import_module", lambda _: runtime)
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
