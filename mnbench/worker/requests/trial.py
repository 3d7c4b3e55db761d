"""One trial: open the sessions of several rows in one process, and time them in short slices, in random order.

A row is one session, or the baseline and the candidate of a comparison, which take turns.
"""

from __future__ import annotations

import random
import time
from typing import Any, Callable, Dict, List, Sequence

import numpy as np

from ..host.conditions import busy_reason, conditions
from ..host.facts import peak_rss_bytes
from ..host.gpu import gpu_conditions
from ..session import clocks, describe_runtime, load_runtime, open_warm_sessions
from ..timing import Clock, time_runs, time_sequence, warm_up

Run = Callable[[], object]
Runs = Dict[str, List[int]]

RUN_COLUMNS = ("session", "slice", "latency_ns", "cpu_ns")
"""What is known of a timed run: the index of its session, the number of its slice, and its wall and CPU time."""


def handle(request: dict[str, Any], channel: Any) -> dict[str, Any]:
    """Time every row: `sides` sessions that stand next to each other. The row of a session that failed is left out.

    Before each row's slice, the host gets the index of its first session and the time that the slice may take.
    """
    reason = busy_reason(request["limits"]) if request["limits"] else None
    if reason:
        return {"busy": reason}
    first, sides, protocol = request["sessions"][0], request["sides"], request["protocol"]
    before, timing = conditions(), clocks(load_runtime(first))
    sessions, host = open_warm_sessions(request, channel)
    rows = [range(start, start + sides) for start in range(0, len(sessions), sides)]

    def announce(row: Sequence[int]) -> None:
        row_ns = sum(sessions[index].latency_ns for index in row)
        expected_ns = protocol["slice_ns"] + protocol["max_settle_ns"] + (1 + protocol["min_turns"]) * row_ns
        channel.send({"expected_s": expected_ns / 1e9, "index": row[0]})

    runs = time_rows(
        {
            tuple(row): [(sessions[index].run, sessions[index].latency_ns) for index in row]
            for row in rows
            if all(sessions[index].error is None for index in row)
        },
        draw=random.Random(request["seed"]),  # noqa: S311  an order, not a secret
        on_slice=announce,
        **protocol,
        **timing,
    )
    after = conditions()
    return {
        "runs": {name: np.array(values, np.int64).tobytes() for name, values in runs.items()},
        "sessions": [session.facts() for session in sessions],
        "peak_rss_bytes": None if timing else peak_rss_bytes(),  # with a clock of its own, it is in another process
        "runtime": describe_runtime(first),
        "host": host,
        "conditions": [before, after],
        "gpu": gpu_conditions() if first["gpu"] else None,
    }


def time_rows(
    rows: dict[tuple[int, ...], list[tuple[Run, int]]],
    *,
    slices: int,
    slice_ns: int,
    min_turns: int,
    warmup_ns: int,
    min_settle_ns: int,
    max_settle_ns: int,
    draw: random.Random,
    on_slice: Callable[[Sequence[int]], object],
    clock: Clock = time.perf_counter_ns,
    cpu_clock: Clock = time.thread_time_ns,
) -> Runs:
    """Time each row in `slices` slices, all rows once in random order before any is timed again.

    `rows` holds each session's run and its expected latency. The processor settles at the first slice: its clock is
    low at first. Before each slice, `warmup_ns` of runs bring each model back into the caches, which other rows have
    used. A slow row, whose slices last longer, has fewer of them.
    """
    columns: Runs = {name: [] for name in RUN_COLUMNS}
    left_ns = dict.fromkeys(rows, slices * slice_ns)
    settled = max_settle_ns == 0
    for number in range(slices):
        for row in draw.sample(sorted(rows), len(rows)):
            if number and left_ns[row] <= 0:
                continue
            on_slice(row)
            runs, latencies_ns = dict(zip(row, (run for run, _ in rows[row]))), [ns for _, ns in rows[row]]
            if not settled:
                settled = True
                warm_up(
                    runs[row[0]],
                    min_duration_ns=min_settle_ns,
                    max_duration_ns=max_settle_ns,
                    clock=clock,
                    cpu_clock=cpu_clock,
                )
            if warmup_ns:
                latencies_ns = [
                    min(time_runs(run, min_runs=1, min_duration_ns=warmup_ns, clock=clock, cpu_clock=cpu_clock)[0])
                    for run in runs.values()
                ]
            turns = max(min_turns, slice_ns // max(1, sum(latencies_ns)))
            order = draw_turns(row, turns, draw)
            timed = time_sequence((runs[index] for index in order), clock=clock, cpu_clock=cpu_clock)
            for name, values in zip(RUN_COLUMNS, (order, [number] * len(order), *timed)):
                columns[name] += values
            left_ns[row] -= sum(timed.latencies_ns)
    return columns


def draw_turns(row: Sequence[int], turns: int, draw: random.Random) -> list[int]:
    """Return the sessions of a row in the order of their runs: in each turn all of them, each first equally often."""
    first = [*range(len(row))] * (turns // len(row)) + draw.sample(range(len(row)), turns % len(row))
    return [row[(start + step) % len(row)] for start in draw.sample(first, turns) for step in range(len(row))]
