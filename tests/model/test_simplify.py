"""Fewer nodes, and the proof that they compute the same."""

import sys

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from mnbench.errors import BuildError, RuntimeUnavailable, SimplifyError
from mnbench.families import read_architecture
from mnbench.model.equivalence import check_equivalence
from mnbench.model.inputs import random_inputs
from mnbench.model.model import Model
from mnbench.model.simplify import simplify
from mnbench.model.to_onnx import check_model, to_onnx
from mnbench.network.cost import total_cost
from mnbench.network.network import build_network
from mnbench.network.variant import Variant
from mnbench.workspace import built_in

V1 = read_architecture(built_in("graphs") / "v1.toml")
V1_NETWORK = build_network(Variant(architecture=V1, alpha=0.25, resolution=(64, 64)))


@pytest.fixture(scope="module")
def plain():
    """The plain graph of V1."""
    return to_onnx(V1_NETWORK)


@pytest.fixture(scope="module", params=[True, False], ids=["thorough", "quick"])
def simplified(request, plain):
    """The same, simplified."""
    return simplify(plain, thorough=request.param)


def _copy(model):
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    return Model(name="changed", proto=proto)


def _with_weight(model, name, change):
    """A copy of the model whose tensor of that name is changed by a function of its numbers."""
    changed = _copy(model)
    tensor = next(tensor for tensor in changed.proto.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()).astype(np.float32), name))
    return changed


def _first_number_plus(amount):
    def change(numbers):
        # Of a classifier, one class's whole row: a single feature may be zero on this input.
        numbers.reshape(-1, numbers.shape[-1] if numbers.ndim == 2 else 1)[0] += amount
        return numbers

    return change


def _without_node(model, name):
    """A copy of the model in which what read the node's output reads its input."""
    changed = _copy(model)
    nodes = changed.proto.graph.node
    dropped = next(node for node in nodes if node.name == name)
    for node in nodes:
        node.input[:] = [dropped.input[0] if read == dropped.output[0] else read for read in node.input]
    nodes.remove(dropped)
    return changed


def _input_of(model, name, position):
    """The name of a node's input, which onnxsim may have given a name of its own."""
    return next(node.input[position] for node in model.proto.graph.node if node.name == name)


def _graph(nodes, inputs, outputs, kind=TensorProto.FLOAT):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Model(name="g", proto=proto)


def test_nodes_before_and_after(plain, simplified):
    """V1 goes from 84 nodes to 57: the 27 batch normalizations become part of their convolutions."""
    expected = (84, 57)

    assert expected == (plain.nodes, simplified.nodes)


def test_names_survive(plain, simplified):
    """Every node that is left has the name and the place that it had."""
    names = [node.name for node in plain.proto.graph.node]

    assert [name for name in names if not name.endswith("/bn")] == [node.name for node in simplified.proto.graph.node]


def test_costs_survive(plain, simplified):
    """Mult-Adds and memory access are those of the plain graph, and each gamma and beta have become one bias."""
    before, after = total_cost(plain.node_layers), total_cost(simplified.node_layers)
    norms = sum(layer.weights[0][0] for layer in V1_NETWORK.layers if layer.kind == "batch_norm")

    assert (before.mult_adds, before.memory_access) == (after.mult_adds, after.memory_access)
    assert before.params - norms == after.params


def test_types_of_layers_survive(plain, simplified):
    """A convolution with a bias is of the type that it was without."""
    stored = [layer.type for layer in plain.node_layers if layer.kind != "batch_norm"]

    assert stored == [layer.type for layer in simplified.node_layers]


def test_metadata_is_ours_alone(plain, simplified):
    """What the file says of itself is kept, and onnxsim adds nothing."""
    assert list(plain.proto.metadata_props) == list(simplified.proto.metadata_props)
    assert not any("onnxsim" in entry.key for entry in simplified.proto.metadata_props)


def test_simplified_graph_is_checked_and_of_the_same_operator_set(plain, simplified):
    """The simplified graph passes ONNX's full checker."""
    check_model(simplified)

    assert plain.opset == simplified.opset


def test_plain_graph_is_left_alone(plain):
    """Simplification changes a copy."""
    before = plain.proto.SerializeToString(deterministic=True)
    simplify(plain)

    assert before == plain.proto.SerializeToString(deterministic=True)


def test_same_input_same_bytes(plain):
    """Simplification is reproducible."""
    assert simplify(plain).to_bytes() == simplify(plain).to_bytes()


@pytest.mark.parametrize("thorough", [True, False])
def test_keep_bn(plain, thorough):
    """With `keep_bn` every batch normalization stays, in its place."""
    model = simplify(plain, thorough=thorough, keep_bn=True)

    assert [node.name for node in plain.proto.graph.node] == [node.name for node in model.proto.graph.node]
    assert check_equivalence(plain, model) <= 1e-6


def test_thorough_folds_constants():
    """A thorough simplification computes what does not depend on the input, a quick one does not."""
    node_proto = helper.make_node("Constant", [], ["one"], value_float=1.0)
    two = helper.make_node("Add", ["one", "one"], ["two"])
    model = _graph([node_proto, two, helper.make_node("Mul", ["x", "two"], ["y"])], {"x": [2, 3]}, {"y": [2, 3]})
    operators = [node.op_type for node in simplify(model, thorough=True).proto.graph.node]

    assert "Add" not in operators
    assert "Add" in [node.op_type for node in simplify(model, thorough=False).proto.graph.node]


def test_model_that_onnxsim_cannot_take():
    """A graph in which one tensor is written twice is refused in one line."""
    twice = [helper.make_node("Relu", ["x"], ["y"], name=name) for name in ("a", "b")]
    model = _graph(twice, {"x": [1, 4]}, {"y": [1, 4]})

    with pytest.raises(SimplifyError, match=r"^g: onnxsim fails: ") as caught:
        simplify(model)

    assert "\n" not in caught.value.message
    assert "--no-simplify" in caught.value.hint


def test_proof_of_the_simplified_graph(plain, simplified):
    """The simplified graph differs by rounding alone."""
    assert 0 < check_equivalence(plain, simplified) < 1e-4


def test_proof_of_the_same_graph(plain):
    """A graph does not differ from itself."""
    expected = 0.0

    assert expected == check_equivalence(plain, _copy(plain))


@given(st.floats(0.01, 1), st.integers(32, 160), st.integers(32, 160), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=10)
def test_proof_of_any_variant(alpha, height, width, seed):
    """Any variant goes from 84 nodes to 57, and the proof holds."""
    model = to_onnx(build_network(Variant(architecture=V1, alpha=alpha, resolution=(height, width))), seed=seed)
    small = simplify(model, thorough=False)
    expected = 57

    assert expected == small.nodes
    assert check_equivalence(model, small) < 1e-4


@pytest.mark.parametrize("seed", [0, 1])
def test_proof_takes_a_seed(plain, simplified, seed):
    """The proof runs on the numbers of its seed, the same each time."""
    assert check_equivalence(plain, simplified, seed=seed) == check_equivalence(plain, simplified, seed=seed)


@pytest.mark.parametrize(
    ("node", "position", "amount"),
    [
        ("conv1/conv", 1, 1),
        ("conv1/conv", 2, 1),
        ("separable7/depthwise/conv", 1, 1),
        ("separable13/pointwise/conv", 2, 1),
        ("fc", 1, 0.01),
        ("fc", 2, 0.001),
    ],
)
def test_proof_catches_one_changed_number(plain, simplified, node, position, amount):
    """One number of a weight or a bias, first layer to last, is enough to fail the proof."""
    changed = _with_weight(simplified, _input_of(simplified, node, position), _first_number_plus(amount))

    with pytest.raises(SimplifyError, match=r"the simplified graph differs by \S+ of the output's spread"):
        check_equivalence(plain, changed)


@pytest.mark.parametrize("name", ["conv1/relu6", "separable6/depthwise/relu6", "separable13/pointwise/relu6"])
def test_proof_catches_a_dropped_node(plain, simplified, name):
    """A missing activation fails the proof, wherever it is missing."""
    with pytest.raises(SimplifyError, match="differs by"):
        check_equivalence(plain, _without_node(simplified, name))


@pytest.mark.parametrize("node", ["conv1/conv", "fc"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_proof_catches_weights_that_are_not_finite(plain, simplified, node, number):
    """A candidate whose weights are NaN or infinite fails the proof."""
    changed = _with_weight(simplified, _input_of(simplified, node, 1), lambda numbers: numbers * number)

    with pytest.raises(SimplifyError):
        check_equivalence(plain, changed)


def test_proof_catches_one_output_that_is_nan(plain, simplified):
    """One NaN among the thousand outputs fails the proof."""
    changed = _with_weight(simplified, _input_of(simplified, "fc", 2), _first_number_plus(float("nan")))

    with pytest.raises(SimplifyError):
        check_equivalence(plain, changed)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_proof_needs_a_finite_reference(plain, number):
    """A reference whose outputs are not finite proves nothing, not even of itself."""
    broken = _with_weight(plain, "fc.weight", lambda numbers: numbers * number)

    with pytest.raises(SimplifyError, match="equality would prove nothing"):
        check_equivalence(broken, broken)


def test_proof_needs_outputs_that_differ(plain):
    """A reference whose outputs are all the same proves nothing, not even of itself."""
    constant = _with_weight(plain, "fc.weight", np.zeros_like)
    constant = _with_weight(constant, "fc.bias", np.ones_like)

    with pytest.raises(SimplifyError, match=r"has spread 0: equality would prove nothing"):
        check_equivalence(constant, constant)


def test_proof_of_outputs_that_are_true_or_false():
    """Outputs that are no numbers are compared too."""
    greater = [helper.make_node("Greater", ["a", "b"], ["y"])]
    less = [helper.make_node("Less", ["a", "b"], ["y"])]
    shape = [4, 5]
    model, other = (
        _graph(nodes, {"a": shape, "b": shape}, {"y": shape}, TensorProto.BOOL) for nodes in (greater, less)
    )
    expected = 0.0

    assert expected == check_equivalence(model, _copy(model))
    with pytest.raises(SimplifyError):
        check_equivalence(model, other)


def test_proof_catches_a_missing_output():
    """A candidate with fewer outputs fails the proof."""
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["z"])]
    both = _graph(nodes, {"x": [4, 5]}, {"y": [4, 5], "z": [4, 5]})
    model = _graph(nodes[:1], {"x": [4, 5]}, {"y": [4, 5]})

    with pytest.raises(SimplifyError):
        check_equivalence(both, model)


def test_proof_catches_an_output_of_another_shape():
    """A candidate whose output would fit only by broadcasting fails the proof."""
    flat = _graph([helper.make_node("Neg", ["x"], ["y"])], {"x": [1, 5]}, {"y": [1, 5]})
    axes = helper.make_node("Constant", [], ["axes"], value_ints=[0])
    nodes = [axes, helper.make_node("Neg", ["x"], ["n"]), helper.make_node("Unsqueeze", ["n", "axes"], ["y"])]
    deep = _graph(nodes, {"x": [1, 5]}, {"y": [1, 1, 5]})

    with pytest.raises(SimplifyError):
        check_equivalence(flat, deep)


def test_model_that_onnxruntime_cannot_run():
    """A graph of an operator set from the future is refused in one line."""
    model = _graph([helper.make_node("Relu", ["x"], ["y"])], {"x": [1, 4]}, {"y": [1, 4]})
    model.proto.opset_import[0].version = 999

    with pytest.raises(BuildError, match=r"^g: onnxruntime cannot run it: ") as caught:
        check_equivalence(model, model)

    assert "\n" not in caught.value.message


def test_onnxruntime_that_is_not_installed(plain, monkeypatch):
    """Without onnxruntime the hint is the command that installs it."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    hint = "pip install onnxruntime"

    with pytest.raises(RuntimeUnavailable) as caught:
        check_equivalence(plain, plain)

    assert hint == caught.value.hint


def test_feed_is_seeded(plain):
    """A seed fixes the numbers that a model is run on, and another seed gives others."""
    item, same, other = (random_inputs(plain.proto, seed)["input"] for seed in (0, 0, 1))

    assert np.array_equal(item, same)
    assert not np.array_equal(item, other)


def test_feed_is_standard_normal(plain):
    """The numbers have mean 0 and standard deviation 1, and the input's shape and type."""
    feed = random_inputs(plain.proto, 0)["input"]
    expected = ((1, 3, 64, 64), np.float32)

    assert expected == (feed.shape, feed.dtype)
    assert abs(feed.mean()) < 0.03
    assert abs(feed.std() - 1) < 0.03


def test_feed_of_other_types():
    """Integers and truth values are fed zeros, and half precision gets normal numbers of its own type."""
    kinds = {"ids": TensorProto.INT64, "mask": TensorProto.BOOL, "half": TensorProto.FLOAT16}
    inputs = [helper.make_tensor_value_info(name, kind, [2, 8]) for name, kind in kinds.items()]
    feed = random_inputs(helper.make_model(helper.make_graph([], "g", inputs, [])), 0)
    expected = {"ids": np.int64, "mask": np.bool_, "half": np.float16}
    fed = ["half"]

    assert expected == {name: value.dtype for name, value in feed.items()}
    assert fed == [name for name, value in feed.items() if value.any()]


def test_feed_leaves_weights_alone():
    """A weight that the file lists among its inputs is not fed."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "w")]
    weight = numpy_helper.from_array(np.ones(2, np.float32), "w")
    expected = {"x"}

    assert expected == set(random_inputs(helper.make_model(helper.make_graph([], "g", inputs, [], [weight])), 0))
