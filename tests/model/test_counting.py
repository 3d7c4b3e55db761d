"""Counts of graphs whose shapes only a run knows, and of tensors of every type."""

import numpy as np
import onnx
import pytest
from common import run_here
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import model_of

from mnbench.errors import BuildError
from mnbench.model.counting import AS_IT_RAN, count_graph
from mnbench.model.model import Model
from mnbench.network.cost import peak_activation_bytes, total_cost

FLOAT = TensorProto.FLOAT


def _value(name, shape=None, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def _stored(name, shape, kind=np.float32):
    return numpy_helper.from_array(np.ones(shape, kind), name)


def _proto_of(nodes, inputs, outputs, weights=(), *, opset=17, domains=(), **fields):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(weights), **fields)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(name, 1) for name in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _count(proto, **inputs):
    counted = count_graph(proto, lambda: inputs, run_here)
    return counted, total_cost(counted.layers)


def _matmul(x, weight, output, name):
    return helper.make_node("MatMul", [x, weight], [output], name=name)


@pytest.fixture
def fork():
    """A branch of 64 × 32 Mult-Adds, and another of 64 × 8 × 4, each with weights of its own."""
    narrow = helper.make_graph([_matmul("x", "wide", "a", "mm")], "one", [], [_value("a")])
    nodes = [_matmul("x", "narrow", "h", "first"), _matmul("h", "last", "b", "second")]
    wide = helper.make_graph(nodes, "two", [], [_value("b")], [_stored("last", (8, 4))])
    node = helper.make_node("If", ["which"], ["y"], name="fork", then_branch=narrow, else_branch=wide)
    inputs = [_value("x", [1, 64]), _value("which", [], TensorProto.BOOL)]
    return _proto_of([node], inputs, [_value("y")], [_stored("wide", (64, 32)), _stored("narrow", (64, 8))])


@pytest.mark.parametrize(("which", "mult_adds", "moved"), [(True, 64 * 32, 64 + 32), (False, 64 * 8 + 8 * 4, 64 + 4)])
def test_a_branch_counts_as_it_ran(fork, which, mult_adds, moved):
    """The branch that ran has Mult-Adds and moves bytes; weights of both are parameters."""
    counted, total = _count(fork, x=np.ones((1, 64), np.float32), which=np.array(which))

    assert (mult_adds, 64 * 32 + 64 * 8 + 8 * 4) == (total.mult_adds, total.params)
    assert counted.notes == (AS_IT_RAN,)
    assert 4 * (moved + mult_adds) + 1 == counted.moved_bytes
    assert peak_activation_bytes(counted.layers) is None
    assert {"fork/mm"} == {layer.scope for layer in counted.layers} - {"fork", "fork/first", "fork/second"} or not which


@pytest.mark.parametrize("turns", [0, 1, 5])
def test_a_loop_counts_every_turn(turns):
    """Weights count once, Mult-Adds and reads as often as the body ran."""
    nodes = [_matmul("state", "w", "next", "step"), helper.make_node("Identity", ["go"], ["on"])]
    inputs = [_value("turn", [], TensorProto.INT64), _value("go", [], TensorProto.BOOL), _value("state")]
    body = helper.make_graph(nodes, "body", inputs, [_value("on", [], TensorProto.BOOL), _value("next")])
    loop = helper.make_node("Loop", ["turns", "", "x"], ["y"], name="loop", body=body)
    inputs = [_value("x", [1, 16]), _value("turns", [], TensorProto.INT64)]
    proto = _proto_of([loop], inputs, [_value("y")], [_stored("w", (16, 16))])
    _, total = _count(proto, x=np.ones((1, 16), np.float32), turns=np.array(turns))

    assert (256, 256 * turns, (256 + 32) * turns) == (total.params, total.mult_adds, total.memory_access)


def test_turns_of_different_size_count_each():
    """A loop that grows its state multiplies more in every turn."""
    nodes = [
        helper.make_node("Concat", ["state", "x"], ["next"], axis=0),
        _matmul("next", "w", "product", "step"),
        helper.make_node("Identity", ["go"], ["on"]),
    ]
    inputs = [_value("turn", [], TensorProto.INT64), _value("go", [], TensorProto.BOOL), _value("state", ["n", 4])]
    body = helper.make_graph(nodes, "body", inputs, [_value("on", [], TensorProto.BOOL), _value("next", ["m", 4])])
    loop = helper.make_node("Loop", ["turns", "", "x"], ["y"], name="loop", body=body)
    proto = _proto_of(
        [loop], [_value("x", [1, 4])], [_value("y")], [_stored("w", (4, 3)), _stored("turns", (), np.int64)]
    )
    proto.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.array(3), "turns"))
    _, total = _count(proto, x=np.ones((1, 4), np.float32))

    assert total.mult_adds == (2 + 3 + 4) * 12


def test_control_flow_that_cannot_run_is_unknown(fork):
    """Without a run nobody knows which branch it takes; its weights are known, and the note says why."""
    fork.graph.node.append(helper.make_node("Mine", ["y"], ["z"], domain="my.own"))
    fork.opset_import.append(helper.make_opsetid("my.own", 1))
    counted, total = _count(fork, x=np.ones((1, 64), np.float32), which=np.array(1, bool))

    assert (total.mult_adds, total.memory_access, total.params) == (None, None, 64 * 32 + 64 * 8 + 8 * 4)
    assert any("my.own" in note for note in counted.notes)
    assert counted.moved_bytes is None


def test_shape_that_depends_on_the_numbers_comes_from_a_run():
    """The number of non-zero entries is that of the input, and the product behind it is counted."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["at"]),
        helper.make_node("Cast", ["at"], ["f"], to=FLOAT),
        helper.make_node("Transpose", ["f"], ["t"]),
        _matmul("t", "w", "y", "mm"),
    ]
    proto = _proto_of(nodes, [_value("x", [4, 4])], [_value("y")], [_stored("w", (2, 5))])
    counted, total = _count(proto, x=np.eye(4, dtype=np.float32))

    assert (total.mult_adds, counted.notes) == (4 * 2 * 5, ())


def test_sizes_of_the_inputs_are_those_of_the_arrays():
    """Open sizes, also those that are written as -1, take the size of what is fed."""
    proto = _proto_of(
        [_matmul("x", "w", "y", "mm")], [_value("x", ["N", -1, 8])], [_value("y")], [_stored("w", (8, 2))]
    )
    _, total = _count(proto, x=np.ones((3, 5, 8), np.float32))

    assert total.mult_adds == 3 * 5 * 8 * 2


def test_without_inputs_params_and_precision_are_known():
    """What cannot be fed has no Mult-Adds and no memory; the error says why."""
    model = model_of(
        [helper.make_node("Conv", ["x", "w"], ["y"])], {"x": [1, 3, "H", 8]}, {"y": None}, {"w": [4, 3, 1, 1]}
    )
    error = BuildError("g: sizes are open: x 1×3×H×8", hint="--dim H=8")

    def fail():
        raise error

    counted = count_graph(model.proto, fail, run_here)
    total = total_cost(counted.layers)

    assert (total.params, total.mult_adds, total.memory_access, total.memory_access_bytes) == (12, None, None, None)
    assert (error, (error.message,), None) == (counted.error, counted.notes, counted.moved_bytes)
    assert peak_activation_bytes(counted.layers) is None


def test_stale_shapes_are_not_believed():
    """A shape that the file declares, but that its nodes do not give, changes nothing."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["y"])]
    infos = [_value("c", [8, 4, 8, 8])]
    proto = _proto_of(nodes, [_value("x", [1, 3, 8, 8])], [_value("y", [1, 5, 9, 9])], [_stored("w", (4, 3, 1, 1))],
                     value_info=infos)  # fmt: skip

    assert _count(proto)[1].mult_adds == 64 * 12


def test_sequences_have_no_size():
    """Memory is not known where a sequence moves; Mult-Adds are."""
    nodes = [helper.make_node("SequenceConstruct", ["x", "x"], ["s"], name="pair")]
    output = helper.make_tensor_sequence_value_info("s", FLOAT, None)
    counted, total = _count(_proto_of(nodes, [_value("x", [2, 3])], [output]))

    assert (total.mult_adds, total.memory_access) == (0, None)
    assert counted.notes == ("the size of s at node pair is not known",)


def test_functions_of_the_model_are_counted():
    """A function counts as often as it is called."""
    body = [helper.make_node("MatMul", ["a", "b"], ["c"]), helper.make_node("Relu", ["c"], ["d"])]
    function = helper.make_function("mine", "Dense", ["a", "b"], ["d"], body, [helper.make_opsetid("", 17)])
    nodes = [helper.make_node("Dense", [x, "w"], [y], domain="mine") for x, y in (("x", "h"), ("h", "y"))]
    proto = _proto_of(nodes, [_value("x", [1, 6])], [_value("y", [1, 6])], [_stored("w", (6, 6))], domains=["mine"])
    proto.functions.append(function)

    assert (_count(proto)[1].mult_adds, _count(proto)[1].params) == (72, 36)


@pytest.mark.parametrize(
    ("kind", "size"),
    [(TensorProto.FLOAT, 4), (TensorProto.FLOAT16, 2), (TensorProto.BFLOAT16, 2), (TensorProto.DOUBLE, 8)],
)
def test_every_tensor_counts_in_its_own_type(kind, size):
    """The weights' type is that of the file, and a mask's is one byte."""
    weight = helper.make_tensor("w", kind, [8, 8], bytes(64 * size), raw=True)
    nodes = [_matmul("x", "w", "m", "mm"), helper.make_node("Where", ["mask", "m", "x"], ["y"])]
    inputs = [_value("x", [1, 8], kind), _value("mask", [1, 8], TensorProto.BOOL)]
    counted, total = _count(_proto_of(nodes, inputs, [_value("y", [1, 8], kind)], [weight]))

    assert (64 + 16) * size + 8 + 3 * 8 * size == total.memory_access_bytes
    assert (64 + 8 + 8) * size + 8 == counted.moved_bytes
    assert 3 * 8 * size + 8 == peak_activation_bytes(counted.layers)


def test_a_single_constant_of_another_type_changes_its_own_bytes_alone():
    """A half among fp32 weights is one number of two bytes; weights in Constant nodes are as they are stored."""
    weight = numpy_helper.from_array(np.ones((8, 8), np.float16), "w")
    nodes = [helper.make_node("Constant", [], ["w"], value=weight), _matmul("x", "w", "y", "mm")]
    half = _proto_of(nodes, [_value("x", [1, 8], TensorProto.FLOAT16)], [_value("y", None, TensorProto.FLOAT16)])
    nodes = [helper.make_node("Cast", ["h"], ["s"], to=FLOAT), helper.make_node("Mul", ["m", "s"], ["y"])]
    nodes = [_matmul("x", "w", "m", "mm"), *nodes]
    mixed = _proto_of(
        nodes, [_value("x", [1, 8])], [_value("y")], [_stored("w", (8, 8)), _stored("h", (1,), np.float16)]
    )

    assert (Model(name="m", proto=half).precision, _count(half)[1].memory_access_bytes) == ("fp16", 2 * (64 + 16))
    assert (Model(name="m", proto=mixed).precision, _count(mixed)[1].memory_access_bytes) == (
        "fp32",
        4 * (64 + 16 + 16),
    )


def test_quantized_layers_move_quantized_numbers():
    """Between QuantizeLinear and DequantizeLinear a tensor is stored in eight bits; input and output are floats."""
    settings = [_stored("s", ()), _stored("z", (), np.int8)]

    def quantized(x):
        return [
            helper.make_node("QuantizeLinear", [x, "s", "z"], [f"{x}q"]),
            helper.make_node("DequantizeLinear", [f"{x}q", "s", "z"], [f"{x}d"]),
        ]

    weights = [helper.make_node("DequantizeLinear", [f"w{at}", "s", "z"], [f"w{at}d"]) for at in range(2)]
    nodes = [*weights, *quantized("x"), _matmul("xd", "w0d", "h", "a"), *quantized("h"), _matmul("hd", "w1d", "y", "b")]
    stored_weights = [_stored(f"w{at}", (8, 8), np.int8) for at in range(2)]
    counted, total = _count(_proto_of(nodes, [_value("x", [1, 8])], [_value("y", [1, 8])], settings + stored_weights))

    assert (total.params, total.mult_adds, total.memory_access) == (128, 128, 128 + 32)
    assert total.memory_access_bytes == (64 + 8 + 8) + (64 + 8 + 4 * 8)
    assert counted.moved_bytes == 128 + 2 * 4 * 8


def test_four_bits_are_half_a_byte():
    """Weights of four bits are packed, by ONNX's type and by onnxruntime's own operator."""
    wide = [helper.make_node("DequantizeLinear", ["w", "s"], ["wd"]), _matmul("x", "wd", "y", "mm")]
    weight = helper.make_tensor("w", TensorProto.INT4, [8, 8], bytes(32), raw=True)
    typed = _proto_of(wide, [_value("x", [1, 8])], [_value("y", [1, 8])], [weight, _stored("s", ())], opset=21)
    attributes = {"K": 32, "N": 8, "bits": 4, "block_size": 32}
    node = helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", **attributes)
    packed = [_stored("w", (8, 1, 16), np.uint8), _stored("s", (8,))]
    packed_model = _proto_of([node], [_value("x", [1, 32])], [_value("y", [1, 8])], packed, domains=["com.microsoft"])

    assert (
        Model(name="m", proto=typed).precision,
        _count(typed)[1].mult_adds,
        _count(typed)[1].memory_access_bytes,
    ) == ("int8", 64, 32 + 4 * 16)
    assert (
        _count(packed_model, x=np.ones((1, 32), np.float32))[1].params,
        _count(packed_model, x=np.ones((1, 32), np.float32))[1].mult_adds,
        _count(packed_model, x=np.ones((1, 32), np.float32))[1].memory_access_bytes,
    ) == (256, 256, 128 + 4 * 40)


def test_sparse_weights_count_as_the_matrix_that_they_are():
    """A runtime widens a sparse matrix when it loads the model."""
    values = numpy_helper.from_array(np.ones(3, np.float32), "w")
    at = numpy_helper.from_array(np.array([0, 5, 9]), "at")
    sparse = onnx.SparseTensorProto(values=values, indices=at, dims=[8, 4])
    nodes = [_matmul("x", "w", "y", "mm")]
    proto = _proto_of(nodes, [_value("x", [1, 8])], [_value("y", [1, 4])], sparse_initializer=[sparse])

    assert (_count(proto)[1].mult_adds, _count(proto)[1].params, _count(proto)[0].notes) == (32, 32, ())


def test_strings_have_no_fixed_size():
    """Elements of strings are counted, and their bytes are not known."""
    node = helper.make_node("Concat", ["x", "x"], ["y"], axis=0)
    counted, total = _count(
        _proto_of([node], [_value("x", [4], TensorProto.STRING)], [_value("y", None, TensorProto.STRING)])
    )

    assert (total.memory_access, total.memory_access_bytes) == (16, None)
    assert counted.notes == ("x holds texts, which have no fixed size: memory in bytes is not known",)


def test_trees_have_parameters_and_no_known_mult_adds():
    """Thresholds and leaf values are parameters; leaves have no threshold."""
    trees = {
        "nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [0, 0, 0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"], "nodes_values": [0.5, 0.0, 0.0], "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0], "target_treeids": [0, 0], "target_nodeids": [1, 2], "target_ids": [0, 0],
        "target_weights": [1.0, 2.0], "n_targets": 1,
    }  # fmt: skip
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **trees)
    proto = _proto_of([node], [_value("x", [1, 3])], [_value("y")], domains=["ai.onnx.ml"])
    counted, total = _count(proto, x=np.ones((1, 3), np.float32))

    assert (total.params, total.mult_adds, total.memory_access) == (3, None, 4)
    assert counted.notes == ("no rule counts the Mult-Adds of TreeEnsembleRegressor",)


@pytest.mark.parametrize(
    ("shape", "resolution"),
    [
        ([1, 3, 240, 320], (240, 320)),
        ([1, 240, 320, 3], (240, 320)),
        ([1, 1, 64, 256], (64, 256)),
        ([2, 1, 128, 1], None),
        ([1, 8, 32, 32], None),
        ([50, 1, 40], None),
    ],
)
def test_only_an_image_has_a_resolution(shape, resolution):
    """Channels stand first or last; states and signals are no images."""
    assert model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": shape}, {"y": shape}).resolution == resolution
