"""Files that are written completely or not at all."""

import errno
import hashlib
import os
import re
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from mnbench.errors import FileError

MAX_NAME_BYTES = 120
"""Bytes of a file's name without its suffix; file systems allow 255, and temporary files add some."""

WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def file_name(text: str) -> str:
    """Return a text as a file's name: as it is if that is possible, else quoted, cut, and with a digest.

    The name never leaves its folder, is not hidden, and is no device of Windows.
    """
    name = re.sub(r"[^\w.=+@,-]|^\.|\.$", "_", text).encode(errors="replace")[:MAX_NAME_BYTES].decode(errors="ignore")
    if WINDOWS_DEVICE.fullmatch(name):
        name = f"_{name}"
    if name == text and name:
        return name
    return f"{name}-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:8]}"


MAX_PREFIX = 50
"""How much of a file's name its temporary file repeats: names have at most 255 bytes."""

SUFFIX = ".mnbench-part"
"""How the names of temporary files end."""


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
        _remove_abandoned(path.parent)
        handle, temporary = _create_locked(path)
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


def _create_locked(path: Path) -> tuple[int, str]:
    """Create a temporary file beside the path, locked so that no other process takes it for abandoned."""
    while True:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:MAX_PREFIX]}.", suffix=SUFFIX)
        if _try_lock(handle) and os.fstat(handle).st_nlink:
            return handle, temporary
        os.close(handle)


@cache
def _remove_abandoned(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder, once."""
    for path in folder.glob(f".*{SUFFIX}") if sys.platform != "win32" else ():
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if _try_lock(handle):
                    path.unlink()
            finally:
                os.close(handle)


def _try_lock(handle: int) -> bool:
    """Lock a file until it is closed; return False if another process holds it. Some file systems have no locks."""
    if sys.platform != "win32":
        import fcntl  # noqa: PLC0415  Windows lacks it

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


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
