"""A session that is warm, or what it failed with."""

from __future__ import annotations

import random
import time
from typing import Any, Callable, NamedTuple

from .host.conditions import blocking_waits
from .host.facts import host_facts, huge_pages_bytes
from .runtimes import Refused, Unavailable
from .session import bind, load_runtime, pack_array, session_arguments
from .timing import time_runs

WARM_UP_RUNS = 3


class WarmSession(NamedTuple):
    """A warm session of one arm: its fastest warm-up run, and what a visit tells of a session, or `error` alone."""

    run: Callable[[], Any]
    latency_ns: int
    facts: dict[str, Any]


def open_sessions(
    requests: list[dict[str, Any]], draw: random.Random, channel: Any
) -> tuple[list[WarmSession], dict[str, Any]]:
    """All sessions, created in random order, as where one lies in memory must not depend on its side; and the host."""
    # All arms are of one device; `all` threads are as many as the cores that it is bound to.
    bind(requests[0]["cores"])
    host = host_facts()
    opened: dict[int, WarmSession] = {}
    for at in draw.sample(range(len(requests)), len(requests)):
        channel.send({"expected_s": 0.0, "at": at})
        opened[at] = _open_arm(requests[at], cores=host["cores"])
    host["huge_pages_bytes"] = huge_pages_bytes()
    return [opened[at] for at in range(len(requests))], host


def _open_arm(request: dict[str, Any], *, cores: int) -> WarmSession:
    """Create a session, run it for the first time, and warm it up; `cores` are those that `all` threads mean."""
    try:
        runtime, chosen = load_runtime(request), session_arguments(request, cores=cores)
        begin_ns = time.perf_counter_ns()
        session = runtime.Session(request["model"], **chosen)
        session_ns = time.perf_counter_ns() - begin_ns
        first_run_ns = time_runs(session.run, min_runs=1, min_duration_ns=0).latencies_ns[0]
        before = blocking_waits()
        warm = time_runs(session.run, min_runs=WARM_UP_RUNS, min_duration_ns=0).latencies_ns
        waited = before is None or (blocking_waits() or 0) - before >= WARM_UP_RUNS
    except Unavailable:
        raise
    except MemoryError:
        return WarmSession(_nothing, 0, {"error": "out of memory"})
    except Refused as failure:
        return WarmSession(_nothing, 0, {"error": str(failure)})
    except Exception as failure:  # noqa: BLE001  whatever a runtime raises is this row's result
        return WarmSession(_nothing, 0, {"error": f"{type(failure).__name__}: {failure}"})
    facts = {
        "session_ns": session_ns,
        "waits": waited,
        "first_run_ns": first_run_ns,
        "outputs": [pack_array(output) for output in session.outputs()],
        "placement": session.placement(),
        "threads": chosen["threads"],
        "runtime_version": runtime.version(),
    }
    return WarmSession(session.run, min(warm), facts)


def _nothing() -> None:
    """What an arm without a session runs."""
