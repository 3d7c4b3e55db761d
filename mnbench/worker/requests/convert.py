"""Turns a model into the form that a runtime reads, once for all processes that will run it."""

from __future__ import annotations

import time
from typing import Any

from ..session import arrays, runtime_of


def answer(request: dict[str, Any], channel: Any) -> dict[str, Any]:  # noqa: ARG001  nobody knows how long it takes
    """The converted model, and how long that took."""
    convert = runtime_of(request).convert
    begin_ns = time.perf_counter_ns()
    model = convert(request["model"], arrays(request["inputs"]))
    return {"model": model, "duration_ns": time.perf_counter_ns() - begin_ns}
