"""onnxruntime: sessions with io-binding, and onnxruntime's own account of which provider took each node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as _onnxruntime

from . import Unavailable

onnxruntime: Any = _onnxruntime  # it ships no types


class Session:
    """One model on one provider, with its input and output memory bound once."""

    def __init__(self, model: bytes, *, provider: str, threads: int, options: dict[str, str], seed: int) -> None:
        available = onnxruntime.get_available_providers()
        if provider not in available:
            raise Unavailable(f"onnxruntime {version()} has no {provider} here, only {', '.join(available)}")
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        settings.log_severity_level = 3
        for key, value in {"session.record_ep_graph_assignment_info": "1", **options}.items():
            settings.add_session_config_entry(key, value)
        self._session: Any = onnxruntime.InferenceSession(model, settings, providers=[provider])
        self._binding: Any = self._session.io_binding()
        random = np.random.default_rng(seed)
        # Bound inputs are read in place: they must live as long as the binding.
        self._inputs = {value.name: _input(value, random) for value in self._session.get_inputs()}
        for name, array in self._inputs.items():
            self._binding.bind_cpu_input(name, array)
        for value in self._session.get_outputs():
            if all(isinstance(side, int) for side in value.shape) and value.type in _DTYPES:
                empty = np.zeros(value.shape, _DTYPES[value.type])
                self._binding.bind_ortvalue_output(value.name, onnxruntime.OrtValue.ortvalue_from_numpy(empty))
            else:
                self._binding.bind_output(value.name)

    def run(self) -> None:
        """One inference."""
        self._session.run_with_iobinding(self._binding)

    def outputs(self) -> list[Any]:
        """The last inference's outputs, as arrays."""
        return self._binding.copy_outputs_to_cpu()

    def placement(self) -> dict[str, list[str]] | None:
        """The names of the nodes that each provider took; None from versions that do not tell."""
        assigned = getattr(self._session, "get_provider_graph_assignment_info", None)
        if assigned is None:
            return None
        nodes: dict[str, list[str]] = {}
        for subgraph in assigned():
            nodes.setdefault(subgraph.ep_name, []).extend(node.name for node in subgraph.get_nodes())
        return nodes


def version() -> str:
    """The runtime's version."""
    return onnxruntime.__version__


_DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


def _input(value: Any, random: Any) -> Any:
    if value.type not in _DTYPES or not all(isinstance(side, int) for side in value.shape):
        raise ValueError(f"input {value.name} is {value.type} {value.shape}: only tensors of fixed size can be filled")
    dtype = np.dtype(_DTYPES[value.type])
    numbers = random.standard_normal(value.shape) if dtype.kind == "f" else np.zeros(value.shape)
    return numbers.astype(dtype)
