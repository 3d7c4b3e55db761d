"""Convert a model to the file that a runtime reads, once for all processes that run it."""

from __future__ import annotations

import time
from typing import Any

from ..session import load_runtime, unpack_value


def handle(request: dict[str, Any], channel: Any) -> dict[str, Any]:  # noqa: ARG001  its duration cannot be predicted
    convert = load_runtime(request).convert
    begin_ns = time.perf_counter_ns()
    model = convert(request["model"], {name: unpack_value(value) for name, value in request["inputs"].items()})
    return {"model": model, "duration_ns": time.perf_counter_ns() - begin_ns}
