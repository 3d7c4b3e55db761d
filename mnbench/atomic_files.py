"""Files that are whole or not there at all."""

import os
import tempfile
from pathlib import Path

from mnbench.errors import FileError


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file in one step: a reader sees the old one or the new one, whatever ends this process.

    `durable` waits until the disk has it, so that a power failure changes nothing either; what can be made again need
    not wait.

    Raises:
        FileError: the folder is missing or not writable, the disk is full, or the path is a folder.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            if durable:
                os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as failure:
        raise write_error(path, failure) from failure
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def write_error(path: Path, failure: OSError) -> FileError:
    """The error for a file that could not be written."""
    return FileError(
        f"{path}: cannot be written ({failure.strerror})",
        hint="free some space, or name another place that you can write to",
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
