"""Sessions of onnxruntime for models whose inputs or outputs are not plain numbers."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_graphs import model_of

from mnbench.worker.runtimes import SessionSettings
from mnbench.worker.runtimes.onnxruntime import Session
from mnbench.worker.session import pack_value, unpack_value

SETTINGS = SessionSettings(
    inputs={"x": np.array([[1, 2], [3, 4]], np.float32)},
    provider="CPUExecutionProvider",
    provider_options={},
    threads=1,
    options={},
)


def outputs(model, **inputs):
    """What a session puts out in its second run."""
    session = Session(model.to_bytes(), SETTINGS._replace(inputs=inputs or SETTINGS.inputs))
    session.run()
    session.run()
    return session.outputs()


def test_strings():
    """They are read and written in every run."""
    cast = model_of([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.STRING)], {"x": [2, 2]}, {"y": [2, 2]})
    cast.proto.graph.output[0].type.tensor_type.elem_type = TensorProto.STRING
    assert outputs(cast)[0].tolist() == [["1", "2"], ["3", "4"]]

    back = model_of([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)], {"x": [2]}, {"y": [2]})
    back.proto.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    assert outputs(back, x=np.array(["1.5", "2"], object))[0].tolist() == [1.5, 2]


def test_sequences_of_maps():
    """A classifier's probabilities come as Python's own values."""
    zipped = helper.make_node("ZipMap", ["x"], ["p"], domain="ai.onnx.ml", classlabels_int64s=[5, 6])
    model = model_of([zipped, helper.make_node("Relu", ["x"], ["y"])], {"x": [2, 2]}, {"y": [2, 2]})
    model.proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    model.proto.graph.output.append(helper.make_value_info("p", helper.make_sequence_type_proto(kind)))
    numbers, maps = outputs(model)

    assert numbers.tolist() == [[1, 2], [3, 4]]
    assert maps == [{5: 1.0, 6: 2.0}, {5: 3.0, 6: 4.0}]
    assert pack_value(maps) is None


@pytest.mark.parametrize("declared", [[3, 4], ["n", 5], [2], ["n"], [2, 2, 2], [], ["n", "m"], [2, 2]])
def test_outputs_of_another_shape_than_declared(declared):
    """They come as they are, in every run: onnxruntime itself only warns of such a file."""
    reshape = helper.make_node("Reshape", ["x", "sides"], ["y"])
    model = model_of([reshape], {"x": [4], "sides": [2]}, {"y": declared})
    model.proto.graph.input[1].type.tensor_type.elem_type = TensorProto.INT64
    (array,) = outputs(model, x=np.arange(4, dtype=np.float32), sides=np.array([2, 2]))

    assert array.tolist() == [[0, 1], [2, 3]]


def test_memory_of_outputs_is_bound_once():
    """Later runs write to the memory that the first one allocated, also where a size is open."""
    relu = helper.make_node("Relu", ["x"], ["y"])
    session = Session(model_of([relu], {"x": [2, 2]}, {"y": ["n", 2]}).to_bytes(), SETTINGS)
    addresses = set()
    for _ in range(3):
        session.run()
        addresses.add(session._binding.get_outputs()[0].data_ptr())

    assert len(addresses) == 1


def test_numbers_that_numpy_does_not_have():
    """They are computed and left out; the others come."""
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.BFLOAT16),
        helper.make_node("Relu", ["x"], ["y"]),
    ]
    model = model_of(nodes, {"x": [2, 2]}, {"h": [2, 2], "y": [2, 2]})
    model.proto.graph.output[0].type.tensor_type.elem_type = TensorProto.BFLOAT16
    half, numbers = outputs(model)

    assert half is None
    assert numbers.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("kind", [np.float16, np.int64, np.uint8, np.bool_, object])
def test_packed_values(kind):
    """Type, shape and numbers come back, in memory of their own; what is not an array is None."""
    array = np.array([["a", "b"]], object) if kind is object else np.array([[0, 1]], kind)
    value = unpack_value(pack_value(array))

    assert (array.dtype, array.tolist()) == (value.dtype, value.tolist())
    assert value.flags.writeable
    assert pack_value([1.0]) is None
    assert unpack_value(None) is None
