"""Weights in files beside a model: found, read, and never from elsewhere."""

import hashlib
import shutil

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import mnbench.model.read_onnx as reader
from mnbench.bench.prepare import prepare_case
from mnbench.bench.request import session_request
from mnbench.errors import BuildError, TrialError
from mnbench.model.external_data import locate_external_data
from mnbench.model.read_onnx import read_onnx
from mnbench.model.reference import reference_outputs
from mnbench.model.simplify import simplify
from mnbench.model.weightless import strip_weights

WEIGHT = np.arange(12 * 4, dtype=np.float32).reshape(12, 4)
FEED = {"x": np.ones((1, 12), np.float32)}


def _proto(location, **entries):
    """A matrix multiplication whose weights are in another file."""
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=WEIGHT.shape, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=str(value))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 12))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4))],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _save(path, location="w.bin", **entries):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_proto(location, **entries).SerializeToString())
    return path


def _refused(path):
    with pytest.raises(BuildError) as caught:
        read_onnx(path)
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value


def _weight(model):
    return numpy_helper.to_array(model.proto.graph.initializer[0])


@pytest.fixture
def hub(tmp_path):
    """A model in a hub's cache: links with readable names to files that are named by their hash."""
    source = _save(tmp_path / "download/m.onnx")
    (tmp_path / "download/w.bin").write_bytes(WEIGHT.tobytes())
    folder = tmp_path / "hub/snapshots/abc"
    folder.mkdir(parents=True)
    (tmp_path / "hub/blobs").mkdir()
    for file in (source, source.with_name("w.bin")):
        blob = tmp_path / "hub/blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        shutil.move(file, blob)
        (folder / file.name).symlink_to(f"../../blobs/{blob.name}")
    return folder / "m.onnx"


@pytest.mark.parametrize("location", ["../secret.bin", "sub/../../secret.bin", "{outside}/secret.bin", ""])
def test_data_outside_the_folder(tmp_path, location):
    """Data that is said to be outside the model's folder is refused, though the file is there."""
    (tmp_path / "secret.bin").write_bytes(WEIGHT.tobytes())
    (tmp_path / "models/sub").mkdir(parents=True)
    path = _save(tmp_path / "models/m.onnx", location.format(outside=tmp_path))
    error = _refused(path)

    assert error.message.startswith(f"{path}: its weights are outside its folder (")
    assert error.hint == "keep the data in files beside the model"


def test_link_to_a_file_outside_the_folder(tmp_path):
    """A link beside a model that is no link itself does not lead outside its folder either."""
    (tmp_path / "secret.bin").write_bytes(WEIGHT.tobytes())
    path = _save(tmp_path / "models/m.onnx", "link.bin")
    (tmp_path / "models/link.bin").symlink_to(tmp_path / "secret.bin")

    assert "outside its folder (link.bin)" in _refused(path).message


def test_links_of_a_hub(hub):
    """Model and data may be links into one folder."""
    assert np.array_equal(WEIGHT, _weight(read_onnx(hub)))


def test_link_to_a_model_elsewhere(tmp_path):
    """The data may lie beside the file that the model links to."""
    target = _save(tmp_path / "models/m.onnx")
    target.with_name("w.bin").write_bytes(WEIGHT.tobytes())
    link = tmp_path / "m.onnx"
    link.symlink_to(target)

    assert np.array_equal(WEIGHT, _weight(read_onnx(link)))


@given(before=st.binary(max_size=100), after=st.binary(max_size=100), named_length=st.booleans())
@settings(deadline=None, max_examples=30)
def test_data_comes_inside(tmp_path_factory, before, after, named_length):
    """Data at any offset comes inside; the model's bytes need no other file."""
    folder = tmp_path_factory.mktemp("data")
    length = {"length": WEIGHT.nbytes} if named_length else {}
    path = _save(folder / "m.onnx", offset=len(before), **length)
    (folder / "w.bin").write_bytes(before + WEIGHT.tobytes() + after)
    model = read_onnx(path)

    assert np.array_equal(WEIGHT, _weight(model))
    assert not model.proto.graph.initializer[0].external_data
    assert WEIGHT.tobytes() in model.to_bytes()


def test_current_folder_does_not_matter(tmp_path, monkeypatch):
    """Data is looked for beside the model, also if the model's path is relative."""
    _save(tmp_path / "models/m.onnx")
    (tmp_path / "models/w.bin").write_bytes(WEIGHT.tobytes())
    monkeypatch.chdir(tmp_path)

    assert np.array_equal(WEIGHT, _weight(read_onnx(reader.Path("models/m.onnx"))))


@pytest.mark.parametrize(
    ("location", "entries", "message"),
    [
        ("none.bin", {}, "none.bin is not there"),
        (".", {}, "is not there"),
        ("w.bin", {"offset": "abc"}, "broken reference"),
        ("w.bin", {"offset": -5}, "from -5"),
        ("w.bin", {"offset": 10**9}, "is cut short"),
        ("w.bin", {"offset": 1}, "is cut short"),
        ("w.bin", {"length": 10}, "takes 192 bytes, and not 10"),
        ("w.bin", {"length": 10**12}, "takes 192 bytes"),
        ("pointer.bin", {}, "pointer.bin: is a git-lfs pointer"),
    ],
)
def test_data_that_is_broken(tmp_path, location, entries, message):
    """Data that is missing, cut short, misplaced or not downloaded is refused by its name."""
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    (tmp_path / "pointer.bin").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")

    assert message in _refused(_save(tmp_path / "m.onnx", location, **entries)).message


@pytest.mark.parametrize("name", ["INT4", "UINT4", "BOOL", "BFLOAT16", "INT64"])
def test_sizes_of_all_types(tmp_path, name):
    """The size of a weight is that of onnx, also where a byte holds two numbers."""
    kind = getattr(TensorProto, name)
    weight = numpy_helper.from_array(np.zeros(7, helper.tensor_dtype_to_np_dtype(kind)), "w")
    (tmp_path / "w.bin").write_bytes(weight.raw_data)
    proto = _proto("w.bin")
    del proto.graph.initializer[0].dims[:]
    proto.graph.initializer[0].dims.extend([7])
    proto.graph.initializer[0].data_type = kind
    (external,) = locate_external_data(proto, tmp_path / "m.onnx")

    assert external.size_bytes == len(weight.raw_data)


def test_data_in_subgraphs_and_attributes(tmp_path):
    """Tensors of attributes and of the branches of an If are found too."""
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    weight = _proto("w.bin").graph.initializer[0]
    branch = helper.make_graph([helper.make_node("Constant", [], ["z"], value=weight)], "branch", [], [])
    proto = _proto("w.bin")
    proto.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch))

    assert len(locate_external_data(proto, tmp_path / "m.onnx")) == 3


@pytest.fixture
def large(hub, monkeypatch):
    """A model that counts as larger than 2 GB."""
    monkeypatch.setattr(reader, "PROTOBUF_LIMIT_BYTES", hub.stat().st_size + WEIGHT.nbytes)
    return hub


def test_large_model_is_not_copied(large):
    """A model of more than 2 GB is run from its own files, and its weights are not read."""
    model = read_onnx(large)
    (output,) = reference_outputs(model.session_source(), FEED, name="m")

    assert np.array_equal(FEED["x"] @ WEIGHT, output)
    assert model.proto.graph.initializer[0].external_data
    assert model.file_in(large.parent / "nowhere") == large
    assert model.size_bytes == large.stat().st_size + WEIGHT.nbytes
    with pytest.raises(BuildError, match="larger than 2 GB"):
        model.to_bytes()


def test_large_model_cannot_be_changed(large):
    """What would have to copy its weights says so."""
    model = read_onnx(large)

    for copy in (simplify, strip_weights, lambda model: model.save(large.with_name("copy.onnx"))):
        with pytest.raises(BuildError, match="larger than 2 GB"):
            copy(model)


def test_large_model_as_a_case(large, tmp_path, make_device):
    """A case of a large model is measured from the user's own file, on this machine alone."""
    case = prepare_case(read_onnx(large), tmp_path, variant="m", seed=0)

    assert session_request(make_device(), case, case.path)["model"] == str(large)
    with pytest.raises(TrialError, match="larger than 2 GB"):
        session_request(make_device(gateway="ssh=board"), case, case.path)


@pytest.mark.slow
def test_beyond_two_gigabytes(tmp_path):
    """A model with 2.2 GB of weights is counted without reading them; onnxruntime finds them."""
    side = 23_500
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(side * side * 4)
    if (tmp_path / "w.bin").stat().st_blocks:
        pytest.skip("this disk writes every zero of a sparse file")
    proto = _proto("w.bin")
    for dims in (proto.graph.initializer[0].dims, proto.graph.input[0].type.tensor_type.shape.dim):
        del dims[:]
    proto.graph.initializer[0].dims.extend([side, side])
    for size in (1, side):
        proto.graph.input[0].type.tensor_type.shape.dim.add().dim_value = size
    proto.graph.output[0].type.tensor_type.shape.CopyFrom(proto.graph.input[0].type.tensor_type.shape)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    model = read_onnx(tmp_path / "m.onnx")
    (output,) = reference_outputs(model.session_source(), model.make_inputs(0), name="m")

    assert model.cost.mult_adds == side**2
    assert output.shape == (1, side)


@pytest.mark.usefixtures("large")
def test_large_model_beside_its_target(tmp_path):
    """A runtime gets the path of the file beside which the data lies."""
    link = tmp_path / "m.onnx"
    target = _save(tmp_path / "models/m.onnx")
    target.with_name("w.bin").write_bytes(WEIGHT.tobytes())
    link.symlink_to(target)

    assert reference_outputs(read_onnx(link).session_source(), FEED, name="m")


def test_hash_of_a_large_model(large):
    """The hash changes with the weights, though they are not read into the model."""
    before = read_onnx(large).sha256
    large.with_name("w.bin").resolve().write_bytes((WEIGHT + 1).tobytes())

    assert before != read_onnx(large).sha256


def test_bytes_are_those_of_the_file(tmp_path):
    """A model without external data has the bytes and the hash of its file, until its graph changes."""
    inside = _proto("w.bin")
    inside.graph.initializer[0].CopyFrom(numpy_helper.from_array(WEIGHT, "w"))
    data = inside.SerializeToString() + b"\xfa\x3f\x02hi"  # a field that onnx does not know
    (tmp_path / "m.onnx").write_bytes(data)
    model = read_onnx(tmp_path / "m.onnx")

    assert data == model.to_bytes()
    assert hashlib.sha256(data).hexdigest() == model.sha256
    assert onnx.ModelProto.FromString(model.with_proto(inside).to_bytes()) == inside
