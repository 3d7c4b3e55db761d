"""Run one trial: one new process measures one case."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from mnbench.bench.plan import BenchmarkCase, Plan
from mnbench.bench.request import convert_model, load_arrays, session_request
from mnbench.errors import TrialError
from mnbench.model.equivalence import Agreement, require_agreement
from mnbench.results.trial_result import MeasuredTrial, TrialResult
from mnbench.targets.answers import TrialAnswer, wrong_answer
from mnbench.targets.device import Device
from mnbench.targets.transport import Heartbeats, call_worker
from mnbench.text import printable
from mnbench.units import NS_PER_S


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
    heartbeats = Heartbeats(
        limit=1,
        planned_s=sampling.max_warmup_s + sampling.duration_s,
        planned_runs=2 * sampling.warmup_runs + sampling.min_runs,
    )
    answer = call_worker(device, request, TrialAnswer, timeout_s=sampling.timeout_s, heartbeats=heartbeats)
    duration_ns = time.monotonic_ns() - begin_ns
    if answer.runtime.name != device.runtime:
        raise wrong_answer(f"device {device.name}", f"it ran {answer.runtime.name} in place of {device.runtime}")
    if not plan.allow_fallback:
        require_placement(case, answer.placement, device.provider)
    agreement = check_outputs(device, case, answer.outputs)
    return TrialResult(
        **{name: getattr(answer, name) for name in MeasuredTrial.__struct_fields__},
        duration_ns=duration_ns,
        conversion_ns=model.conversion_ns,
        difference=agreement.difference,
        not_compared=agreement.not_compared,
    )


def check_outputs(device: Device, case: BenchmarkCase, outputs: Sequence[NDArray[Any] | None]) -> Agreement:
    """Compare a worker's outputs with the reference's.

    Raises:
        TrialError: an output is wrong.
    """
    references = {prefix: load_arrays(case, f"{prefix}.") for prefix in ("out", "own")}
    expected, self_reference = (
        [values.get(str(index)) for index in range(len(case.outputs))] if values else []
        for values in references.values()
    )
    return require_agreement(
        case.outputs,
        outputs,
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
    kinds = dict.fromkeys(layer.kind for layer in case.layers if printable(layer.scope) in elsewhere)
    takers = ", ".join(sorted(taken for taken in placement or {} if taken != provider))
    raise TrialError(
        f"{len(elsewhere)} of {total} nodes ran on {takers} and not on {provider}"
        + (f": {', '.join(kinds)}" if kinds else ""),
        hint="--allow-fallback measures the case anyway, and marks it",
    )
