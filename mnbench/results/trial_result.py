"""The measurements of one process of a case."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mnbench.results.facts import Conditions, GpuFacts, HostFacts


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
    first_run_ns: int
    session_ns: int
    duration_ns: int
    difference: float | None
    not_compared: tuple[str, ...] = ()
    threads: int
    copies_ns: dict[str, int]
    peak_rss_bytes: int | None
    placement: dict[str, list[str]] | None
    runtime: dict[str, str | None]
    host: HostFacts = field(repr=False)
    conditions: list[Conditions] = field(repr=False)
    gpu: GpuFacts | None = field(repr=False)
    conversion_ns: int | None = None

    @property
    def median_ns(self) -> float:
        return float(np.median(self.latencies_ns))
