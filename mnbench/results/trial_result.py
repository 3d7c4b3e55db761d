"""The measurements of one process of a case."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """What a visit found, but for its outputs, of which only `difference` from the reference is kept.

    `latencies_ns` and `cpu_ns` hold every timed run in order; `warmup_ns` those before; `placement` node names by
    provider; `copies_ns` what it takes to bring inputs to a device with memory of its own and outputs back;
    `duration_ns` the whole visit, from the process's start to its end; `conversion_ns` what bringing the model into the
    runtime's own form took, once for all processes; `conditions` are the host's before and after.
    """

    latencies_ns: NDArray[np.int64]
    cpu_ns: NDArray[np.int64]
    warmup_ns: NDArray[np.int64]
    first_run_ns: int
    session_ns: int
    duration_ns: int
    difference: float
    threads: int
    copies_ns: dict[str, int]
    peak_rss_bytes: int | None
    placement: dict[str, list[str]] | None
    runtime: dict[str, str | None]
    host: dict[str, Any] = field(repr=False)
    conditions: list[dict[str, Any]] = field(repr=False)
    gpu: dict[str, Any] | None = field(repr=False)
    conversion_ns: int | None = None

    @property
    def median_ns(self) -> float:
        """Return the median latency of this process."""
        return float(np.median(self.latencies_ns))
