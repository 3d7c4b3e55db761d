"""The timed loop: the only place that reads the clock for a latency."""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager
from statistics import median
from typing import Callable, Generator, Iterable, NamedTuple

Clock = Callable[[], int]

SETTLED = 0.98
"""Warm-up ends when a block's median is above this share of the median of the block before."""


class Timings(NamedTuple):
    """Wall time and this thread's CPU time of each run, in order."""

    latencies_ns: list[int]
    cpu_ns: list[int]


def time_runs(
    run: Callable[[], object],
    *,
    min_runs: int,
    min_duration_ns: int,
    clock: Clock = time.perf_counter_ns,
    cpu_clock: Clock = time.thread_time_ns,
) -> Timings:
    """Run until both minima are reached, without garbage collection. The CPU clock is read outside the wall time."""
    runs = Timings([], [])
    keep, keep_cpu = runs.latencies_ns.append, runs.cpu_ns.append
    with _no_collection():
        stop = clock() + min_duration_ns
        while True:
            cpu_begin = cpu_clock()
            begin = clock()
            run()
            end = clock()
            keep_cpu(cpu_clock() - cpu_begin)
            keep(end - begin)
            if end >= stop and len(runs.latencies_ns) >= min_runs:
                return runs


def time_sequence(
    runs: Iterable[Callable[[], object]],
    *,
    clock: Clock = time.perf_counter_ns,
    cpu_clock: Clock = time.thread_time_ns,
) -> Timings:
    """Time each of these runs once, in order, without garbage collection."""
    timings = Timings([], [])
    keep, keep_cpu = timings.latencies_ns.append, timings.cpu_ns.append
    with _no_collection():
        for run in runs:
            cpu_begin = cpu_clock()
            begin = clock()
            run()
            end = clock()
            keep_cpu(cpu_clock() - cpu_begin)
            keep(end - begin)
    return timings


def warm_up(
    run: Callable[[], object],
    *,
    min_duration_ns: int,
    max_duration_ns: int,
    clock: Clock = time.perf_counter_ns,
    cpu_clock: Clock = time.thread_time_ns,
) -> None:
    """Run in blocks of `min_duration_ns` until one is hardly faster than the one before, or the maximum has passed."""
    stop = clock() + max_duration_ns
    before = None
    while True:
        block = time_runs(run, min_runs=1, min_duration_ns=min_duration_ns, clock=clock, cpu_clock=cpu_clock)
        now = median(block.latencies_ns)
        if clock() >= stop or (before is not None and now > SETTLED * before):
            return
        before = now


@contextmanager
def _no_collection() -> Generator[None, None, None]:
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
