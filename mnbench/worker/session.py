"""A session as a request describes it: runtime, model, inputs, threads, cores."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import numpy as np

from .runtimes import Unavailable


def load_runtime(request: dict[str, Any]) -> Any:
    """The module of the runtime that the request names."""
    try:
        return import_module(f"{__package__}.runtimes.{request['runtime']}")
    except ImportError as failure:
        raise Unavailable(f"{request['runtime']} cannot be imported: {failure}", what="runtime") from failure


def session_arguments(request: dict[str, Any], *, cores: int) -> dict[str, Any]:
    """What a session is created with, but for its model; `cores` are those that `all` threads mean."""
    return {
        "inputs": unpack_arrays(request["inputs"]),
        "provider": request["provider"],
        "provider_options": request["provider_options"],
        "threads": request["threads"] or cores,
        "options": request["options"],
    }


def bind(cores: list[int]) -> None:
    """Run on these cores alone, as do threads started later; none: on any.

    Linux takes those of them that there are, and says nothing of the others.
    """
    if not cores:
        return
    system: Any = os  # Linux alone has affinity
    try:
        system.sched_setaffinity(0, cores)
        refused = set(cores) - system.sched_getaffinity(0)
        reason = "there are none such, or they are not allowed"
    except (AttributeError, OSError, ValueError, OverflowError) as failure:
        refused, reason = set(cores), str(failure)
    if refused:
        raise Unavailable(f"cannot be bound to cores {', '.join(map(str, sorted(refused)))}: {reason}", what="cores")


def pack_array(array: Any) -> tuple[str, tuple[int, ...], bytes]:
    """An array as it travels: type, shape, bytes."""
    array = np.asarray(array)
    return str(array.dtype), array.shape, array.tobytes()


def unpack_arrays(travelled: dict[str, Any]) -> dict[str, Any]:
    """Arrays with memory of their own, as they were `packed`."""
    return {name: np.frombuffer(data, dtype).reshape(shape).copy() for name, (dtype, shape, data) in travelled.items()}
