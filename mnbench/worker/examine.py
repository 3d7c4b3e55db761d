"""One look at the machine, without a runtime."""

from __future__ import annotations

import time
from contextlib import suppress
from importlib import metadata
from typing import Any

from .conditions import conditions
from .gpu import gpu_conditions
from .host import host_facts


def examine(request: dict[str, Any]) -> dict[str, Any]:
    """Facts, and the conditions before and after `rest_s` in which this process does nothing.

    What the processors do meanwhile, others do. `gpu` asks for the GPU too.
    """
    facts, before = host_facts(), conditions()
    time.sleep(request["rest_s"])
    return {
        "facts": facts,
        "before": before,
        "conditions": conditions(),
        "gpu": gpu_conditions() if request["gpu"] else None,
        "runtime_version": _version(request["runtime"]),
    }


def _version(runtime: str) -> str | None:
    """The runtime's version, whichever of its distributions is installed; it is not imported."""
    for name in (runtime, *(f"{runtime}-{kind}" for kind in ("gpu", "directml", "openvino", "qnn"))):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return None
