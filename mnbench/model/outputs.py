"""The outputs of a model: what they hold, and which nodes make them differ between two right runs."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import onnx

from mnbench.model.stored_tensors import read_names, stored_tensors, subgraphs

RANDOM_OPERATORS = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
    | {"BiasDropout", "BitmaskBiasDropout", "BitmaskDropout", "Sampling"}
)
"""They draw numbers in each run, with a seed too: a session draws on from it."""

ORDERING_OPERATORS = frozenset(
    {"ArgMax", "ArgMin", "BeamSearch", "Compress", "GreedySearch", "NonMaxSuppression", "NonZero", "TopK", "Unique"}
)
"""They order or select: where two numbers are equal but for rounding, another choice is as right."""

SHAPE_OPERATORS = frozenset({"Shape", "Size"})
"""What they return does not depend on the numbers of a tensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """An output. `kind` is tensor, sequence, map, optional or sparse_tensor.

    `random_node` and `ordering_node` name a node that it depends on and that draws random numbers, or that orders or
    selects; empty if there is none.
    """

    name: str
    kind: str = "tensor"
    random_node: str = ""
    ordering_node: str = ""


def read_outputs(proto: onnx.ModelProto) -> tuple[Output, ...]:
    """Return the outputs of a model, in order."""
    not_training = _false_constants(proto)

    def draws(node: onnx.NodeProto) -> bool:
        is_dropout = node.op_type == "Dropout" and any(node.input[2:])
        return node.op_type in RANDOM_OPERATORS or (is_dropout and node.input[2] not in not_training)

    random_nodes = _dependent_tensors(proto, draws, stops=SHAPE_OPERATORS)
    ordering_nodes = _dependent_tensors(proto, lambda node: node.op_type in ORDERING_OPERATORS)
    return tuple(
        Output(
            name=value.name,
            kind=(value.type.WhichOneof("value") or "tensor_type").removesuffix("_type"),
            random_node=random_nodes.get(value.name, ""),
            ordering_node=ordering_nodes.get(value.name, ""),
        )
        for value in proto.graph.output
    )


def _dependent_tensors(
    proto: onnx.ModelProto, is_source: Callable[[onnx.NodeProto], bool], *, stops: Collection[str] = ()
) -> dict[str, str]:
    """Return the tensors of the main graph that depend on a source, with that node's name.

    A branch, a loop and a function are a source if a node inside is. Nodes need not be sorted.
    """
    functions = {(function.domain, function.name): function.node for function in proto.functions}

    def source(node: onnx.NodeProto) -> str:
        if is_source(node):
            return f"{node.op_type} `{node.name or node.output[0]}`"
        inner = [inner for graph in subgraphs(node) for inner in graph.node]
        inner += functions.get((node.domain, node.op_type), ())
        return next((cause for cause in map(source, inner) if cause), "")

    causes: dict[str, str] = {}
    reads: list[tuple[onnx.NodeProto, set[str]]] = []
    for node in proto.graph.node:
        if cause := source(node):
            causes |= dict.fromkeys(node.output, cause)
        elif node.op_type not in stops:
            reads.append((node, set(read_names(node))))
    known = -1
    while len(causes) > known:
        known = len(causes)
        for node, names in reads:
            if (name := next(iter(names & causes.keys()), "")) and not causes.keys() >= set(node.output):
                causes |= dict.fromkeys(node.output, causes[name])
    causes.pop("", None)
    return causes


def _false_constants(proto: onnx.ModelProto) -> set[str]:
    """Return the names of constants that are False: a Dropout whose `training_mode` they are drops nothing."""
    return {
        name
        for name, tensor in stored_tensors(proto)
        if tensor.data_type == onnx.TensorProto.BOOL
        and tensor.data_location == onnx.TensorProto.DEFAULT
        and not onnx.numpy_helper.to_array(tensor).any()
    }
