"""Reference outputs, the differences of other outputs from them, and tolerances."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mnbench.errors import BuildError, RuntimeUnavailable, SimplifyError, TrialError, first_line
from mnbench.model.model import Model
from mnbench.network.variant import Precision

OUTPUT_TOLERANCES: Mapping[Precision, float] = {"fp32": 1e-3, "fp16": 0.2, "int8": 2.5}
"""How far an output may lie from the reference's, as a share of its standard deviation. Zeros lie 2.8 to 4 away."""

SELF_REFERENCE_TOLERANCE = 0.25
"""How far from what a quantized graph computes by its own definition; onnxruntime's CPU meets it exactly."""

SIMPLIFY_TOLERANCE = 1e-4
"""How far the outputs of a simplified graph may lie from those of the plain one."""


def reference_outputs(model: bytes | str, feed: dict[str, NDArray[Any]], *, name: str) -> list[NDArray[Any]]:
    """Run a model, its bytes or its path, with onnxruntime's CPU provider, its optimizations off; `name` is for errors.

    Raises:
        RuntimeUnavailable: onnxruntime is not installed.
        BuildError: onnxruntime cannot run the model.
    """
    try:
        import onnxruntime  # noqa: PLC0415  0.1 s, and the one dependency that users replace
    except ImportError as failure:
        raise RuntimeUnavailable("onnxruntime is not installed", hint="pip install onnxruntime") from failure
    runtime: Any = onnxruntime
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return session.run(None, feed)
    except Exception as failure:  # onnxruntime's exceptions share no public base class
        raise BuildError(
            f"{name}: onnxruntime cannot run it: {first_line(failure)}", hint="export the model again"
        ) from failure


def relative_difference(expected: NDArray[Any], actual: NDArray[Any]) -> float:
    """Return the largest difference between two outputs of one shape, as a share of the expected standard deviation.

    Infinite where they differ and the expected one is constant, or where either is not finite.
    """
    exact = expected.astype(np.float64)
    with np.errstate(invalid="ignore"):
        largest = float(np.abs(exact - actual.astype(np.float64)).max(initial=0))
        spread = float(exact.std()) if exact.size else 0.0
    if largest == 0:
        return 0.0
    return largest / spread if math.isfinite(largest) and 0 < spread < math.inf else math.inf


class OutputDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One output over all inputs.

    `max_abs` is the largest difference; `relative` that as a share of the standard deviation of what is expected. Both
    are None where an output is not finite, and `relative` where what is expected is constant and the difference is not
    nothing. `top1_agreement` is the share of inputs whose largest class is the same; None where there are no classes.
    """

    name: str
    max_abs: float | None
    relative: float | None
    top1_agreement: float | None


def compare_output(name: str, expected: NDArray[Any], actual: NDArray[Any]) -> OutputDifference:
    """Compare one output for every input: (inputs, batch, …)."""
    with np.errstate(invalid="ignore"):
        largest = float(np.abs(expected.astype(np.float64) - actual.astype(np.float64)).max(initial=0))
    relative = relative_difference(expected, actual)
    has_classes = expected.ndim == 3 and expected.shape[-1] > 1
    return OutputDifference(
        name=name,
        max_abs=largest if math.isfinite(largest) else None,
        relative=relative if math.isfinite(relative) else None,
        top1_agreement=float((expected.argmax(-1) == actual.argmax(-1)).mean()) if has_classes else None,
    )


def require_agreement(
    outputs: Sequence[NDArray[Any]],
    expected: Sequence[NDArray[Any]],
    *,
    self_reference: Sequence[NDArray[Any]],
    precision: Precision,
    tolerance: float | None,
) -> float:
    """Return the largest difference of a device's outputs from the expected ones, for one input.

    `self_reference` are the outputs of a quantized graph by its own definition; empty for other graphs. The tolerance
    is that of the precision unless it is given.

    Raises:
        TrialError: it is larger than the tolerance, or an output has another shape or is not finite.
    """
    if not all(np.isfinite(output).all() for output in outputs):
        raise TrialError("outputs are not finite", hint="look at the model's weights")
    references = [(f"onnxruntime's CPU in fp32 (for {precision})", expected, tolerance or OUTPUT_TOLERANCES[precision])]
    if self_reference:
        references.append(("the quantized graph's own definition", self_reference, SELF_REFERENCE_TOLERANCE))
    differences: list[float] = []
    for reference, right_outputs, allowed in references:
        if [output.shape for output in outputs] != [output.shape for output in right_outputs]:
            raise TrialError("outputs have other shapes than the reference's", hint="report the runtime")
        worst = max(map(relative_difference, right_outputs, outputs), default=0.0)
        if worst > allowed:
            raise TrialError(
                f"outputs differ from {reference} by {worst:.2g} of their spread, more than the {allowed:g} allowed",
                hint="the runtime computes this model wrongly: report it to its maintainers"
                + ("; on x86 without VNNI, onnxruntime's int8 sums overflow 16 bits" if precision == "int8" else ""),
            )
        differences.append(worst)
    return differences[0]


def check_equivalence(plain: Model, simplified: Model) -> float:
    """Return the largest difference between both models' outputs for one random input.

    Raises:
        SimplifyError: the outputs differ by more than SIMPLIFY_TOLERANCE, or tell nothing because they are constant or
            not finite.
        RuntimeUnavailable: onnxruntime is not installed.
    """
    name, feed = plain.name, plain.make_inputs(0)
    expected, actual = (reference_outputs(model.session_source(), feed, name=name) for model in (plain, simplified))
    if [output.shape for output in expected] != [output.shape for output in actual]:
        raise SimplifyError(
            f"{name}: the simplified graph has outputs of other shapes",
            hint="keep the plain graph with --no-simplify, and report the model to onnxsim",
        )
    for output in expected:
        with np.errstate(invalid="ignore"):
            spread = float(output.std(dtype=np.float64))
        if not 0 < spread < math.inf:
            raise SimplifyError(
                f"{name}: its output on a random input has spread {spread:g}: equality would prove nothing",
                hint="keep the plain graph with --no-simplify, and look at the weights",
            )
    worst = max(map(relative_difference, expected, actual))
    if not worst <= SIMPLIFY_TOLERANCE:
        raise SimplifyError(
            f"{name}: the simplified graph differs by {worst:.1e} of the output's spread",
            hint="keep the plain graph with --no-simplify, and report the model to onnxsim",
        )
    return worst
