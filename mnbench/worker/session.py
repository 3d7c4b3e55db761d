"""Sessions as a request describes them: runtime, model, inputs, threads, cores; cold, or warm for a comparison."""

from __future__ import annotations

import os
import random
import time
from importlib import import_module
from typing import Any, Callable, NamedTuple

import numpy as np

from .host.conditions import blocking_waits
from .host.facts import host_facts, huge_pages_bytes
from .runtimes import SessionSettings, Unavailable, describe_failure
from .timing import time_runs

WARM_UP_RUNS = 3


class OpenSession(NamedTuple):
    """A session after its first run."""

    session: Any
    threads: int
    session_ns: int
    first_run_ns: int


class WarmSession(NamedTuple):
    """A warm session: its fastest warm-up run, and its facts, whose `state` is `warm`, or `failed` with an `error`."""

    run: Callable[[], Any]
    latency_ns: int
    facts: dict[str, Any]


def load_runtime(request: dict[str, Any]) -> Any:
    try:
        return import_module(f"{__package__}.runtimes.{request['runtime']}")
    except ImportError as failure:
        raise Unavailable(f"{request['runtime']} cannot be imported: {failure}", missing="runtime") from failure


def open_session(runtime: Any, request: dict[str, Any], *, cores: int, profile: str = "") -> OpenSession:
    """Create a session, and run it for the first time. A request for 0 threads gets as many as `cores`."""
    settings = SessionSettings(
        inputs={name: unpack_value(value) for name, value in request["inputs"].items()},
        provider=request["provider"],
        provider_options=request["provider_options"],
        threads=request["threads"] or cores,
        options=request["options"],
        profile=profile,
    )
    begin_ns = time.perf_counter_ns()
    session = runtime.Session(request["model"], settings)
    session_ns = time.perf_counter_ns() - begin_ns
    first_run_ns = time_runs(session.run, min_runs=1, min_duration_ns=0).latencies_ns[0]
    return OpenSession(session, settings.threads, session_ns, first_run_ns)


def open_warm_sessions(
    requests: list[dict[str, Any]], draw: random.Random, channel: Any
) -> tuple[list[WarmSession], dict[str, Any]]:
    """Open and warm up all sessions, and read the host's facts.

    The order is random: where a session lies in memory must not depend on its side. All requests are for one device.
    """
    bind(requests[0]["cores"])
    host = host_facts()
    sessions: dict[int, WarmSession] = {}
    for index in draw.sample(range(len(requests)), len(requests)):
        channel.send({"expected_s": 0.0, "index": index})
        sessions[index] = _open_warm(requests[index], cores=host["cores"])
    host["huge_pages_bytes"] = huge_pages_bytes()
    return [sessions[index] for index in range(len(requests))], host


def _open_warm(request: dict[str, Any], *, cores: int) -> WarmSession:
    try:
        runtime = load_runtime(request)
        opened = open_session(runtime, request, cores=cores)
        run = opened.session.run
        before = blocking_waits()
        warm_up_ns = time_runs(run, min_runs=WARM_UP_RUNS, min_duration_ns=0).latencies_ns
        waits = before is None or (blocking_waits() or 0) - before >= WARM_UP_RUNS
    except Unavailable:
        raise
    except Exception as failure:  # noqa: BLE001  whatever a runtime raises is this row's result
        return WarmSession(lambda: None, 0, {"state": "failed", "error": describe_failure(failure)})
    facts = {
        "state": "warm",
        "session_ns": opened.session_ns,
        "waits": waits,
        "first_run_ns": opened.first_run_ns,
        "outputs": [pack_value(output) for output in opened.session.outputs()],
        "placement": opened.session.placement(),
        "threads": opened.threads,
        "runtime_version": runtime.version(),
    }
    return WarmSession(run, min(warm_up_ns), facts)


def bind(cores: list[int]) -> None:
    """Run this process, and threads that it starts later, on these cores alone; without cores, on any.

    Linux silently ignores cores that do not exist, so the result is checked.
    """
    if not cores:
        return
    system: Any = os  # only Linux has affinity
    try:
        system.sched_setaffinity(0, cores)
        refused = set(cores) - system.sched_getaffinity(0)
        reason = "they do not exist, or are not allowed"
    except (AttributeError, OSError, ValueError, OverflowError) as failure:
        refused, reason = set(cores), str(failure)
    if refused:
        raise Unavailable(f"cannot be bound to cores {', '.join(map(str, sorted(refused)))}: {reason}", missing="cores")


def pack_value(value: Any) -> tuple[str, tuple[int, ...], bytes | list[str]] | None:
    """Turn an array into what a message holds: type, shape, and bytes or strings; None if it is not an array."""
    if not hasattr(value, "dtype"):
        return None
    array = np.asarray(value)
    if array.dtype.kind in "OU":
        return "str", array.shape, [str(text) for text in array.ravel()]
    return str(array.dtype), array.shape, array.tobytes()


def unpack_value(packed: tuple[str, tuple[int, ...], Any] | None) -> Any:
    """Turn a packed array into one with memory of its own."""
    if packed is None:
        return None
    dtype, shape, data = packed
    array = np.array(data, object) if dtype == "str" else np.frombuffer(data, dtype)
    return array.reshape(shape).copy()
