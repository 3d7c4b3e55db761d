"""Request `paired`: run baseline and candidate of each row in interleaved pairs, in one process."""

from __future__ import annotations

import random
import time
from typing import Any, Callable, Dict, List

import numpy as np

from ..host.conditions import busy_reason
from ..timing import Clock, time_sequence
from ..warm_session import open_sessions

Run = Callable[[], object]
Columns = Dict[str, List[int]]

HEARD_NS = 500_000_000
"""Time between two heartbeats."""

PAIR_COLUMNS = ("row", "sweep", "first", "base_ns", "candidate_ns", "base_cpu_ns", "candidate_cpu_ns")


def handle(request: dict[str, Any], channel: Any) -> dict[str, Any]:
    """Run rounds of pairs over all rows until the requested time has passed.

    `arms` lists the sessions to open: baseline and candidate of each row in turn. If a session fails, the error is in
    its facts and the row is left out.
    """
    reason = busy_reason(request["limits"])
    if reason:
        return {"busy": reason}
    draw = random.Random(request["seed"])  # noqa: S311  an order, not a secret
    arms, host = open_sessions(request["arms"], draw, channel)
    rows = [
        (at // 2, *arms[at : at + 2])
        for at in range(0, len(arms), 2)
        if not any("error" in arm.facts for arm in arms[at : at + 2])
    ]
    columns = run_rounds(
        {row: (base.run, candidate.run) for row, base, candidate in rows},
        {
            row: pairs_per_block(base.latency_ns + candidate.latency_ns, **request["burst"])
            for row, base, candidate in rows
        },
        duration_ns=request["duration_ns"],
        draw=draw,
        on_progress=lambda left_ns: channel.send({"expected_s": left_ns / 1e9}),
    )
    return {
        "columns": {name: np.array(values, np.int64).tobytes() for name, values in columns.items()},
        "arms": [arm.facts for arm in arms],
        "host": host,
    }


def pairs_per_block(pair_ns: int, *, duration_ns: int, min_pairs: int) -> int:
    """Return the number of pairs in a block of a row."""
    return max(min_pairs, duration_ns // max(1, pair_ns))


def run_rounds(
    rows: dict[int, tuple[Run, Run]],
    bursts: dict[int, int],
    *,
    duration_ns: int,
    draw: random.Random,
    on_progress: Callable[[int], object],
    clock: Clock = time.perf_counter_ns,
    cpu_clock: Clock = time.thread_time_ns,
) -> Columns:
    """Run blocks of all rows in random order, round after round, until the time has passed; at least one round."""
    columns: Columns = {name: [] for name in PAIR_COLUMNS}
    begin = heard = clock()
    sweep = 0
    while rows:
        for row in draw.sample(sorted(rows), len(rows)):
            now = clock()
            if sweep and now - begin >= duration_ns:
                return columns
            if now - heard >= HEARD_NS:
                heard = now
                on_progress(max(0, begin + duration_ns - now))
            first = run_orders(bursts[row], draw)
            result = time_pairs(*rows[row], first, clock=clock, cpu_clock=cpu_clock)
            for name, values in zip(PAIR_COLUMNS, ([row] * len(first), [sweep] * len(first), first, *result)):
                columns[name] += values
        sweep += 1
    return columns


def run_orders(count: int, draw: random.Random) -> list[int]:
    """Return which side runs first in each pair, 0 or 1: both equally often, in random order."""
    half = [0, 1] * (count // 2) + [draw.randrange(2)] * (count % 2)
    return draw.sample(half, count)


def time_pairs(
    baseline: Run, candidate: Run, first: list[int], *, clock: Clock, cpu_clock: Clock
) -> tuple[list[int], list[int], list[int], list[int]]:
    """Return wall time and thread CPU time of baseline and candidate in every pair."""
    arms = (baseline, candidate)
    wall, worked = time_sequence(
        [run for item in first for run in (arms[item], arms[1 - item])], clock=clock, cpu_clock=cpu_clock
    )

    def of(side: int, result: list[int]) -> list[int]:
        return [result[2 * at + (item != side)] for at, item in enumerate(first)]

    return of(0, wall), of(1, wall), of(0, worked), of(1, worked)
