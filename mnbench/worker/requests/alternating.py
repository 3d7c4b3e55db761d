"""One side of a comparison between runtimes that cannot share a process: it runs what it is told, when it is told."""

from __future__ import annotations

import random
from typing import Any, Callable

from ..host.conditions import busy_reason
from ..timing import time_sequence
from ..warm_session import open_sessions


def handle(request: dict[str, Any], channel: Any) -> dict[str, Any]:
    """Open this side of every row, tell how fast each is, and take turns until told that there are no more.

    A turn is (arm, runs); the reply holds the nanoseconds of each run by the wall's clock and by the CPU's.
    """
    reason = busy_reason(request["limits"])
    if reason:
        return {"busy": reason}
    draw = random.Random(request["seed"])  # noqa: S311  an order, not a secret
    arms, host = open_sessions(request["arms"], draw, channel)
    channel.send({"latencies_ns": [arm.latency_ns for arm in arms], "arms": [arm.facts for arm in arms], "host": host})
    receive: Callable[[], tuple[int, int] | None] = channel.receive
    for at, runs in iter(receive, None):
        timings = time_sequence(arms[at].run for _ in range(runs))
        channel.send((timings.latencies_ns, timings.cpu_ns))
    return {"ended": True}
