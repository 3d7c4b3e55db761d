"""One file a runtime, named as profiles name it.

Each has a class `Session` as `onnxruntime.py` has it, functions `version` and `build`, and says how the name of its
`LIBRARY` starts. A runtime that does not read ONNX has a function `convert` too; one that can tell what each of its
nodes takes gives its session `end_profile`.
"""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Generator

CONVERTER_S = 240.0
"""How long a converter may take; mnbench waits a little longer for its answer."""


class Unavailable(Exception):  # noqa: N818  the state, not the fault, is what the user mends
    """The device cannot be measured as its profile says: `what` is missing there, or refuses to be used."""

    def __init__(self, message: str, *, what: str) -> None:
        super().__init__(message)
        self.what = what


class Refused(Exception):  # noqa: N818  no fault of ours: the message says it all
    """The runtime does not take this model, or not in this way."""


@contextmanager
def as_file(model: bytes | str) -> Generator[Path, None, None]:
    """A model's file: its own, or one for a while, for runtimes that read nothing else."""
    if isinstance(model, str):
        yield Path(model)
        return
    with tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        path = Path(folder) / "model"
        path.write_bytes(model)
        yield path


def run_converter(command: list[str], output: Path) -> bytes:
    """What a converter's program makes, run in a process of its own: it may crash, and it prints what it likes."""
    try:
        done = subprocess.run(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=CONVERTER_S,
        )
    except subprocess.TimeoutExpired as failure:
        raise Refused(f"the converter was not done after {CONVERTER_S:g} s") from failure
    if done.returncode or not output.exists():
        lines = [line.strip() for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]
        said = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "it says nothing")
        raise Refused(f"cannot be converted (exit code {done.returncode}): {said[:200]}")
    return output.read_bytes()
