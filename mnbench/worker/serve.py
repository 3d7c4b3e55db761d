"""One visit: create a session, run it for the first time, warm it up, time it, and tell what was found."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

import numpy as np

from .examine import examine
from .host import host_facts, peak_rss_bytes
from .loop import timed_runs
from .runtimes import Unavailable


def serve(channel: Any) -> None:
    """Answer one request that comes over an execnet channel.

    An answer holds `error`, with `unavailable` naming what is missing, runtime or provider, or the visit. Before it
    comes `expect_s`, once the first run has shown how long the others may take.
    """
    request = channel.receive()
    try:
        if request.get("do") == "facts":
            channel.send(examine(request))
            return
        runtime = import_module(f"{__package__}.runtimes.{request['runtime']}")
        channel.send(visit(runtime, request, channel))
    except ImportError as failure:
        channel.send({"error": f"{request['runtime']} cannot be imported: {failure}", "unavailable": "runtime"})
    except Unavailable as failure:
        channel.send({"error": str(failure), "unavailable": "provider"})
    except MemoryError:
        channel.send({"error": "out of memory", "unavailable": None})
    except BaseException as failure:  # noqa: BLE001  whatever a runtime raises is this cell's result
        channel.send({"error": f"{type(failure).__name__}: {failure}", "unavailable": None})


def visit(runtime: Any, request: dict[str, Any], channel: Any) -> dict[str, Any]:
    """One fresh session, measured by the protocol in `request`."""
    load_before = host_facts()
    begin_ns = time.perf_counter_ns()
    session = runtime.Session(
        request["model"],
        provider=request["provider"],
        threads=request["threads"],
        options=request["options"],
        seed=request["seed"],
    )
    session_ns = time.perf_counter_ns() - begin_ns
    first_run_ns = timed_runs(session.run, min_runs=1, min_duration_ns=0)[0]
    runs = request["warmup_runs"] + request["min_runs"]
    channel.send({"expect_s": (runs * first_run_ns + request["min_warmup_ns"] + request["min_duration_ns"]) / 1e9})
    warmup_ns = timed_runs(session.run, min_runs=request["warmup_runs"], min_duration_ns=request["min_warmup_ns"])
    latencies_ns = timed_runs(session.run, min_runs=request["min_runs"], min_duration_ns=request["min_duration_ns"])
    return {
        "session_ns": session_ns,
        "first_run_ns": first_run_ns,
        "warmup_ns": warmup_ns,
        "latencies_ns": latencies_ns,
        "peak_rss_bytes": peak_rss_bytes(),
        "outputs": [_told(output) for output in session.outputs()],
        "placement": session.placement(),
        "runtime_version": runtime.version(),
        "host": load_before,
    }


def _told(output: Any) -> dict[str, Any]:
    """Whether an output is finite, and its standard deviation if it is."""
    finite = bool(np.isfinite(output).all())
    return {"finite": finite, "spread": float(output.std(dtype=np.float64)) if finite else None}
