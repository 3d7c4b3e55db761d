"""The proof that a simplified graph computes the same."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import model_of

from mnbench import families
from mnbench.errors import SimplifyError, TrialError
from mnbench.model.equivalence import check_equivalence, require_agreement
from mnbench.model.model import Model
from mnbench.model.outputs import read_outputs
from mnbench.model.simplify import simplify
from mnbench.model.to_onnx import to_onnx
from mnbench.network.network import build_network
from mnbench.network.variant import Variant

V1 = families.architecture("v1")


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


def test_proof_of_the_simplified_graph(plain, simplified):
    """The simplified graph differs by rounding alone, and a graph does not differ from itself."""
    assert 0 < check_equivalence(plain, simplified).difference < 1e-4
    assert check_equivalence(plain, _copy(plain)) == (0.0, ())


@pytest.mark.slow
@given(st.floats(0.01, 1), st.integers(32, 160), st.integers(32, 160), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=10)
def test_proof_of_any_variant(alpha, height, width, seed):
    """Any variant goes from 84 nodes to 57, and the proof holds."""
    model = to_onnx(build_network(Variant(architecture=V1, alpha=alpha, resolution=(height, width))), seed=seed)
    small = simplify(model, thorough=False)
    expected = 57

    assert expected == small.nodes
    assert check_equivalence(model, small).difference < 1e-4


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

    with pytest.raises(
        SimplifyError, match=r"the simplified graph's output `logits` differs by \S+ of its largest number"
    ):
        check_equivalence(plain, changed)


@pytest.mark.slow
def test_proof_allows_the_rounding_of_a_deep_network():
    """A detector of 40 layers makes more of the last bit than a tenth of the tolerance; a changed number is found."""
    detector = to_onnx(build_network(Variant(architecture=V1, resolution=(320, 320), options={"head": "ssdlite"})))
    folded = simplify(detector, thorough=False)
    changed = _with_weight(folded, _input_of(folded, "predictor6/scores", 2), _first_number_plus(0.01))

    assert check_equivalence(detector, folded).difference < 1e-3
    with pytest.raises(SimplifyError, match="`scores` differs by"):
        check_equivalence(detector, changed)


@pytest.mark.parametrize("name", ["conv1/relu6", "separable6/depthwise/relu6", "separable13/pointwise/relu6"])
def test_proof_catches_a_dropped_node(plain, simplified, name):
    """A missing activation fails the proof, wherever it is missing."""
    with pytest.raises(SimplifyError, match="differs by"):
        check_equivalence(plain, _without_node(simplified, name))


@pytest.mark.parametrize(
    ("node", "position", "change"),
    [
        ("conv1/conv", 1, lambda numbers: numbers * np.nan),
        ("fc", 1, lambda numbers: numbers * np.inf),
        ("fc", 2, _first_number_plus(np.nan)),
    ],
)
def test_proof_catches_weights_that_are_not_finite(plain, simplified, node, position, change):
    """All of a layer's, or one of the thousand biases."""
    changed = _with_weight(simplified, _input_of(simplified, node, position), change)

    with pytest.raises(SimplifyError):
        check_equivalence(plain, changed)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_proof_of_a_reference_without_finite_outputs(plain, number):
    """A reference whose outputs are not finite proves nothing of itself, and refuses one that is finite."""
    broken = _with_weight(plain, "fc.weight", lambda numbers: numbers * number)

    assert check_equivalence(broken, broken) == (None, ("output `logits` has no finite number",))
    with pytest.raises(SimplifyError, match="NaN or an infinity"):
        check_equivalence(broken, plain)


def test_proof_of_constant_outputs(plain):
    """A reference whose outputs are always the same proves little, which is noted."""
    constant = _with_weight(plain, "fc.weight", np.zeros_like)
    constant = _with_weight(constant, "fc.bias", np.ones_like)

    assert check_equivalence(constant, constant) == (
        0.0,
        ("output `logits` does not depend on the input: equality proves little",),
    )


def test_proof_passes_over_random_outputs():
    """An output that draws numbers is not compared; the one beside it is."""
    nodes = [helper.make_node("RandomNormalLike", ["x"], ["z"], "noise"), helper.make_node("Relu", ["x"], ["y"])]
    model = model_of(nodes, {"x": [1, 5]}, {"y": [1, 5], "z": [1, 5]})

    assert check_equivalence(model, model) == (0.0, ("output `z` depends on RandomNormalLike `noise`",))


def test_proof_of_outputs_that_are_true_or_false():
    """Outputs that are no numbers are compared too."""
    shapes = {"a": [4, 5], "b": [4, 5]}, {"y": [4, 5]}
    model, other = (
        model_of([helper.make_node(operator, ["a", "b"], ["y"])], *shapes, output_type=TensorProto.BOOL)
        for operator in ("Greater", "Less")
    )

    assert check_equivalence(model, _copy(model)) == (0.0, ())
    with pytest.raises(SimplifyError):
        check_equivalence(model, other)


def test_proof_catches_other_outputs():
    """A candidate with fewer outputs fails the proof, and one whose output would fit only by broadcasting."""
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["z"])]
    both = model_of(nodes, {"x": [1, 5]}, {"y": [1, 5], "z": [1, 5]})
    flat = model_of(nodes[:1], {"x": [1, 5]}, {"y": [1, 5]})
    axes = helper.make_node("Constant", [], ["axes"], value_ints=[0])
    nodes = [axes, helper.make_node("Relu", ["x"], ["n"]), helper.make_node("Unsqueeze", ["n", "axes"], ["y"])]
    deep = model_of(nodes, {"x": [1, 5]}, {"y": [1, 1, 5]})

    for plain, candidate in ((both, flat), (flat, deep)):
        with pytest.raises(SimplifyError, match="outputs of other shapes"):
            check_equivalence(plain, candidate)


def test_a_devices_tolerance_widens_and_never_narrows():
    """A device that rounds fp32 coarsely is not held to a stricter rule in int8 than any other device."""
    outputs, right = _logits(), np.arange(30.0)
    arguments = {"actual": [right + 2], "expected": [right], "self_reference": (), "moved": (), "tolerance": 0.02}

    agreement = require_agreement(outputs, precision="int8", **arguments)
    assert pytest.approx(2 / 29) == agreement.difference
    with pytest.raises(TrialError, match=r"and 0\.02 is allowed"):
        require_agreement(outputs, precision="fp32", **arguments)


@pytest.mark.parametrize(("moved", "allowed"), [(0, 0.1), (1, 0.1), (6, 0.2), (29, 0.5)])
def test_a_quantized_graph_may_move_as_far_as_its_input_moves_it(moved, allowed):
    """At least a tenth of the largest number, and never more than what may lie between int8 and fp32."""
    outputs, right, first = _logits(), np.arange(31.0), np.eye(31)[0]
    arguments = {"expected": (), "self_reference": [right], "moved": [right + moved * first], "precision": "int8"}

    require_agreement(outputs, [right + 0.99 * allowed * 30 * first], tolerance=None, **arguments)
    with pytest.raises(TrialError, match=f"and {allowed} is allowed"):
        require_agreement(outputs, [right + 1.01 * allowed * 30 * first], tolerance=None, **arguments)


def _logits():
    network = build_network(Variant(architecture=V1, alpha=0.25, resolution=(32, 32)))
    return read_outputs(to_onnx(network).proto)
