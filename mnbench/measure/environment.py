"""Python environments of their own, for runtimes that the one at hand does not have; made once and kept."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from mnbench import files
from mnbench.errors import RuntimeUnavailable

READY = "ready"


def environment(*requirements: str, folder: Path | None = None) -> Path:
    """The Python of an environment with these packages: `onnxruntime==1.30.0`, `numpy`.

    It is made by uv where that is installed, or else by venv and pip; who comes second waits for the first. What a
    crash leaves behind is made anew.

    Raises:
        RuntimeUnavailable: a package cannot be installed.
        FileError: the cache's folder is not writable.
    """
    facts = "\n".join([*sorted(requirements), sys.version, sys.platform, sys.executable])
    place = (folder or cache()) / hashlib.sha256(facts.encode()).hexdigest()[:16]
    python = place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if (place / READY).exists():
        return python
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_suffix(".lock")):
            if not (place / READY).exists():
                _make(place, python, requirements)
    except OSError as failure:
        raise files.unwritable(place, failure) from failure
    return python


def cache() -> Path:
    """Where environments are kept: under `MNBENCH_CACHE`, or the user's own folder for caches."""
    named = os.environ.get("MNBENCH_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(named) if named else home / "mnbench") / "environments"


def _make(place: Path, python: Path, requirements: Sequence[str]) -> None:
    """An environment whose last file says that it is whole."""
    try:
        uv = shutil.which("uv")
        if uv:
            _done((uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(place)), requirements)
            _done((uv, "pip", "install", "--quiet", "--python", str(python), *requirements), requirements)
        else:
            _done((sys.executable, "-m", "venv", "--clear", str(place)), requirements)
            pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
            _done((str(python), *pip, *requirements), requirements)
        (place / READY).write_text("\n".join(requirements))
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


def _done(command: Sequence[str], requirements: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith("error")] or lines or ["no message"]
        raise RuntimeUnavailable(
            f"{' '.join(requirements)} cannot be installed: {errors[-1][:200]}",
            hint="name a version that exists for this Python, and see that the package index can be reached",
        )
