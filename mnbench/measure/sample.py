"""A sample: what one visit of one process found."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnbench.errors import MeasureError
from mnbench.measure.gateway import ask
from mnbench.measure.plan import Cell, Plan
from mnbench.units import NS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """`latencies_ns` holds every timed run in order; `warmup_ns` those before; `placement` node names by provider."""

    latencies_ns: NDArray[np.int64]
    warmup_ns: NDArray[np.int64]
    first_run_ns: int
    session_ns: int
    peak_rss_bytes: int | None
    placement: dict[str, list[str]] | None
    runtime_version: str
    host: dict[str, Any] = field(repr=False)


def take(plan: Plan, cell: Cell) -> Sample:
    """Visit a cell with one fresh process.

    Raises:
        MeasureError: the worker crashed, hung or failed, or its outputs are not finite.
        RuntimeUnavailable, GatewayError: nothing can be measured on this device.
    """
    device, protocol = plan.device, plan.protocol
    request = {
        "runtime": device.runtime,
        "provider": device.provider,
        "threads": device.threads,
        "options": dict(device.options),
        "model": cell.path.read_bytes(),
        "seed": protocol.seed,
        "warmup_runs": protocol.warmup_runs,
        "min_warmup_ns": round(protocol.min_warmup_s * NS_PER_S),
        "min_runs": protocol.min_runs,
        "min_duration_ns": round(protocol.min_duration_s * NS_PER_S),
    }
    answer = ask(device, request, timeout_s=protocol.timeout_s)
    if not all(output["finite"] for output in answer["outputs"]):
        raise MeasureError(f"{cell.variant}: outputs are not finite", hint="look at the model's weights")
    return Sample(
        latencies_ns=np.array(answer["latencies_ns"], np.int64),
        warmup_ns=np.array(answer["warmup_ns"], np.int64),
        first_run_ns=answer["first_run_ns"],
        session_ns=answer["session_ns"],
        peak_rss_bytes=answer["peak_rss_bytes"],
        placement=answer["placement"],
        runtime_version=answer["runtime_version"],
        host=answer["host"],
    )
