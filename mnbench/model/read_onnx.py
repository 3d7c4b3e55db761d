"""A user's own `.onnx` file, as it is."""

import os
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from mnbench.errors import BuildError, FileError, read_error
from mnbench.model.external_data import load_external_data, locate_external_data
from mnbench.model.file_formats import HEAD_BYTES, describe_other_format
from mnbench.model.model import Model
from mnbench.regular_files import open_regular

PROTOBUF_LIMIT_BYTES = 2**31
"""What one message holds at most. A model with more is measured from its own files, and not copied."""

MAX_OUTPUTS = 10_000


def read_onnx(path: Path) -> Model:
    """Read a model. External data comes inside, unless the model gets larger than 2 GB by it.

    Raises:
        FileError: a file cannot be read.
        BuildError: it is not an ONNX model, or its external data is missing, cut short or elsewhere.
    """
    data = _read(path)
    proto = _parse(path, data)
    tensors = locate_external_data(proto, path)
    if not tensors:
        return Model(name=path.stem, proto=proto, file=path, data=data)
    if len(data) + sum(tensor.size_bytes for tensor in tensors) < PROTOBUF_LIMIT_BYTES:
        load_external_data(tensors)
        return Model(name=path.stem, proto=proto, file=path)
    files = tuple(dict.fromkeys(tensor.file for tensor in tensors))
    # A runtime looks for the data beside the path that it is given.
    beside = all(tensor.folder == path.parent for tensor in tensors)
    return Model(name=path.stem, proto=proto, file=path if beside else path.resolve(), data=data, data_files=files)


def parse_proto(data: bytes) -> onnx.ModelProto:
    """Return the model in these bytes.

    Raises:
        DecodeError: they are none, or a text in it is not UTF-8, which protobuf returns as bytes.
    """
    proto = onnx.ModelProto.FromString(data)
    if not _has_only_text(proto):
        raise DecodeError("a text is not UTF-8")
    return proto


def _has_only_text(message: Message) -> bool:
    for field, value in message.ListFields():
        if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE):
            items: list[Any] = [value] if isinstance(value, str | bytes | Message) else list(value)
            if not all(_has_only_text(item) if isinstance(item, Message) else isinstance(item, str) for item in items):
                return False
    return True


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise FileError(f"{path}: is a folder", hint=f"name the files in it: {path}/*.onnx")
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size >= PROTOBUF_LIMIT_BYTES:
                raise _not_a_model(path, file.read(HEAD_BYTES), "is larger than 2 GB, which no ONNX file is")
            return file.read()
    except OSError as failure:
        raise read_error(path, failure, "an .onnx file") from failure


def _parse(path: Path, data: bytes) -> onnx.ModelProto:
    try:
        proto = parse_proto(data)
    except DecodeError as failure:
        raise _not_a_model(path, data, "is not an ONNX model, or is cut short") from failure
    if len(proto.graph.output) > MAX_OUTPUTS:
        raise BuildError(
            f"{path}: has {len(proto.graph.output):,} outputs, and at most {MAX_OUTPUTS:,} are read",
            hint="export it with fewer outputs",
        )
    if not proto.graph.node:
        raise _not_a_model(path, data, "holds no graph" if data else "is empty")
    return proto


def _not_a_model(path: Path, head: bytes, message: str) -> BuildError:
    message, hint = describe_other_format(head) or (message, "export or download it again")
    return BuildError(f"{path}: {message}", hint=hint)
