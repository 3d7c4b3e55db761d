"""Fewer nodes: which go, what stays, and what onnxsim cannot take."""

import pytest
from onnx import helper
from onnx_graphs import model_of

from mnbench.errors import SimplifyError
from mnbench.model.equivalence import check_equivalence
from mnbench.model.simplify import simplify
from mnbench.model.to_onnx import check_model
from mnbench.network.cost import total_cost


def test_batch_normalizations_become_part_of_their_convolutions(plain, simplified):
    """V1 goes from 84 nodes to 57, and every node that is left has the name and the place that it had."""
    names = [node.name for node in plain.proto.graph.node]

    assert (plain.nodes, simplified.nodes) == (84, 57)
    assert [name for name in names if not name.endswith("/bn")] == [node.name for node in simplified.proto.graph.node]


def test_costs_and_types_survive(plain, simplified):
    """Mult-Adds and memory access are those of the plain graph, and each gamma and beta have become one bias."""
    before, after = total_cost(plain.node_layers), total_cost(simplified.node_layers)
    norms = sum(layer.weights[0].elements for layer in plain.layers if layer.kind == "batch_norm")
    types = [layer.type for layer in plain.node_layers if layer.kind != "batch_norm"]

    assert (before.mult_adds, before.memory_access) == (after.mult_adds, after.memory_access)
    assert before.params - norms == after.params
    assert types == [layer.type for layer in simplified.node_layers]


def test_metadata_is_ours_alone(plain, simplified):
    """What the file says of itself is kept, and onnxsim adds nothing."""
    assert list(plain.proto.metadata_props) == list(simplified.proto.metadata_props)
    assert not any("onnxsim" in entry.key for entry in simplified.proto.metadata_props)


def test_simplified_graph_is_checked_and_of_the_same_operator_set(plain, simplified):
    """The simplified graph passes ONNX's full checker."""
    check_model(simplified)

    assert plain.opset == simplified.opset


def test_same_input_same_bytes(plain):
    """Simplification is reproducible, and changes a copy."""
    before = plain.proto.SerializeToString(deterministic=True)

    assert simplify(plain).to_bytes() == simplify(plain).to_bytes()
    assert before == plain.proto.SerializeToString(deterministic=True)


@pytest.mark.parametrize("thorough", [True, False])
def test_keep_bn(plain, thorough):
    """With `keep_bn` every batch normalization stays, in its place."""
    model = simplify(plain, thorough=thorough, keep_bn=True)

    assert [node.name for node in plain.proto.graph.node] == [node.name for node in model.proto.graph.node]
    assert check_equivalence(plain, model).difference <= 1e-6


def test_thorough_folds_constants():
    """A thorough simplification computes what does not depend on the input, a quick one does not."""
    node_proto = helper.make_node("Constant", [], ["one"], value_float=1.0)
    two = helper.make_node("Add", ["one", "one"], ["two"])
    model = model_of([node_proto, two, helper.make_node("Mul", ["x", "two"], ["y"])], {"x": [2, 3]}, {"y": [2, 3]})
    operators = [node.op_type for node in simplify(model, thorough=True).proto.graph.node]

    assert "Add" not in operators
    assert "Add" in [node.op_type for node in simplify(model, thorough=False).proto.graph.node]


def test_model_that_onnxsim_cannot_take():
    """A graph in which one tensor is written twice is refused in one line."""
    twice = [helper.make_node("Relu", ["x"], ["y"], name=name) for name in ("a", "b")]
    model = model_of(twice, {"x": [1, 4]}, {"y": [1, 4]})

    with pytest.raises(SimplifyError, match=r"^g: onnxsim fails: ") as caught:
        simplify(model)

    assert "\n" not in caught.value.message
    assert "--no-simplify" in caught.value.hint
