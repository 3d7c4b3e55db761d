"""The outputs that a model's graph defines: what onnxruntime's CPU computes without optimizations."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from numpy.typing import NDArray

from mnbench.errors import BuildError, RuntimeUnavailable, first_line
from mnbench.model.isolated import Step

Value: TypeAlias = NDArray[Any] | None
"""An output: numbers, truth values or strings; None if it is something else, such as a sequence, or cannot be read."""

REFERENCE_RUN = Step("onnxruntime's reference run", "give smaller inputs, and report the model to onnxruntime")

READABLE_TENSOR = re.compile(r"tensor\((?!bfloat16|float8|float4|u?int4|u?int2|complex)\w+\)")
"""The types of outputs that onnxruntime returns as numpy arrays."""

FAILED_NODE = re.compile(r".*running (?P<operator>\S+) node\. Name:'(?P<node>.*?)' Status Message: (?P<reason>.*)")
"""The innermost node that failed: one in a branch of an If fails the If too."""

SOURCE_PATH = re.compile(r"\S*\.(?:cc|h):\d+ (?:.*?\) )?(?:\S+ was false\. )?")
"""Where in onnxruntime's sources an error arose, which its messages begin with."""

ERROR_CODE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")

MAX_OUTPUT_NUMBERS = 2**26
"""To compare outputs takes some 80 bytes a number."""

KNOWN_FAILURES: Sequence[tuple[re.Pattern[str], str, str]] = (
    (
        re.compile(r"Opset (?P<asked>\d+) is under development.*is till opset (?P<known>\d+)"),
        "has opset {asked}; onnxruntime {version} reads up to {known}",
        "export it with a lower opset, or update onnxruntime",
    ),
    (
        re.compile(r"Unsupported model IR version: (?P<asked>\d+), max supported IR version: (?P<known>\d+)"),
        "has IR version {asked}; onnxruntime {version} reads up to {known}",
        "export it with an older onnx, or update onnxruntime",
    ),
    (
        re.compile(r"Could not find an implementation for (?P<operator>[^\s(]+)\((?P<opset>\d+)\)"),
        "onnxruntime {version} has no {operator} of opset {opset} for these types",
        "convert the model to float32, or to a newer opset: onnx.version_converter.convert_version",
    ),
    (
        re.compile(r"error: (?P<operator>\S+?)\((?:-?\d+)?\) is not a registered function/op", re.IGNORECASE),
        "onnxruntime {version} has no operator {operator}",
        "export the model with ONNX's own operators",
    ),
    (
        re.compile(r"No opset import for domain '(?P<domain>\S+)'"),
        "onnxruntime {version} has no operators of the domain {domain}",
        "export the model with ONNX's own operators",
    ),
)
"""Messages of onnxruntime about models that it does not load, what they mean, and what to do."""


def import_onnxruntime() -> tuple[Any, Any]:
    """Return onnxruntime, and options for sessions that change nothing in a graph and log nothing.

    Raises:
        RuntimeUnavailable: onnxruntime is not installed.
    """
    try:
        import onnxruntime  # noqa: PLC0415  0.1 s, and the one dependency that users replace
    except ImportError as failure:
        raise RuntimeUnavailable("onnxruntime is not installed", hint="pip install onnxruntime") from failure
    library: Any = onnxruntime
    options = library.SessionOptions()
    options.graph_optimization_level = library.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return library, options


class Reference:
    """A model in a session of onnxruntime's CPU provider without optimizations.

    Raises:
        RuntimeUnavailable: onnxruntime is not installed.
        BuildError: onnxruntime cannot load the model.
    """

    def __init__(self, model: bytes | str, *, name: str) -> None:
        self._name = name
        self._runtime, options = import_onnxruntime()
        try:
            self._session = self._runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as failure:  # onnxruntime's exceptions share no public base class
            raise self._load_error(failure) from failure
        outputs = self._session.get_outputs()
        self._readable = [bool(READABLE_TENSOR.fullmatch(output.type)) for output in outputs]
        # A session runs every node for an empty list of outputs, which it takes for all of them.
        self._names = [output.name for output, readable in zip(outputs, self._readable, strict=True) if readable]

    def run(self, inputs: Mapping[str, Any]) -> list[Value]:
        """Return the outputs in the order of the graph.

        Raises:
            BuildError: onnxruntime cannot run the model with these inputs, or its outputs are too large to compare.
        """
        if unreadable := [name for name, array in inputs.items() if array.dtype.kind == "V"]:
            raise BuildError(
                f"{self._name}: input {unreadable[0]} is {inputs[unreadable[0]].dtype}, which onnxruntime's Python "
                "cannot be fed",
                hint="give the model an input in float32, and cast it inside the model",
            )
        try:
            arrays: list[NDArray[Any]] = self._session.run(self._names, dict(inputs)) if self._names else []
        except Exception as failure:
            raise self._run_error(failure, inputs) from failure
        if sum(map(_numbers, arrays)) > MAX_OUTPUT_NUMBERS:
            raise BuildError(
                f"{self._name}: its outputs hold more than {MAX_OUTPUT_NUMBERS:,} numbers", hint="give smaller inputs"
            )
        values = iter(arrays)
        return [next(values) if readable else None for readable in self._readable]

    def _load_error(self, failure: Exception) -> BuildError:
        text = " ".join(str(failure).split())
        for pattern, meaning, hint in KNOWN_FAILURES:
            if match := pattern.search(text):
                message = meaning.format(version=self._runtime.__version__, **match.groupdict())
                return BuildError(f"{self._name}: {message}", hint=hint)
        reason = ERROR_CODE.sub("", first_line(failure)).rpartition("failed:")[2]
        return BuildError(f"{self._name}: onnxruntime cannot load it: {reason}", hint="export the model again")

    def _run_error(self, failure: Exception, inputs: Mapping[str, Any]) -> BuildError:
        text = " ".join(str(failure).split())
        if match := FAILED_NODE.search(text):
            node = f" `{match['node']}`" if match["node"] else ""
            message = f"fails in {match['operator']}{node}: {SOURCE_PATH.sub('', match['reason'])}"
        else:
            message = f"cannot run it: {ERROR_CODE.sub('', text)}"
        values = ", ".join(f"{name} {_describe(array)}" for name, array in inputs.items())
        return BuildError(
            f"{self._name}: onnxruntime {message}", hint=f"it was fed {values}: give other sizes or values"
        )


def run_reference(model: bytes | str, inputs: Sequence[Mapping[str, Any]], name: str) -> list[list[Value]]:
    """Return the outputs of a serialized model, or of a file, for each set of inputs; `name` is for errors.

    Raises:
        RuntimeUnavailable: onnxruntime is not installed.
        BuildError: onnxruntime cannot load or run the model.
    """
    session = Reference(model, name=name)
    return [session.run(arrays) for arrays in inputs]


def reference_outputs(model: bytes | str, inputs: Mapping[str, Any], name: str) -> list[Value]:
    """Return what `run_reference` does for one set of inputs."""
    return run_reference(model, [inputs], name)[0]


def _numbers(array: NDArray[Any]) -> int:
    """Return the size of an output; numpy stores texts in arrays as long as the longest, a number a letter."""
    return array.size * max((len(text) for text in array.flat), default=0) if array.dtype.kind == "O" else array.size


def _describe(array: NDArray[Any]) -> str:
    """Return the shape of an input, or the value of a single number."""
    return "×".join(map(str, array.shape)) if array.shape else str(array.item())
