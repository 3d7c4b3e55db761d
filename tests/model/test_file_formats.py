"""What a file is that was taken for an ONNX model."""

import gzip
import io
import tarfile
import zipfile

import pytest
from onnx import helper

from mnbench.errors import BuildError
from mnbench.model.file_formats import HEAD_BYTES, describe_other_format
from mnbench.model.read_onnx import read_onnx

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 13998763\n"


def _zipped(name):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"1")
    return buffer.getvalue()


def _tarred():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.onnx"), io.BytesIO())
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        (POINTER, "is a git-lfs pointer, not the model", "git lfs pull"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page", "download"),
        (b"\n  <html lang='en'>", "is a web page", "download"),
        (_zipped("model.onnx"), "is a zip archive", "unpack"),
        (_zipped("archive/data.pkl"), "is a PyTorch checkpoint", "export"),
        (gzip.compress(b"model", mtime=0), "is compressed by gzip", "unpack"),
        (_tarred(), "is a tar archive", "unpack"),
        (b"\x89HDF\r\n\x1a\n" + bytes(8), "is an HDF5 file", "export"),
        (b"\x1c\0\0\0TFL3" + bytes(8), "is a TensorFlow Lite model", "export"),
        (b"\x20\0\0\0\0\0\0\0" + b'{"w":{"dtype":"F32"}}', "is a safetensors file", "export"),
    ],
)
def test_known_format(tmp_path, data, message, hint):
    """The error for a file of another format names that format and what to do."""
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(BuildError) as caught:
        read_onnx(path)

    assert caught.value.message.startswith(f"{path}: {message}")
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize("producer", ["", "pytorch", "tf2onnx", "TFL3", '{"', "x" * 260 + "ustar"])
def test_onnx_model_is_no_other_format(tmp_path, producer):
    """A model is read, whatever its first bytes look like."""
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [], [])
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph, producer_name=producer).SerializeToString())

    assert read_onnx(path).nodes == 1


def test_unknown_bytes():
    """Bytes without a mark are of no known format."""
    assert describe_other_format(bytes(HEAD_BYTES)) is None
