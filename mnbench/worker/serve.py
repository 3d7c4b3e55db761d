"""One visit: create a session, run it for the first time, warm it up, time it, and tell what was found."""

from __future__ import annotations

import os
import time
from importlib import import_module
from statistics import median
from typing import Any

import numpy as np

from .host import allowed_cores, host_facts, peak_rss_bytes
from .loop import timed_runs, warm_up
from .runtimes import Unavailable

COPIES = 20
"""How often the copies to and from a device's own memory are timed."""


def serve(channel: Any) -> None:
    """Answer one request that comes over an execnet channel.

    An answer holds `error`, with `unavailable` naming what is missing, or what was found. Before that of a visit comes
    `expect_s`, once the first run has shown how long the others may take.
    """
    request = channel.receive()
    try:
        channel.send(_ANSWERS[request["do"]](request, channel))
    except Unavailable as failure:
        channel.send({"error": str(failure), "unavailable": failure.what})
    except MemoryError:
        channel.send({"error": "out of memory", "unavailable": None})
    except BaseException as failure:  # noqa: BLE001  whatever a runtime raises is this cell's result
        channel.send({"error": f"{type(failure).__name__}: {failure}", "unavailable": None})


def visit(request: dict[str, Any], channel: Any) -> dict[str, Any]:
    """One fresh session, measured by the protocol in `request`."""
    runtime, settings = _runtime(request), _settings(request)
    host = host_facts()
    begin_ns = time.perf_counter_ns()
    session = runtime.Session(request["model"], inputs=_arrays(request["inputs"]), **settings)
    session_ns = time.perf_counter_ns() - begin_ns
    first_run_ns = timed_runs(session.run, min_runs=1, min_duration_ns=0).latencies_ns[0]
    runs = 2 * request["warmup_runs"] + request["min_runs"]
    expect_ns = runs * first_run_ns + request["max_warmup_ns"] + request["min_duration_ns"]
    channel.send({"expect_s": expect_ns / 1e9})
    warmup_ns = warm_up(
        session.run,
        min_runs=request["warmup_runs"],
        min_duration_ns=request["min_warmup_ns"],
        max_duration_ns=request["max_warmup_ns"],
    )
    timed = timed_runs(session.run, min_runs=request["min_runs"], min_duration_ns=request["min_duration_ns"])
    return {
        "session_ns": session_ns,
        "first_run_ns": first_run_ns,
        "warmup_ns": warmup_ns,
        "latencies_ns": timed.latencies_ns,
        "cpu_ns": timed.cpu_ns,
        "peak_rss_bytes": peak_rss_bytes(),
        "outputs": [(str(array.dtype), array.shape, array.tobytes()) for array in map(np.asarray, session.outputs())],
        "copies_ns": {name: _copy_ns(copy) for name, copy in session.copies().items()},
        "placement": session.placement(),
        "threads": settings["threads"],
        "runtime_version": runtime.version(),
        "host": host,
    }


def _runtime(request: dict[str, Any]) -> Any:
    try:
        return import_module(f"{__package__}.runtimes.{request['runtime']}")
    except ImportError as failure:
        raise Unavailable(f"{request['runtime']} cannot be imported: {failure}", what="runtime") from failure


def _settings(request: dict[str, Any]) -> dict[str, Any]:
    """What a session is created with. Threads that it starts inherit the cores that this one is bound to."""
    if request["cores"]:
        _bind(set(request["cores"]))
    return {
        "provider": request["provider"],
        "provider_options": request["provider_options"],
        "threads": request["threads"] or allowed_cores(),
        "options": request["options"],
    }


def _bind(cores: set[int]) -> None:
    """Run on these cores alone. Linux takes those of them that there are, and says nothing of the others."""
    system: Any = os  # Linux alone has affinity
    try:
        system.sched_setaffinity(0, cores)
        refused = cores - system.sched_getaffinity(0)
        reason = "there are none such, or they are not allowed"
    except (AttributeError, OSError, ValueError, OverflowError) as failure:
        refused, reason = cores, str(failure)
    if refused:
        raise Unavailable(f"cannot be bound to cores {', '.join(map(str, sorted(refused)))}: {reason}", what="cores")


def _arrays(packed: dict[str, Any]) -> dict[str, Any]:
    """Arrays of their own memory, from name → (type, shape, bytes)."""
    return {name: np.frombuffer(data, dtype).reshape(shape).copy() for name, (dtype, shape, data) in packed.items()}


def _copy_ns(copy: Any) -> int:
    return round(median(timed_runs(copy, min_runs=COPIES, min_duration_ns=0).latencies_ns))


_ANSWERS = {"visit": visit}
