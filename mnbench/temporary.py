"""Temporary folders: all lie in one folder of this process, which the next command removes if this one is killed."""

import atexit
import os
import re
import secrets
import shutil
import signal
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from mnbench import atomic_files
from mnbench.stop_signals import STOP_SIGNALS

LOCK = re.compile(r"mnbench-[0-9a-f]{16}\.lock")
"""The file that a living process keeps locked; the folder beside it has its name without the suffix."""


@contextmanager
def temporary_folder() -> Generator[Path]:
    """Make a folder that is removed at the end of the block.

    Raises:
        FileError: there is no space, or no folder for temporary files.
    """
    with tempfile.TemporaryDirectory(dir=process_folder(), ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@cache
def process_folder() -> Path:
    """Return the folder for temporary files of this process and of the processes that it starts.

    Raises:
        FileError: there is no space, or no folder for temporary files.
    """
    remove_abandoned()
    try:
        folder = Path(tempfile.gettempdir()).absolute() / f"mnbench-{secrets.token_hex(8)}"
        # Locked before the folder exists: whoever sees the folder sees that it is in use.
        lock = FileLock(folder.with_suffix(".lock"))
        lock.acquire()
        folder.mkdir(mode=0o700)
    except OSError as failure:
        raise atomic_files.write_error(Path(failure.filename or "temporary files"), failure) from failure
    process = os.getpid()

    def remove() -> None:
        if os.getpid() == process:
            for number in STOP_SIGNALS:  # this process ends anyway
                signal.signal(number, signal.SIG_IGN)
            _remove(folder, lock)

    atexit.register(remove)
    return folder


def remove_abandoned() -> None:
    """Remove the folders of processes of this user that were killed: nobody holds their locks."""
    with suppress(OSError):
        for path in Path(tempfile.gettempdir()).glob("mnbench-*.lock"):
            with suppress(OSError, Timeout):
                is_own = not hasattr(os, "getuid") or path.lstat().st_uid == os.getuid()
                if is_own and LOCK.fullmatch(path.name):
                    with FileLock(path, timeout=0) as lock:
                        _remove(path.with_suffix(""), lock)


def _remove(folder: Path, lock: FileLock) -> None:
    if not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
    if os.name == "nt":  # an open file cannot be deleted there
        lock.release()
    Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()
