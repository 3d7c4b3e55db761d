"""Count an ONNX graph: exact figures from its shapes, by one run where only a run knows them, or unknown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import inliner, shape_inference

from mnbench.errors import MnbenchError
from mnbench.model.input_sizes import FIRST_IR_VERSION_WITH_CONSTANT_WEIGHTS, graph_inputs, write_sizes
from mnbench.model.isolated import Step
from mnbench.model.onnx_layers import GraphLayers, graph_layers, has_open_size, value_tensors, value_types
from mnbench.model.profiled_run import bodies, profile_kernels
from mnbench.network.cost import matrices_read, sum_known
from mnbench.network.layer import Layer, Tensor

Inputs = Mapping[str, NDArray[Any]]

MAX_SHAPE_ELEMENTS = 1024
"""Constants of up to this many numbers can be shapes or indices, which shape inference reads."""

SHAPE_INFERENCE = Step("ONNX's shape inference", "export the model again", timeout_s=60)
COUNTING_RUN = Step("onnxruntime's run that counts", "give smaller inputs, and report the model to onnxruntime")

AS_IT_RAN = "Mult-Adds are those of one run with these inputs, branches as they ran; peak memory is not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The layers of an ONNX graph.

    `notes` say how they were counted, or why a figure is not known. `moved_bytes` are those that every run must move:
    weights, inputs and outputs, each once; None if they are not known. `error` says why no inputs could be made, which
    leaves all figures unknown that need sizes.
    """

    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()
    moved_bytes: int | None = None
    error: MnbenchError | None = None


def count_graph(
    proto: onnx.ModelProto,
    make_inputs: Callable[[], Inputs],
    run_native: Callable[..., Any],
    data_folder: Path | None = None,
) -> Counted:
    """Count the graph at the sizes of the inputs that `make_inputs` returns.

    Shapes come from ONNX's inference. What it does not know, and how often branches and loops run, one run with
    onnxruntime shows. `run_native` calls what runs native code; `data_folder` is where a graph without its weights has
    them.
    """
    if proto.functions:
        proto = run_native(_with_memory_for(proto), inliner.inline_local_functions, proto)
    sketch = _without_data(proto)
    inputs: Inputs | None = None
    notes: list[str] = []
    error: MnbenchError | None = None
    try:
        if any(has_open_size(value) for value in graph_inputs(sketch)):
            inputs = make_inputs()
            sketch = write_sizes(sketch, {name: array.shape for name, array in inputs.items()})
        tensors, types = _infer(sketch, value_types(proto.graph), run_native)
        result = graph_layers(sketch.graph, tensors, types, None)
        if result.needs_run:
            inputs = make_inputs() if inputs is None else inputs
            try:
                runs = run_native(COUNTING_RUN, profile_kernels, proto, inputs, data_folder)
            except MnbenchError as failure:
                runs = None
                notes.append(failure.message)
            result = graph_layers(sketch.graph, tensors, types, runs)
            notes += [AS_IT_RAN] if runs and any(bodies(node) for node in sketch.graph.node) else []
        notes += _reasons(result)
    except MnbenchError as failure:
        result, notes, error = (
            graph_layers(sketch.graph, {}, value_types(proto.graph), None),
            [failure.message],
            failure,
        )
    return Counted(
        layers=tuple(result.layers),
        notes=tuple(notes),
        moved_bytes=_moved_bytes(sketch.graph, result.layers),
        error=error,
    )


def _reasons(result: GraphLayers) -> list[str]:
    """Return why figures of the layers are not known."""
    reasons: list[str] = []
    if result.uncounted_operators:
        reasons.append(f"no rule counts the Mult-Adds of {', '.join(sorted(result.uncounted_operators))}")
    if result.unknown_sizes:
        label, tensor = next(iter(result.unknown_sizes.items()))
        more = len(result.unknown_sizes) - 1
        others = f" (and {more} others)" if more else ""
        reasons.append(f"the size of {tensor} at node {label}{others} is not known")
    tensors = [tensor for layer in result.layers for tensor in (*layer.inputs, *layer.outputs, *layer.weights)]
    if texts := list(dict.fromkeys(tensor.name for tensor in tensors if tensor.element_bits is None)):
        reasons.append(f"{texts[0]} holds texts, which have no fixed size: memory in bytes is not known")
    return reasons


def _moved_bytes(graph: onnx.GraphProto, layers: Sequence[Layer]) -> int | None:
    read = {tensor.name: tensor for layer in layers for tensor in layer.inputs}
    written = {tensor.name: tensor for layer in layers for tensor in layer.outputs}
    weights = {weight.name: weight for layer in layers for weight in matrices_read(layer)}
    ends = [read[value.name] for value in graph.input if value.name in read]
    ends += [written[value.name] for value in graph.output if value.name in written]
    if any(layer.partial or layer.mult_adds is None for layer in layers):
        return None
    return sum_known(tensor.size_bytes for tensor in (*weights.values(), *ends))


def _without_data(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy to infer shapes in, without large numbers and without shapes that may be stale."""
    graph = onnx.GraphProto(name=proto.graph.name, node=proto.graph.node, input=graph_inputs(proto))
    for tensor in proto.graph.initializer:
        if prod(tensor.dims) <= MAX_SHAPE_ELEMENTS:
            graph.initializer.append(tensor)
        else:
            graph.initializer.add(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
    for sparse in proto.graph.sparse_initializer:
        # A runtime widens it when it loads the model.
        graph.initializer.add(name=sparse.values.name, dims=sparse.dims, data_type=sparse.values.data_type)
    for value in proto.graph.output:
        output = graph.output.add(name=value.name, type=value.type)
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    ir_version = max(proto.ir_version, FIRST_IR_VERSION_WITH_CONSTANT_WEIGHTS)
    return onnx.ModelProto(ir_version=ir_version, opset_import=proto.opset_import, graph=graph)


def _infer(
    sketch: onnx.ModelProto, declared: Mapping[str, int], run_native: Callable[..., Any]
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Return the tensors whose shapes ONNX can infer, and the types of all that it knows.

    The graphs of branches in the sketch take what is inferred of them.
    """
    graph = run_native(_with_memory_for(sketch), _infer_shapes, sketch)
    if graph is None:
        return {}, dict(declared)
    for node, inferred in zip(sketch.graph.node, graph.node, strict=True):
        if bodies(node):
            node.CopyFrom(inferred)
    types = {**declared, **value_types(graph)}
    return value_tensors(graph, types), types


def _with_memory_for(proto: onnx.ModelProto) -> Step:
    """Return the step with memory for copies of the graph, which may hold large constants."""
    return SHAPE_INFERENCE._replace(memory_bytes=2**29 + 8 * proto.ByteSize())


def _infer_shapes(sketch: onnx.ModelProto) -> onnx.GraphProto | None:
    """Return the graph with what ONNX's shape inference adds to it; None if that fails."""
    try:
        return shape_inference.infer_shapes(sketch, data_prop=True).graph
    except (shape_inference.InferenceError, ValueError, RuntimeError):
        return None
