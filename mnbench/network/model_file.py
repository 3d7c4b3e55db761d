"""A file of graphs/ that names a user's own `.onnx` model, with the sizes and values of its inputs."""

from pathlib import Path
from typing import TypeAlias

import msgspec

from mnbench.errors import GraphFileError
from mnbench.network.toml_struct import TomlStruct, convert_toml, load_toml
from mnbench.network.variant import InputOptions, OnnxFile

Number: TypeAlias = int | float | bool | str


class ModelFile(TomlStruct, frozen=True, kw_only=True):
    """`model` is the path of the `.onnx` file, relative to this file's folder; the tables are as the options."""

    model: str
    dim: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    shape: dict[str, tuple[int, ...]] = msgspec.field(default_factory=dict[str, tuple[int, ...]])
    input: dict[str, Number | tuple[Number, ...]] = msgspec.field(
        default_factory=dict[str, Number | tuple[Number, ...]]
    )


def read_model_file(path: Path) -> OnnxFile | None:
    """Return the model that the file names, labelled with the file's name; None if it describes a graph.

    Raises:
        GraphFileError: the file is wrong.
    """
    table = load_toml(path, GraphFileError)
    if "model" not in table:
        return None
    file = convert_toml(table, path, ModelFile, GraphFileError)
    values = {name: value if isinstance(value, tuple) else (value,) for name, value in file.input.items()}
    texts = {name: ",".join(_text(item, path) for item in items) for name, items in values.items()}
    return OnnxFile(
        path=path.parent / file.model,
        label=path.stem,
        preset=InputOptions(sizes=file.dim, shapes=file.shape, values=texts),
    )


def _text(value: Number, path: Path) -> str:
    """Return a value as it is typed on the command line; a file's path is relative to this file's folder."""
    if isinstance(value, str) and value.endswith((".npy", ".npz")):
        return str(path.parent / value)
    return str(value)
