"""onnxsim, then proof that the simplified graph computes the same."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from mnbench.errors import SimplifyError, first_line
from mnbench.model.equivalence import reference_outputs, relative_difference
from mnbench.model.inputs import random_inputs
from mnbench.model.model import Model

SIMPLIFY_TOLERANCE = 1e-4
"""Of the largest difference, as a share of the output's standard deviation."""

ONNXSIM_METADATA_PREFIX = "onnxsim."


def simplify(model: Model, *, thorough: bool = True, keep_bn: bool = False) -> Model:
    """The same function in fewer nodes: batch normalization goes into the convolution before it, unless `keep_bn`.

    Graphs of our own builder hold no constant expressions and no custom operators: without `thorough` they take half
    the time.

    Raises:
        SimplifyError: onnxsim fails.
    """
    import onnxsim  # noqa: PLC0415  0.3 s, only here

    try:
        library: Any = onnxsim
        proto, _ = library.simplify(
            model.proto, skip_constant_folding=not thorough, import_custom_schemas=thorough, skip_fuse_bn=keep_bn
        )
    except Exception as failure:  # onnxsim raises RuntimeError, ValueError and the C++ library's own
        raise SimplifyError(
            f"{model.name}: onnxsim fails: {first_line(failure)}", hint="keep the plain graph with --no-simplify"
        ) from failure
    stored = [entry for entry in proto.metadata_props if not entry.key.startswith(ONNXSIM_METADATA_PREFIX)]
    del proto.metadata_props[:]
    proto.metadata_props.extend(stored)
    return replace(model, proto=proto)


def check_equivalence(reference: Model, candidate: Model, *, seed: int = 0) -> float:
    """Run both on the same seeded input, with onnxruntime's own optimizations off.

    Returns:
        The largest difference between their outputs, as a share of the output's standard deviation.

    Raises:
        SimplifyError: the outputs differ by more than 1e-4, or tell nothing because they are constant or not finite.
        RuntimeUnavailable: onnxruntime is not installed.
    """
    feed = random_inputs(reference.proto, seed)
    expectations = reference_outputs(reference.to_bytes(), feed, name=reference.name)
    result = reference_outputs(candidate.to_bytes(), feed, name=candidate.name)
    if [output.shape for output in expectations] != [output.shape for output in result]:
        raise SimplifyError(
            f"{reference.name}: the simplified graph has outputs of other shapes",
            hint="keep the plain graph with --no-simplify, and report the model to onnxsim",
        )
    for expected in expectations:
        with np.errstate(invalid="ignore"):
            spread = float(expected.std(dtype=np.float64))
        if not 0 < spread < math.inf:
            raise SimplifyError(
                f"{reference.name}: its output on a random input has spread {spread:g}: equality would prove nothing",
                hint="keep the plain graph with --no-simplify, and look at the weights",
            )
    worst = max(map(relative_difference, expectations, result))
    if not worst <= SIMPLIFY_TOLERANCE:
        raise SimplifyError(
            f"{reference.name}: the simplified graph differs by {worst:.1e} of the output's spread",
            hint="keep the plain graph with --no-simplify, and report the model to onnxsim",
        )
    return worst
