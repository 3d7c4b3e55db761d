"""tract, the runtime in Rust of browsers and microphones: it reads ONNX and runs on one thread."""

from __future__ import annotations

import json
from typing import Any

import tract as _tract  # pyright: ignore[reportMissingImports]  it is in its own environment

from . import Refused, SessionSettings, as_file, require_options, require_provider

tract: Any = _tract  # it has no types

LIBRARY = "tract."
PROVIDER_LIBRARIES = {"CPU": ""}

NOT_COMPUTED = ("Const", "Source")

TYPES = {"float16": "f16", "float32": "f32", "float64": "f64", "int32": "i32", "int64": "i64", "uint8": "u8"}
"""tract's names of numpy's types."""


class Session:
    """One model; its inputs are copied into tract's memory once."""

    def __init__(self, model: bytes | str, settings: SessionSettings) -> None:
        require_provider("tract", settings, "CPU")
        require_options("tract", settings)
        if settings.threads != 1:
            raise Refused(f"tract's Python package runs on 1 thread, not on {settings.threads}")
        with as_file(model) as path:
            net = tract.Onnx().load(path)
        arrays = [settings.inputs[net.input_name(at)] for at in range(net.input_count())]
        for at, array in enumerate(arrays):
            net.set_input_fact(at, ",".join(map(str, (*array.shape, TYPES.get(array.dtype.name, array.dtype.name)))))
        self._inputs = [tract.Tensor.from_numpy(array) for array in arrays]
        self._runnable = net.into_model().into_runnable()
        self._state = self._runnable.spawn_state()
        self._outputs: list[Any] = []

    def run(self) -> None:
        self._outputs = self._state.run(self._inputs)

    def outputs(self) -> list[Any]:
        return [output.to_numpy() for output in self._outputs]

    def placement(self) -> dict[str, list[str]]:
        """Return the nodes of tract's optimized model: without a GPU's runtime there is only the CPU."""
        nodes = json.loads(self._runnable.profile_json(self._inputs))["nodes"]
        return {"CPU": [node["node_name"] for node in nodes if node["op_name"] not in NOT_COMPUTED]}


def version() -> str:
    return tract.version()


def build() -> str:
    return "its default runtime for the CPU"
