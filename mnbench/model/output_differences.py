"""How far outputs lie from the expected ones, and whether that is too far."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from mnbench.model.outputs import Output
from mnbench.model.reference import Value

Array: TypeAlias = NDArray[Any]
TEXT, INTEGERS = {"O", "S", "U"}, {"b", "i", "u"}
"""Kinds of numpy arrays."""

NOISE_LIMIT = 0.6
"""The largest root mean square of an output's differences, as a share of its standard deviation. A constant output
reaches 1, and our int8 graphs reach 0.55."""

ROUNDING_SHARE = 0.05
"""Differences below this share of the tolerance are rounding, however little the output varies."""

SMALLEST_SCALE = 1e-6
"""The least number that differences are divided by: what an output has below it is rounding."""


class Limits(NamedTuple):
    """How far outputs may lie from the expected ones; `noise` None judges the largest difference alone."""

    tolerance: float
    noise: float | None = NOISE_LIMIT


class OutputDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One output over all inputs. `problem` says why it is wrong, `not_compared` why that is not known.

    `max_abs` is the largest difference. `relative` is that as a share of the largest number expected; for integers and
    truth values the share of elements that differ, for strings 1 if any does. `noise` is the root mean square of the
    differences, as a share of the expected standard deviation. `varies` says whether the expected output depends on the
    input; None for one input. `top1_agreement` is the share of inputs whose largest class is the same. A figure that
    has no meaning for an output is None.
    """

    name: str
    max_abs: float | None = None
    relative: float | None = None
    noise: float | None = None
    varies: bool | None = None
    top1_agreement: float | None = None
    problem: str | None = None
    not_compared: str | None = None


def shape_problem(
    outputs: Sequence[Output], expected: Sequence[Sequence[Value]], actual: Sequence[Sequence[Value]]
) -> str:
    """Return how the shapes of the outputs differ for any of several inputs; empty if they do not.

    The shape of an output that orders or selects may depend on rounding.
    """
    for rights, others in zip(expected, actual, strict=True):
        if not len(outputs) == len(rights) == len(others):
            return f"{len(others)} outputs in place of {len(rights)}"
        for output, right, other in zip(outputs, rights, others, strict=True):
            if not output.ordering_node and right is not None and other is not None and right.shape != other.shape:
                return f"`{output.name}` has the shape {other.shape} in place of {right.shape}"
    return ""


def compare_outputs(
    outputs: Sequence[Output], expected: Sequence[Sequence[Value]], actual: Sequence[Sequence[Value]], limits: Limits
) -> tuple[OutputDifference, ...]:
    """Compare the outputs for each of several inputs; no input's outputs have a problem of shapes."""
    columns = zip(outputs, zip(*expected, strict=True), zip(*actual, strict=True), strict=True)
    return tuple(_compare(output, right, other, limits) for output, right, other in columns)


def _compare(output: Output, expected: Sequence[Value], actual: Sequence[Value], limits: Limits) -> OutputDifference:
    def not_compared(reason: str) -> OutputDifference:
        return OutputDifference(name=output.name, not_compared=f"output `{output.name}` {reason}")

    if output.random_node:
        return not_compared(f"depends on {output.random_node}")
    rights, others = ([value for value in values if value is not None] for values in (expected, actual))
    if len(rights) < len(expected):
        kind = output.kind.replace("_", " ")
        return not_compared(
            f"is {'a tensor of a type without numpy arrays' if kind == 'tensor' else f'of type {kind}'}"
        )
    other_kinds = {_family(other) for other in others} - {_family(right) for right in rights}
    if len(others) < len(actual) or other_kinds:
        is_not = f"is {other_kinds.pop()}, which is not expected" if other_kinds else "is not an array"
        return OutputDifference(name=output.name, problem=is_not)
    difference = OutputDifference(name=output.name)
    if all(right.shape == other.shape for right, other in zip(rights, others, strict=True)):
        difference = _difference(output.name, rights, others)
    problem = _problem(difference, limits, worse_than_constant=_worse_than_constant(rights, others))
    if problem and output.ordering_node:
        return not_compared(f"depends on {output.ordering_node}, where rounding changes the order")
    if not problem and not any(map(_has_values, rights)):
        return not_compared("has no finite number")
    return msgspec.structs.replace(difference, problem=problem)


def _family(array: Array) -> str:
    """Return text, complex or real: values of two families cannot be compared."""
    return "text" if array.dtype.kind in TEXT else "complex" if array.dtype.kind == "c" else "real"


def _difference(name: str, expected: Sequence[Array], actual: Sequence[Array]) -> OutputDifference:
    first, *more = expected
    top1 = None
    if first.dtype.kind == "f" and first.ndim == 2 and first.size and first.shape[1] > 1:
        top1 = float(
            np.mean([right.argmax(1) == other.argmax(1) for right, other in zip(expected, actual, strict=True)])
        )
    largest, relative, noise = _figures(*(np.concatenate([*map(np.ravel, arrays)]) for arrays in (expected, actual)))
    return OutputDifference(
        name=name,
        max_abs=largest,
        relative=relative,
        noise=noise,
        varies=not all(_equal(first, array).all() for array in more) if more else None,
        top1_agreement=top1,
    )


def _figures(expected: Array, actual: Array) -> tuple[float | None, float | None, float | None]:
    """Return the largest difference, that as a share, and the noise."""
    kinds = {expected.dtype.kind, actual.dtype.kind}
    equal = _equal(expected, actual)
    if kinds & TEXT:
        return None, float(not equal.all()), None
    with np.errstate(invalid="ignore"):
        distances = np.where(equal, 0, np.abs(expected.astype(np.float64) - actual.astype(np.float64)))
    largest = float(distances.max(initial=0))
    if kinds <= INTEGERS:
        # In 8 bits, one step more or less is rounding.
        is_quantized = expected.dtype.itemsize == actual.dtype.itemsize == 1 and "b" not in kinds
        return largest, float(np.mean(distances > 1 if is_quantized else ~equal)) if equal.size else 0.0, None
    if not np.isfinite(largest):
        return None, None, None
    numbers = expected[np.isfinite(expected)].astype(np.float64)
    spread = float(numbers.std()) if numbers.size else 0.0
    noise = float(np.sqrt(np.mean(distances**2))) / spread if spread else None
    return largest, largest / max(float(np.abs(numbers).max(initial=0)), SMALLEST_SCALE), noise


def _worse_than_constant(expected: Sequence[Array], actual: Sequence[Array]) -> bool:
    """Return whether the mean of the expected outputs, which ignores the input, is as close to them on average."""
    if len({array.shape for array in (*expected, *actual)}) > 1 or expected[0].dtype.kind != "f" or len(expected) == 1:
        return False
    right, other = (np.stack(arrays).astype(np.float64) for arrays in (expected, actual))
    if not (np.isfinite(right).all() and np.isfinite(other).all()):
        return False
    return bool(0 < right.var(axis=0).mean() <= np.mean((right - other) ** 2)) if right.size else False


def _equal(expected: Array, actual: Array) -> Array:
    """Return which elements are equal, or both NaN; none of two shapes."""
    if expected.shape != actual.shape:
        return np.zeros(1, np.bool_)
    equal = expected == actual
    both_float = expected.dtype.kind == actual.dtype.kind == "f"
    return equal | (np.isnan(expected) & np.isnan(actual)) if both_float else equal


def _has_values(array: Array) -> bool:
    return array.dtype.kind != "f" or not array.size or bool(np.isfinite(array).any())


def _problem(difference: OutputDifference, limits: Limits, *, worse_than_constant: bool) -> str | None:
    relative = difference.relative
    if relative is None:
        return "has a NaN or an infinity that is not expected, or lacks one"
    if relative > limits.tolerance:
        return f"differs by {relative:.2g} of its largest number, and {limits.tolerance:.2g} is allowed"
    if limits.noise is None or relative <= ROUNDING_SHARE * limits.tolerance:
        return None
    if difference.noise is not None and difference.noise > limits.noise:
        return f"differs by {difference.noise:.2g} of its standard deviation, and {limits.noise:g} is allowed"
    return "differs more than a constant would" if worse_than_constant else None
