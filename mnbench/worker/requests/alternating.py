"""One side of a comparison whose runtimes cannot share a process: run a session whenever the host asks."""

from __future__ import annotations

from typing import Any, Callable

from ..host.conditions import busy_reason
from ..session import clocks, describe_runtime, load_runtime, open_warm_sessions
from ..timing import time_sequence


def handle(request: dict[str, Any], channel: Any) -> dict[str, Any]:
    """Open this side of every row, send each session's latency, and run sessions until the host sends None.

    The host sends (session, runs); the reply holds each run's nanoseconds by the wall clock and by the CPU clock.
    """
    reason = busy_reason(request["limits"])
    if reason:
        return {"busy": reason}
    sessions, host = open_warm_sessions(request, channel)
    channel.send(
        {
            "latencies_ns": [session.latency_ns for session in sessions],
            "sessions": [session.facts() for session in sessions],
            "runtime": describe_runtime(request["sessions"][0]),
            "host": host,
        }
    )
    receive: Callable[[], tuple[int, int] | None] = channel.receive
    timing = clocks(load_runtime(request["sessions"][0]))
    for index, runs in iter(receive, None):
        timings = time_sequence((sessions[index].run for _ in range(runs)), **timing)
        channel.send((timings.latencies_ns, timings.cpu_ns))
    return {"ended": True}
