"""The first source sent to a device: it imports the rest of the worker from the channel, in memory, and serves."""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from typing import Any, Dict, Tuple

Sources = Dict[str, Tuple[bool, str]]
"""By module name: whether it is a package, and its source."""


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


if __name__ == "__channelexec__":
    channel: Any = globals()["channel"]  # set by execnet
    package = channel.receive()
    sys.meta_path.insert(0, SourceImporter(channel.receive()))
    serve = importlib.import_module(f"{package}.serve").serve
    channel.send("ready")
    serve(channel)
