"""The first source sent to a device: it imports the rest of the worker from the channel, in memory, and serves."""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import signal
import sys
from contextlib import suppress
from functools import partial
from typing import Any, Dict, Tuple

Sources = Dict[str, Tuple[bool, str]]
"""By module name: whether it is a package, and its source."""

PR_SET_PDEATHSIG = 1


class SourceImporter(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    def __init__(self, sources: Sources) -> None:
        self.sources = sources

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:  # noqa: ARG002
        """Return the spec of a module that was sent; None for all others."""
        if fullname not in self.sources:
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=self.sources[fullname][0])

    def get_source(self, fullname: str) -> str:
        return self.sources[fullname][1]


def end_with_host(gateway: Any) -> None:
    """End this process when its input ends, also in the middle of a run; execnet waits 15 s for it."""
    gateway._terminate_execution = partial(os._exit, 1)  # noqa: SLF001  execnet has no public way
    end_with_parent()


def end_with_parent() -> None:
    """On Linux, let this process end with its parent, even while C code keeps Python from running."""
    with suppress(Exception):  # other systems, and emulators, lack it
        import ctypes  # noqa: PLC0415  some Pythons lack it

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__channelexec__":
    channel: Any = globals()["channel"]  # set by execnet
    end_with_host(channel.gateway)
    # onnxruntime reports its use to its maker unless this is set before it is imported.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # numpy's OpenBLAS starts a thread a core: on two cores, that costs as much processor time as all other imports.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    package = channel.receive()
    sys.meta_path.insert(0, SourceImporter(channel.receive()))
    serve = importlib.import_module(f"{package}.serve").serve
    channel.send("ready")
    serve(channel)
