"""A user's own `.onnx` file, as it is."""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from mnbench.errors import BuildError, FileError, first_line
from mnbench.model.model import Model

PROTOBUF_LIMIT_BYTES = 2**31


def read_onnx(path: Path) -> Model:
    """Read a model; external data comes inside.

    Raises:
        FileError: the file cannot be read.
        BuildError: it is no ONNX model, is broken, larger than 2 GB, or refers to files outside its folder.
    """
    try:
        if path.stat().st_size >= PROTOBUF_LIMIT_BYTES:
            raise BuildError(f"{path}: is larger than 2 GB", hint="such models are beyond what mnbench is for")
        proto = onnx.load(path, format="protobuf")  # pyright: ignore[reportUnknownMemberType]
    except OSError as failure:
        raise FileError(
            f"{failure.filename or path}: cannot be read ({failure.strerror})",
            hint="name an .onnx file that you can read",
        ) from failure
    except DecodeError as failure:
        raise BuildError(f"{path}: is no ONNX model, or is cut short", hint="export or download it again") from failure
    except (onnx.checker.ValidationError, ValueError) as failure:
        raise BuildError(
            f"{path}: its external data cannot be used: {first_line(failure)}",
            hint="keep the data in files beside the model",
        ) from failure
    if not proto.graph.node:
        raise BuildError(f"{path}: holds no graph", hint="export or download it again")
    return Model(name=path.stem, proto=proto)
