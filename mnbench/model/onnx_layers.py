"""Layers of an ONNX graph: one for each node that computes, so that one counter serves all models."""

import re
from collections import ChainMap, Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import onnx
from onnx import TensorProto, helper

from mnbench.errors import first_line
from mnbench.model.onnx_weights import Constant, element_bits, node_weights, stored_constant
from mnbench.model.operators import Operation, UnknownShapeError, count_mult_adds
from mnbench.model.profiled_run import KernelRun, KernelRuns, bodies, node_paths
from mnbench.network.layer import CONTROL_FLOW_KINDS, Layer, Tensor

KINDS = {
    "BatchNormalization": "batch_norm",
    "Conv": "conv",
    "ConvInteger": "conv",
    "FusedConv": "conv",
    "Gemm": "fully_connected",
    "LRN": "lrn",
    "MatMul": "fully_connected",
    "MatMulInteger": "fully_connected",
    "QLinearConv": "conv",
    "QLinearMatMul": "fully_connected",
}

WINDOWED_OPERATORS = frozenset(
    {"AveragePool", "Conv", "ConvInteger", "ConvTranspose", "FusedConv", "MaxPool", "QLinearConv"}
)


MALFORMED = (ArithmeticError, AttributeError, LookupError, StopIteration, TypeError, ValueError)
"""What a node raises that has attributes or operands of another kind than its operator takes."""


class MalformedNodeError(Exception):
    """A node that cannot be counted, since it is not what its operator takes."""


NOT_A_TENSOR = -1
"""Stands for the element type of sequences, maps and optional values: no rule and no run gives them a size."""


@dataclass(slots=True)
class GraphLayers:
    """The layers of a graph, the operators that no rule counts, and layers with an operand whose size is not known.

    `needs_run` says whether a run can show what is not known.
    """

    layers: list[Layer] = field(default_factory=list[Layer])
    uncounted_operators: set[str] = field(default_factory=set[str])
    unknown_sizes: dict[str, str] = field(default_factory=dict[str, str])
    needs_run: bool = False


def graph_layers(
    graph: onnx.GraphProto, tensors: Mapping[str, Tensor], types: Mapping[str, int], runs: KernelRuns | None
) -> GraphLayers:
    """Return a layer for each node that computes, in the graph's order.

    `tensors` are those of known shape, and `types` are ONNX's types of elements. A node that reads only constants, such
    as one that widens int8 weights, is a constant itself. Weights that several nodes read are parameters of the first.
    Nodes in branches and loops count as often as they ran; without `runs` this is not known.
    """
    collector = _Collector(graph, runs)
    scope = _Scope("", "", ChainMap(dict(tensors)), ChainMap(dict(types)), ChainMap({}), repeats=1)
    collector.add_graph(graph, scope)
    return collector.result


@dataclass(frozen=True, slots=True)
class _Scope:
    """What the nodes of a graph see: its own tensors, and those of the graphs around it.

    `path` and `name` precede those of its nodes; the graph ran `repeats` times, None if this is not known.
    """

    path: str
    name: str
    tensors: ChainMap[str, Tensor]
    types: ChainMap[str, int]
    constants: ChainMap[str, Constant]
    repeats: int | None

    def inside(self, path: str, name: str, body: onnx.GraphProto, repeats: int | None) -> "_Scope":
        types = self.types.new_child(value_types(body))
        return _Scope(
            path, name, self.tensors.new_child(value_tensors(body, types)), types, self.constants.new_child(), repeats
        )


class _Collector:
    def __init__(self, graph: onnx.GraphProto, runs: KernelRuns | None) -> None:
        self.result = GraphLayers()
        self._runs = runs
        self._counted: set[str] = set()
        nodes = dict(node_paths(graph))
        self._read = {name for node in nodes.values() for name in node.input} | {value.name for value in graph.output}
        self._read |= {value.name for node in nodes.values() for _, body in bodies(node) for value in body.output}
        # onnxruntime writes some operators as functions of others, whose kernels do not say which node they are of.
        self._all_known = runs is not None and set(runs) <= set(nodes)

    def add_graph(self, graph: onnx.GraphProto, scope: _Scope) -> list[Tensor]:
        """Add the layers of the graph's nodes; return the weights of those that never ran."""
        scope.constants.update((tensor.name, stored_constant(tensor.name, tensor)) for tensor in graph.initializer)
        if scope.repeats == 1:
            scope.tensors.update(self._observed(graph, scope))
            scope.tensors.update(_stored_quantized(graph, scope.tensors))
        not_run: list[Tensor] = []
        for index, node in enumerate(graph.node):
            path, label = f"{scope.path}{index}", scope.name + (node.name or f"{node.op_type}_{index}")
            try:
                not_run += self._add_node(node, path, label, scope)
            except MALFORMED as failure:
                raise MalformedNodeError(f"node {label}: {first_line(failure)}") from failure
        return not_run

    def _add_node(self, node: onnx.NodeProto, path: str, label: str, scope: _Scope) -> list[Tensor]:
        """Add the layers of a node; return its weights if it never ran."""
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        if not bodies(node) and all(name in scope.constants for name in node.input if name):
            _add_constants(node, attributes, scope)
            return []
        weights = node_weights(label, node, attributes, scope.constants)
        for attribute, body in bodies(node):
            self.result.needs_run = True
            weights += self._add_body(body, f"{path}/{attribute}/", f"{label}/", scope)
        if scope.repeats == 0:
            return weights
        for tensors, runs in self._node_runs(path, node, scope):
            self._add_layer(label, node, attributes, replace(scope, tensors=tensors), weights, runs)
        return []

    def _add_body(self, body: onnx.GraphProto, path: str, name: str, scope: _Scope) -> list[Tensor]:
        repeats = None
        if self._runs is not None and scope.repeats is not None:
            # Every node of a body runs as often as the body.
            repeats = max((len(self._runs.get(f"{path}{index}", ())) for index in range(len(body.node))), default=0)
        if repeats == 0 and not self._all_known:
            repeats = None
        return self.add_graph(body, scope.inside(path, name, body, repeats))

    def _observed(self, graph: onnx.GraphProto, scope: _Scope) -> Iterator[tuple[str, Tensor]]:
        for index, node in enumerate(graph.node):
            for run in (self._runs or {}).get(f"{scope.path}{index}", ()):
                yield from _operands(node, run, scope.types).items()

    def _node_runs(
        self, path: str, node: onnx.NodeProto, scope: _Scope
    ) -> Iterator[tuple[ChainMap[str, Tensor], int | None]]:
        """Return the tensors of each different run of a node, and how often it ran so; None if this is not known."""
        if scope.repeats in (1, None) or self._runs is None:
            yield scope.tensors, scope.repeats
            return
        counts = Counter(self._runs.get(path, ()))
        for run, count in counts.items():
            yield scope.tensors.new_child(_operands(node, run, scope.types)), count
        if counts.total() < scope.repeats:
            yield scope.tensors, scope.repeats - counts.total()

    def _add_layer(
        self,
        label: str,
        node: onnx.NodeProto,
        attributes: Mapping[str, Any],
        scope: _Scope,
        weights: Sequence[Tensor],
        runs: int | None,
    ) -> None:
        tensors = scope.tensors
        # An output that nobody reads, such as the mask of a Dropout, needs no shape.
        operands = [
            [name for name in node.input if name and name not in scope.constants],
            [name for name in node.output if name and (name in tensors or name in self._read)],
        ]
        unknown = [name for names in operands for name in names if name not in tensors]
        inputs, outputs = (tuple(tensors[name] for name in names if name in tensors) for names in operands)
        kind = _kind(node, attributes, scope.constants)
        mult_adds = 0 if kind in CONTROL_FLOW_KINDS else self._mult_adds(label, node, attributes, scope)
        if mult_adds:
            mult_adds = None if runs is None else runs * mult_adds
        if unknown:
            self.result.unknown_sizes.setdefault(label, unknown[0])
            self.result.needs_run |= any(scope.types.get(name) != NOT_A_TENSOR for name in unknown)
        self.result.layers.append(
            Layer(
                scope=label,
                kind=kind,
                inputs=inputs,
                outputs=outputs,
                weights=tuple(weights),
                shared_params=sum(weight.elements for weight in weights if weight.name in self._counted),
                runs=runs or 1,
                mult_adds=mult_adds,
                partial=bool(unknown) or runs is None,
                **_window(node, attributes, weights, inputs),
            )
        )
        self._counted.update(weight.name for weight in weights)

    def _mult_adds(self, label: str, node: onnx.NodeProto, attributes: Mapping[str, Any], scope: _Scope) -> int | None:
        """Return the Mult-Adds of one run."""

        def shapes(names: Iterable[str]) -> list[tuple[int, ...] | None]:
            known = [scope.constants.get(name) or scope.tensors.get(name) for name in names]
            return [tensor.shape if tensor else None for tensor in known]

        operation = Operation(
            domain="" if node.domain == "ai.onnx" else node.domain,
            operator=node.op_type,
            attributes=attributes,
            inputs=shapes(node.input),
            outputs=shapes(node.output),
        )
        try:
            mult_adds = count_mult_adds(operation)
        except UnknownShapeError:
            self.result.unknown_sizes.setdefault(label, next(iter(node.output)))
            self.result.needs_run = True
            return None
        if mult_adds is None:
            self.result.uncounted_operators.add(node.op_type)
        return mult_adds


def value_types(graph: onnx.GraphProto) -> dict[str, int]:
    """Return the type of elements of each value that the graph describes; NOT_A_TENSOR for sequences and maps."""
    types: dict[str, int] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.HasField("tensor_type"):
            types[value.name] = value.type.tensor_type.elem_type
        elif value.type.WhichOneof("value"):
            types[value.name] = NOT_A_TENSOR
    return types


def value_tensors(graph: onnx.GraphProto, types: Mapping[str, int]) -> dict[str, Tensor]:
    """Return the tensors that the graph describes with all sizes."""
    tensors: dict[str, Tensor] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.HasField("tensor_type") and not has_open_size(value):
            shape = tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
            tensors[value.name] = Tensor(value.name, shape, element_bits(types.get(value.name, 0)))
    return tensors


def has_open_size(value: onnx.ValueInfoProto) -> bool:
    """Return whether a tensor's shape or a size of it is left open."""
    tensor = value.type.tensor_type
    sizes = (dimension.dim_value if dimension.HasField("dim_value") else -1 for dimension in tensor.shape.dim)
    return value.type.HasField("tensor_type") and (not tensor.HasField("shape") or any(size < 0 for size in sizes))


def _operands(node: onnx.NodeProto, run: KernelRun, types: Mapping[str, int]) -> dict[str, Tensor]:
    """Return the tensors that a kernel read and wrote, by name, where none is left out."""
    operands: dict[str, Tensor] = {}
    for names, sides in ((node.input, run.inputs), (node.output, run.outputs)):
        present = [name for name in names if name]
        for name, (kind, shape) in zip(present, sides, strict=False) if len(present) == len(sides) else ():
            # A CPU computes some types in wider ones: the graph's own type counts.
            stored = types.get(name) or TensorProto.DataType.Value(kind.upper())
            operands[name] = Tensor(name, shape, element_bits(stored))
    return operands


def _stored_quantized(graph: onnx.GraphProto, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Return the tensors between quantized layers: stored in the quantized type, widened inside kernels."""
    readers = Counter(name for node in graph.node for name in node.input) + Counter(v.name for v in graph.output)
    written = {name for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            wide, narrow = node.output[0], node.input[0]
        elif node.op_type == "QuantizeLinear" and node.input[0] in written and readers[node.input[0]] == 1:
            wide, narrow = node.input[0], node.output[0]
        else:
            continue
        if wide in tensors and narrow in tensors:
            yield wide, replace(tensors[wide], element_bits=tensors[narrow].element_bits)


def _add_constants(node: onnx.NodeProto, attributes: Mapping[str, Any], scope: _Scope) -> None:
    """Remember what a node computes from constants."""
    if node.op_type == "Constant" and "value" in attributes:
        scope.constants[node.output[0]] = stored_constant(node.output[0], attributes["value"])
        return
    read = [scope.constants[name].stored for name in node.input if name]
    for name in node.output:
        tensor = scope.tensors.get(name)
        stored = max(read, key=lambda source: source.elements) if read else tensor or Tensor(name, ())
        element_type = scope.types.get(name, TensorProto.UNDEFINED)
        scope.constants[name] = Constant(tensor.shape if tensor else None, element_type, stored)


def _kind(node: onnx.NodeProto, attributes: Mapping[str, Any], constants: Mapping[str, Constant]) -> str:
    if node.op_type == "Clip":
        bounds = [constants[name].number for name in node.input[1:] if name in constants]
        bounds = bounds or [attributes.get("min"), attributes.get("max")]
        return "relu6" if bounds == [0.0, 6.0] else "clip"
    if node.op_type in KINDS:
        return KINDS[node.op_type]
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", node.op_type)
    return words if words.isupper() else words.lower()


def _window(
    node: onnx.NodeProto, attributes: Mapping[str, Any], weights: Sequence[Tensor], inputs: Sequence[Tensor]
) -> dict[str, Any]:
    """Return kernel, stride, padding and groups of a convolution or a pooling."""
    if node.op_type == "GlobalAveragePool":
        return {"kernel": _pair(inputs[0].shape[2:])} if inputs else {}
    if node.op_type not in WINDOWED_OPERATORS:
        return {}
    return {
        "kernel": _pair(attributes.get("kernel_shape", weights[0].shape[2:] if weights else ())),
        "stride": _pair(attributes.get("strides", ())),
        "padding": _padding(attributes.get("pads", ())),
        "groups": attributes.get("group", 1),
    }


def _pair(sizes: Any) -> tuple[int, int]:
    """Return height and width; 1-D convolutions have only a width."""
    height, width = (1, 1, *sizes)[-2:]
    return height, width


def _padding(pads: Sequence[int]) -> tuple[int, int, int, int]:
    """Return top, left, bottom and right; 1-D convolutions have only left and right."""
    before, after = pads[: len(pads) // 2], pads[len(pads) // 2 :]
    return (0, 0, *before)[-2], (0, *before)[-1], (0, 0, *after)[-2], (0, *after)[-1]
