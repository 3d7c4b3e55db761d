"""OpenVINO: it reads ONNX, and reports the device of each node."""

from __future__ import annotations

from typing import Any, Callable

import openvino as _openvino

from . import Refused, SessionSettings

openvino: Any = _openvino

LIBRARY = "libopenvino_intel_cpu_plugin"
PROVIDER_LIBRARIES = {"CPU": ""}
SETTING_PREFIXES = ("INFERENCE_", "PERFORMANCE_", "EXECUTION_", "SCHEDULING_", "ENABLE_", "NUM_", "CPU_")
PROFILER_NODES = {"conversions": ("Reorder",)}

FUSED = "undef"
"""OpenVINO's name for the kernel of a node that runs inside another one."""

PRECISION = "INFERENCE_PRECISION_HINT"

LATENCY = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}


class Session:
    """One model on one of OpenVINO's devices; input memory is bound once."""

    def __init__(self, model: bytes | str, settings: SessionSettings) -> None:
        self._provider = settings.provider
        self._core = openvino.Core()
        self._model = self._core.read_model(model)
        threads = {"INFERENCE_NUM_THREADS": str(settings.threads)} if self._provider == "CPU" else {}
        profile = {"PERF_COUNT": "YES"} if settings.profile else {}
        options = {**LATENCY, **threads, **profile, **settings.options, **settings.provider_options}
        compiled = self._core.compile_model(self._model, self._provider, options)
        hint = options.get(PRECISION, "").upper()
        precision = compiled.get_property(PRECISION).get_type_name() if hint else ""
        if hint and precision != hint.lower():
            raise Refused(f"OpenVINO computes in {precision} on this processor, and {hint.lower()} was asked for")
        self._request = compiled.create_infer_request()
        self._inputs = [openvino.Tensor(array, shared_memory=True) for array in settings.inputs.values()]
        for name, tensor in zip(settings.inputs, self._inputs):
            self._request.set_tensor(name, tensor)
        self._count = len(compiled.outputs)
        self.run: Callable[[], object] = self._request.infer

    def outputs(self) -> list[Any]:
        return [self._request.get_output_tensor(index).data.copy() for index in range(self._count)]

    def placement(self) -> dict[str, list[str]]:
        nodes: dict[str, list[str]] = {}
        devices = self._core.query_model(self._model, self._provider)
        for node in self._model.get_ordered_ops():
            if node.get_type_name() != "Constant":
                name = node.get_friendly_name()
                nodes.setdefault(str(devices.get(name, "no device")), []).append(name)
        return nodes

    def end_profile(self, *, skip: int) -> list[dict[str, Any]]:  # noqa: ARG002  OpenVINO reports means over all runs
        """Return mean kernel times. OpenVINO truncates them to microseconds; half a microsecond corrects that."""
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
    return build().partition("-")[0]


def build() -> str:
    return openvino.get_version()
