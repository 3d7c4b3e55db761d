"""Temporary folders: all lie in one folder of this process, which the next command removes if this one is killed."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from mnbench import atomic_files

PREFIX = "mnbench-"
LOCK = "lock"
"""The file that a living process keeps locked."""


@contextmanager
def temporary_folder() -> Generator[Path]:
    """Make a folder that is removed at the end of the block.

    Raises:
        FileError: there is no space, or no folder for temporary files.
    """
    with tempfile.TemporaryDirectory(dir=process_folder(), prefix=PREFIX, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@cache
def process_folder() -> Path:
    """Return the folder for temporary files of this process and of the processes that it starts.

    Raises:
        FileError: there is no space, or no folder for temporary files.
    """
    remove_abandoned()
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = FileLock(folder / LOCK)
        lock.acquire()
    except OSError as failure:
        raise atomic_files.write_error(Path(tempfile.gettempdir()), failure) from failure
    process = os.getpid()

    def remove() -> None:
        if os.getpid() == process:
            shutil.rmtree(folder, ignore_errors=True)
            lock.release()

    atexit.register(remove)
    return folder


def remove_abandoned() -> None:
    """Remove the folders of processes of this user that were killed: nobody holds their locks."""
    with suppress(OSError):
        for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            with suppress(OSError, Timeout):
                is_own = not hasattr(os, "getuid") or folder.lstat().st_uid == os.getuid()
                if is_own and not folder.is_symlink() and (folder / LOCK).is_file():
                    with FileLock(folder / LOCK, timeout=0):
                        shutil.rmtree(folder)
