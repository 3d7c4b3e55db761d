"""What is known of a runtime where it is not installed: the literals of its file in `worker/runtimes/`."""

from functools import cache
from pathlib import Path

import msgspec

import mnbench
from mnbench.worker.runtimes import read_literals


class ProfilerNodes(msgspec.Struct, frozen=True, kw_only=True):
    """How a runtime's profile names kernels; see `worker/runtimes/__init__.py`."""

    probed: bool = False
    prefixes: tuple[str, ...] = ()
    conversions: tuple[str, ...] = ()
    split: dict[str, tuple[str, ...]] = {}


class RuntimeFacts(msgspec.Struct, frozen=True, kw_only=True, rename="upper"):
    """A runtime's literals; see `worker/runtimes/__init__.py`."""

    distributions: tuple[str, ...] = ()
    module: str = ""
    reads_onnx: bool = True
    provider_libraries: dict[str, str] = {}
    nvidia_providers: tuple[str, ...] = ()
    setting_prefixes: tuple[str, ...] = ()
    profiler_nodes: ProfilerNodes = ProfilerNodes()


@cache
def runtime_facts(runtime: str) -> RuntimeFacts:
    """Return the facts of a runtime, or the defaults if it is unknown."""
    return msgspec.convert(read_literals(runtime), RuntimeFacts)


def runtime_names() -> list[str]:
    """Return the runtimes that a worker knows: a file each."""
    folder = Path(mnbench.__file__).parent / "worker" / "runtimes"
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
