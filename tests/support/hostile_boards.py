"""Wrong answers of a board to the request of a trial: each a function that returns its messages."""

from itertools import repeat

import numpy as np
from answers import trial_message
from boards import DEEP, honest_session, honest_trial

CLEAR_SCREEN = "\x1b[2J\n::error::done\u202e"


def changed(**changes):
    """Messages of a worker that tells the truth, but for these keys of its answer."""
    return lambda request: [honest_trial(request) | changes]


def without(key):
    """Messages of a worker that leaves a key out."""
    return lambda request: [{name: value for name, value in honest_trial(request).items() if name != key}]


def session(**changes):
    """… whose session has these facts."""
    return lambda request: [honest_trial(request) | {"sessions": [honest_session(request["sessions"][0]) | changes]}]


def lacking(key):
    """… whose session lacks a fact."""

    def messages(request):
        facts = honest_session(request["sessions"][0])
        return [honest_trial(request) | {"sessions": [{name: facts[name] for name in facts if name != key}]}]

    return messages


def runs(**columns):
    """… whose runs have these columns."""
    return lambda request: [with_runs(honest_trial(request), **columns)]


def with_runs(honest, **columns):
    """Return an answer with other columns of runs; a list is an honest one's bytes."""
    data = {
        name: np.array(values, np.int64).tobytes() if isinstance(values, list) else values
        for name, values in columns.items()
    }
    return honest | {"runs": honest["runs"] | data}


def host(**facts):
    """… whose host has these facts."""
    return changed(host={"cpu": "a CPU", "cores": 2} | facts)


def runtime(**changes):
    """… whose runtime is this."""
    facts = {"name": "onnxruntime", "version": "1.2.3", "build": "Release", "library_sha256": "0" * 64}
    return changed(runtime=facts | changes)


def output(dtype="float32", shape=(1, 3), data=bytes(12)):
    """… whose only output is this."""
    return session(outputs=[(dtype, shape, data)])


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
    "three heartbeats": lambda request: [{"expected_s": 0.0}] * 3 + [honest_trial(request)],
    "busy without limits": says({"busy": "the load is 9"}),
    "busy with runs": changed(busy="the load is 9"),
    "busy 5": says({"busy": 5}),
    "no runs": runs(session=[], slice=[], latency_ns=[], cpu_ns=[]),
    "runs a list": changed(runs=[1]),
    "runs without columns": changed(runs={}),
    "runs with one more column": runs(x=[0] * 200),
    "runs in another order": lambda request: [
        honest_trial(request) | {"runs": dict(reversed(honest_trial(request)["runs"].items()))}
    ],
    "runs of a session that there is not": runs(session=[1] * 200),
    "runs of session -1": runs(session=[-1] * 200),
    "runs of session 2^62": runs(session=[2**62] * 200),
    "slice negative": runs(slice=[-1] * 200),
    "latency 0": runs(latency_ns=[0] * 200),
    "latency negative": runs(latency_ns=[-5] * 200),
    "latency 2^63-1": runs(latency_ns=[2**63 - 1] * 200),
    "latencies a number": runs(latency_ns=5),
    "latencies a text": runs(latency_ns="fast"),
    "latencies of half a number": runs(latency_ns=bytes(1601)),
    "latencies None": runs(latency_ns=None),
    "more latencies than CPU times": runs(latency_ns=[1_000_000] * 300),
    "CPU time negative": runs(cpu_ns=[-1] * 200),
    "no sessions": changed(sessions=[]),
    "sessions None": changed(sessions=None),
    "sessions of text": changed(sessions=["x"]),
    "more sessions": lambda request: [trial_message([honest_session(request["sessions"][0])] * 2)],
    "runs of a session that failed": session(state="failed", error="no memory"),
    "a session in an unknown state": session(state="x"),
    "an error that is a number": changed(sessions=[{"state": "failed", "error": 5}]),
    "session_ns negative": session(session_ns=-1),
    "session_ns 2^63-1": session(session_ns=2**63 - 1),
    "session_ns a text": session(session_ns="1"),
    "first_run_ns None": session(first_run_ns=None),
    "first_run_ns 2^70": session(first_run_ns=2**70),
    "peak_rss_bytes a text": changed(peak_rss_bytes="5 GB"),
    "peak_rss_bytes negative": changed(peak_rss_bytes=-1),
    "threads 0": session(threads=0),
    "threads a text": session(threads="all"),
    "threads 10^9": session(threads=10**9),
    "copies of text": session(copies_ns={"in": "x"}),
    "copies a list": session(copies_ns=[1]),
    "copies of another name": session(copies_ns={CLEAR_SCREEN: 1}),
    "placement a list": session(placement=["CPUExecutionProvider"]),
    "placement of numbers": session(placement={"CPUExecutionProvider": 5}),
    "placement of number keys": session(placement={5: ["x"]}),
    "runtime a text": changed(runtime="onnxruntime"),
    "runtime of another name": runtime(name="../../x"),
    "another runtime": runtime(name="mnn"),
    "runtime None": changed(runtime=None),
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
    "outputs None": session(outputs=None),
    "outputs of numbers": session(outputs=[5]),
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
    "output without a shape": session(outputs=[("float32",)]),
    "waits a text": session(waits="no"),
    **{f"no {key}": without(key) for key in ("runs", "sessions", "runtime", "host")},
    **{f"a session without {key}": lacking(key) for key in honest_session({"inputs": {}})},
}  # fmt: skip
