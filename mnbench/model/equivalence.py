"""What a graph computes by definition: onnxruntime's CPU provider with its own optimizations off."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnbench.errors import BuildError, RuntimeUnavailable, first_line


def reference_outputs(data: bytes, feed: dict[str, NDArray[Any]], *, name: str) -> list[NDArray[Any]]:
    """The outputs of a serialized model; `name` is what an error calls it.

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
        session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        return session.run(None, feed)
    except Exception as failure:  # onnxruntime's exceptions share no public base class
        raise BuildError(
            f"{name}: onnxruntime cannot run it: {first_line(failure)}", hint="export the model again"
        ) from failure


def relative_difference(expected: NDArray[Any], result: NDArray[Any]) -> float:
    """The largest difference between two outputs of one shape, as a share of the expected one's standard deviation.

    Infinite where they differ and the expected one is constant, or where either is not finite.
    """
    exact = expected.astype(np.float64)
    with np.errstate(invalid="ignore"):
        largest = float(np.abs(exact - result.astype(np.float64)).max(initial=0))
        spread = float(exact.std()) if exact.size else 0.0
    if largest == 0:
        return 0.0
    return largest / spread if math.isfinite(largest) and 0 < spread < math.inf else math.inf
