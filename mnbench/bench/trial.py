"""Run one trial: one new process measures one case."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mnbench.bench.plan import BenchmarkCase, Plan
from mnbench.bench.request import convert_model, load_arrays, session_request
from mnbench.errors import TrialError
from mnbench.model.equivalence import Agreement, require_agreement
from mnbench.results.trial_result import TrialResult
from mnbench.targets.device import Device
from mnbench.targets.transport import call_worker
from mnbench.units import NS_PER_S
from mnbench.worker.session import unpack_value

REPORTED = (
    *("first_run_ns", "session_ns", "threads", "copies_ns", "peak_rss_bytes", "placement"),
    *("runtime", "host", "conditions", "gpu"),
)
"""What a worker reports that is stored as it is."""


def run_trial(plan: Plan, case: BenchmarkCase) -> TrialResult:
    """Measure a case in one new process.

    Raises:
        TrialError: the worker crashed, hung or failed, its outputs are wrong, or nodes ran on another provider.
        RuntimeUnavailable, UnreachableError: nothing can be measured on this device.
    """
    device, sampling = plan.device, plan.sampling
    model = convert_model(device, case)
    request = {
        "kind": "trial",
        **session_request(device, case, model.path),
        "warmup_runs": sampling.warmup_runs,
        "min_warmup_ns": round(sampling.min_warmup_s * NS_PER_S),
        "max_warmup_ns": round(sampling.max_warmup_s * NS_PER_S),
        "min_runs": sampling.min_runs,
        "min_duration_ns": round(sampling.duration_s * NS_PER_S),
    }
    begin_ns = time.monotonic_ns()
    answer = call_worker(device, request, timeout_s=sampling.timeout_s)
    duration_ns = time.monotonic_ns() - begin_ns
    if not plan.allow_fallback:
        require_placement(case, answer["placement"], device.provider)
    agreement = check_outputs(device, case, answer["outputs"])
    return TrialResult(
        **{name: np.array(answer[name], np.int64) for name in ("latencies_ns", "cpu_ns", "warmup_ns")},
        duration_ns=duration_ns,
        conversion_ns=model.conversion_ns,
        difference=agreement.difference,
        not_compared=agreement.not_compared,
        **{name: answer[name] for name in REPORTED},
    )


def check_outputs(device: Device, case: BenchmarkCase, packed: Sequence[Any]) -> Agreement:
    """Compare a worker's packed outputs with the reference's.

    Raises:
        TrialError: an output is wrong.
    """
    actual = [unpack_value(value) for value in packed]
    references = {prefix: load_arrays(case, f"{prefix}.") for prefix in ("out", "own")}
    expected, self_reference = (
        [values.get(str(index)) for index in range(len(case.outputs))] if values else []
        for values in references.values()
    )
    return require_agreement(
        case.outputs,
        actual,
        expected=expected,
        self_reference=self_reference,
        precision=case.precision,
        tolerance=device.tolerance,
    )


def require_placement(case: BenchmarkCase, placement: Mapping[str, Sequence[str]] | None, provider: str) -> None:
    """Reject a case if nodes ran on another provider than the requested one.

    Raises:
        TrialError: some did.
    """
    elsewhere = {name for taken, names in (placement or {}).items() if taken != provider for name in names}
    if not elsewhere:
        return
    total = sum(map(len, (placement or {}).values()))
    kinds = dict.fromkeys(layer.kind for layer in case.layers if layer.scope in elsewhere)
    takers = ", ".join(sorted(taken for taken in placement or {} if taken != provider))
    raise TrialError(
        f"{len(elsewhere)} of {total} nodes ran on {takers} and not on {provider}"
        + (f": {', '.join(kinds)}" if kinds else ""),
        hint="--allow-fallback measures the case anyway, and marks it",
    )
