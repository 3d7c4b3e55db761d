"""Request `paired`: run baseline and candidate of each row in interleaved pairs, in one process."""

from __future__ import annotations

import random
import time
from typing import Any, Callable, Dict, List

import numpy as np

from ..host.conditions import busy_reason
from ..session import open_warm_sessions
from ..timing import Clock, time_sequence

Run = Callable[[], object]
Columns = Dict[str, List[int]]

HEARTBEAT_NS = 500_000_000
"""Time between two messages to the host."""

PAIR_COLUMNS = ("row", "round", "first", "base_ns", "candidate_ns", "base_cpu_ns", "candidate_cpu_ns")


def handle(request: dict[str, Any], channel: Any) -> dict[str, Any]:
    """Run pairs of all rows, round by round, until the requested time is over.

    `sessions` requests the sessions: the baseline and the candidate of a row next to each other. The row of a session
    that failed is left out.
    """
    reason = busy_reason(request["limits"])
    if reason:
        return {"busy": reason}
    draw = random.Random(request["seed"])  # noqa: S311  an order, not a secret
    sessions, host = open_warm_sessions(request["sessions"], draw, channel)
    pairs = {row: (sessions[2 * row], sessions[2 * row + 1]) for row in range(len(sessions) // 2)}
    pairs = {row: pair for row, pair in pairs.items() if all(session.facts["state"] == "warm" for session in pair)}
    columns = run_rounds(
        {row: (baseline.run, candidate.run) for row, (baseline, candidate) in pairs.items()},
        {
            row: pairs_per_block(baseline.latency_ns + candidate.latency_ns, **request["block"])
            for row, (baseline, candidate) in pairs.items()
        },
        duration_ns=request["duration_ns"],
        draw=draw,
        on_progress=lambda left_ns: channel.send({"expected_s": left_ns / 1e9}),
    )
    return {
        "columns": {name: np.array(values, np.int64).tobytes() for name, values in columns.items()},
        "sessions": [session.facts for session in sessions],
        "host": host,
    }


def pairs_per_block(pair_ns: int, *, duration_ns: int, min_pairs: int) -> int:
    return max(min_pairs, duration_ns // max(1, pair_ns))


def run_rounds(
    rows: dict[int, tuple[Run, Run]],
    blocks: dict[int, int],
    *,
    duration_ns: int,
    draw: random.Random,
    on_progress: Callable[[int], object],
    clock: Clock = time.perf_counter_ns,
    cpu_clock: Clock = time.thread_time_ns,
) -> Columns:
    """Run a block of pairs of each row, in random order, round by round, until the time is over; at least one round."""
    columns: Columns = {name: [] for name in PAIR_COLUMNS}
    begin = last_message = clock()
    round_number = 0
    while rows:
        for row in draw.sample(sorted(rows), len(rows)):
            now = clock()
            if round_number and now - begin >= duration_ns:
                return columns
            if now - last_message >= HEARTBEAT_NS:
                last_message = now
                on_progress(max(0, begin + duration_ns - now))
            first = run_orders(blocks[row], draw)
            result = time_pairs(*rows[row], first, clock=clock, cpu_clock=cpu_clock)
            for name, values in zip(PAIR_COLUMNS, ([row] * len(first), [round_number] * len(first), first, *result)):
                columns[name] += values
        round_number += 1
    return columns


def run_orders(count: int, draw: random.Random) -> list[int]:
    """Draw which side of each pair runs first, 0 or 1: each equally often, in random order."""
    half = [0, 1] * (count // 2) + [draw.randrange(2)] * (count % 2)
    return draw.sample(half, count)


def time_pairs(
    baseline: Run, candidate: Run, first: list[int], *, clock: Clock, cpu_clock: Clock
) -> tuple[list[int], list[int], list[int], list[int]]:
    """Time pairs. Return wall nanoseconds of baseline and candidate, then CPU nanoseconds of both."""
    sides = (baseline, candidate)
    timings = time_sequence(
        [sides[side] for leader in first for side in (leader, 1 - leader)], clock=clock, cpu_clock=cpu_clock
    )

    def of(side: int, times_ns: list[int]) -> list[int]:
        return [times_ns[2 * index + (leader != side)] for index, leader in enumerate(first)]

    wall_ns, cpu_ns = timings
    return of(0, wall_ns), of(1, wall_ns), of(0, cpu_ns), of(1, cpu_ns)
