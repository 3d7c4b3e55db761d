"""What an ONNX model loses or gets when it is written anew."""

from collections.abc import Iterator, Sequence

import onnx

from mnbench.model.stored_tensors import all_nodes

MAX_NAMES = 10
"""How many names a line lists."""


def describe_changes(before: onnx.ModelProto, after: onnx.ModelProto) -> list[str]:
    """Return a line for each declared input or output that differs, and one for all that is gone."""
    weights = {tensor.name for tensor in before.graph.initializer}
    old_inputs, new_inputs = _shapes(before.graph.input), _shapes(after.graph.input)
    released = [name for name in old_inputs if name in weights and name not in new_inputs]
    lost = [fact for fact in dict.fromkeys(_facts(before)) if fact not in set(_facts(after))]
    return [
        *_differences("input", {name: old_inputs[name] for name in old_inputs if name not in released}, new_inputs),
        *_differences("output", _shapes(before.graph.output), _shapes(after.graph.output)),
        *([f"weights are not inputs any more: {_shorten(released)}"] if released else []),
        *([f"not in the new file: {_shorten(lost)}"] if lost else []),
    ]


def _shorten(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _differences(kind: str, before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [
        f"{kind} {name} was {shape}, and is {after.get(name, 'gone')}"
        for name, shape in before.items()
        if shape != after.get(name)
    ]


def _shapes(values: Sequence[onnx.ValueInfoProto]) -> dict[str, str]:
    """Return the declared shape of each input or output."""
    return {value.name: _shape(value.type.tensor_type) for value in values}


def _shape(tensor: onnx.TypeProto.Tensor) -> str:
    sides = [str(side.dim_value) if side.HasField("dim_value") else side.dim_param or "?" for side in tensor.shape.dim]
    return "×".join(sides) if tensor.HasField("shape") else "without a shape"


def _facts(proto: onnx.ModelProto) -> Iterator[str]:
    """Yield what a user may have written into a model beside what it computes."""
    graph, nodes = proto.graph, list(all_nodes(proto))
    yield f"IR version {proto.ir_version}"
    yield from (f"opset {entry.version} of {entry.domain or 'ai.onnx'}" for entry in proto.opset_import)
    yield from (f"function {function.domain}.{function.name}" for function in proto.functions)
    yield from (f"metadata {entry.key}" for entry in proto.metadata_props)
    yield from (f"metadata {entry.key} of the graph" for entry in graph.metadata_props)
    yield from (f"metadata {entry.key} of nodes" for node in nodes for entry in node.metadata_props)
    yield from ("doc_string of the model" for text in [proto.doc_string] if text)
    yield from ("doc_string of the graph" for text in [graph.doc_string] if text)
    yield from ("doc_strings of nodes" for node in nodes if node.doc_string)
    yield from ("doc_strings of weights" for tensor in graph.initializer if tensor.doc_string)
    yield from (f"quantization of {entry.tensor_name}" for entry in graph.quantization_annotation)
    yield from ("training information" for _ in proto.training_info)
