"""Fewer nodes that compute the same, by onnxsim."""

from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

import onnx

from mnbench.errors import BuildError, SimplifyError, first_line
from mnbench.model.input_sizes import FIRST_IR_VERSION_WITH_CONSTANT_WEIGHTS
from mnbench.model.model import Model
from mnbench.model.stored_tensors import read_names, subgraphs

MAX_GROWTH = 1.1
GROWTH_ALLOWANCE_BYTES = 64 * 1024
"""How much larger a file may get by folding: shapes of all tensors are written into it too."""

LESS_FOLDING: dict[str, dict[str, Any]] = {
    "constants above 1 kB": {"tensor_size_threshold": "1KB"},
    "constant expressions": {"skip_constant_folding": True},
}
"""Options of onnxsim by what they keep from being folded. The first does not keep int8 weights from becoming floats."""


def simplify(model: Model, *, thorough: bool = True, keep_bn: bool = False) -> Model:
    """The same function in fewer nodes: batch normalization goes into the convolution before it, unless `keep_bn`.

    Graphs of our own builder hold no constant expressions and no custom operators: without `thorough` they take half
    the time. Constant expressions whose folding would make the file larger are not folded.

    Raises:
        BuildError: the model is larger than 2 GB, or newer than the onnx package.
        SimplifyError: onnxsim fails.
    """
    model.require_bytes()
    _require_known_version(model)
    proto = _tidy(model.proto)
    options = {"skip_constant_folding": not thorough, "import_custom_schemas": thorough, "skip_fuse_bn": keep_bn}
    try:
        simplified = _run_onnxsim(proto, options)
        folded_bytes, limit_bytes = simplified.ByteSize(), MAX_GROWTH * proto.ByteSize() + GROWTH_ALLOWANCE_BYTES
        for unfolded, restriction in LESS_FOLDING.items():
            if simplified.ByteSize() <= limit_bytes:
                break
            simplified = _run_onnxsim(proto, {**options, **restriction})
            note = f"{unfolded} are not folded: the file would have {folded_bytes:,} bytes"
            model = replace(model, changes=(note,))
    except Exception as failure:  # onnxsim raises RuntimeError, ValueError and the C++ library's own
        raise SimplifyError(
            f"{model.origin}: onnxsim fails: {first_line(failure)}", hint="keep the plain graph with --no-simplify"
        ) from failure
    return model.with_proto(simplified)


def _require_known_version(model: Model) -> None:
    versions = {
        "IR version": (model.proto.ir_version, int(onnx.IR_VERSION)),
        "opset": (model.opset, onnx.defs.onnx_opset_version()),
    }
    for name, (version, newest) in versions.items():
        if version > newest:
            raise BuildError(
                f"{model.origin}: has {name} {version}, and onnx {onnx.__version__} reads up to {newest}",
                hint="export the model with an older one, or update: pip install --upgrade onnx onnxruntime onnxsim",
            )


def _run_onnxsim(proto: onnx.ModelProto, options: dict[str, Any]) -> onnx.ModelProto:
    """Simplify a graph, and keep the metadata as it was: onnxsim adds a report of its own.

    It also declares a type of the outputs that a node leaves out, which have no name. ONNX's checker would take it for
    that of every optional input that is left out.
    """
    import onnxsim  # noqa: PLC0415  0.3 s, only here

    library: Any = onnxsim
    simplified: onnx.ModelProto = library.simplify(proto, **options)[0]
    del simplified.metadata_props[:]
    simplified.metadata_props.extend(proto.metadata_props)
    for value in [value for value in simplified.graph.value_info if not value.name]:
        simplified.graph.value_info.remove(value)
    return simplified


def _tidy(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model in the order and with the declarations that onnxsim demands, and runtimes do not."""
    tidy = deepcopy(proto)
    tidy.ir_version = max(tidy.ir_version, FIRST_IR_VERSION_WITH_CONSTANT_WEIGHTS)
    with suppress(CycleError):
        _sort_nodes(tidy.graph)
    outputs = [value.type for value in tidy.graph.output if value.type.HasField("tensor_type")]
    if all(kind.tensor_type.HasField("shape") for kind in outputs):
        return tidy
    return onnx.shape_inference.infer_shapes(tidy)


def _sort_nodes(graph: onnx.GraphProto) -> None:
    """Put each node behind those that it reads from, also in subgraphs; leave a sorted graph as it is.

    Raises:
        CycleError: nodes read from each other.
    """
    writers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    read = [{writers[name] for name in read_names(node) if name in writers} for node in graph.node]
    if any(writer >= index for index, indices in enumerate(read) for writer in indices):
        nodes = [graph.node[index] for index in TopologicalSorter(dict(enumerate(read))).static_order()]
        del graph.node[:]
        graph.node.extend(nodes)
    for subgraph in (subgraph for node in graph.node for subgraph in subgraphs(node)):
        _sort_nodes(subgraph)
