"""Build a folder of the cache once: under a lock, marked when complete, removed when building fails."""

import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from mnbench import atomic_files

READY = "ready"
"""The file that marks a complete folder."""


def is_built(folder: Path) -> bool:
    return (folder / READY).exists()


def build_once(folder: Path, build: Callable[[], str], *, fresh: bool = False) -> Path:
    """Call `build` to fill the folder, unless it is complete and not `fresh`. A second process waits for the first.

    `build` returns the text of the mark. What a crash left behind is built again.
    """
    if is_built(folder) and not fresh:
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if fresh or not is_built(folder):
                shutil.rmtree(folder, ignore_errors=True)
                try:
                    (folder / READY).write_text(build())
                except BaseException:
                    shutil.rmtree(folder, ignore_errors=True)
                    raise
    except OSError as failure:
        raise atomic_files.write_error(folder, failure) from failure
    return folder
