"""What a file is that was taken for an ONNX model: the formats that models are kept or lost in."""

from typing import NamedTuple


class OtherFormat(NamedTuple):
    """Why a file is not an ONNX model, and what to do about it."""

    message: str
    hint: str


HEAD_BYTES = 512
EXPORT = "export it to ONNX with the framework that wrote it"
UNPACK = "unpack it, and name the .onnx file"

FORMATS: tuple[tuple[int, bytes, OtherFormat], ...] = (
    (0, b"version https://git-lfs", OtherFormat("is a git-lfs pointer, not the model", "git lfs pull")),
    (0, b"\x1f\x8b", OtherFormat("is compressed by gzip", UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", OtherFormat("is compressed by zstd", UNPACK)),
    (0, b"\xfd7zXZ\x00", OtherFormat("is compressed by xz", UNPACK)),
    (0, b"\x89HDF\r\n\x1a\n", OtherFormat("is an HDF5 file, as Keras writes them", EXPORT)),
    (0, b"GGUF", OtherFormat("is a GGUF model", EXPORT)),
    (0, b"\x80\x02", OtherFormat("is a Python pickle, as PyTorch writes them", EXPORT)),
    (4, b"TFL3", OtherFormat("is a TensorFlow Lite model", EXPORT)),
    (4, b"ORTM", OtherFormat("is in onnxruntime's own format", "name the .onnx file that it was made from")),
    (8, b'{"', OtherFormat("is a safetensors file: weights without a graph", EXPORT)),
    (257, b"ustar", OtherFormat("is a tar archive", UNPACK)),
)
"""Where the mark of a format lies in a file."""

WEB_PAGE_MARKS = (b"<!doctype html", b"<html")
ZIP_MARK = b"PK\x03\x04"


def describe_other_format(head: bytes) -> OtherFormat | None:
    """Return what a file is that is not an ONNX model, by its first HEAD_BYTES bytes; None if that is not known."""
    if head.lstrip().lower().startswith(WEB_PAGE_MARKS):
        return OtherFormat("is a web page, not a model", "download the file itself, and not the page that shows it")
    if head.startswith(ZIP_MARK):
        pickled = b"data.pkl" in head[:HEAD_BYTES]
        return OtherFormat("is a PyTorch checkpoint", EXPORT) if pickled else OtherFormat("is a zip archive", UNPACK)
    return next((other for offset, mark, other in FORMATS if head.startswith(mark, offset)), None)
