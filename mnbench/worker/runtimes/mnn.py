"""MNN on the CPU; its own converter converts ONNX."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import MNN as _MNN  # pyright: ignore[reportMissingImports]  it is in its own environment
import numpy as np

from . import Refused, SessionSettings, as_file, require_provider, run_converter

MNN: Any = _MNN  # it has no types

DISTRIBUTIONS = ("MNN",)
MODULE = "MNN"
LIBRARY = "_mnncengine"
READS_ONNX = False
PROVIDER_LIBRARIES = {"CPU": ""}
SETTING_PREFIXES = ("precision", "memory", "power")

CONVERTER = "import sys, _tools; _tools.mnnconvert(sys.argv)"
"""The wheel's own program `mnnconvert` also reports each conversion to MNN's makers."""

BACKENDS = {0: "CPU", 13: "CPU"}
"""MNN's numbers of its backends; 13 is the CPU with newer instructions."""

BACKENDS_OF_SESSION = 2
FLOAT = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16))


class Session:
    """One converted model. MNN's sessions own their memory: a run copies inputs in and outputs out."""

    def __init__(self, model: bytes | str, settings: SessionSettings) -> None:
        self._provider, inputs = settings.provider, settings.inputs
        require_provider("MNN", settings, "CPU")
        if any(array.dtype not in FLOAT for array in inputs.values()):
            raise Refused("mnbench supports MNN only with floating-point inputs")
        with as_file(model) as path:
            self._net = MNN.Interpreter(str(path))
        self._session = self._net.createSession(
            {"backend": self._provider, "numThread": settings.threads, **settings.options}
        )
        self._inputs = [self._bind_input(name, array) for name, array in inputs.items()]
        result = list(self._net.getSessionOutputAll(self._session))
        if len(result) != 1:
            raise Refused("mnbench supports MNN only with one output, and this model has several")
        self._output = self._net.getSessionOutput(self._session, result[0])
        shape = self._output.getShape()
        self._result = MNN.Tensor(shape, MNN.Halide_Type_Float, np.zeros(shape, np.float32), _CAFFE)
        self._names: list[str] = []
        self._types: list[str] = []
        self._durations_ns: list[list[int]] = []
        if settings.profile:
            self._infer = self._run_timed

    def _bind_input(self, name: str, array: Any) -> tuple[Any, Any]:
        """Return the session's tensor of an input, and the values to copy there."""
        tensor = self._net.getSessionInput(self._session, name)
        if tuple(tensor.getShape()) != array.shape:
            self._net.resizeTensor(tensor, array.shape)
            self._net.resizeSession(self._session)
        return tensor, MNN.Tensor(array.shape, MNN.Halide_Type_Float, array.astype(np.float32), _CAFFE)

    def run(self) -> None:
        for tensor, values in self._inputs:
            tensor.copyFrom(values)
        self._infer()
        self._output.copyToHostTensor(self._result)

    def _infer(self) -> None:
        self._net.runSession(self._session)

    def outputs(self) -> list[Any]:
        return [self._result.getNumpyData().copy()]

    def placement(self) -> dict[str, list[str]]:
        """Return all operators, which share the session's one backend."""
        backend = self._net.getSessionInfo(self._session, BACKENDS_OF_SESSION)
        self._run_timed()
        return {BACKENDS.get(backend, f"backend {backend}"): self._names}

    def _run_timed(self) -> None:
        """Run one inference and time its operators from here; about 1 µs of each is the call itself."""
        names: list[str] = []
        types: list[str] = []
        times: list[int] = []
        clock = time.perf_counter_ns

        def on_begin(_tensors: Any, operator: Any) -> bool:
            names.append(operator.getName())
            types.append(operator.getType())
            times.append(clock())
            return True

        def on_end(_tensors: Any, _operator: Any) -> bool:
            times[-1] = clock() - times[-1]
            return True

        self._net.runSessionWithCallBackInfo(self._session, on_begin, on_end)
        self._names, self._types = names, types
        self._durations_ns.append(times)

    def end_profile(self, *, skip: int) -> list[dict[str, Any]]:
        """Return the operator times of the runs after the first `skip`."""
        durations = zip(*self._durations_ns[skip:])
        return [
            {"name": name, "op": op, "provider": self._provider, "tensors": 0, "duration_ns": round(median(times))}
            for name, op, times in zip(self._names, self._types, durations)
        ]


def convert(model: bytes | str, inputs: dict[str, Any]) -> bytes:  # noqa: ARG001  shapes stay the model's
    with as_file(model) as source, tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        path = Path(folder) / "model.mnn"
        arguments = ["-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(path), "--bizCode", "mnbench"]
        return run_converter([sys.executable, "-c", CONVERTER, *arguments], path)


def version() -> str:
    return MNN.version()


def build() -> str:
    return f"mnnconvert {version()}"


_CAFFE = MNN.Tensor_DimensionType_Caffe
