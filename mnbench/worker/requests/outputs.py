"""What a model puts out for each of several inputs."""

from __future__ import annotations

import time
from typing import Any

from ..host.facts import host_facts
from ..session import bind, packed, runtime_of, settings


def answer(request: dict[str, Any], channel: Any) -> dict[str, Any]:
    """A session for each of the `feeds`, run once."""
    bind(request["cores"])
    runtime, cores = runtime_of(request), host_facts()["cores"]
    outputs: list[list[Any]] = []
    session: Any = None
    for feed in request["feeds"]:
        begin = time.monotonic()
        session = runtime.Session(request["model"], **settings({**request, "inputs": feed}, cores=cores))
        session.run()
        outputs.append([packed(output) for output in session.outputs()])
        channel.send({"expect_s": time.monotonic() - begin})
    return {"outputs": outputs, "placement": session.placement(), "runtime_version": runtime.version()}
