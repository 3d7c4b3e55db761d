"""A board's wrong answer is one line for that board; the others are measured, and every command goes on."""

# ruff: noqa: SIM300  expected == actual

import struct
from contextlib import contextmanager
from itertools import repeat

import execnet
import numpy as np
import onnx
import pytest
from boards import DEEP, Board, honest_trial, host_message, outputs_message, paired_message, profile_message
from execnet import gateway_base
from execnet.gateway_base import opcode
from onnx import TensorProto, helper

from mnbench.results.store import ResultsFile
from mnbench.targets import transport

MODEL = "magnitude.onnx"
CLEAR_SCREEN = "\x1b[2J\n::error::done\u202e"


def changed(**changes):
    """Messages of a worker that tells the truth, but for these keys of its answer."""
    return lambda request: [honest_trial(request) | changes]


def without(key):
    """Messages of a worker that leaves a key out."""
    return lambda request: [{name: value for name, value in honest_trial(request).items() if name != key}]


def host(**facts):
    """… whose host has these facts."""
    return changed(host={"cpu": "a CPU", "cores": 2} | facts)


def runtime(**changes):
    """… whose runtime is this."""
    facts = {"name": "onnxruntime", "version": "1.2.3", "build": "Release", "library_sha256": "0" * 64}
    return changed(runtime=facts | changes)


def output(dtype="float32", shape=(1, 3), data=bytes(12)):
    """… whose only output is this."""
    return changed(outputs=[(dtype, shape, data)])


def says(*messages):
    """Messages of a worker that says this alone."""
    return lambda _request: messages


def expects(expected_s):
    """… that announces how long its answer takes."""
    return lambda request: [{"expected_s": expected_s}, honest_trial(request)]


WRONG = {
    "nothing": says({}),
    "None": says(None),
    "a number": says(5),
    "a text": says("latency"),
    "a list": says([1, 2]),
    "bytes": says(b"{}"),
    "a deep list": says(DEEP),
    "a deep host": changed(host=DEEP),
    "keys that are numbers": says({5: 6}),
    "error 5": says({"error": 5, "unavailable": None}),
    "error None": says({"error": None, "unavailable": None}),
    "error a list": says({"error": ["x"], "unavailable": None}),
    "unavailable unknown": says({"error": "x", "unavailable": "everything"}),
    "unavailable a list": says({"error": "x", "unavailable": []}),
    "expected_s infinite": expects(float("inf")),
    "expected_s NaN": expects(float("nan")),
    "expected_s negative": expects(-1.0),
    "expected_s years": expects(1e9),
    "expected_s huge": expects(2**70),
    "expected_s a text": expects("soon"),
    "expected_s None": expects(None),
    "endless heartbeats": lambda _request: repeat({"expected_s": 0.0}),
    "two heartbeats": lambda request: [{"expected_s": 0.0}] * 2 + [honest_trial(request)],
    "no latencies": changed(latencies_ns=[], cpu_ns=[]),
    "latency 0": changed(latencies_ns=[0] * 200),
    "latency negative": changed(latencies_ns=[-5] * 200),
    "latency 2^70": changed(latencies_ns=[2**70] * 200),
    "latency 2^63-1": changed(latencies_ns=[2**63 - 1] * 200),
    "latencies a number": changed(latencies_ns=5),
    "latencies of text": changed(latencies_ns=["fast"] * 200),
    "latencies of fractions": changed(latencies_ns=[0.5] * 200),
    "latencies None": changed(latencies_ns=None),
    "more latencies than CPU times": changed(latencies_ns=[1_000_000] * 300),
    "CPU time negative": changed(cpu_ns=[-1] * 200),
    "warm-up of text": changed(warmup_ns=["x"]),
    "session_ns negative": changed(session_ns=-1),
    "session_ns 2^63-1": changed(session_ns=2**63 - 1),
    "session_ns a text": changed(session_ns="1"),
    "first_run_ns None": changed(first_run_ns=None),
    "first_run_ns 2^70": changed(first_run_ns=2**70),
    "peak_rss_bytes a text": changed(peak_rss_bytes="5 GB"),
    "peak_rss_bytes negative": changed(peak_rss_bytes=-1),
    "threads 0": changed(threads=0),
    "threads a text": changed(threads="all"),
    "threads 10^9": changed(threads=10**9),
    "copies of text": changed(copies_ns={"in": "x"}),
    "copies a list": changed(copies_ns=[1]),
    "copies of another name": changed(copies_ns={CLEAR_SCREEN: 1}),
    "placement a list": changed(placement=["CPUExecutionProvider"]),
    "placement of numbers": changed(placement={"CPUExecutionProvider": 5}),
    "placement of number keys": changed(placement={5: ["x"]}),
    "runtime a text": changed(runtime="onnxruntime"),
    "runtime of another name": runtime(name="../../x"),
    "runtime version a path": runtime(version="/evil"),
    "runtime version a number": runtime(version=5),
    "runtime version of two lines": runtime(version="1.2.3\n-r evil"),
    "runtime build a list": runtime(build=["x"]),
    "runtime without version": changed(runtime={"name": "onnxruntime"}),
    "host a list": changed(host=[1]),
    "host None": changed(host=None),
    "host.cpu a list": host(cpu=["a", "b"]),
    "host.cpu a table": host(cpu={"a": 1}),
    "host.cores 0": host(cores=0),
    "host.cores a text": host(cores="two"),
    "host.memory_bytes infinite": host(memory_bytes=float("inf")),
    "host.allowed_cpus a word": host(allowed_cpus="all of them"),
    "host.caches of numbers": host(caches=[1, 2]),
    "host.emulated a text": host(emulated="no"),
    "host of 20,000 kinds of core": host(core_kinds={str(index): "0" for index in range(20_000)}),
    "conditions None": changed(conditions=None),
    "conditions of one": changed(conditions=[{"at_ns": 0}]),
    "conditions of text": changed(conditions=["x", "y"]),
    "conditions.at_ns a text": changed(conditions=[{"at_ns": "now"}, {"at_ns": "then"}]),
    "conditions.steal_s infinite": changed(conditions=[{"at_ns": 0}, {"at_ns": 1, "steal_s": float("inf")}]),
    "gpu a text": changed(gpu="H200"),
    "gpu.name a list": changed(gpu={"name": ["x"]}),
    "gpu.sm_clock_max_hz infinite": changed(gpu={"name": "x", "sm_clock_max_hz": float("inf")}),
    "outputs None": changed(outputs=None),
    "outputs of numbers": changed(outputs=[5]),
    "output of an unknown type": output(dtype="float33"),
    "output of objects": output(dtype="object"),
    "output of times": output(dtype="datetime64[ns]", data=bytes(24)),
    "output of records": output(dtype="f4,f4", data=bytes(24)),
    "output with a shape that lies": output(shape=(1, 10**9)),
    "output with a shape of NaN": output(shape=(1, float("nan"))),
    "output with a shape that overflows": output(shape=(2**62, 2**62)),
    "output with a negative shape": output(shape=(-1, 3)),
    "output with 100 axes": output(shape=(1,) * 100),
    "output of half a number": output(data=bytes(11)),
    "output of text as bytes": output(dtype="str"),
    "output of numbers as text": output(data=["a", "b", "c"]),
    "output without a shape": changed(outputs=[("float32",)]),
    **{f"no {key}": without(key) for key in ("latencies_ns", "runtime", "host", "outputs", "threads", "placement")},
}  # fmt: skip


@pytest.fixture
def run_two(invoke, workspace, monkeypatch):
    """Measure a model on an honest device and on board `pi`, with these messages."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3)) for name in ("input", "output")]
    node = helper.make_node("Abs", ["input"], ["output"], name="magnitude")
    model = helper.make_model(
        helper.make_graph([node], "magnitude", value[:1], value[1:]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, workspace / MODEL)
    (workspace / "devices").mkdir()
    (workspace / "devices" / "pi.toml").write_text('extends = "cpu"\nname = "pi"\nsummary = "a board"\n')
    boards = {"cpu": Board(lambda request: [honest_trial(request)])}

    @contextmanager
    def open_gateway(device, _environment):
        yield boards[device.name]

    monkeypatch.setattr(transport, "_open_gateway", open_gateway)

    def run(messages, *words):
        boards["pi"] = Board(messages)
        words = words or ("run", MODEL, "--device", "cpu,pi", "--processes", "2", "--no-roofline")
        return invoke(*words), boards["pi"]

    return run


@pytest.mark.parametrize("attempt", WRONG)
def test_a_wrong_answer(attempt, run_two, workspace):
    """One line for the board; the record of the other device is stored and reads back, and none of the board's is."""
    result, _ = run_two(WRONG[attempt])

    assert 1 == result.exit_code
    (error,) = [line for line in result.stderr.splitlines() if "device pi" in line]
    assert error.startswith("Error: device pi: answers wrongly: ")
    assert error.isprintable()
    records = {name: ResultsFile(workspace / "results", name).read_records() for name in ("cpu", "pi")}
    assert ([None], []) == ([record.error for record in records["cpu"]], records["pi"])


def facts(**changes):
    """A host whose facts are these."""
    return {"facts": host_message()["facts"] | changes}


HOSTS = {
    "nothing": None,
    "facts a list": {"facts": [1]},
    "facts None": {"facts": None},
    "cores 2^70": facts(cores=2**70),
    "allowed CPUs without end": facts(allowed_cpus="0-" + "9" * 5000),
    "core kinds a list": facts(core_kinds=["x"]),
    "before a text": {"before": "x"},
    "conditions None": {"conditions": None},
    "temperature NaN": {"conditions": {"at_ns": 1, "temperature_c": float("nan")}},
    "firmware limits of numbers": {"conditions": {"at_ns": 1, "firmware_limits": [1]}},
    "gpu a list": {"gpu": [1]},
    "gpu clock infinite": {"gpu": {"name": "x", "sm_clock_max_hz": float("inf")}},
    "gpu limits of numbers": {"gpu": {"clock_limits": [1, 2]}},
    "runtime version a list": {"runtime_version": ["1"]},
    "runtime version a path": {"runtime_version": "../evil"},
}


@pytest.mark.parametrize("attempt", HOSTS)
def test_a_wrong_host(attempt, run_two):
    """`doctor` says in one line that the facts are wrong."""
    changes = HOSTS[attempt]
    message = {} if changes is None else host_message() | changes
    result, _ = run_two(lambda _request: [message], "doctor", "--quick", "--device", "pi")

    assert (1, "") == (result.exit_code, result.stdout)
    assert result.stderr.startswith("Error: device pi: answers wrongly: ")


PROFILES = {
    "nothing": {"nodes": None, "probe": None},
    "nodes of numbers": {"nodes": [5]},
    "node without a name": {"nodes": [{"op": "Abs"}]},
    "time negative": {"nodes": [profile_message()["nodes"][0] | {"duration_ns": -1}]},
    "time of text": {"nodes": [profile_message()["nodes"][0] | {"duration_ns": "x"}]},
    "a probe of one kernel": {"probe": profile_message()["nodes"]},
    "threads None": {"threads": None},
    "runtime version a list": {"runtime_version": [1]},
}


@pytest.mark.parametrize("attempt", PROFILES)
def test_a_wrong_profile(attempt, run_two):
    """The record stays, and one line says why there is no profile."""

    def messages(request):
        is_profile = request["kind"] == "layer_profile"
        return [profile_message() | PROFILES[attempt] if is_profile else honest_trial(request)]

    result, _ = run_two(messages, "run", MODEL, "--device", "pi", "--processes", "1", "--no-roofline", "--profile")

    assert "magnitude" in result.stdout
    assert "device pi: answers wrongly: " in result.stderr


OUTPUTS = {
    "nothing": lambda _: {},
    "fewer than inputs": lambda honest: honest | {"outputs": honest["outputs"][:1]},
    "more than inputs": lambda honest: honest | {"outputs": honest["outputs"] * 2},
    "numbers": lambda honest: honest | {"outputs": [5]},
    "placement a list": lambda honest: honest | {"placement": [1]},
    "runtime version a list": lambda honest: honest | {"runtime_version": [1]},
}


@pytest.mark.parametrize("attempt", OUTPUTS)
def test_wrong_outputs(attempt, run_two):
    """`verify` says in one line that the answer is wrong."""
    result, _ = run_two(lambda request: [OUTPUTS[attempt](outputs_message(request))], "verify", MODEL, "--device", "pi")

    assert (1, "") == (result.exit_code, result.stdout)
    assert result.stderr.startswith("Error: device pi: answers wrongly: ")


def test_an_output_of_another_kind(run_two, workspace):
    """Complex numbers in place of real ones are wrong: the case fails, and its record reads back."""
    result, _ = run_two(output(dtype="complex64", data=bytes(24)))

    assert 1 == result.exit_code
    (record,) = ResultsFile(workspace / "results", "pi").read_records()
    assert "`output` is complex, which is not expected" in record.error
    assert 0 == run_two(says(), "table")[0].exit_code


def column(name, values):
    """Pairs with another column of that name."""
    data = np.array(values, np.int64).tobytes() if isinstance(values, list) else values
    return lambda honest: honest | {"columns": honest["columns"] | {name: data}}


def sessions(change):
    """Pairs whose sessions are those that `change` makes of the honest ones."""
    return lambda honest: honest | {"sessions": change(honest["sessions"])}


PAIRS = {
    "nothing": lambda _: {},
    "busy 5": lambda _: {"busy": 5},
    "no columns": lambda honest: honest | {"columns": {}},
    "columns a list": lambda honest: honest | {"columns": [1]},
    "a column of half a number": column("base_ns", b"1234567"),
    "a column of text": column("base_ns", "x"),
    "a shorter column": column("base_ns", [1, 2]),
    "times 0": column("candidate_ns", [0] * 10),
    "times negative": column("candidate_ns", [-1] * 10),
    "a row that there is not": column("row", [7] * 10),
    "a third side": column("first", [2] * 10),
    "no sessions": sessions(lambda _: []),
    "more sessions": sessions(lambda honest: honest * 2),
    "sessions of text": sessions(lambda _: ["x", "y"]),
    "a session without outputs": sessions(lambda honest: [{"state": "warm"}, honest[1]]),
    "a session in an unknown state": sessions(lambda honest: [{"state": "x"}, honest[1]]),
    "an error that is a number": sessions(lambda honest: [{"state": "failed", "error": 5}, honest[1]]),
    "host a list": lambda honest: honest | {"host": [1]},
    "no pair of a row": lambda honest: honest | {"columns": dict.fromkeys(honest["columns"], b"")},
}


@pytest.mark.parametrize("attempt", PAIRS)
def test_wrong_pairs(attempt, run_two, workspace):
    """`compare` says in one line that the answer is wrong."""
    proto = onnx.load(workspace / MODEL)
    proto.graph.node[0].name = "same"
    onnx.save(proto, workspace / "candidate.onnx")

    def messages(request):
        return [host_message() if request["kind"] == "host_facts" else PAIRS[attempt](paired_message(request))]

    result, _ = run_two(messages, "compare", MODEL, "candidate.onnx", "--device", "pi", "--allow", "busy")

    assert "Error: device pi: answers wrongly: " in result.stderr
    assert 0 != result.exit_code


def test_a_wait_is_what_the_request_explains(run_two):
    """A board that announces 22 hours is waited for as long as one that announces what it needs."""
    result, board = run_two(lambda _request: [{"expected_s": 80_000.0}])

    assert 1 == result.exit_code
    assert "the worker hangs" in result.stdout + result.stderr
    assert 140 > max(board.channels[0].waits_s)


def test_text_of_a_board_is_text(run_two, workspace):
    """Escape sequences, new lines and commands of a CI service are stored and shown as text."""
    texts = {"cpu": CLEAR_SCREEN, "cores": 2, "core_kinds": {CLEAR_SCREEN: "0-1"}}
    run_two(lambda request: [honest_trial(request) | {"host": texts, "placement": {CLEAR_SCREEN: []}}])
    result, _ = run_two(lambda _request: [{"error": CLEAR_SCREEN * 1000, "unavailable": None}])
    run_two(lambda _request: [{"error": CLEAR_SCREEN, "unavailable": "runtime"}])

    assert all(line.isprintable() for line in (result.stdout + result.stderr).splitlines())
    records = ResultsFile(workspace / "results", "pi").read_records()
    assert 2 == len(records)
    assert records[0].host["cpu"].isprintable()
    assert next(iter(records[0].host["core_kinds"])).isprintable()
    assert records[1].error.isprintable()


HOSTILE_BYTES = {
    "a list of 2^31": opcode.NEWLIST + struct.pack("!i", 2**31 - 1),
    "a list of -1": opcode.NEWLIST + struct.pack("!i", -1),
    "lists that hold lists": (opcode.NEWLIST + struct.pack("!i", 10_000)) * 20_000,
}


@pytest.mark.parametrize("attempt", HOSTILE_BYTES)
def test_a_list_is_no_longer_than_its_message(attempt):
    """Nothing is allocated for items that did not come."""
    with pytest.raises((execnet.DataFormatError, gateway_base.LoadError)):
        execnet.loads(gateway_base.DUMPFORMAT_VERSION + HOSTILE_BYTES[attempt] + opcode.STOP)


def test_an_error_that_nobody_waits_for_is_not_printed(capsys):
    """A board can send one for any channel."""
    gateway_base.RemoteError(CLEAR_SCREEN).warn()
    assert "" == capsys.readouterr().err
