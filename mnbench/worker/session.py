"""Sessions as a request describes them: runtime, model, inputs, threads, cores; cold, or warm for a comparison."""

from __future__ import annotations

import os
import random
import time
from importlib import import_module
from statistics import median
from typing import Any, Callable, NamedTuple

import numpy as np

from .host.conditions import blocking_waits
from .host.facts import host_facts, huge_pages_bytes
from .runtimes import SessionSettings, Unavailable, describe_failure, library_sha256
from .timing import time_runs

COPY_RUNS = 20
"""Timed copies to and from a device's own memory."""


class OpenSession(NamedTuple):
    """A session after its first run."""

    session: Any
    threads: int
    session_ns: int
    first_run_ns: int


class WarmSession:
    """A session after its first runs, or the `error` that opening it raised; `latency_ns` is its fastest run so far."""

    def __init__(self, request: dict[str, Any], *, cores: int, warmup_runs: int) -> None:
        self.error: str | None = None
        try:
            runtime = load_runtime(request)
            self._opened = open_session(runtime, request, cores=cores)
            self.run: Callable[[], Any] = self._opened.session.run
            self.latency_ns = self._opened.first_run_ns
            self._waits = True
            if warmup_runs:
                before = blocking_waits()
                runs = time_runs(self.run, min_runs=warmup_runs, min_duration_ns=0, **clocks(runtime))
                self.latency_ns = min(runs.latencies_ns)
                self._waits = before is None or (blocking_waits() or 0) - before >= warmup_runs
        except Unavailable:
            raise
        except Exception as failure:  # noqa: BLE001  whatever a runtime raises is this row's result
            self.error = describe_failure(failure)
            self.latency_ns = 0

    def facts(self) -> dict[str, Any]:
        """Return the session's figures and the outputs of its last run; `state` is `warm`, or `failed` with `error`."""
        if self.error is not None:
            return {"state": "failed", "error": self.error}
        session = self._opened.session
        copies: dict[str, Callable[[], object]] = session.copies() if hasattr(session, "copies") else {}
        return {
            "state": "warm",
            "session_ns": self._opened.session_ns,
            "first_run_ns": self._opened.first_run_ns,
            "waits": self._waits,
            "outputs": [pack_value(output) for output in session.outputs()],
            "copies_ns": {name: _duration_ns(copy) for name, copy in copies.items()},
            "placement": session.placement(),
            "threads": self._opened.threads,
        }


def _duration_ns(copy: Callable[[], object]) -> int:
    return round(median(time_runs(copy, min_runs=COPY_RUNS, min_duration_ns=0).latencies_ns))


def load_runtime(request: dict[str, Any]) -> Any:
    try:
        return import_module(f"{__package__}.runtimes.{request['runtime']}")
    except ImportError as failure:
        raise Unavailable(f"{request['runtime']} cannot be imported: {failure}", missing="runtime") from failure


def describe_runtime(request: dict[str, Any]) -> dict[str, Any]:
    """Describe the runtime; what it starts for its sessions is known once they are open."""
    runtime = load_runtime(request)
    digest = runtime.library_sha256() if hasattr(runtime, "library_sha256") else None
    return {
        "name": request["runtime"],
        "version": runtime.version(),
        "build": runtime.build(),
        "library_sha256": digest or library_sha256(request["runtime"], runtime.LIBRARY),
    }


def clocks(runtime: Any) -> dict[str, Any]:
    """Return the clocks of a runtime that times its runs itself; their CPU time is not known, and 0."""
    return {"clock": runtime.clock, "cpu_clock": lambda: 0} if hasattr(runtime, "clock") else {}


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
    first_run_ns = time_runs(session.run, min_runs=1, min_duration_ns=0, **clocks(runtime)).latencies_ns[0]
    return OpenSession(session, settings.threads, session_ns, first_run_ns)


def open_warm_sessions(request: dict[str, Any], channel: Any) -> tuple[list[WarmSession], dict[str, Any]]:
    """Open all sessions of a request and run them for the first time, and read the host's facts.

    The order is random: where a session lies in memory must not depend on its place. All are for one device.
    """
    sessions, draw = request["sessions"], random.Random(request["seed"])  # noqa: S311  an order, not a secret
    bind(sessions[0]["cores"])
    host = host_facts()
    opened: dict[int, WarmSession] = {}
    for index in draw.sample(range(len(sessions)), len(sessions)):
        channel.send({"expected_s": 0.0, "index": index})
        opened[index] = WarmSession(sessions[index], cores=host["cores"], warmup_runs=request["warmup_runs"])
    host["huge_pages_bytes"] = huge_pages_bytes()
    return [opened[index] for index in range(len(sessions))], host


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
