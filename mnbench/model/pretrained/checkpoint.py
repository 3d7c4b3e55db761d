"""Files of weights: what they hold is known before any of it is read, and nothing in them is ever run."""

import hashlib
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mnbench.errors import BuildError, FileError, first_line

MAX_HEADER_BYTES = 16 * 2**20
"""Of a .safetensors file; one of 300 tensors takes 40 KB."""

LENGTH_BYTES = 8

PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth", ".tar")

FLOAT_DTYPES = {"F32": "float32", "F16": "float16"}
"""What holds every number exactly in fp32, by safetensors' names."""


class TensorInfo(NamedTuple):
    """What a file says of one of its tensors."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The tensors of a file by name, and how to read one: names without the `module.` that training on GPUs adds."""

    path: Path
    tensors: Mapping[str, TensorInfo]
    read_all: Callable[[Iterable[str]], list[NDArray[Any]]]
    prefix: str = ""

    def read(self, names: Iterable[str]) -> list[NDArray[Any]]:
        """Read the numbers of these tensors.

        Raises:
            BuildError: the file is damaged.
        """
        return self.read_all([self.prefix + name for name in names])

    def sha256(self) -> str:
        """Return the file's hash."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def open_checkpoint(path: Path) -> Checkpoint:
    """Look into a .safetensors or .npz file.

    Raises:
        FileError: it cannot be read.
        BuildError: it is no such file, or damaged, or a pickle, which would run what is in it.
    """
    readers = {".safetensors": (_look_into_safetensors, _read_safetensors), ".npz": (_look_into_npz, _read_npz)}
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise BuildError(f"{path}: is a pickle, which can run anything when it is read", hint=conversion_command(path))
    if suffix not in readers:
        raise BuildError(f"{path}: is neither .safetensors nor .npz", hint="convert the weights to one of them")
    look, read = readers[suffix]
    try:
        tensors = look(path)
    except OSError as failure:
        raise FileError(
            f"{path}: cannot be read ({failure.strerror or first_line(failure)})", hint="name a file that you can read"
        ) from failure
    prefix = "module." if tensors and all(name.startswith("module.") for name in tensors) else ""
    bare = {name.removeprefix(prefix): held for name, held in tensors.items()}
    return Checkpoint(path=path, tensors=bare, read_all=partial(read, path), prefix=prefix)


def conversion_command(path: Path) -> str:
    """Return the command that converts a pickle to a .safetensors file."""
    return (
        'python -c "import torch; from safetensors.torch import save_file; '
        f"d = torch.load('{path}', map_location='cpu', weights_only=True); "
        f"save_file(d.get('state_dict', d), '{path.with_suffix('.safetensors')}')\""
    )


def _look_into_safetensors(path: Path) -> dict[str, TensorInfo]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if length > MAX_HEADER_BYTES:
            _refuse(path, f"its header claims {length:,} bytes, more than {MAX_HEADER_BYTES:,}")
        header = file.read(length)
    try:
        # The library keeps the last of two tensors of one name.
        json.loads(header, object_pairs_hook=partial(_once, path))
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


def _read_safetensors(path: Path, names: Iterable[str]) -> list[NDArray[Any]]:
    import safetensors  # noqa: PLC0415  only here

    library: Any = safetensors
    try:
        with library.safe_open(path, framework="numpy") as file:
            return [file.get_tensor(name) for name in names]
    except (library.SafetensorError, OSError) as failure:
        _refuse(path, first_line(failure))


def _look_into_npz(path: Path) -> dict[str, TensorInfo]:
    path.stat()  # zipfile takes what is missing for what is no zip file
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _once(path, [(name, None) for name in archive.namelist()])
            return {name.removesuffix(".npy"): _header(archive, name) for name in entries}
    except (*_DAMAGE, NotImplementedError) as failure:
        _refuse(path, first_line(failure))


def _header(archive: zipfile.ZipFile, name: str) -> TensorInfo:
    with archive.open(name) as member:
        version = npy.read_magic(member)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if read is None:
            raise ValueError(f"{name} is of version {version}")
        shape, _, dtype = read(member)
        return TensorInfo(shape, {kind: short for short, kind in FLOAT_DTYPES.items()}.get(dtype.name, dtype.name))


def _read_npz(path: Path, names: Iterable[str]) -> list[NDArray[Any]]:
    arrays: list[NDArray[Any]] = []
    try:
        with zipfile.ZipFile(path) as archive:
            for name in names:
                with archive.open(f"{name}.npy") as member:
                    arrays.append(np.asarray(npy.read_array(member, allow_pickle=False)))
    except (*_DAMAGE, OSError) as failure:
        _refuse(path, first_line(failure))
    return arrays


_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, RuntimeError)


def _once(path: Path, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return a dictionary; a repeated name is an error."""
    pairs = list(pairs)
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            _refuse(path, f"{to_printable(name)} is there {count} times")
    return dict(pairs)


def to_printable(name: str) -> str:
    """Return a name from an untrusted file as one printable line."""
    short = name if len(name) <= 100 else f"{name[:97]}…"
    return "".join(sign if sign.isprintable() else "?" for sign in short)


def _refuse(path: Path, why: str) -> NoReturn:
    raise BuildError(
        f"{path}: is damaged, or no file of weights: {why}", hint="download it again, or save the weights again"
    )
