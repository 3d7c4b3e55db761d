"""Arrays in .npz and .npy files: sizes are checked before anything is unpacked, and nothing is unpickled."""

import os
from math import prod
from pathlib import Path
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from numpy.lib import format as npy
from numpy.typing import NDArray

from mnbench.errors import FileError, first_line
from mnbench.regular_files import open_regular

SUFFIX = ".npy"
MAX_MEMBERS = 10_000
UNPACKED_BYTES = 2**27
"""What any archive may unpack to; a larger one may unpack to four times its size."""


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz file by name, or that of an .npy file under an empty name.

    Raises:
        FileNotFoundError: there is no such file.
        FileError: it cannot be read, holds no plain arrays, or unpacks to more than four times its size and 128 MB.
    """
    with open_regular(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        try:
            if path.suffix == SUFFIX:
                return {"": _read_array(file, size_bytes)}
            return _read_members(file, max(UNPACKED_BYTES, 4 * size_bytes))
        except Exception as failure:  # spoiled archives raise whatever zipfile, zlib and numpy raise
            raise FileError(
                f"{path}: holds no plain arrays: {first_line(failure)}", hint="write it with numpy.save or numpy.savez"
            ) from failure


def _read_members(file: IO[bytes], max_bytes: int) -> dict[str, NDArray[Any]]:
    with ZipFile(file) as archive:
        members = archive.infolist()
        if not {member.compress_type for member in members} <= {ZIP_STORED, ZIP_DEFLATED}:
            raise ValueError("numpy does not compress in this way")
        if len(members) > MAX_MEMBERS:
            raise ValueError(f"{len(members):,} arrays, and at most {MAX_MEMBERS:,} are read")
        unpacked_bytes = sum(member.file_size for member in members)
        if unpacked_bytes > max_bytes:
            raise ValueError(f"{unpacked_bytes:,} bytes when unpacked, and at most {max_bytes:,} are read")
        arrays: dict[str, NDArray[Any]] = {}
        for member in members:
            with archive.open(member) as packed:
                arrays[member.filename.removesuffix(SUFFIX)] = _read_array(packed, member.file_size)
        return arrays


def _read_array(file: IO[bytes], size_bytes: int) -> NDArray[Any]:
    """Return the array in a file of this size, whose header may claim another one."""
    header = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = header(file)
    claimed_bytes = prod(shape) * dtype.itemsize
    if dtype.hasobject or min(shape, default=0) < 0 or claimed_bytes > size_bytes:
        raise ValueError(f"an array {shape} of {dtype}, which takes {claimed_bytes:,} bytes of {size_bytes:,}")
    file.seek(0)
    return npy.read_array(file, allow_pickle=False)
