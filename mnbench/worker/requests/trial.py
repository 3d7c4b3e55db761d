"""One trial: create a session, run it for the first time, warm it up and time it."""

from __future__ import annotations

from statistics import median
from typing import Any, Callable

from ..host.conditions import conditions
from ..host.facts import host_facts, peak_rss_bytes
from ..host.gpu import gpu_conditions
from ..runtimes import library_sha256
from ..session import bind, load_runtime, open_session, pack_value
from ..timing import time_runs, warm_up

COPY_RUNS = 20
"""Timed copies to and from a device's own memory."""


def handle(request: dict[str, Any], channel: Any) -> dict[str, Any]:
    bind(request["cores"])
    runtime, host, before = load_runtime(request), host_facts(), conditions()
    session, threads, session_ns, first_run_ns = open_session(runtime, request, cores=host["cores"])
    runs = 2 * request["warmup_runs"] + request["min_runs"]
    expected_ns = runs * first_run_ns + request["max_warmup_ns"] + request["min_duration_ns"]
    channel.send({"expected_s": expected_ns / 1e9})
    warmup_ns = warm_up(
        session.run,
        min_runs=request["warmup_runs"],
        min_duration_ns=request["min_warmup_ns"],
        max_duration_ns=request["max_warmup_ns"],
    )
    timed = time_runs(session.run, min_runs=request["min_runs"], min_duration_ns=request["min_duration_ns"])
    after = conditions()
    copies: dict[str, Callable[[], object]] = session.copies() if hasattr(session, "copies") else {}
    return {
        "session_ns": session_ns,
        "first_run_ns": first_run_ns,
        "warmup_ns": warmup_ns,
        "latencies_ns": timed.latencies_ns,
        "cpu_ns": timed.cpu_ns,
        "peak_rss_bytes": peak_rss_bytes(),
        "outputs": [pack_value(output) for output in session.outputs()],
        "copies_ns": {name: _duration_ns(copy) for name, copy in copies.items()},
        "placement": session.placement(),
        "threads": threads,
        "runtime": {
            "name": request["runtime"],
            "version": runtime.version(),
            "build": runtime.build(),
            "library_sha256": library_sha256(request["runtime"], runtime.LIBRARY),
        },
        "host": host,
        "conditions": [before, after],
        "gpu": gpu_conditions() if request["gpu"] else None,
    }


def _duration_ns(copy: Callable[[], object]) -> int:
    return round(median(time_runs(copy, min_runs=COPY_RUNS, min_duration_ns=0).latencies_ns))
