"""The measurements of one process of a case."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mnbench.results.facts import Amount, Conditions, Count, GpuFacts, HostFacts, RuntimeFacts, Text


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """The result of a trial.

    Of its outputs, only the `difference` from the reference is stored, None if none was compared, and why others were
    `not_compared`.
    `latencies_ns` and `cpu_ns` hold every timed run in order, `warmup_ns` the runs before. `placement` holds the names
    of nodes by provider. `copies_ns` are the times to copy inputs to a device with its own memory, and outputs back.
    `duration_ns` is that of the whole process; `conversion_ns` that of the model's conversion for the runtime, once
    for all processes. `conditions` are those of the host before and after.
    """

    latencies_ns: NDArray[np.int64]
    cpu_ns: NDArray[np.int64]
    warmup_ns: NDArray[np.int64]
    first_run_ns: Count
    session_ns: Count
    duration_ns: Count
    difference: Amount | None
    not_compared: tuple[Text, ...] = ()
    threads: Count
    copies_ns: dict[Text, Count]
    peak_rss_bytes: Count | None
    placement: dict[str, list[str]] | None
    runtime: RuntimeFacts
    host: HostFacts = field(repr=False)
    conditions: list[Conditions] = field(repr=False)
    gpu: GpuFacts | None = field(repr=False)
    conversion_ns: Count | None = None

    @property
    def median_ns(self) -> float:
        return float(np.median(self.latencies_ns))


def decode_trial(arrays: Mapping[str, NDArray[Any]], facts: bytes) -> TrialResult:
    """Return the stored result of a trial.

    Raises:
        ValueError, RecursionError: it is none.
    """
    decode_latencies(arrays.get("latencies_ns"))
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
