"""Files of others, opened without waiting: a pipe or a device in a file's place is an error and no endless read."""

import os
import stat
from io import BufferedReader
from pathlib import Path

from mnbench.errors import FileError, read_error


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file to read; links are followed.

    Raises:
        FileNotFoundError: there is no such file.
        FileError: it is a folder, a pipe or a device, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise
    except ValueError as failure:
        raise FileError(f"{path}: no file can have this name", hint="name a file") from failure
    except OSError as failure:
        raise read_error(path, failure) from failure
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        problem = "cannot be read (Is a directory)" if stat.S_ISDIR(mode) else "is not a regular file"
        raise FileError(f"{path}: {problem}", hint="name a file, not a folder, a pipe or a device")
    return os.fdopen(handle, "rb")


def read_regular(path: Path, *, max_bytes: int | None = None) -> bytes:
    """Return the content of a regular file.

    Raises:
        FileNotFoundError: there is no such file.
        FileError: it is no regular file, cannot be read, or is larger than `max_bytes`.
    """
    with open_regular(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if max_bytes is not None and size_bytes > max_bytes:
            raise FileError(
                f"{path}: has {size_bytes:,} bytes, and at most {max_bytes:,} are read", hint="name a smaller file"
            )
        return file.read()
