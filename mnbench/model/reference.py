"""What a graph computes by definition: onnxruntime's CPU provider with its own optimizations off."""

from typing import Any

from numpy.typing import NDArray

from mnbench.errors import BuildError, RuntimeUnavailable, first_line


def run(data: bytes, feed: dict[str, NDArray[Any]], *, name: str) -> list[NDArray[Any]]:
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
