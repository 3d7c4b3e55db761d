"""Run one trial: one new process measures one case."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnbench.bench.plan import BenchmarkCase, Plan
from mnbench.bench.request import convert_model, load_arrays, session_request
from mnbench.errors import TrialError
from mnbench.model.equivalence import relative_difference
from mnbench.network.variant import Precision
from mnbench.results.trial_result import TrialResult
from mnbench.targets.device import Device
from mnbench.targets.transport import call_worker
from mnbench.units import NS_PER_S

OUTPUT_TOLERANCES: Mapping[Precision, float] = {"fp32": 1e-3, "fp16": 0.2, "int8": 2.5}
"""How far an output may lie from the reference's, as a share of its standard deviation. Zeros lie 2.8 to 4 away."""

SELF_REFERENCE_TOLERANCE = 0.25
"""How far from what a quantized graph computes by its own definition; onnxruntime's CPU meets it exactly."""


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
    return TrialResult(
        latencies_ns=np.array(answer["latencies_ns"], np.int64),
        cpu_ns=np.array(answer["cpu_ns"], np.int64),
        warmup_ns=np.array(answer["warmup_ns"], np.int64),
        duration_ns=duration_ns,
        conversion_ns=model.conversion_ns,
        difference=check_outputs(device, case, answer["outputs"]),
        **{
            name: answer[name]
            for name in (
                "first_run_ns",
                "session_ns",
                "threads",
                "copies_ns",
                "peak_rss_bytes",
                "placement",
                "runtime",
                "host",
                "conditions",
                "gpu",
            )
        },
    )


def check_outputs(device: Device, case: BenchmarkCase, outputs: Sequence[tuple[str, Sequence[int], bytes]]) -> float:
    """Return the largest difference of any output from the reference's.

    Raises:
        TrialError: it is larger than the tolerance, or the outputs are no finite numbers.
    """
    tolerance = device.tolerance or OUTPUT_TOLERANCES[case.precision]
    if any(np.dtype(dtype).kind not in "biuf" for dtype, _, _ in outputs):
        raise TrialError("outputs are no numbers", hint="report the runtime")
    result = [np.frombuffer(data, dtype).reshape(shape) for dtype, shape, data in outputs]
    if not all(np.isfinite(output).all() for output in result):
        raise TrialError("outputs are not finite", hint="look at the model's weights")
    fp32 = f"onnxruntime's CPU in fp32 (for {case.precision})"
    worst = _require_agreement(result, load_arrays(case, "out."), tolerance, fp32, case.precision)
    if self_reference := load_arrays(case, "own."):
        definition = "the quantized graph's own definition"
        _require_agreement(result, self_reference, SELF_REFERENCE_TOLERANCE, definition, case.precision)
    return worst


def _require_agreement(
    result: Sequence[NDArray[Any]],
    answers: Mapping[str, NDArray[Any]],
    tolerance: float,
    reference: str,
    precision: Precision,
) -> float:
    """Return the largest difference of any output from its answer.

    Raises:
        TrialError: it is larger than the tolerance.
    """
    expected = list(answers.values())
    if [output.shape for output in result] != [output.shape for output in expected]:
        raise TrialError("outputs have other shapes than the reference's", hint="report the runtime")
    worst = max(map(relative_difference, expected, result), default=0.0)
    if worst > tolerance:
        raise TrialError(
            f"outputs differ from {reference} by {worst:.2g} of their spread, more than the {tolerance:g} allowed",
            hint="the runtime computes this model wrongly: report it to its maintainers"
            + ("; on x86 without VNNI, onnxruntime's int8 sums overflow 16 bits" if precision == "int8" else ""),
        )
    return worst


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
