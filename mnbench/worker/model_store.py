"""The model store on another machine: a folder of models, and the parent process of the workers.

It lives as long as the connection. When the connection ends for any reason, it ends all workers and removes the folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

PATIENCE_S = 2.0
"""How long a terminated worker may still write into the folder."""


def serve_store(channel: Any) -> None:
    """Receive models by name until None arrives."""
    with suppress(OSError):  # a session leader already leads a group
        os.setpgrp()
    try:
        folder = Path(tempfile.mkdtemp(prefix="mnbench-"))
    except OSError as failure:
        channel.send({"error": f"no folder for models can be made: {failure.strerror}: {tempfile.gettempdir()}"})
        return
    try:
        channel.send({"folder": str(folder), "python": sys.executable})
        for name, data in iter(channel.receive, None):
            channel.send(_written(folder / name, data))
    except (EOFError, OSError):
        pass  # the connection is lost
    finally:
        _end(folder)


def _written(path: Path, data: bytes) -> dict[str, Any]:
    try:
        path.write_bytes(data)
    except OSError as failure:
        with suppress(OSError):
            path.unlink()
        return {"error": f"{path}: {failure.strerror}"}
    return {"path": str(path)}


def _end(folder: Path) -> None:
    """End the process group and remove the folder."""
    mine = os.getpgrp() == os.getpid()
    if mine:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
    end = time.monotonic() + PATIENCE_S
    while folder.exists() and time.monotonic() < end:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.01)
    if mine:
        os.killpg(0, signal.SIGKILL)


if __name__ == "__channelexec__":
    serve_store(globals()["channel"])
