"""Other programs: where they are found, which variables they get, how they run, and how they end."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

SEARCH_PATHS = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Variables that hold folders; an empty or relative one would be the current folder, or below it."""

NEEDED = {
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "KUBERNETES_SERVICE_HOST"),
    *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "APPDATA", "LOCALAPPDATA"),
    *("PROGRAMDATA", "PROGRAMFILES", "NUMBER_OF_PROCESSORS"),
}
NEEDED_PREFIXES = (
    *("LC_", "XDG_", "LD_", "DYLD_", "PYTHON", "MALLOC_", "GLIBC_", "PROCESSOR_"),
    *("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "BLIS_", "TBB_", "DNNL_", "ONEDNN_"),
    *("ORT_", "ONNX", "OV_", "OPENVINO", "CUDA", "CUDNN", "NVIDIA_", "NV_", "TRT_", "TENSORRT"),
    *("HIP_", "HSA_", "ROC", "AMD_", "MIGRAPHX_", "QNN_", "ADSP_", "VK_", "VULKAN", "MESA_", "ZE_", "SYCL_"),
)
"""Variables that systems, Python and runtimes read; docs/devices.md lists them."""


def clean_environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return all variables of this process, and `variables`, without the current folder in search paths."""
    environment = dict(os.environ)
    for name in SEARCH_PATHS:
        if name in environment:
            folders = environment.pop(name).split(os.pathsep)
            if absolute := [folder for folder in folders if os.path.isabs(folder)]:  # noqa: PTH117  as the system reads it
                environment[name] = os.pathsep.join(absolute)
    return environment | dict(variables or {})


def needed_environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that a Python of ours and its runtime need, and `variables`: no secret of a CI job."""
    environment = {
        name: value
        for name, value in clean_environment().items()
        if name.upper() in NEEDED or name.upper().startswith(NEEDED_PREFIXES)
    }
    return environment | dict(variables or {})


def find_program(name: str) -> str | None:
    """Return the path of a program; the current folder is not searched."""
    absolute = clean_environment().get("PATH", "")
    return shutil.which(name, path=absolute if "PATH" in os.environ else os.defpath)


def run_program(
    command: Sequence[str | Path],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end; on Linux it ends with this process, even if that is killed.

    `environment` is all that it gets; default: `clean_environment()`.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it took longer than `timeout_s`.
    """
    return subprocess.run(  # noqa: S603  callers name the program
        command,
        cwd=folder,
        env=clean_environment() if environment is None else dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=timeout_s,
        preexec_fn=end_with_parent if _prctl() else None,  # it calls one function of C
    )


@contextmanager
def calling_after(limit_s: float, end: Callable[[], object]) -> Generator[None]:
    """Call `end` if the block takes longer: it waits for a process that may hang."""
    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def signal_name(number: int) -> str:
    """Return `SIGKILL` for 9, and `signal 99` for a number without a name."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


PR_SET_PDEATHSIG = 1


@cache
def _prctl() -> Any:
    """Return Linux's prctl; None on other systems."""
    if sys.platform != "linux":
        return None
    import ctypes  # noqa: PLC0415  few commands start a program

    return ctypes.CDLL(None).prctl


def end_with_parent() -> None:
    """Have Linux kill this process when the thread that started it ends."""
    if prctl := _prctl():
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
