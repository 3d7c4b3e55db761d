"""Answers one request; a visit creates a session, runs it for the first time, warms it up, times it, and tells."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from .host import host_facts, peak_rss_bytes
from .loop import timed_runs, warm_up
from .opened import arrays, packed, runtime_of, settings_of
from .pairs import pairs
from .runtimes import Unavailable
from .turns import turns

COPIES = 20
"""How often the copies to and from a device's own memory are timed."""


def serve(channel: Any) -> None:
    """Answer one request that comes over an execnet channel.

    An answer holds `error`, with `unavailable` naming what is missing, or what was found. Before that of a visit comes
    `expect_s`, once the first run has shown how long the others may take.
    """
    request = channel.receive()
    try:
        channel.send(_ANSWERS[request["do"]](request, channel))
    except Unavailable as failure:
        channel.send({"error": str(failure), "unavailable": failure.what})
    except MemoryError:
        channel.send({"error": "out of memory", "unavailable": None})
    except BaseException as failure:  # noqa: BLE001  whatever a runtime raises is this cell's result
        channel.send({"error": f"{type(failure).__name__}: {failure}", "unavailable": None})


def visit(request: dict[str, Any], channel: Any) -> dict[str, Any]:
    """One fresh session, measured by the protocol in `request`."""
    runtime, settings = runtime_of(request), settings_of(request)
    host = host_facts()
    begin_ns = time.perf_counter_ns()
    session = runtime.Session(request["model"], inputs=arrays(request["inputs"]), **settings)
    session_ns = time.perf_counter_ns() - begin_ns
    first_run_ns = timed_runs(session.run, min_runs=1, min_duration_ns=0).latencies_ns[0]
    runs = 2 * request["warmup_runs"] + request["min_runs"]
    expect_ns = runs * first_run_ns + request["max_warmup_ns"] + request["min_duration_ns"]
    channel.send({"expect_s": expect_ns / 1e9})
    warmup_ns = warm_up(
        session.run,
        min_runs=request["warmup_runs"],
        min_duration_ns=request["min_warmup_ns"],
        max_duration_ns=request["max_warmup_ns"],
    )
    timed = timed_runs(session.run, min_runs=request["min_runs"], min_duration_ns=request["min_duration_ns"])
    return {
        "session_ns": session_ns,
        "first_run_ns": first_run_ns,
        "warmup_ns": warmup_ns,
        "latencies_ns": timed.latencies_ns,
        "cpu_ns": timed.cpu_ns,
        "peak_rss_bytes": peak_rss_bytes(),
        "outputs": packed(session.outputs()),
        "copies_ns": {name: _copy_ns(copy) for name, copy in session.copies().items()},
        "placement": session.placement(),
        "threads": settings["threads"],
        "runtime_version": runtime.version(),
        "host": host,
    }


def _copy_ns(copy: Any) -> int:
    return round(median(timed_runs(copy, min_runs=COPIES, min_duration_ns=0).latencies_ns))


_ANSWERS = {"visit": visit, "pairs": pairs, "turns": turns}
