"""What a model puts out for each of several inputs."""

from __future__ import annotations

import time
from typing import Any

from ..host.facts import host_facts
from ..session import bind, load_runtime, pack_array, session_arguments


def handle(request: dict[str, Any], channel: Any) -> dict[str, Any]:
    """A session for each of the `feeds`, run once."""
    bind(request["cores"])
    runtime, cores = load_runtime(request), host_facts()["cores"]
    outputs: list[list[Any]] = []
    session: Any = None
    for feed in request["feeds"]:
        begin = time.monotonic()
        session = runtime.Session(request["model"], **session_arguments({**request, "inputs": feed}, cores=cores))
        session.run()
        outputs.append([pack_array(output) for output in session.outputs()])
        channel.send({"expected_s": time.monotonic() - begin})
    return {"outputs": outputs, "placement": session.placement(), "runtime_version": runtime.version()}
