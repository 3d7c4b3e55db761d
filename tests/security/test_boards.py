"""A board's wrong answer is one line for that board; the others are measured, and every command goes on."""

# ruff: noqa: SIM300  expected == actual

from contextlib import contextmanager
from itertools import repeat

import onnx
import pytest
from boards import DEEP, Board, trial_message
from onnx import TensorProto, helper

from mnbench.results.store import ResultsFile
from mnbench.targets import transport

CLEAR_SCREEN = "\x1b[2J\n::error::done\u202e"


def changed(**changes):
    """Messages of a worker that tells the truth, but for these keys of its answer."""
    return lambda request: [trial_message(request) | changes]


def without(key):
    """Messages of a worker that leaves a key out."""
    return lambda request: [{name: value for name, value in trial_message(request).items() if name != key}]


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
    return lambda request: [{"expected_s": expected_s}, trial_message(request)]


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
    "two heartbeats": lambda request: [{"expected_s": 0.0}] * 2 + [trial_message(request)],
    "no latencies": changed(latencies_ns=[], cpu_ns=[]),
    "latency 0": changed(latencies_ns=[0] * 200),
    "latency negative": changed(latencies_ns=[-5] * 200),
    "latency 2^70": changed(latencies_ns=[2**70] * 200),
    "latencies a number": changed(latencies_ns=5),
    "latencies of text": changed(latencies_ns=["fast"] * 200),
    "latencies of fractions": changed(latencies_ns=[0.5] * 200),
    "latencies None": changed(latencies_ns=None),
    "more latencies than CPU times": changed(latencies_ns=[1_000_000] * 300),
    "CPU time negative": changed(cpu_ns=[-1] * 200),
    "warm-up of text": changed(warmup_ns=["x"]),
    "session_ns negative": changed(session_ns=-1),
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
    "runtime version a path": runtime(version="/tmp/evil"),
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
    "host of a million kinds of core": host(core_kinds={str(index): "0" for index in range(10**6)}),
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
    onnx.save(model, workspace / "magnitude.onnx")
    (workspace / "devices").mkdir()
    (workspace / "devices" / "pi.toml").write_text('extends = "cpu"\nname = "pi"\nsummary = "a board"\n')
    boards = {"cpu": Board(lambda request: [trial_message(request)])}

    @contextmanager
    def open_gateway(device, _environment):
        yield boards[device.name]

    monkeypatch.setattr(transport, "_open_gateway", open_gateway)

    def run(messages, *words):
        boards["pi"] = Board(messages)
        words = ("--device", "cpu,pi", "--processes", "2", "--no-roofline", *words)
        return invoke("run", "magnitude.onnx", *words), boards["pi"]

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
