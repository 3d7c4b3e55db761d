"""Time each kernel, in a session of its own. Profiling slows a session down, so none of its runs is a latency."""

from __future__ import annotations

import tempfile
from typing import Any

from ..host.facts import host_facts
from ..runtimes import Refused
from ..session import bind, load_runtime, open_session
from ..timing import time_runs

WARMUP_RUNS = 5


def handle(request: dict[str, Any], channel: Any) -> dict[str, Any]:
    """Return the kernels of `model`, and of `probe`, if any: an almost empty model shows the profiler's cost."""
    bind(request["cores"])
    runtime, host = load_runtime(request), host_facts()
    if not hasattr(runtime.Session, "end_profile"):
        raise Refused(f"{request['runtime']} cannot be profiled")
    runs = WARMUP_RUNS + request["runs"]
    threads = 0
    nodes: dict[str, Any] = {"probe": []}
    with tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        for model, inputs in (("model", "inputs"), ("probe", "probe_inputs")):
            if request[model] is None:
                continue
            changes = {"model": request[model], "inputs": request[inputs]}
            session, threads, _, first_run_ns = open_session(
                runtime, {**request, **changes}, cores=host["cores"], profile=f"{folder}/{model}"
            )
            channel.send({"expected_s": runs * first_run_ns / 1e9})
            time_runs(session.run, min_runs=runs, min_duration_ns=0)
            nodes[model] = session.end_profile(skip=1 + WARMUP_RUNS)
    return {
        "nodes": nodes["model"],
        "probe": nodes["probe"],
        "threads": threads,
        "runtime_version": runtime.version(),
        "host": host,
    }
