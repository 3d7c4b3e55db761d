"""Layer profiles: the times of the runtime's kernels, assigned to the layers that they compute."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from statistics import median

import msgspec
import numpy as np

from mnbench.bench.plan import BenchmarkCase, Plan
from mnbench.bench.request import convert_model, session_request
from mnbench.model import probe_models
from mnbench.network.cost import layer_cost
from mnbench.network.layer import FUSED_KINDS, Layer
from mnbench.results.host_identity import HostIdentity
from mnbench.results.layer_profile import KernelTime, LayerProfile, LayerTime
from mnbench.targets.answers import ProfileAnswer
from mnbench.targets.runtimes import ProfilerNodes, runtime_facts
from mnbench.targets.transport import Heartbeats, call_worker
from mnbench.text import printable
from mnbench.worker.requests.layer_profile import WARMUP_RUNS
from mnbench.worker.session import pack_value

RUNS = 50

CONVERSION_OPS = frozenset({"Cast", "DequantizeLinear", "QuantizeLinear", "Transpose"})
"""ONNX operators that a runtime adds between layers, to convert a tensor or to change its layout."""

_IN_PLACE = frozenset(kind.replace("_", "") for kind in FUSED_KINDS)


def profile_layers(
    plan: Plan,
    case: BenchmarkCase,
    *,
    latency_ns: int | None = None,
    host: HostIdentity | None = None,
    runs: int = RUNS,
) -> LayerProfile:
    """Profile a case in a fresh process; `latency_ns` and `host` are those of its record, if it has one.

    Raises:
        TrialError: the worker crashed, hung or failed.
        RuntimeUnavailable, UnreachableError: nothing can be measured on this device.
    """
    profiler = runtime_facts(plan.device.runtime).profiler_nodes
    request = {
        "kind": "layer_profile",
        **session_request(plan.device, case, convert_model(plan.device, case).path),
        "probe": probe_models.idle_model().to_bytes() if profiler.probed else None,
        "probe_inputs": {"x": pack_value(np.ones(1, np.float32))},
        "runs": runs,
    }
    answer = call_worker(
        plan.device,
        request,
        ProfileAnswer,
        timeout_s=plan.sampling.timeout_s,
        heartbeats=Heartbeats(limit=2, planned_runs=WARMUP_RUNS + runs),
    )
    nodes = subtract_overhead(answer.nodes, answer.probe) if answer.probe else answer.nodes
    return LayerProfile(
        variant=case.variant,
        row=case.row,
        host_identity=host,
        device=plan.device.name,
        provider=plan.device.provider,
        runtime=f"{plan.device.runtime} {answer.runtime_version}",
        threads=answer.threads,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        runs=runs,
        latency_ns=latency_ns,
        parts=assign_kernels(nodes, case.layers, profiler),
    )


def subtract_overhead(nodes: Sequence[KernelTime], probe: Sequence[KernelTime]) -> list[KernelTime]:
    """Subtract the profiler's overhead, measured with a probe, from each kernel's time.

    onnxruntime records a kernel's tensors before it stops its clock, which takes 2.5 µs and more with every tensor.
    """
    shown: dict[int, list[int]] = {}
    for node in probe:
        shown.setdefault(node.tensors, []).append(node.duration_ns)
    (few, few_ns), *_, (many, many_ns) = ((tensors, median(shown[tensors])) for tensors in sorted(shown))
    slope = (many_ns - few_ns) / (many - few)
    return [
        msgspec.structs.replace(
            node, duration_ns=max(0, round(node.duration_ns - few_ns - slope * (node.tensors - few)))
        )
        for node in nodes
    ]


def assign_kernels(
    nodes: Sequence[KernelTime], layers: Sequence[Layer], profiler: ProfilerNodes
) -> tuple[LayerTime, ...]:
    """Return each layer with the nodes that compute it; other nodes stand behind the layer that they follow."""
    nodes_of: dict[str, list[KernelTime]] = {layer.scope: [] for layer in layers}
    behind: dict[str, list[LayerTime]] = {}
    computed, last = _computed(layers, profiler), None
    for node in nodes:
        layer = computed(node, last)
        if layer:
            nodes_of[layer.scope].append(node)
            last = layer
        else:
            added = LayerTime(scope=node.name, type=node.op, added=True, nodes=(node,))
            behind.setdefault(last.scope if last else "", []).append(added)
    parts = behind.pop("", [])
    for layer in layers:
        # Names need not be unique in a user's model: the first layer of a name takes its nodes.
        parts += [_part(layer, nodes_of.pop(layer.scope, [])), *behind.pop(layer.scope, [])]
    return tuple(parts)


def _part(layer: Layer, nodes: Sequence[KernelTime]) -> LayerTime:
    cost = layer_cost(layer)
    return LayerTime(
        scope=layer.scope,
        type=layer.type,
        nodes=tuple(nodes),
        params=cost.params,
        mult_adds=cost.mult_adds,
        memory_access_bytes=cost.memory_access_bytes,
    )


def _computed(layers: Sequence[Layer], profiler: ProfilerNodes) -> Callable[[KernelTime, Layer | None], Layer | None]:
    """Return a function that finds the layer of a node, given the layer computed before it.

    A runtime names a fused node after one of its nodes, or after that node's output: `conv1/relu6_nchwc` is the
    convolution before conv1/relu6, in another memory layout and fused with the activation.
    """
    conversions = CONVERSION_OPS | set(profiler.conversions)
    writers = {printable(tensor.name): layer for layer in layers for tensor in layer.outputs}
    known = writers | {printable(layer.scope): layer for layer in reversed(layers)}
    apart = {layer.inputs[0].name: layer for layer in layers if layer.kind in profiler.split}
    longest_first = "|".join(re.escape(name) for name in sorted(known, key=len, reverse=True))
    begins = re.compile(rf"(?:{'|'.join(profiler.prefixes)})?({longest_first})(?![^\W_])")

    def named(node: KernelTime) -> Layer | None:
        exact = known.get(node.name)
        if exact or node.op in conversions:
            return exact
        match = begins.match(node.name)
        layer = known.get(match[1]) if match else None
        while (
            layer
            and layer.kind in FUSED_KINDS
            and not _in_place(node.op)
            and (writer := writers.get(printable(layer.inputs[0].name)))
        ):
            layer = writer
        return layer

    def piece(node: KernelTime, last: Layer) -> Layer | None:
        near = (last, *(apart[tensor.name] for tensor in last.outputs if tensor.name in apart))
        return next((layer for layer in near if node.op in profiler.split.get(layer.kind, ())), None)

    return lambda node, last: named(node) or (piece(node, last) if last else None)


def _in_place(op: str) -> bool:
    """Return whether the operator is an activation or a similar kind by itself."""
    return op.removeprefix("QLinear").lower() in _IN_PLACE
