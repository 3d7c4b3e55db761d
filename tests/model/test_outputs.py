"""Which outputs depend on chance, or on an order that rounding decides."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import model_of

from mnbench.model.outputs import read_outputs

NOISE = helper.make_node("RandomNormalLike", ["x"], ["n"], "noise", seed=1.0)
SHAPES = {"x": [4]}, {"y": [4], "z": [4]}


def causes(*nodes, functions=(), initializers=()):
    """The random and the ordering node of the outputs y and z."""
    proto = model_of(list(nodes), *SHAPES).proto
    proto.functions.extend(functions)
    proto.graph.initializer.extend(initializers)
    return [(output.random_node, output.ordering_node) for output in read_outputs(proto)]


def graph_of(*nodes):
    """A branch."""
    return helper.make_graph(nodes, "inner", [], [helper.make_tensor_value_info("i", TensorProto.FLOAT, [4])])


def test_what_depends_on_a_random_node():
    """What reads its numbers does, whatever the order of nodes; what reads their shape or nothing does not."""
    add = helper.make_node("Add", ["x", "n"], ["y"])
    relu = helper.make_node("Relu", ["x"], ["z"])
    shape = helper.make_node("Shape", ["n"], ["z"])

    assert causes(NOISE, add, relu) == [("RandomNormalLike `noise`", ""), ("", "")]
    assert causes(add, shape, NOISE) == [("RandomNormalLike `noise`", ""), ("", "")]


def test_what_depends_on_an_order():
    """A node without a name is named by its output; chance and order are told apart."""
    top = helper.make_node("TopK", ["n", "k"], ["y", ""])
    relu = helper.make_node("Relu", ["x"], ["z"])

    assert causes(NOISE, top, relu) == [("RandomNormalLike `noise`", "TopK `y`"), ("", "")]


def test_nodes_inside_branches_and_functions():
    """A branch counts with what it holds and with what it reads from outside."""
    drawing = graph_of(helper.make_node("RandomNormalLike", ["x"], ["i"], "deep"))
    reading = graph_of(helper.make_node("Identity", ["n"], ["i"]))
    draws = helper.make_node("If", ["c"], ["y"], then_branch=drawing, else_branch=drawing)
    reads = helper.make_node("If", ["c"], ["z"], then_branch=reading, else_branch=reading)
    assert causes(NOISE, draws, reads) == [("RandomNormalLike `deep`", ""), ("RandomNormalLike `noise`", "")]

    body = [helper.make_node("Bernoulli", ["a"], ["b"], "coin")]
    function = helper.make_function("own", "Toss", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    toss = helper.make_node("Toss", ["x"], ["y"], domain="own")
    assert causes(toss, functions=[function])[0] == ("Bernoulli `coin`", "")


@pytest.mark.parametrize(("training", "expected"), [(True, "Dropout `drop`"), (False, ""), (None, "Dropout `drop`")])
def test_dropout(training, expected):
    """It drops numbers only in training, which an input may decide."""
    drop = helper.make_node("Dropout", ["x", "", "t"], ["y"], "drop")
    stored = [] if training is None else [numpy_helper.from_array(np.array(training), "t")]

    assert (expected, "") == causes(drop, initializers=stored)[0]
    if training is not None:
        constant = helper.make_node("Constant", [], ["t"], value=numpy_helper.from_array(np.array(training)))
        assert (expected, "") == causes(constant, drop)[0]
    assert causes(helper.make_node("Dropout", ["x"], ["y"]))[0] == ("", "")


def test_kinds_of_outputs():
    """As ONNX's types are named."""
    proto = model_of([], {"x": [4]}, {"x": [4]}).proto
    proto.graph.output.append(helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None))
    proto.graph.output.append(onnx.ValueInfoProto(name="untyped"))

    assert [output.kind for output in read_outputs(proto)] == ["tensor", "sequence", "tensor"]
