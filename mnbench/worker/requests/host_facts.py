"""One look at the machine, without a runtime."""

from __future__ import annotations

import time
from typing import Any

from ..host.conditions import conditions
from ..host.facts import host_facts
from ..host.gpu import gpu_conditions
from ..runtimes import find_distribution


def handle(request: dict[str, Any], channel: Any) -> dict[str, Any]:  # noqa: ARG001  it takes no time worth telling
    """Return the facts, and the conditions before and after `rest_s` of idling.

    What the processors do meanwhile, others do. `gpu` asks for the GPU too.
    """
    facts, before, installed = host_facts(), conditions(), find_distribution(request["runtime"])
    time.sleep(request["rest_s"])
    return {
        "facts": facts,
        "before": before,
        "conditions": conditions(),
        "gpu": gpu_conditions() if request["gpu"] else None,
        "runtime_version": installed.version if installed else None,
    }
