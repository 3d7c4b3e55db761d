"""Files that are written completely or not at all."""

import errno
import hashlib
import os
import re
import tempfile
from pathlib import Path

from mnbench.errors import FileError

MAX_NAME_BYTES = 120
"""Bytes of a file's name without its suffix; file systems allow 255, and temporary files add some."""


def file_name(text: str) -> str:
    """Return a text as a file's name: as it is if that is possible, else quoted, cut, and with a digest."""
    name = re.sub(r"[^\w.=+@,-]", "_", text).encode()[:MAX_NAME_BYTES].decode(errors="ignore")
    return name if name == text else f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


MAX_PREFIX = 50
"""How much of a file's name its temporary file repeats: names have at most 255 bytes."""


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file in one step: a reader sees the old file or the new one, even if this process is killed.

    With `durable`, wait until the data is on disk, so that it survives a power failure. Data that can be made again
    does not need it.

    Raises:
        FileError: the folder is missing or not writable, the disk is full, or the path is a folder.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:MAX_PREFIX]}.")
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
    """Return the error for a file that could not be written."""
    too_long = failure.errno == errno.ENAMETOOLONG
    return FileError(
        f"{path}: cannot be written ({failure.strerror})",
        hint="choose a shorter name" if too_long else "free some space, or choose a folder that you can write to",
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
