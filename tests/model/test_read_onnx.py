"""A user's own file: what is read, and what is refused."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import mnbench.model.read_onnx as reader
from mnbench.errors import BuildError, FileError, MnbenchError
from mnbench.families import read_architecture
from mnbench.model.read_onnx import read_onnx
from mnbench.model.to_onnx import to_onnx
from mnbench.network.network import build_network
from mnbench.network.variant import Variant
from mnbench.workspace import built_in

WEIGHT = np.arange(4 * 3 * 3 * 3, dtype=np.float32).reshape(4, 3, 3, 3)


def _proto(shape=(1, 3, 8, 8), output=None):
    """A convolution and its activation, with a declared shape between them, as PyTorch exports it."""
    output = output or (shape[0], 4, *shape[2:])
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["y"], name="relu"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(WEIGHT, "w")],
        value_info=[helper.make_tensor_value_info("c", TensorProto.FLOAT, output)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _saved(path, proto):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(proto.SerializeToString())
    return path


def _refused(path, error=BuildError, **options):
    """The error for a file, whose message is one line."""
    with pytest.raises(error) as caught:
        read_onnx(path, **options)
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value


def _refusal(path):
    try:
        read_onnx(path)
    except MnbenchError as error:
        return error
    return None


@pytest.fixture(scope="module")
def v1_bytes():
    """A whole file of our own."""
    architecture = read_architecture(built_in("graphs") / "v1.toml")
    return to_onnx(build_network(Variant(architecture=architecture, alpha=0.01, resolution=(32, 32)))).to_bytes()


def test_file_is_read_as_it_is(tmp_path, v1_bytes):
    """A file with fixed sizes comes back byte for byte, named after the file."""
    path = tmp_path / "mine.onnx"
    path.write_bytes(v1_bytes)
    model = read_onnx(path)
    name = "mine"

    assert v1_bytes == model.to_bytes()
    assert name == model.name


def test_our_own_files_have_our_own_layers(tmp_path):
    """A built and saved network is counted as the network that it was."""
    architecture = read_architecture(built_in("graphs") / "v1.toml")
    built = build_network(Variant(architecture=architecture, alpha=0.25, resolution=(48, 64)))
    path = _saved(tmp_path / "m.onnx", to_onnx(built).proto)

    assert built.layers == read_onnx(path).node_layers


@given(share=st.floats(0, 0.99))
@settings(deadline=None, max_examples=50)
def test_truncated_file(tmp_path_factory, v1_bytes, share):
    """A file that is cut short anywhere in its graph is refused."""
    path = tmp_path_factory.mktemp("cut") / "m.onnx"
    graph_end = v1_bytes.index(b"mnbench_version") - 200
    path.write_bytes(v1_bytes[: int(graph_end * share)])

    assert isinstance(_refusal(path), BuildError)


def test_truncated_file_says_so(tmp_path, v1_bytes):
    """The error for half a file names the file and what may have happened."""
    path = tmp_path / "m.onnx"
    path.write_bytes(v1_bytes[: len(v1_bytes) // 2])
    expected = (f"{path}: is not an ONNX model, or is cut short", "export or download it again")
    error = _refused(path)

    assert expected == (error.message, error.hint)


@pytest.mark.parametrize(
    ("data", "problem"), [(b"", "is empty"), (onnx.ModelProto(ir_version=8).SerializeToString(), "holds no graph")]
)
def test_empty_file(tmp_path, data, problem):
    """A file without a graph is refused as such."""
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    expected = f"{path}: {problem}"

    assert expected == _refused(path).message


@given(data=st.binary(max_size=300))
@settings(deadline=None)
def test_random_bytes(tmp_path_factory, data):
    """Bytes that are no model are refused, whatever they are."""
    path = tmp_path_factory.mktemp("random") / "m.onnx"
    path.write_bytes(data)

    assert isinstance(_refusal(path), BuildError)


@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(deadline=None, max_examples=200)
def test_one_wrong_bit(tmp_path_factory, position, bit):
    """A file with one wrong bit is read or refused, and nothing else comes of it."""
    data = bytearray(_proto().SerializeToString())
    data[int(position * len(data))] ^= 1 << bit
    path = tmp_path_factory.mktemp("bit") / "m.onnx"
    path.write_bytes(data)
    error = _refusal(path)

    assert error is None or "\n" not in error.message


@pytest.mark.parametrize("name", ["m.onnx", "m.json", "m.textproto", "m.onnxtxt", "m"])
def test_text_file(tmp_path, name):
    """A text file is refused, whatever its name says that it is."""
    path = tmp_path / name
    path.write_text("# Not a model\n", encoding="utf-8")
    expected = f"{path}: is not an ONNX model, or is cut short"

    assert expected == _refused(path).message


@pytest.mark.parametrize(
    ("name", "problem"),
    [("none.onnx", "cannot be read (No such file"), (".", "is a folder"), ("a/b.onnx", "cannot be read (No such")],
)
def test_path_that_is_no_file(tmp_path, name, problem):
    """A missing file and a folder are refused for what they are."""
    path = tmp_path / name
    error = _refused(path, FileError)

    assert error.message.startswith(f"{path}: {problem}")


def test_file_that_is_too_large(tmp_path, monkeypatch):
    """A file beyond protobuf's limit is refused before it is read."""
    path = _saved(tmp_path / "m.onnx", _proto())
    monkeypatch.setattr(reader, "PROTOBUF_LIMIT_BYTES", path.stat().st_size)
    expected = f"{path}: is larger than 2 GB, which no ONNX file is"

    assert expected == _refused(path).message


@pytest.mark.parametrize("shape", [("N", 3, 8, 8), (None, 3, 8, 8)])
def test_open_batch_becomes_one(tmp_path, shape):
    """A batch that the file leaves open is 1, in every layer."""
    model = read_onnx(_saved(tmp_path / "m.onnx", _proto(shape)))
    expected = [(1, 3, 8, 8), (1, 4, 8, 8), (1, 4, 8, 8)]
    first, second = model.node_layers

    assert expected == [tensor.shape for tensor in (first.inputs[0], first.output, second.output)]


def test_fixed_batch_stays(tmp_path):
    """A batch that the file fixes is left as it is."""
    expected = (4, 4, 8, 8)

    assert expected == read_onnx(_saved(tmp_path / "m.onnx", _proto((4, 3, 8, 8)))).node_layers[-1].output.shape


def test_weights_among_the_inputs(tmp_path):
    """A weight that the file lists among its inputs, as old exporters do, is no input."""
    proto = _proto(("N", 3, 8, 8))
    proto.graph.input.insert(0, helper.make_tensor_value_info("w", TensorProto.FLOAT, WEIGHT.shape))
    expected = (8, 8)

    assert expected == read_onnx(_saved(tmp_path / "m.onnx", proto)).resolution


def test_model_that_takes_no_image(tmp_path):
    """A model of vectors has no resolution."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = read_onnx(_saved(tmp_path / "m.onnx", proto))

    assert model.resolution is None
