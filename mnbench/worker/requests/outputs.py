"""Return a model's outputs for each of several inputs."""

from __future__ import annotations

import time
from typing import Any

from ..host.facts import host_facts
from ..session import bind, load_runtime, open_session, pack_value


def handle(request: dict[str, Any], channel: Any) -> dict[str, Any]:
    """Open a session for each of the `inputs`, and run it once."""
    bind(request["cores"])
    runtime, cores = load_runtime(request), host_facts()["cores"]
    outputs: list[list[Any]] = []
    session: Any = None
    for inputs in request["inputs"]:
        begin = time.monotonic()
        session = open_session(runtime, {**request, "inputs": inputs}, cores=cores).session
        outputs.append([pack_value(output) for output in session.outputs()])
        channel.send({"expected_s": time.monotonic() - begin})
    return {"outputs": outputs, "placement": session.placement(), "runtime_version": runtime.version()}
