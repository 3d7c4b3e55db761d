"""onnxruntime: sessions with io-binding, and the provider that onnxruntime assigned to each node."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any, Callable

import onnxruntime as _onnxruntime

from . import Refused, SessionSettings, Unavailable

onnxruntime: Any = _onnxruntime  # it ships no types

DISTRIBUTIONS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
    "onnxruntime-webgpu",
    "onnxruntime-migraphx",
)
LIBRARY = "onnxruntime_pybind11_state"
PROVIDER_LIBRARIES = {
    "CPUExecutionProvider": "",
    "CUDAExecutionProvider": "onnxruntime_providers_cuda",
    "TensorrtExecutionProvider": "onnxruntime_providers_tensorrt",
}
NVIDIA_PROVIDERS = ("CUDAExecutionProvider", "TensorrtExecutionProvider")
SETTING_PREFIXES = ("session.", "ep.", "mlas.", "optimization.", "memory.")
PROFILER_NODES = {
    "probed": True,
    "prefixes": ("InsertedPrecisionFreeCast_", "fused "),
    "conversions": ("MemcpyFromHost", "MemcpyToHost", "ReorderInput", "ReorderOutput"),
    "split": {"hard_swish": ("HardSigmoid", "Mul")},
}

QUIET = 3
"""Log errors, not warnings."""

MEMORY = {
    "CUDAExecutionProvider": "cuda",
    "TensorrtExecutionProvider": "cuda",
    "NvTensorRTRTXExecutionProvider": "cuda",
    "DmlExecutionProvider": "dml",
}
"""The memory of a provider's tensors, if it is not the CPU's."""

KERNEL = "_kernel_time"
"""The end of the names of a profile's kernel events."""


class Session:
    """One model on one provider; inputs are bound once, and so is the memory that the first run allocates for outputs.

    Strings cannot be bound: a model that reads or writes them copies its inputs and outputs in every run. Memory of
    another shape than the file declares is bound anew in every run: onnxruntime refuses to write to it twice.
    """

    def __init__(self, model: bytes | str, settings: SessionSettings) -> None:
        self._session: Any = _session(model, settings)
        self._memory = MEMORY.get(settings.provider, "cpu")
        self._inputs = settings.inputs
        self._binding: Any = self._session.io_binding()
        self._bound: dict[str, Any] = {}
        self._results: list[Any] = []
        self._outputs: list[Any] = self._session.get_outputs()
        if any("string" in value.type for value in (*self._session.get_inputs(), *self._outputs)):
            self.run: Callable[[], None] = self._run_with_copies
            return
        self.run = self._run_first
        # A CPU tensor shares its array's memory, which must live as long as the binding.
        self._bound = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(array, self._memory, 0)
            for name, array in self._inputs.items()
        }
        for name, value in self._bound.items():
            self._binding.bind_ortvalue_input(name, value)
        self._output_memory = {
            value.name: self._memory if value.type.startswith("tensor") else "cpu" for value in self._outputs
        }
        self._bind_outputs()
        self._wait: Callable[[], None] = self._binding.synchronize_outputs

    def _bind_outputs(self) -> None:
        """Let the next run allocate memory for the outputs."""
        for name, memory in self._output_memory.items():
            self._binding.bind_output(name, memory)

    def _run_first(self) -> None:
        """Run one inference, and choose how the next ones run."""
        self._run_bound()
        as_declared = all(map(_as_declared, self._outputs, self._binding.get_outputs()))
        self.run = self._run_bound if as_declared else self._run_rebound

    def _run_rebound(self) -> None:
        self._bind_outputs()
        self._run_bound()

    def _run_bound(self) -> None:
        """Run one inference until its outputs are complete."""
        self._session.run_with_iobinding(self._binding)
        if self._memory != "cpu":
            self._wait()

    def _run_with_copies(self) -> None:
        self._results = self._session.run(None, self._inputs)

    def outputs(self) -> list[Any]:
        """Return the outputs of the last run; None for a tensor of a type that numpy does not have."""
        if self.run == self._run_with_copies:
            return self._results
        try:
            return self._binding.copy_outputs_to_cpu()
        except RuntimeError:
            return [_to_numpy(value) for value in self._binding.get_outputs()]

    def copies(self) -> dict[str, Callable[[], object]]:
        """Return the copies that an application adds on a device with its own memory: inputs in, outputs out."""
        return {"in": self._copy_in, "out": self.outputs} if self._bound and self._memory != "cpu" else {}

    def _copy_in(self) -> None:
        for name, value in self._bound.items():
            value.update_inplace(self._inputs[name])
        self._binding.synchronize_inputs()

    def placement(self) -> dict[str, list[str]] | None:
        """Return node names by provider; None if this version does not report them."""
        assigned = getattr(self._session, "get_provider_graph_assignment_info", None)
        if assigned is None:
            return None
        nodes: dict[str, list[str]] = {}
        for subgraph in assigned():
            nodes.setdefault(subgraph.ep_name, []).extend(node.name for node in subgraph.get_nodes())
        return nodes

    def end_profile(self, *, skip: int) -> list[dict[str, Any]]:
        """Stop profiling, and return the kernel times of the runs after the first `skip`."""
        path = Path(self._session.end_profiling())
        return kernels(json.loads(path.read_text(encoding="utf-8")), skip=skip)


def _as_declared(declared: Any, value: Any) -> bool:
    """Return whether an output has the shape that the file declares; without a shape, it may have any."""
    if not declared.shape or not value.is_tensor():
        return True
    shape = value.shape()
    sides = zip(declared.shape, shape)
    return len(declared.shape) == len(shape) and all(side == size for side, size in sides if isinstance(side, int))


def _to_numpy(value: Any) -> Any:
    try:
        return value.numpy()
    except RuntimeError:
        return None


def kernels(events: list[dict[str, Any]], *, skip: int) -> list[dict[str, Any]]:
    """Return each node's name, operator, provider, number of tensors, and nanoseconds per run, in order.

    onnxruntime truncates durations to whole microseconds, a large part of a small kernel. The mean of the middle half
    of the runs is finer than their median, and half a microsecond corrects the truncation.
    """
    entries: dict[Any, dict[str, Any]] = {}
    durations: dict[Any, list[int]] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") != "Node" or not name.endswith(KERNEL):
            continue
        facts = event["args"]
        # An ONNX file may give several nodes the same name.
        key = facts.get("node_index"), name
        entries.setdefault(
            key,
            {
                "name": name[: -len(KERNEL)],
                "op": facts["op_name"],
                "provider": facts.get("provider", ""),
                "tensors": len(facts.get("input_type_shape", ())) + len(facts.get("output_type_shape", ())),
            },
        )
        durations.setdefault(key, []).append(event["dur"])
    return [{**node, "duration_ns": _kernel_ns(durations[key][skip:])} for key, node in entries.items()]


def _kernel_ns(durations_us: list[int]) -> int:
    ordered = sorted(durations_us)
    quarter = len(ordered) // 4
    return round(1000 * (mean(ordered[quarter : len(ordered) - quarter]) + 0.5)) if ordered else 0


def version() -> str:
    return onnxruntime.__version__


def build() -> str:
    return onnxruntime.get_build_info().removeprefix("ORT Build Info: ")


def expand_folders(options: dict[str, str]) -> dict[str, str]:
    """Expand folders below `~/` in the options, such as an engine cache, and create them."""
    entries = dict(options)
    for key, value in options.items():
        if value.startswith("~/"):
            if ".." in Path(value).parts:
                raise Refused(f"the option {key} may lie outside of the home folder: {value}")
            folder = Path(value).expanduser()
            folder.mkdir(parents=True, exist_ok=True)
            entries[key] = str(folder)
    return entries


def _session(model: bytes | str, settings: SessionSettings) -> Any:
    provider, available = settings.provider, onnxruntime.get_available_providers()
    if provider not in available:
        raise Unavailable(
            f"onnxruntime {version()} has no {provider} here, only {', '.join(available)}",
            missing="provider",
        )
    if MEMORY.get(provider) == "cuda" and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    onnxruntime.set_default_logger_severity(QUIET)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = QUIET
    options.enable_profiling = bool(settings.profile)
    options.profile_file_prefix = settings.profile
    for key, value in {"session.record_ep_graph_assignment_info": "1", **settings.options}.items():
        options.add_session_config_entry(key, value)
    providers = [(provider, expand_folders(settings.provider_options))]
    session = onnxruntime.InferenceSession(model, options, providers=providers)
    if provider not in session.get_providers():
        raise Unavailable(
            f"onnxruntime {version()} has {provider}, but it cannot be loaded: a library or driver is missing",
            missing="provider",
        )
    return session
