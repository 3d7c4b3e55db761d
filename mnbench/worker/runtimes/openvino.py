"""OpenVINO: it reads ONNX by itself, and tells which device takes each node."""

from __future__ import annotations

from typing import Any, Callable

import openvino as _openvino

openvino: Any = _openvino

LIBRARY = "libopenvino_intel_cpu_plugin"
PROVIDER_LIBRARIES = {"CPU": ""}
SETTING_PREFIXES = ("INFERENCE_", "PERFORMANCE_", "EXECUTION_", "SCHEDULING_", "ENABLE_", "NUM_", "CPU_")
PROFILER_NODES = {"conversions": ("Reorder",)}

FUSED = "undef"
"""What OpenVINO calls the kernel of a node that runs within another one."""

LATENCY = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}


class Session:
    """One model on one of OpenVINO's devices; it reads and writes memory that is bound once."""

    def __init__(
        self,
        model: bytes | str,
        *,
        inputs: dict[str, Any],
        provider: str,
        provider_options: dict[str, str],
        threads: int,
        options: dict[str, str],
        profile: str = "",
    ) -> None:
        """Open a session; with `profile`, every run is profiled."""
        self._provider = provider
        self._core = openvino.Core()
        self._model = self._core.read_model(model)
        counted = {"PERF_COUNT": "YES"} if profile else {}
        cpu = {"INFERENCE_NUM_THREADS": str(threads)} if provider == "CPU" else {}
        compiled = self._core.compile_model(
            self._model, provider, {**LATENCY, **cpu, **counted, **options, **provider_options}
        )
        self._request = compiled.create_infer_request()
        self._inputs = [openvino.Tensor(array, shared_memory=True) for array in inputs.values()]
        for name, tensor in zip(inputs, self._inputs):
            self._request.set_tensor(name, tensor)
        self._count = len(compiled.outputs)
        self.run: Callable[[], object] = self._request.infer

    def outputs(self) -> list[Any]:
        """Return the last inference's outputs as arrays."""
        return [self._request.get_output_tensor(index).data.copy() for index in range(self._count)]

    def copies(self) -> dict[str, Callable[[], object]]:
        """Return no copies: it uses the CPU's memory."""
        return {}

    def placement(self) -> dict[str, list[str]]:
        """Return the names of the nodes by device, from OpenVINO's report."""
        nodes: dict[str, list[str]] = {}
        takers = self._core.query_model(self._model, self._provider)
        for node in self._model.get_ordered_ops():
            if node.get_type_name() != "Constant":
                name = node.get_friendly_name()
                nodes.setdefault(str(takers.get(name, "no device")), []).append(name)
        return nodes

    def end_profile(self, *, skip: int) -> list[dict[str, Any]]:  # noqa: ARG002  it tells means over all runs
        """Return the kernels' mean times; half a microsecond is added because OpenVINO rounds down."""
        return [
            {
                "name": node.node_name,
                "op": node.node_type,
                "provider": self._provider,
                "tensors": 0,
                "duration_ns": round(node.real_time.total_seconds() * 1e9) + 500,
            }
            for node in self._request.get_profiling_info()
            if node.exec_type != FUSED and node.node_type not in ("Parameter", "Result", "Constant")
        ]


def version() -> str:
    """Return the runtime's version."""
    return build().partition("-")[0]


def build() -> str:
    """Return how it was built."""
    return openvino.get_version()
