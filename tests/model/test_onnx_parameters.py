"""Parameters, totals and precision of any ONNX graph, counted by hand."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import model_of

from mnbench.network.cost import total_cost


def test_an_output_that_nobody_reads_needs_no_shape():
    """Old Dropouts write a mask, whose shape ONNX does not infer: it is left out, and the graph is counted."""
    model = model_of([helper.make_node("Dropout", ["x"], ["y", "mask"], ratio=0.5)], {"x": [1, 4]}, {"y": [1, 4]})
    model.proto.opset_import[0].version = 9
    (layer,) = model.node_layers

    assert ([tensor.name for tensor in layer.outputs], layer.mult_adds) == (["y"], 0)


def test_weights_that_several_nodes_read_are_counted_once():
    """A head on three maps has the parameters of one, and its Mult-Adds and reads three times."""
    sides = (8, 4, 2)
    nodes = [helper.make_node("Conv", [f"x{side}", "w", "b"], [f"y{side}"]) for side in sides]
    inputs = {f"x{side}": [1, 3, side, side] for side in sides}
    outputs = {f"y{side}": [1, 5, side, side] for side in sides}
    total = total_cost(model_of(nodes, inputs, outputs, {"w": [5, 3, 1, 1], "b": [5]}).node_layers)
    maps = 64 + 16 + 4

    assert (20, 15 * maps, 8 * maps + 3 * 15) == (total.params, total.mult_adds, total.memory_access)


def test_embedding_reads_few_of_its_parameters():
    """A table's rows are parameters; a look-up reads those that it returns."""
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, [1, 16])
    model = model_of([helper.make_node("Gather", ["w", "ids"], ["y"])], {}, {"y": [1, 16, 64]}, {"w": [3000, 64]})
    model.proto.graph.input.append(ids)
    total = total_cost(model.node_layers)

    assert (total.params, total.mult_adds, total.memory_access) == (3000 * 64, 0, 16 + 16 * 64)


def test_an_operator_without_a_rule_makes_the_total_unknown():
    """The total is not known, and the operator without a rule is named; what is known of the rest stays."""
    nodes = [helper.make_node("DFT", ["x"], ["f"], axis=1), helper.make_node("MatMul", ["f", "w"], ["y"])]
    model = model_of(nodes, {"x": [1, 8, 1]}, {"y": [1, 8, 3]}, {"w": [2, 3]})

    assert (model.cost.mult_adds, model.counted.notes) == (None, ("no rule counts the Mult-Adds of DFT",))
    assert [layer.mult_adds for layer in model.node_layers] == [None, 48]


@pytest.mark.parametrize(
    ("shapes", "precision"),
    [
        ({np.float32: (64, 64), np.float16: (1,)}, "fp32"),
        ({np.float32: (1,), np.float16: (64, 64)}, "fp16"),
        ({np.float32: (64,), np.int8: (64, 64)}, "int8"),
        ({np.float32: (4,), np.int64: (64, 64)}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_precision_is_that_of_most_weights(shapes, precision):
    """A single constant of another type changes nothing; indices are no weights."""
    weights = [numpy_helper.from_array(np.ones(shape, kind), kind.__name__) for kind, shape in shapes.items()]
    stored = model_of([], {}, {})
    stored.proto.graph.initializer.extend(weights)
    nodes = [helper.make_node("Constant", [], [weight.name], value=weight) for weight in weights]

    assert precision == stored.precision == model_of(nodes, {}, {}).precision
