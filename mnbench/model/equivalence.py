"""Whether outputs are right: of a device, of a quantized graph and of a simplified one."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from mnbench.errors import SimplifyError, TrialError
from mnbench.model.model import Model
from mnbench.model.onnx_weights import detect_precision
from mnbench.model.output_differences import Limits, OutputDifference, compare_outputs, shape_problem
from mnbench.model.outputs import Output, read_outputs
from mnbench.model.reference import Reference, Value
from mnbench.network.variant import Precision

OUTPUT_TOLERANCES: Mapping[Precision, float] = {"fp32": 1e-3, "fp16": 0.05, "int8": 0.5}
"""How far an output may lie from the expected one, as a share of its largest number. On onnxruntime's CPU, real
files in fp32 reach 1.5e-4; our graphs reach 0.011 in fp16 and 0.38 in int8."""

SELF_REFERENCE_TOLERANCE = 0.1
"""How far an output of a quantized graph may lie from the graph's own definition. Real files reach 0.002."""

QUANTIZATION_SHARE = 0.01
"""It may also lie as far from it as the outputs move if the inputs grow by this share, less than a step of int8. Over
fifty layers, a step more or less in the first grows to 0.3 of the largest number (V2, random weights)."""

SIMPLIFY_SHARE = 0.1
"""The share of these tolerances that simplification may use up. Most real files use 0.004."""

ROUNDING = 1e-6
"""Simplification may also change an output as much as this share of each input does, within the tolerance: rounding
grows alike over fifty layers, as in detectors."""

SIMPLIFY_INPUTS, MIN_SIMPLIFY_INPUTS, SIMPLIFY_S = 8, 2, 0.1
"""A simplified graph is compared on so many inputs; on fewer, but at least two, if they take longer than this."""


class Agreement(NamedTuple):
    """The largest difference of right outputs, None if none was compared; and why others were not."""

    difference: float | None
    not_compared: tuple[str, ...]


def require_agreement(
    outputs: Sequence[Output],
    actual: Sequence[Value],
    *,
    expected: Sequence[Value],
    self_reference: Sequence[Value],
    moved: Sequence[Value],
    precision: Precision,
    tolerance: float | None,
) -> Agreement:
    """Compare a device's outputs for one input with the expected ones.

    `self_reference` are the outputs of a quantized graph by its own definition, `moved` those for inputs that are moved
    by `QUANTIZATION_SHARE`; both are empty for other graphs. `expected` is empty for a quantized graph that has no
    other definition. The tolerance is that of the precision, or the given one if that is larger.

    Raises:
        TrialError: an output is wrong.
    """
    steps = _agreement(compare_outputs(outputs, [self_reference], [moved], Limits(1))) if moved else None
    self_tolerance = min(max(SELF_REFERENCE_TOLERANCE, (steps and steps.difference) or 0), OUTPUT_TOLERANCES["int8"])
    references = {
        f"onnxruntime's CPU in fp32 (for {precision})": (expected, max(tolerance or 0, OUTPUT_TOLERANCES[precision])),
        "the quantized graph's own definition": (self_reference, max(tolerance or 0, self_tolerance)),
    }
    agreements: list[Agreement] = []
    for reference, (values, allowed) in references.items():
        if not values:
            continue
        if problem := shape_problem(outputs, [values], [actual]):
            raise TrialError(f"outputs have other shapes than the reference's: {problem}", hint="report the runtime")
        differences = compare_outputs(outputs, [values], [actual], Limits(allowed))
        if wrong := next((output for output in differences if output.problem), None):
            raise TrialError(
                f"outputs differ from {reference}: `{wrong.name}` {wrong.problem}",
                hint="the runtime computes this model wrongly: report it to its maintainers"
                + ("; on x86 without VNNI, onnxruntime's int8 sums overflow 16 bits" if precision == "int8" else ""),
            )
        agreements.append(_agreement(differences))
    return agreements[0]


def check_equivalence(plain: Model, simplified: Model) -> Agreement:
    """Compare both models' outputs for several random inputs.

    Raises:
        SimplifyError: an output differs by more than `SIMPLIFY_SHARE` of the tolerance, and by more than rounding.
        BuildError: onnxruntime cannot run a model.
        RuntimeUnavailable: onnxruntime is not installed.
    """
    name, outputs = plain.origin, read_outputs(plain.proto)
    plain_session, simplified_session = (Reference(model.session_source(), name=name) for model in (plain, simplified))
    expected: list[list[Value]] = []
    actual: list[list[Value]] = []
    end = time.monotonic() + SIMPLIFY_S
    while len(expected) < MIN_SIMPLIFY_INPUTS or (len(expected) < SIMPLIFY_INPUTS and time.monotonic() < end):
        inputs = plain.make_inputs(seed=len(expected))
        expected.append(plain_session.run(inputs))
        actual.append(simplified_session.run(inputs))
    hint = "keep the plain graph with --no-simplify, and report the model to onnxsim"
    if problem := shape_problem(outputs, expected, actual):
        raise SimplifyError(f"{name}: the simplified graph has outputs of other shapes: {problem}", hint=hint)
    precision = detect_precision(plain.proto)  # a variant's own is that of the model it will become
    tolerance = SELF_REFERENCE_TOLERANCE if precision == "int8" else OUTPUT_TOLERANCES[precision]
    differences = compare_outputs(outputs, expected, actual, Limits(SIMPLIFY_SHARE * tolerance))
    if any(output.problem for output in differences):
        moved = [plain_session.run(move(plain.make_inputs(seed=seed), ROUNDING)) for seed in range(len(expected))]
        rounding = _agreement(compare_outputs(outputs, expected, moved, Limits(tolerance))).difference or 0.0
        allowed = min(max(rounding, SIMPLIFY_SHARE * tolerance), tolerance)
        differences = compare_outputs(outputs, expected, actual, Limits(allowed))
    if wrong := next((output for output in differences if output.problem), None):
        raise SimplifyError(f"{name}: the simplified graph's output `{wrong.name}` {wrong.problem}", hint=hint)
    constant = [output.name for output in differences if output.varies is False]
    agreement = _agreement(differences)
    reasons = [f"output `{output}` does not depend on the input: equality proves little" for output in constant]
    return agreement._replace(not_compared=(*agreement.not_compared, *reasons))


def move(inputs: Mapping[str, NDArray[Any]], share: float) -> dict[str, NDArray[Any]]:
    """Return the inputs with floating-point numbers larger by a share."""
    return {
        name: array * array.dtype.type(1 + share) if array.dtype.kind == "f" else array
        for name, array in inputs.items()
    }


def _agreement(differences: Sequence[OutputDifference]) -> Agreement:
    return Agreement(
        max((output.relative for output in differences if output.relative is not None), default=None),
        tuple(output.not_compared for output in differences if output.not_compared),
    )
