"""Archives of arrays and JSON facts, one .npz file for each process."""

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from mnbench import atomic_files


def write_archive(path: Path, arrays: Mapping[str, Any], facts: Mapping[str, Any], *, durable: bool = True) -> None:
    """Write arrays and facts atomically.

    Raises:
        FileError: no space, no permission.
    """
    packed = BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays, facts=np.array(json.dumps(facts)))
    atomic_files.write_atomically(path, packed.getvalue(), durable=durable)


def read_archive(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arrays and the facts. A spoiled archive raises whatever zipfile, zlib, json and numpy raise."""
    with path.open("rb") as file, np.load(file) as entries:
        arrays = dict(entries)
    return arrays, json.loads(str(arrays.pop("facts")))
