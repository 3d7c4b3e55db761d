"""The timed loop: the only reader of the clock that ends up in a latency."""

from __future__ import annotations

import gc
import time
from typing import Callable

Clock = Callable[[], int]


def timed_runs(
    run: Callable[[], object], *, min_runs: int, min_duration_ns: int, clock: Clock = time.perf_counter_ns
) -> list[int]:
    """Run until both minima are met.

    Returns:
        The nanoseconds of each run, in order.
    """
    latencies_ns: list[int] = []
    keep = latencies_ns.append
    collecting = gc.isenabled()
    gc.disable()
    try:
        stop = clock() + min_duration_ns
        while True:
            begin = clock()
            run()
            end = clock()
            keep(end - begin)
            if end >= stop and len(latencies_ns) >= min_runs:
                return latencies_ns
    finally:
        if collecting:
            gc.enable()
