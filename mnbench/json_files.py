"""JSON files of others: a value of the type that is expected, or an error that names the file."""

from pathlib import Path
from typing import TypeVar

import msgspec

from mnbench.errors import ResultsError, first_line
from mnbench.regular_files import read_regular

T = TypeVar("T")

MAX_BYTES = 2**26

BROKEN_DATA = (ValueError, RecursionError)
"""What msgspec raises: its own errors and those of Unicode are ValueErrors."""


def read_json(path: Path, kind: type[T]) -> T:
    """Read a JSON file as a `kind`.

    Raises:
        FileNotFoundError: there is no such file.
        FileError: it cannot be read, or is larger than MAX_BYTES.
        ResultsError: it holds something else.
    """
    data = read_regular(path, max_bytes=MAX_BYTES)
    try:
        return msgspec.json.decode(data, type=kind)
    except BROKEN_DATA as failure:
        raise ResultsError(
            f"{path}: cannot be read: {first_line(failure)}",
            hint="restore it from version control, or delete it and measure again",
        ) from failure
