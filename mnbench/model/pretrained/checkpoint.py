"""Read weight files: names and shapes come first, tensors on demand, and no code in a file is run."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from numpy.typing import NDArray

from mnbench.errors import BuildError, first_line, read_error
from mnbench.regular_files import open_regular
from mnbench.text import shorten

SUFFIX = ".safetensors"

LENGTH_BYTES = 8
"""Of the number at the start of a .safetensors file that gives its header's length."""

MAX_HEADER_BYTES = 16 * 2**20
"""The header of a file with 300 tensors takes 40 KB."""

PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth", ".tar")

FLOAT_DTYPES = {"F32": "float32", "F16": "float16"}
"""What holds every number exactly in fp32, by safetensors' names."""

MAX_NAME_LENGTH = 100
"""Of a tensor's name in an error; longer ones are cut."""


class TensorInfo(NamedTuple):
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The tensors of a file by name, without the prefix `module.` that training on several GPUs adds."""

    path: Path
    tensors: Mapping[str, TensorInfo]
    prefix: str = ""

    def read(self, names: Iterable[str]) -> list[NDArray[Any]]:
        """Read the numbers of these tensors.

        Raises:
            BuildError: the file is damaged.
        """
        import safetensors  # noqa: PLC0415  only here

        library: Any = safetensors
        try:
            with library.safe_open(self.path, framework="numpy") as file:
                return [file.get_tensor(self.prefix + name) for name in names]
        except (library.SafetensorError, OSError) as failure:
            _refuse(self.path, first_line(failure))

    def sha256(self) -> str:
        with open_regular(self.path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def open_checkpoint(path: Path) -> Checkpoint:
    """Read the names, shapes and types of a .safetensors file's tensors.

    Raises:
        FileError: it cannot be read.
        BuildError: it is no such file, or damaged, or a pickle, which would run what is in it.
    """
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise BuildError(f"{path}: is a pickle, which can run anything when it is read", hint=conversion_command(path))
    if suffix != SUFFIX:
        raise BuildError(f"{path}: is not a {SUFFIX} file", hint=f"convert the weights: {conversion_command(path)}")
    try:
        tensors = _tensor_infos(path)
    except OSError as failure:
        raise read_error(path, failure) from failure
    prefix = "module." if tensors and all(name.startswith("module.") for name in tensors) else ""
    bare = {name.removeprefix(prefix): info for name, info in tensors.items()}
    return Checkpoint(path=path, tensors=bare, prefix=prefix)


def conversion_command(path: Path) -> str:
    """Return the command that converts a pickle or an .npz file to a .safetensors file."""
    target = path.parent / f"{path.stem}{SUFFIX}"
    if path.suffix.lower() in PICKLES:
        return (
            'python -c "import torch; from safetensors.torch import save_file; '
            f"d = torch.load('{path}', map_location='cpu', weights_only=True); "
            f"save_file(d.get('state_dict', d), '{target}')\""
        )
    return (
        'python -c "import numpy as np, safetensors.numpy; '
        f"safetensors.numpy.save_file(dict(np.load('{path}')), '{target}')\""
    )


def _tensor_infos(path: Path) -> dict[str, TensorInfo]:
    with open_regular(path) as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if length > MAX_HEADER_BYTES:
            _refuse(path, f"its header claims {length:,} bytes, more than {MAX_HEADER_BYTES:,}")
        header = file.read(length)
    try:
        json.loads(header, object_pairs_hook=partial(_refuse_repeated_names, path))
    except (ValueError, RecursionError) as failure:
        _refuse(path, f"its header is none ({first_line(failure)})")
    import safetensors  # noqa: PLC0415  only here

    library: Any = safetensors
    try:
        with library.safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  it is no dictionary
            return {name: TensorInfo(tuple(item.get_shape()), item.get_dtype()) for name, item in slices.items()}
    except library.SafetensorError as failure:
        _refuse(path, first_line(failure))


def _refuse_repeated_names(path: Path, pairs: list[tuple[str, Any]]) -> None:
    """Refuse two tensors of one name, of which the library would keep the last."""
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            _refuse(path, f"{shorten(name, MAX_NAME_LENGTH)} is there {count} times")


def _refuse(path: Path, why: str) -> NoReturn:
    raise BuildError(
        f"{path}: is damaged, or no file of weights: {why}", hint="download it again, or save the weights again"
    )
