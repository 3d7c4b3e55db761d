"""MNN on the CPU; its own converter turns ONNX into what it reads."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Callable

import MNN as _MNN  # pyright: ignore[reportMissingImports]  it has an environment of its own
import numpy as np

from . import Refused, Unavailable, as_file, run_converter

MNN: Any = _MNN  # it ships no types

DISTRIBUTIONS = ("MNN",)
LIBRARY = "_mnncengine"
READS_ONNX = False
PROVIDER_LIBRARIES = {"CPU": ""}
SETTING_PREFIXES = ("precision", "memory", "power")

CONVERTER = "import sys, _tools; _tools.mnnconvert(sys.argv)"
"""The program `mnnconvert` as its wheel has it also installs what reports each conversion to MNN's makers."""

BACKENDS = {0: "CPU", 13: "CPU"}
"""MNN's numbers of its backends; 13 is the CPU with instructions beyond the least."""

BACKENDS_OF_SESSION = 2
FLOAT = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16))


class Session:
    """One converted model. MNN's sessions own their memory: a run copies inputs there, and outputs from there."""

    def __init__(
        self,
        model: bytes | str,
        *,
        inputs: dict[str, Any],
        provider: str,
        provider_options: dict[str, str],  # noqa: ARG002  its one provider has none
        threads: int,
        options: dict[str, str],
        profile: str = "",
    ) -> None:
        if provider not in BACKENDS.values():
            raise Unavailable(f"mnbench runs MNN on the provider CPU, and not on {provider}", what="provider")
        if any(array.dtype not in FLOAT for array in inputs.values()):
            raise Refused("mnbench feeds MNN floating point numbers alone")
        with as_file(model) as path:
            self._net = MNN.Interpreter(str(path))
        self._session = self._net.createSession({"backend": provider, "numThread": threads, **options})
        self._inputs = [self._bound(name, array) for name, array in inputs.items()]
        result = list(self._net.getSessionOutputAll(self._session))
        if len(result) != 1:
            raise Refused("mnbench reads one output from MNN, and this model has several")
        self._output = self._net.getSessionOutput(self._session, result[0])
        shape = self._output.getShape()
        self._result = MNN.Tensor(shape, MNN.Halide_Type_Float, np.zeros(shape, np.float32), _CAFFE)
        self._provider = provider
        self._names: list[str] = []
        self._types: list[str] = []
        self._durations_ns: list[list[int]] = []
        if profile:
            self._infer = self._watched

    def _bound(self, name: str, array: Any) -> tuple[Any, Any]:
        """Return the session's tensor of an input, and the array to copy there."""
        tensor = self._net.getSessionInput(self._session, name)
        if tuple(tensor.getShape()) != array.shape:
            self._net.resizeTensor(tensor, array.shape)
            self._net.resizeSession(self._session)
        return tensor, MNN.Tensor(array.shape, MNN.Halide_Type_Float, array.astype(np.float32), _CAFFE)

    def run(self) -> None:
        """Run one inference until its outputs are complete."""
        for tensor, values in self._inputs:
            tensor.copyFrom(values)
        self._infer()
        self._output.copyToHostTensor(self._result)

    def _infer(self) -> None:
        self._net.runSession(self._session)

    def outputs(self) -> list[Any]:
        """Return the last inference's output as an array."""
        return [self._result.getNumpyData().copy()]

    def copies(self) -> dict[str, Callable[[], object]]:
        """Return no copies: it uses the CPU's memory."""
        return {}

    def placement(self) -> dict[str, list[str]]:
        """Return all operators, which share the session's one backend."""
        backend = self._net.getSessionInfo(self._session, BACKENDS_OF_SESSION)
        self._watched()
        return {BACKENDS.get(backend, f"backend {backend}"): self._names}

    def _watched(self) -> None:
        """Run one inference and time its operators from Python; 1 µs or so of each is the call."""
        names: list[str] = []
        types: list[str] = []
        times: list[int] = []
        clock = time.perf_counter_ns

        def begins(_tensors: Any, operator: Any) -> bool:
            names.append(operator.getName())
            types.append(operator.getType())
            times.append(clock())
            return True

        def ends(_tensors: Any, _operator: Any) -> bool:
            times[-1] = clock() - times[-1]
            return True

        self._net.runSessionWithCallBackInfo(self._session, begins, ends)
        self._names, self._types = names, types
        self._durations_ns.append(times)

    def end_profile(self, *, skip: int) -> list[dict[str, Any]]:
        """Return the operators' times in all runs except the first `skip`."""
        durations = zip(*self._durations_ns[skip:])
        return [
            {"name": name, "op": op, "provider": self._provider, "tensors": 0, "duration_ns": round(median(times))}
            for name, op, times in zip(self._names, self._types, durations)
        ]


def convert(model: bytes | str, inputs: dict[str, Any]) -> bytes:  # noqa: ARG001  it keeps shapes as they are
    """Convert the ONNX model to MNN's format."""
    with as_file(model) as source, tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        path = Path(folder) / "model.mnn"
        asked = ["-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(path), "--bizCode", "mnbench"]
        return run_converter([sys.executable, "-c", CONVERTER, *asked], path)


def version() -> str:
    """Return the runtime's version."""
    return MNN.version()


def build() -> str:
    """Return the version of the converter: the runtime's own."""
    return f"mnnconvert {version()}"


_CAFFE = MNN.Tensor_DimensionType_Caffe
