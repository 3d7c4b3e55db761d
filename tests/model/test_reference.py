"""What a graph computes by its definition, and what is said of one that onnxruntime cannot compute."""

import sys

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_graphs import model_of

from mnbench.errors import BuildError, RuntimeUnavailable
from mnbench.model.reference import Reference, reference_outputs

RELU = [helper.make_node("Relu", ["x"], ["y"])]
SHAPES = {"x": [1, 4]}, {"y": [1, 4]}


def failure(model, **inputs):
    """The message and the hint, without the version."""
    with pytest.raises(BuildError) as caught:
        reference_outputs(model.proto.SerializeToString(), inputs, name="g")
    return caught.value.message, caught.value.hint


def test_outputs_of_bytes_and_of_a_file(tmp_path):
    """The same, for inputs one after the other."""
    model = model_of(RELU, *SHAPES)
    first, second = np.array([[1, -2, 3, -4]], np.float32), np.ones((1, 4), np.float32)
    session = Reference(str(model.save(tmp_path / "g.onnx")), name="g")

    assert session.run({"x": first})[0].tolist() == [[1, 0, 3, 0]]
    assert session.run({"x": second})[0].tolist() == [[1, 1, 1, 1]]
    assert reference_outputs(model.to_bytes(), {"x": first}, name="g")[0].tolist() == [[1, 0, 3, 0]]


def test_outputs_that_are_not_arrays():
    """Strings come as objects; sequences, and numbers that numpy does not have, are None."""
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("SequenceConstruct", ["x", "x"], ["both"]),
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.BFLOAT16),
        helper.make_node("Cast", ["x"], ["text"], to=TensorProto.STRING),
    ]
    model = model_of(nodes, {"x": [2]}, {"same": [2], "half": [2], "text": [2]})
    model.proto.graph.output[1].type.tensor_type.elem_type = TensorProto.BFLOAT16
    model.proto.graph.output[2].type.tensor_type.elem_type = TensorProto.STRING
    model.proto.graph.output.append(helper.make_tensor_sequence_value_info("both", TensorProto.FLOAT, None))
    same, half, text, both = reference_outputs(model.to_bytes(), {"x": np.ones(2, np.float32)}, name="g")

    assert (same.tolist(), half, text.tolist(), both) == ([1, 1], None, ["1", "1"], None)


def test_model_from_the_future():
    """It is said which versions onnxruntime reads."""
    model = model_of(RELU, *SHAPES)
    model.proto.opset_import[0].version = 999
    message, hint = failure(model)
    assert message.startswith("g: has opset 999; onnxruntime ")
    assert "update onnxruntime" in hint

    model.proto.ir_version = 99
    assert failure(model)[0].startswith("g: has IR version 99; onnxruntime ")


def test_operators_that_onnxruntime_lacks():
    """An old one, one of a domain that is imported, and one of a domain that is not."""
    old = model_of([helper.make_node("Gemm", ["x", "w", "b"], ["y"])], *SHAPES, {"w": [4, 4], "b": [4]})
    old.proto.opset_import[0].version = 6
    custom = model_of([helper.make_node("Quant", ["x"], ["y"], domain="own")], *SHAPES)
    assert failure(old)[0].endswith("has no Gemm of opset 6 for these types")
    assert "onnx.version_converter" in failure(old)[1]
    assert failure(custom)[0].endswith("has no operators of the domain own")

    custom.proto.opset_import.append(helper.make_opsetid("own", 1))
    assert failure(custom)[0].endswith("has no operator own:Quant")


def test_inputs_that_do_not_fit():
    """The error names the innermost node, without paths of onnxruntime's sources; the hint says what was fed."""
    inner = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["z"], "inner")],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    shape = helper.make_node("Constant", [], ["shape"], value_ints=[3])
    branch = helper.make_node("If", ["choice"], ["y"], "outer", then_branch=inner, else_branch=inner)
    model = model_of([shape, branch], {"x": [1, 4], "choice": []}, {"y": [3]})
    model.proto.graph.input[1].type.tensor_type.elem_type = TensorProto.BOOL
    message, hint = failure(model, x=np.ones((1, 4), np.float32), choice=np.ones((), np.bool_))

    assert message.startswith("g: onnxruntime fails in Reshape `inner`: ")
    assert ".cc" not in message
    assert "\n" not in message
    assert hint == "it was fed x 1×4, choice True: give other sizes or values"
    assert failure(model_of(RELU, *SHAPES), x=np.ones((1, 5), np.float32))[0].startswith(
        "g: onnxruntime cannot run it: Got"
    )


def test_onnxruntime_that_is_not_installed(monkeypatch):
    """Without onnxruntime the hint is the command that installs it."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(RuntimeUnavailable) as caught:
        reference_outputs(b"", {}, name="g")
    assert caught.value.hint == "pip install onnxruntime"
