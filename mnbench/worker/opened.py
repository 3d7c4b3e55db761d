"""From a request to a session: its runtime, its settings, its arrays."""

from __future__ import annotations

import os
import time
from importlib import import_module
from typing import Any, Callable, Iterable, NamedTuple

import numpy as np

from .host import allowed_cores, waits
from .loop import timed_runs
from .runtimes import Unavailable

WARM_UP_RUNS = 3


class Opened(NamedTuple):
    """A warm session of one arm: its fastest warm-up run, and what a visit tells of a session, or `error` alone."""

    run: Callable[[], Any]
    latency_ns: int
    facts: dict[str, Any]


def open_arm(request: dict[str, Any]) -> Opened:
    """Create a session, run it for the first time, and warm it up."""
    try:
        runtime, settings = runtime_of(request), settings_of(request)
        begin_ns = time.perf_counter_ns()
        session = runtime.Session(request["model"], inputs=arrays(request["inputs"]), **settings)
        session_ns = time.perf_counter_ns() - begin_ns
        first_run_ns = timed_runs(session.run, min_runs=1, min_duration_ns=0).latencies_ns[0]
        before = waits()
        warm = timed_runs(session.run, min_runs=WARM_UP_RUNS, min_duration_ns=0).latencies_ns
        waited = before is None or (waits() or 0) - before >= WARM_UP_RUNS
    except Unavailable:
        raise
    except MemoryError:
        return Opened(_nothing, 0, {"error": "out of memory"})
    except Exception as failure:  # noqa: BLE001  whatever a runtime raises is this row's result
        return Opened(_nothing, 0, {"error": f"{type(failure).__name__}: {failure}"})
    facts = {
        "session_ns": session_ns,
        "waits": waited,
        "first_run_ns": first_run_ns,
        "outputs": packed(session.outputs()),
        "placement": session.placement(),
        "threads": settings["threads"],
        "runtime_version": runtime.version(),
    }
    return Opened(session.run, min(warm), facts)


def _nothing() -> None:
    """What an arm without a session runs."""


def runtime_of(request: dict[str, Any]) -> Any:
    """The module that runs models with the runtime asked for."""
    try:
        return import_module(f"{__package__}.runtimes.{request['runtime']}")
    except ImportError as failure:
        raise Unavailable(f"{request['runtime']} cannot be imported: {failure}", what="runtime") from failure


def settings_of(request: dict[str, Any]) -> dict[str, Any]:
    """What a session is created with. Threads that it starts inherit the cores that this one is bound to."""
    if request["cores"]:
        try:
            os.sched_setaffinity(0, request["cores"])  # pyright: ignore[reportAttributeAccessIssue,reportUnknownMemberType]
        except (AttributeError, OSError) as failure:
            wanted = ", ".join(map(str, request["cores"]))
            raise Unavailable(f"cannot be bound to cores {wanted}: {failure}", what="cores") from failure
    return {
        "provider": request["provider"],
        "provider_options": request["provider_options"],
        "threads": request["threads"] or allowed_cores(),
        "options": request["options"],
    }


def arrays(received: dict[str, Any]) -> dict[str, Any]:
    """Arrays of their own memory, from name → (type, shape, bytes)."""
    return {name: np.frombuffer(data, dtype).reshape(shape).copy() for name, (dtype, shape, data) in received.items()}


def packed(found: Iterable[Any]) -> list[tuple[str, tuple[int, ...], bytes]]:
    """Arrays as (type, shape, bytes), for the way back."""
    return [(str(array.dtype), array.shape, array.tobytes()) for array in map(np.asarray, found)]
