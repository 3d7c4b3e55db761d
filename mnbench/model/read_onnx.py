"""A user's own `.onnx` file, as a model whose every size is fixed."""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from mnbench.errors import BuildError, FileError, first_line
from mnbench.model.inputs import graph_inputs
from mnbench.model.model import Model
from mnbench.model.to_onnx import check_model

PROTOBUF_LIMIT_BYTES = 2**31


def read_onnx(path: Path, *, resolution: tuple[int, int] | None = None) -> Model:
    """Read and check a model; external data comes inside. A symbolic batch becomes 1.

    Raises:
        FileError: the file cannot be read.
        BuildError: it is no ONNX model, is broken, larger than 2 GB, refers to files outside its folder, or has a
            symbolic height and width that `resolution` (height, width) does not settle.
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
    check_model(Model(name=path.stem, proto=proto))
    _fix_sizes(proto, path.stem, resolution)
    return Model(name=path.stem, proto=proto)


def _fix_sizes(proto: onnx.ModelProto, name: str, resolution: tuple[int, int] | None) -> None:
    for value in graph_inputs(proto):
        sides = value.type.tensor_type.shape.dim
        wanted = {0: 1}
        if len(sides) == 4 and resolution:
            wanted |= {2: resolution[0], 3: resolution[1]}
        for axis, side in enumerate(sides):
            size = wanted.get(axis)
            if not side.HasField("dim_value"):
                if size is None:
                    raise BuildError(
                        f"{name}: size {axis} of input {value.name} is left open ({side.dim_param or '?'})",
                        hint="give height and width with --res",
                    )
                side.dim_value = size
            elif side.dim_value < 1:
                raise BuildError(
                    f"{name}: size {axis} of input {value.name} is {side.dim_value}",
                    hint="export the model again",
                )
            elif axis > 0 and size is not None and side.dim_value != size:
                raise BuildError(
                    f"{name}: input {value.name} is fixed at {sides[2].dim_value}x{sides[3].dim_value}",
                    hint="leave --res out for this model",
                )
