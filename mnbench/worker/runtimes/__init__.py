"""One file a runtime, named as device files name it.

A file has a class `Session` as `onnxruntime.py` has it, and functions `version` and `build`, which returns how it was
built or what converts its models. If the runtime does not read ONNX, it has a function `convert`; if it can time
kernels, its session has `end_profile`; if it computes in a device's own memory, its session has `copies`. If it runs in
a process of its own, it has a function `clock`, which goes on by the duration of each run, and `library_sha256` returns
the hash of a library that no wheel has. What must be
known of a runtime where it is not installed, the file assigns as literals, which are read without importing it:

- `DISTRIBUTIONS`: its wheels, one a build. Default: the runtime's name.
- `MODULE`: the name under which Python imports it. Default: the runtime's name.
- `LIBRARY`: how the file name of the library begins whose hash goes into records. Default: none.
- `READS_ONNX`: whether it reads ONNX files. Default: yes.
- `PROVIDER_LIBRARIES`: its providers, and how the file name of a provider's own library begins; empty: every build has
  the provider.
- `NVIDIA_PROVIDERS`: providers that compute on an NVIDIA GPU, whose conditions go into records.
- `SETTING_PREFIXES`: how its session options begin, as `mnbench compare` takes them.
- `PROFILER_NODES`: how its profile names kernels: `prefixes` and `conversions` that it adds, `split` layer kinds and
  the operators that compute them, and `probed`: whether a probe must show the profiler's own time.
"""

from __future__ import annotations

import ast
import base64
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Generator, NamedTuple

from ..bootstrap import end_with_parent

CONVERTER_S = 240.0
"""Time limit for a converter; mnbench waits a little longer for the answer."""

LENGTH_BYTES = 8

PYTHON_ERROR = re.compile(r"[\w.]+(Error|Exception): ")
"""The line where a Python program says why it failed."""

_parsing = threading.Lock()  # Python 3.11 counts the depth of all threads' trees together


class Unavailable(Exception):  # noqa: N818  a state that the user can change
    """The device cannot be measured as its file says: `missing` is absent there, or cannot be used."""

    def __init__(self, message: str, *, missing: str) -> None:
        super().__init__(message)
        self.missing = missing


class Refused(Exception):  # noqa: N818  the runtime's limit, not a defect
    """The runtime does not support this model or request."""


def describe_failure(failure: BaseException) -> str:
    """Return why a session or a request failed, in one line."""
    if isinstance(failure, MemoryError):
        return "out of memory"
    return str(failure) if isinstance(failure, Refused) else f"{type(failure).__name__}: {failure}"


def read_literals(runtime: str) -> dict[str, Any]:
    """Return the literals that the runtime's file assigns, without importing it; nothing without such a file."""
    name = f"{__name__}.{runtime}"
    spec = importlib.util.find_spec(name)
    loader: Any = spec and spec.loader
    literals: dict[str, Any] = {}
    with _parsing:
        module = ast.parse(loader.get_source(name) if loader else "")
    for statement in module.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            try:
                literals[statement.targets[0].id] = ast.literal_eval(statement.value)
            except ValueError:
                continue
    return literals


def find_distribution(runtime: str) -> metadata.Distribution | None:
    """Return the installed distribution of the runtime, whichever build it is."""
    for name in read_literals(runtime).get("DISTRIBUTIONS", (runtime,)):
        with suppress(metadata.PackageNotFoundError):
            return metadata.distribution(name)
    return None


def library_sha256(runtime: str, library: str) -> str | None:
    """Return the hash of the file whose name begins with `library`, from the RECORD of the wheel."""
    distribution = find_distribution(runtime)
    for file in (distribution.files if distribution else None) or []:
        if file.hash and file.name.startswith(library):
            return base64.urlsafe_b64decode(f"{file.hash.value}==").hex()
    return None


class SessionSettings(NamedTuple):
    """What a session is created with; with `profile`, a path that it may write to, every run is profiled."""

    inputs: dict[str, Any]
    provider: str
    provider_options: dict[str, str]
    threads: int
    options: dict[str, str]
    profile: str = ""


def require_provider(runtime: str, settings: SessionSettings, *providers: str) -> None:
    """Refuse a provider that mnbench does not run the runtime on."""
    if settings.provider not in providers:
        allowed = " or ".join(providers)
        message = f"mnbench runs {runtime} only on the provider {allowed}, not on {settings.provider}"
        raise Unavailable(message, missing="provider")


def require_options(runtime: str, settings: SessionSettings, *options: str) -> None:
    """Refuse session and provider options that mean nothing to the runtime."""
    for name in (*settings.options, *settings.provider_options):
        if name not in options:
            raise Refused(f"{runtime} has no option {name!r}" + (f": {', '.join(options)}" if options else ""))


@contextmanager
def as_file(model: bytes | str) -> Generator[Path, None, None]:
    """Yield a model's file, for runtimes that read only files: its own, or a temporary one."""
    if isinstance(model, str):
        yield Path(model)
        return
    with tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        path = Path(folder) / "model"
        path.write_bytes(model)
        yield path


def join_parts(data: bytes, text: bytes) -> bytes:
    """Return both in one converted model, for a runtime that reads two files; `text` comes last, before its length."""
    return data + text + len(text).to_bytes(LENGTH_BYTES, "little")


def split_parts(model: bytes) -> tuple[bytes, bytes]:
    """Return the parts of a model that `join_parts` made."""
    end = len(model) - LENGTH_BYTES - int.from_bytes(model[-LENGTH_BYTES:], "little")
    return model[:end], model[end:-LENGTH_BYTES]


def run_converter(command: list[str], output: Path) -> bytes:
    """Run a converter in its own process, since it may crash and prints text; return the file that it writes."""
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=output.parent,  # the current folder is a stranger's, and Python imports from it
            preexec_fn=end_with_parent if sys.platform == "linux" else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=CONVERTER_S,
        )
    except subprocess.TimeoutExpired as failure:
        raise Refused(f"the converter did not finish within {CONVERTER_S:g} s") from failure
    if done.returncode or not output.exists():
        text = done.stdout.decode(errors="replace").replace(f"{output.parent}{os.sep}", "")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        raised = [line for line in lines if PYTHON_ERROR.match(line)]
        errors = [line for line in lines if "error" in line.lower()]
        line = (raised[-1:] or errors or lines[-1:] or ["no output"])[0]
        raise Refused(f"cannot be converted (exit code {done.returncode}): {line[:200]}")
    return output.read_bytes()
