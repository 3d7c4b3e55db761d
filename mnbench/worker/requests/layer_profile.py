"""What each node takes, in a session of its own. Profiling slows it down: none of its runs is a latency."""

from __future__ import annotations

import tempfile
from typing import Any

from ..host.facts import host_facts
from ..runtimes import Refused
from ..session import bind, load_runtime, session_arguments, unpack_arrays
from ..timing import time_runs

WARMUP_RUNS = 5


def handle(request: dict[str, Any], channel: Any) -> dict[str, Any]:
    """The nodes of `model`, and of `probe`, a model that does next to nothing: the rest is the profiler's own work.

    Without a `probe` there is no such account.
    """
    bind(request["cores"])
    runtime, host = load_runtime(request), host_facts()
    if not hasattr(runtime.Session, "end_profile"):
        raise Refused(f"{request['runtime']} does not tell what its layers take")
    chosen = session_arguments(request, cores=host["cores"])
    runs = WARMUP_RUNS + request["runs"]
    nodes: dict[str, Any] = {"probe": []}
    with tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        for what, inputs in (("model", "inputs"), ("probe", "probe_inputs")):
            if request[what] is None:
                continue
            chosen["inputs"] = unpack_arrays(request[inputs])
            session = runtime.Session(request[what], profile=f"{folder}/{what}", **chosen)
            first_run_ns = time_runs(session.run, min_runs=1, min_duration_ns=0).latencies_ns[0]
            channel.send({"expected_s": runs * first_run_ns / 1e9})
            time_runs(session.run, min_runs=runs, min_duration_ns=0)
            nodes[what] = session.end_profile(skip=1 + WARMUP_RUNS)
    return {
        "nodes": nodes["model"],
        "probe": nodes["probe"],
        "threads": chosen["threads"],
        "runtime_version": runtime.version(),
        "host": host,
    }
