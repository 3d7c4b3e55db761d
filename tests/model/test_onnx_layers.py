"""Layers of any ONNX graph, counted by hand."""

import numpy as np
import pytest
from onnx import helper, numpy_helper
from onnx_graphs import model_of

from mnbench.network.cost import layer_cost, peak_activation_bytes, total_cost


def _only(operator, inputs, output, weights, *, order=None, **attributes):
    """The layer of a model of one node."""
    node = helper.make_node(operator, order or [*inputs, *weights], ["y"], **attributes)
    (layer,) = model_of([node], inputs, {"y": output}, weights).node_layers
    return layer


def _counts(layer):
    total = layer_cost(layer)
    return total.params, total.mult_adds, total.memory_access


@pytest.mark.parametrize(
    ("groups", "kind"), [(1, "Conv 3×3"), (2, "Conv 3×3 grouped"), (4, "Conv 3×3 grouped"), (8, "Conv DW 3×3")]
)
def test_grouped_convolution(groups, kind):
    """A filter sees the channels of its group alone."""
    weight = [8, 8 // groups, 3, 3]
    layer = _only("Conv", {"x": [1, 8, 10, 12]}, [1, 8, 5, 6], {"w": weight}, group=groups, strides=[2, 2],
                  pads=[1, 1, 1, 1])  # fmt: skip
    params = 8 * (8 // groups) * 9
    counts = (params, 5 * 6 * params, 8 * 10 * 12 + 8 * 5 * 6 + params)
    sizes = ((3, 3), (2, 2), (1, 1, 1, 1))

    assert counts == _counts(layer)
    assert sizes == (layer.kernel, layer.stride, layer.padding)
    assert (kind, groups) == (layer.type, layer.groups)


def test_depthwise_convolution_that_multiplies_its_channels():
    """With two filters a channel each filter still sees one channel."""
    layer = _only("Conv", {"x": [1, 4, 6, 6]}, [1, 8, 4, 4], {"w": [8, 1, 3, 3]}, group=4)
    expected = (72, 4 * 4 * 72, 4 * 36 + 8 * 16 + 72)

    assert expected == _counts(layer)


def test_convolution_with_bias():
    """A bias is a parameter, and neither a Mult-Add nor memory access."""
    layer = _only("Conv", {"x": [1, 3, 6, 7]}, [1, 5, 6, 7], {"w": [5, 3, 1, 1], "b": [5]})
    expected = (15 + 5, 6 * 7 * 15, 6 * 7 * (3 + 5) + 15)

    assert expected == _counts(layer)


def test_convolution_with_other_padding_on_each_side():
    """Padding is top, left, bottom and right, as ONNX has it."""
    layer = _only("Conv", {"x": [1, 3, 8, 8]}, [1, 5, 9, 13], {"w": [5, 3, 3, 3]}, pads=[1, 3, 2, 4])
    expected = (1, 3, 2, 4)

    assert expected == layer.padding


def test_convolution_of_a_signal():
    """A convolution along one axis is one of height 1."""
    layer = _only("Conv", {"x": [1, 3, 8]}, [1, 4, 5], {"w": [4, 3, 3], "b": [4]}, pads=[1, 2], strides=[2])
    counts = (4 * 9 + 4, 5 * 4 * 9, 3 * 8 + 4 * 5 + 4 * 9)
    sizes = ((1, 3), (1, 2), (0, 1, 0, 2))
    kind = "Conv 1×3"

    assert counts == _counts(layer)
    assert sizes == (layer.kernel, layer.stride, layer.padding)
    assert kind == layer.type


def test_convolution_of_a_volume():
    """A convolution along three axes counts all three."""
    layer = _only("Conv", {"x": [1, 2, 5, 6, 7]}, [1, 3, 3, 4, 5], {"w": [3, 2, 3, 3, 3]})
    expected = (162, 60 * 162, 2 * 210 + 3 * 60 + 162)

    assert expected == _counts(layer)


def test_batch_counts():
    """Two images cost twice the Mult-Adds and read the weights once."""
    layer = _only("Conv", {"x": [2, 3, 6, 6]}, [2, 5, 6, 6], {"w": [5, 3, 1, 1]})
    expected = (15, 2 * 36 * 15, 2 * 36 * 8 + 15)

    assert expected == _counts(layer)


@pytest.mark.parametrize(
    ("operator", "weight", "attributes"),
    [
        ("Gemm", [20, 7], {}),
        ("Gemm", [20, 7], {"transB": 0}),
        ("Gemm", [7, 20], {"transB": 1}),
        ("MatMul", [20, 7], {}),
    ],
)
def test_fully_connected(operator, weight, attributes):
    """A fully connected layer costs in x out, whichever way its weights lie."""
    layer = _only(operator, {"x": [1, 20]}, [1, 7], {"w": weight}, **attributes)
    counts = (140, 140, 20 + 7 + 140)
    kind = "Fully Connected"

    assert counts == _counts(layer)
    assert (tuple(weight),) == tuple(tensor.shape for tensor in layer.weights)
    assert kind == layer.type


@pytest.mark.parametrize(("weight", "attributes"), [([20, 7], {}), ([7, 20], {"transB": 1})])
def test_fully_connected_with_bias(weight, attributes):
    """The classifier's bias is a parameter and nothing else."""
    layer = _only("Gemm", {"x": [1, 20]}, [1, 7], {"w": weight, "b": [7]}, **attributes)
    expected = (147, 140, 20 + 7 + 140)

    assert expected == _counts(layer)


def test_fully_connected_on_its_side():
    """With transA the input lies on its side, and the cost is the same."""
    layer = _only("Gemm", {"x": [20, 4]}, [4, 7], {"w": [20, 7]}, transA=1)
    expected = (140, 4 * 140, 80 + 28 + 140)

    assert expected == _counts(layer)


def test_fully_connected_at_every_position():
    """A matrix product over a sequence multiplies once a position."""
    layer = _only("MatMul", {"x": [1, 9, 20]}, [1, 9, 7], {"w": [20, 7]})
    expected = (140, 9 * 140, 9 * 27 + 140)

    assert expected == _counts(layer)


@pytest.mark.parametrize("operator", ["MatMul", "Gemm"])
def test_weights_on_the_left(operator):
    """A product of weights and input multiplies over the axis that they share."""
    layer = _only(operator, {"x": [20, 7]}, [4, 7], {"w": [4, 20]}, order=["w", "x"])
    expected = (80, 4 * 20 * 7, 140 + 28 + 80)

    assert expected == _counts(layer)


def test_weights_of_every_head():
    """A product with a stack of matrices multiplies each input with its own matrix."""
    layer = _only("MatMul", {"x": [2, 4, 5]}, [2, 4, 6], {"w": [2, 5, 6]})
    expected = (60, 2 * 4 * 5 * 6, 40 + 48 + 60)

    assert expected == _counts(layer)


def test_weights_that_are_a_vector():
    """A product with a vector is one multiplication a number of the input."""
    layer = _only("MatMul", {"x": [4, 5]}, [4], {"w": [5]})
    expected = (5, 20, 20 + 4 + 5)

    assert expected == _counts(layer)


def test_product_of_two_activations():
    """A product without weights, as in attention, has Mult-Adds and no parameters."""
    layer = _only("MatMul", {"a": [1, 4, 5], "b": [1, 5, 6]}, [1, 4, 6], {})
    expected = (0, 4 * 5 * 6, 20 + 30 + 24)

    assert expected == _counts(layer)


def test_convolution_whose_weights_are_constant_nodes():
    """Weights may stand in a Constant node, as old exporters write them."""
    weight = helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32)))
    conv = helper.make_node("Conv", ["x", "w"], ["y"])
    total = total_cost(model_of([weight, conv], {"x": [1, 3, 8, 8]}, {"y": [1, 4, 8, 8]}).node_layers)
    expected = (64 * 12, 64 * 7 + 12)

    assert expected == (total.mult_adds, total.memory_access)


@pytest.mark.parametrize("bias", [{}, {"b": [4]}])
def test_convolution_whose_weights_are_computed(bias):
    """Weights may be scaled in the graph, as quantization-aware training writes them, and a bias may follow."""
    nodes = [helper.make_node("Mul", ["v", "s"], ["w"]), helper.make_node("Conv", ["x", "w", *bias], ["y"])]
    weights = {"v": [4, 3, 1, 1], "s": [1], **bias}
    conv = model_of(nodes, {"x": [1, 3, 8, 8]}, {"y": [1, 4, 8, 8]}, weights).node_layers[-1]
    expected = (64 * 12, 64 * 7 + 12)
    total = layer_cost(conv)
    kind = "Conv 1×1"

    assert expected == (total.mult_adds, total.memory_access)
    assert kind == conv.type


def test_fully_connected_layer_whose_weights_are_computed():
    """A bias is never taken for the weights."""
    nodes = [helper.make_node("Mul", ["v", "s"], ["w"]), helper.make_node("Gemm", ["x", "w", "b"], ["y"])]
    weights = {"v": [20, 7], "s": [1], "b": [7]}
    gemm = model_of(nodes, {"x": [1, 20]}, {"y": [1, 7]}, weights).node_layers[-1]
    expected = (140, 20 + 7 + 140)
    total = layer_cost(gemm)

    assert expected == (total.mult_adds, total.memory_access)


def test_residual_addition():
    """A branch is read twice: by the convolution and by the addition, which moves three maps."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Add", ["b", "x"], ["y"], name="add"),
    ]
    layers = model_of(nodes, {"x": [1, 4, 6, 6]}, {"y": [1, 4, 6, 6]}, {"w": [4, 4, 3, 3]}).node_layers
    numbers = 4 * 6 * 6
    counts = [(144, 36 * 144, 2 * numbers + 144), (0, 0, 0), (0, 0, 3 * numbers)]
    kinds = ["Conv 3×3", "Relu", "Add"]
    peak = 4 * 3 * numbers

    assert counts == [_counts(layer) for layer in layers]
    assert kinds == [layer.type for layer in layers]
    assert peak == peak_activation_bytes(layers)


def test_squeeze_excite_gate():
    """A gate that scales a map reads the map and one number a channel."""
    layer = _only("Mul", {"x": [1, 8, 5, 5], "gate": [1, 8, 1, 1]}, [1, 8, 5, 5], {})
    expected = (0, 0, 200 + 8 + 200)

    assert expected == _counts(layer)


def test_pooling():
    """Global pooling covers its whole map."""
    layer = _only("GlobalAveragePool", {"x": [1, 8, 5, 6]}, [1, 8, 1, 1], {})
    expected = ("Global average pool", (5, 6), (0, 0, 240 + 8))

    assert expected == (layer.type, layer.kernel, _counts(layer))


def test_batch_normalization():
    """Gamma and beta are trained, mean and variance are not."""
    weights = {name: [8] for name in ("gamma", "beta", "mean", "variance")}
    layer = _only("BatchNormalization", {"x": [1, 8, 5, 5]}, [1, 8, 5, 5], weights)
    expected = (16, 0, 0)

    assert expected == _counts(layer)


def test_slopes_of_prelu_are_parameters():
    """PReLU's slopes are trained, and it rides along with the convolution before it as other activations do."""
    layer = _only("PRelu", {"x": [1, 8, 5, 5]}, [1, 8, 5, 5], {"slope": [8, 1, 1]})
    expected = 8

    assert expected == layer_cost(layer).params


@pytest.mark.parametrize(
    "operator", ["Relu", "HardSwish", "HardSigmoid", "Sigmoid", "LeakyRelu", "Identity", "Flatten"]
)
def test_activations_and_views_move_nothing(operator):
    """Activations ride along with the layer before, and views rename."""
    expected = (0, 0, 0)

    assert expected == _counts(_only(operator, {"x": [2, 8]}, [2, 8], {}))


def test_clip_between_other_bounds_is_no_relu6():
    """Clip is called ReLU6 only where its bounds are 0 and 6, and here both are 1."""
    expected = "clip"

    assert expected == _only("Clip", {"x": [2, 8]}, [2, 8], {"low": [], "high": []}).kind


@pytest.mark.parametrize("form", ["scalars", "arrays of one", "attributes", "constant nodes"])
def test_relu6_in_the_forms_that_exporters_write(form):
    """Bounds of 0 and 6 make Clip a ReLU6, wherever they are stored."""
    shape = (1,) if form == "arrays of one" else ()
    bounds = [
        numpy_helper.from_array(np.full(shape, value, np.float32), name) for name, value in (("low", 0), ("high", 6))
    ]
    nodes = [helper.make_node("Clip", ["x", "low", "high"], ["y"])]
    if form == "attributes":
        nodes = [helper.make_node("Clip", ["x"], ["y"], min=0.0, max=6.0)]
    if form == "constant nodes":
        nodes[:0] = [helper.make_node("Constant", [], [bound.name], value=bound) for bound in bounds]
    model = model_of(nodes, {"x": [2, 8]}, {"y": [2, 8]})
    if form in ("scalars", "arrays of one"):
        model.proto.graph.initializer.extend(bounds)
    if form == "attributes":
        model.proto.opset_import[0].version = 9
    (layer,) = model.node_layers

    assert (layer.kind, layer.type) == ("relu6", "Relu6")


@pytest.mark.parametrize("groups", [1, 4])
def test_convolution_with_weights_that_the_network_computes(groups):
    """The window is that of the weights' shape; they are an activation that is read, and no parameters."""
    shape = [8, 4 // groups, 3, 3]
    layer = _only("Conv", {"x": [1, 4, 6, 6], "w": shape}, [1, 8, 4, 4], {}, group=groups, kernel_shape=[3, 3])
    window = shape[1] * 9

    assert (0, 8 * 16 * window, 4 * 36 + 8 * window + 8 * 16) == _counts(layer)
    assert layer.type.startswith("Conv 3×3")


def test_nodes_without_names():
    """A node without a name is called by its operator and its place."""
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Neg", ["a"], ["y"], name="minus")]
    expected = ["Relu_0", "minus"]

    assert expected == [layer.scope for layer in model_of(nodes, {"x": [1, 4]}, {"y": [1, 4]}).node_layers]


def test_optional_inputs_that_are_left_out():
    """An input that is left out is no tensor."""
    node = helper.make_node("Clip", ["x", "", "high"], ["y"])
    (layer,) = model_of([node], {"x": [1, 4]}, {"y": [1, 4]}, {"high": []}).node_layers
    expected = ["x"]

    assert expected == [tensor.name for tensor in layer.inputs]
