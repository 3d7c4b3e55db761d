"""One side of a comparison between runtimes that cannot share a process: it runs what it is told, when it is told."""

from __future__ import annotations

import random
from typing import Any, Callable

from ..host.conditions import busy
from ..timing import timed_each
from ..warm_session import open_arms


def answer(request: dict[str, Any], channel: Any) -> dict[str, Any]:
    """Open this side of every row, tell how fast each is, and take turns until told that there are no more.

    A turn is (arm, runs); the reply holds the nanoseconds of each run by the wall's clock and by the CPU's.
    """
    reason = busy(request["limits"])
    if reason:
        return {"busy": reason}
    draw = random.Random(request["seed"])  # noqa: S311  an order, not a secret
    arms, host = open_arms(request["arms"], draw, channel)
    channel.send({"latencies_ns": [arm.latency_ns for arm in arms], "arms": [arm.facts for arm in arms], "host": host})
    receive: Callable[[], tuple[int, int] | None] = channel.receive
    for at, runs in iter(receive, None):
        found = timed_each(arms[at].run for _ in range(runs))
        channel.send((found.latencies_ns, found.cpu_ns))
    return {"ended": True}
