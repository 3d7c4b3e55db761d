"""The timed loop: the only reader of the clock that ends up in a latency."""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager
from statistics import median
from typing import Callable, Generator, Iterable, NamedTuple

Clock = Callable[[], int]

SETTLED = 0.98
"""A block of warm-up runs whose median is above this share of the one before it has stopped getting faster."""


class Timings(NamedTuple):
    """Of each run, in order, the nanoseconds by the wall clock and those that this thread worked."""

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
    """Run until both minima are met, without garbage collection. The CPU's clock is read outside the wall's."""
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
    """Time each of these runs once, in their order, without garbage collection."""
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
    min_runs: int,
    min_duration_ns: int,
    max_duration_ns: int,
    clock: Clock = time.perf_counter_ns,
) -> list[int]:
    """Run in blocks until one is hardly faster than the one before it, or `max_duration_ns` have passed.

    Each block has at least `min_runs` runs and `min_duration_ns`.

    Returns:
        The nanoseconds of each run, in order.
    """
    stop = clock() + max_duration_ns
    latencies_ns: list[int] = []
    before = None
    while True:
        block = time_runs(run, min_runs=min_runs, min_duration_ns=min_duration_ns, clock=clock).latencies_ns
        latencies_ns += block
        now = median(block)
        if clock() >= stop or (before is not None and now > SETTLED * before):
            return latencies_ns
        before = now


@contextmanager
def _no_collection() -> Generator[None, None, None]:
    """Garbage waits until the end, if it is collected at all."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
