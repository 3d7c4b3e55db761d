"""What the simplification of a user's file changes beside its nodes, and what is said of it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import model_of

from mnbench.errors import BuildError
from mnbench.model.build import build_model, save_models
from mnbench.model.changes import describe_changes
from mnbench.model.model_table import model_table
from mnbench.model.simplify import simplify
from mnbench.network.variant import InputOptions, OnnxFile

WEIGHT = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)


def _proto(batch="batch", *, output=True, **options):
    """A matrix multiplication with an open batch."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (batch, 12))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (batch, 4) if output else None)],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], **{"ir_version": 8, **options})


def _save(tmp_path, proto):
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def _sizes(proto):
    return [
        [side.dim_value or side.dim_param for side in value.type.tensor_type.shape.dim]
        for value in (*proto.graph.input, *proto.graph.output)
    ]


@pytest.mark.parametrize("simplified", [True, False])
def test_open_batch_stays_open(tmp_path, simplified):
    """Nothing is written into the graph that the user did not ask for."""
    source = OnnxFile(path=_save(tmp_path, _proto()))
    model = build_model(source, simplified=simplified, fix_sizes=True)

    assert _sizes(model.proto) == [["batch", 12], ["batch", 4]]
    assert model.changes == ()


def test_given_sizes_are_written(tmp_path):
    """A given batch is written into inputs and outputs, and noted; a measurement leaves the file as it is."""
    source = OnnxFile(path=_save(tmp_path, _proto()), input_options=InputOptions(batch=8))
    model = build_model(source, fix_sizes=True)
    measured = build_model(source, simplified=False)

    assert _sizes(model.proto) == [[8, 12], [8, 4]]
    assert model.changes == ("input x was batch×12, and is 8×12", "output y was batch×4, and is 8×4")
    assert measured.to_bytes() == source.path.read_bytes()


def test_data_comes_inside(tmp_path):
    """Weights of another file are in the new one, and the note says so."""
    path = tmp_path / "m.onnx"
    onnx.save(_proto(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    model = build_model(OnnxFile(path=path), fix_sizes=True)

    assert model.changes == ("the weights of its data files are inside",)
    assert not model.proto.graph.initializer[0].external_data


def test_output_without_a_shape(tmp_path):
    """An output whose shape the file does not declare gets one."""
    model = build_model(OnnxFile(path=_save(tmp_path, _proto(output=False))))

    assert model.changes == ("output y was without a shape, and is batch×4",)


def test_weight_that_is_no_input_of_an_old_model(tmp_path):
    """Onnxruntime takes such a model, and so does its simplification."""
    model = build_model(OnnxFile(path=_save(tmp_path, _proto(ir_version=3))))

    assert model.changes == ("not in the new file: IR version 3",)


def test_operands_that_are_left_out(tmp_path):
    """The type of an output without a name is not taken for that of an input without a name."""
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r", "", "", *state], ["", output], hidden_size=2)
        for state, output in (([], "h"), (["h"], "y"))
    ]
    model = model_of(nodes, {"x": [3, 1, 4]}, {"y": [1, 1, 2]}, {"w": [1, 8, 4], "r": [1, 8, 2]})

    assert build_model(OnnxFile(path=model.save(tmp_path / "g.onnx"))).difference == 0


def test_nodes_in_any_order(tmp_path):
    """Onnxruntime takes nodes in any order, also of those that a branch reads from, and so does the simplification."""
    branches = {
        name: helper.make_graph(
            [helper.make_node(operator, ["y"], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4))],
        )
        for name, operator in (("then_branch", "Sigmoid"), ("else_branch", "Neg"))
    }
    proto = _proto(batch=1)
    proto.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, ()))
    proto.graph.node.insert(0, helper.make_node("If", ["c"], ["z"], name="if", **branches))
    proto.graph.output[0].name = "z"
    model = build_model(OnnxFile(path=_save(tmp_path, proto)))

    assert [node.name for node in model.proto.graph.node] == ["fc", "if"]


def test_metadata_stays(tmp_path):
    """Metadata stays, also of an earlier run of onnxsim."""
    proto = _proto(doc_string="mine")
    helper.set_model_props(proto, {"author": "me", "onnxsim.removed_nodes": "[]"})
    model = build_model(OnnxFile(path=_save(tmp_path, proto)))

    assert model.proto.metadata_props == proto.metadata_props
    assert model.changes == ()


def test_what_is_lost():
    """Everything that a user wrote into a model and that is not in the new one is named once."""
    before, after = _proto(ir_version=3, doc_string="mine"), _proto()
    before.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, WEIGHT.shape))
    before.graph.node[0].metadata_props.add(key="layer", value="0")
    before.opset_import.append(helper.make_opsetid("mine", 1))
    before.functions.append(helper.make_function("mine", "F", [], [], [], [helper.make_opsetid("", 17)]))

    released, lost = describe_changes(before, after)

    assert released == "weights are not inputs any more: w"
    assert lost == (
        "not in the new file: IR version 3, opset 1 of mine, function mine.F, metadata layer of nodes, "
        "doc_string of the model"
    )


def test_folding_does_not_blow_up_the_file(tmp_path):
    """A constant that a few bytes compute is not written out; the note says what that would have cost."""
    constants = {"shape": np.array([64, 64, 64]), "half": np.array([0.5], np.float32)}
    graph = helper.make_graph(
        [helper.make_node("Expand", ["half", "shape"], ["big"]), helper.make_node("Mul", ["x", "big"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 64, 64))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (64, 64, 64))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = build_model(OnnxFile(path=_save(tmp_path, proto)))

    assert model.size_bytes < 1000
    assert model.changes[0].startswith("constants above 1 kB are not folded: the file would have 1,04")


def test_quantized_weights_stay_quantized(tmp_path):
    """The int8 weights of a QDQ graph are not folded to floats."""
    constants = {"w": np.ones((64, 64), np.int8), "s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["w", "s", "z"], ["f"]),
            helper.make_node("MatMul", ["x", "f"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 64))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, 64))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = build_model(OnnxFile(path=_save(tmp_path, proto)))

    assert model.size_bytes < 6000


def test_weights_that_are_cast_stay_small(tmp_path):
    """int8 weights that the graph casts to floats itself are not folded to floats."""
    weight = np.random.default_rng(0).integers(-127, 128, (256, 256)).astype(np.int8)
    graph = helper.make_graph(
        [helper.make_node("Cast", ["w"], ["f"], to=TensorProto.FLOAT), helper.make_node("MatMul", ["x", "f"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 256))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, 256))],
        [numpy_helper.from_array(weight, "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = build_model(OnnxFile(path=_save(tmp_path, proto)))

    assert model.size_bytes < 1.1 * weight.nbytes
    assert model.changes[0].startswith("constant expressions are not folded: the file would have 262,")


@pytest.mark.parametrize("newer", ["ir_version", "opset"])
def test_newer_than_onnx(tmp_path, newer):
    """A model of a later onnx is refused with both versions, and not by onnxsim."""
    proto = _proto()
    if newer == "opset":
        proto.opset_import[0].version = 99
    else:
        proto.ir_version = 99
    with pytest.raises(BuildError, match=r"m.onnx: has .* 99, and onnx .* reads up to"):
        build_model(OnnxFile(path=_save(tmp_path, proto)))


def test_table_of_a_file(tmp_path):
    """The table of a file's build has its size before; that of a variant has not."""
    source = OnnxFile(path=_save(tmp_path, _proto()), input_options=InputOptions(batch=8))
    target = tmp_path / "out.onnx"
    saved, _ = save_models([source], target, seed=0, opset=17, simplified=True, keep_bn=False)
    table = model_table(saved)
    (row,) = table.to_dicts()

    assert row["size_bytes_before"] == source.path.stat().st_size
    assert row["size_bytes"] == target.stat().st_size
    assert "input x was batch×12, and is 8×12" in table.notes


def test_variants_have_no_size_before(plain):
    """A variant is built from a table, not from a file."""
    model = simplify(plain)

    assert "size_bytes_before" not in model_table({Path("m.onnx"): model}).to_dicts()[0]
