"""Turns a model into the form that a runtime reads, once for all processes that will run it."""

from __future__ import annotations

import time
from typing import Any

from ..session import load_runtime, unpack_arrays


def handle(request: dict[str, Any], channel: Any) -> dict[str, Any]:  # noqa: ARG001  nobody knows how long it takes
    """The converted model, and how long that took."""
    convert = load_runtime(request).convert
    begin_ns = time.perf_counter_ns()
    model = convert(request["model"], unpack_arrays(request["inputs"]))
    return {"model": model, "duration_ns": time.perf_counter_ns() - begin_ns}
