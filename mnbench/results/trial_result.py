"""The measurements of one process of a case."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from mnbench.results.facts import (
    Amount,
    Conditions,
    Count,
    Duration,
    GpuFacts,
    HostFacts,
    NodesByProvider,
    PositiveDuration,
    Text,
    Threads,
)
from mnbench.results.record import Runtime


class TrialResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one process measured of a case.

    `latencies_ns` and `cpu_ns` hold every timed run in order. `session_ns`, `first_run_ns` and `peak_rss_bytes`, which
    is that of the whole process, are None if other cases were in it. `placement` holds the names of nodes by provider.
    `copies_ns` are the times to copy inputs to a device with its own memory, and outputs back. `conditions` are those
    of the host before and after.

    Of the outputs, only the `difference` from the reference is stored, None if none was compared, and why others were
    `not_compared`. `duration_ns` is the case's share of the process; `conversion_ns` that of the model's conversion for
    the runtime, once for all processes.
    """

    latencies_ns: NDArray[np.int64]
    cpu_ns: NDArray[np.int64]
    first_run_ns: Duration | None
    session_ns: Duration | None
    threads: Threads
    copies_ns: dict[Literal["in", "out"], Duration]
    peak_rss_bytes: Count | None
    placement: NodesByProvider | None
    runtime: Runtime
    host: HostFacts
    conditions: tuple[Conditions, Conditions]
    gpu: GpuFacts | None
    duration_ns: PositiveDuration
    difference: Amount | None
    not_compared: Annotated[tuple[Text, ...], Meta(max_length=1000)] = ()
    conversion_ns: Duration | None = None

    def __post_init__(self) -> None:
        if not len(self.latencies_ns) == len(self.cpu_ns) > 0:
            raise ValueError("Expected as many times of the CPU as latencies")
        if min(self.latencies_ns) < 1:
            raise ValueError("Expected latencies above 0")

    @property
    def median_ns(self) -> float:
        return float(np.median(self.latencies_ns))


def decode_trial(arrays: Mapping[str, NDArray[Any]], facts: bytes) -> TrialResult:
    """Return the stored result of a trial.

    Raises:
        ValueError, RecursionError: it is none.
    """
    decoded = msgspec.json.decode(facts, type=dict[str, Any])
    return msgspec.convert({**decoded, **arrays}, TrialResult, dec_hook=lambda _, times_ns: decode_times(times_ns))


def decode_times(times_ns: Any) -> NDArray[np.int64]:
    """Return the times as they are.

    Raises:
        ValueError: they are not a list of whole numbers of nanoseconds.
    """
    if getattr(times_ns, "dtype", None) != np.int64 or times_ns.ndim != 1 or times_ns.min(initial=0) < 0:
        raise ValueError("times are not a list of whole numbers of nanoseconds")
    return times_ns


def decode_latencies(latencies_ns: Any) -> NDArray[np.int64]:
    """Return the latencies as they are.

    Raises:
        ValueError: they are not a list of whole numbers, or one is not 1 ns or more.
    """
    if not decode_times(latencies_ns).size or latencies_ns.min() < 1:
        raise ValueError("latencies are not 1 ns or more")
    return latencies_ns
