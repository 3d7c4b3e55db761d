"""Archives of arrays and JSON facts, one .npz file for each process."""

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnbench import atomic_files
from mnbench.array_files import read_arrays
from mnbench.errors import FileError


def write_archive(path: Path, arrays: Mapping[str, Any], facts: Mapping[str, Any], *, durable: bool = True) -> None:
    """Write arrays and facts atomically.

    Raises:
        FileError: no space, no permission.
    """
    packed = BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays, facts=np.array(json.dumps(facts)))
    atomic_files.write_atomically(path, packed.getvalue(), durable=durable)


def read_archive(path: Path) -> tuple[dict[str, NDArray[Any]], bytes]:
    """Return the arrays, and the facts as JSON.

    Raises:
        FileNotFoundError: there is no such file.
        FileError: it cannot be read, or is not such an archive.
    """
    arrays = read_arrays(path)
    if "facts" not in arrays:
        raise FileError(f"{path}: holds no facts", hint="delete it, and measure again")
    return arrays, str(arrays.pop("facts")).encode()
