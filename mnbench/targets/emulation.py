"""An emulated arm64 Python with onnxruntime, built once from Debian packages and arm64 wheels."""

import hashlib
import json
import os
import platform
import shlex
import shutil
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from mnbench.errors import RuntimeUnavailable
from mnbench.programs import find_program
from mnbench.targets import debian
from mnbench.targets.build_once import READY, build_once, is_built
from mnbench.targets.debian import SIZE_MB
from mnbench.targets.installers import run_installer
from mnbench.worker.runtimes import find_distribution
from mnbench.workspace import cache_folder

EMULATOR = "qemu-aarch64"
PACKAGES = ("python3-minimal:arm64", "libpython3-stdlib:arm64", "libstdc++6:arm64")
"""Debian packages: Python with its standard library, and the libraries that numpy and onnxruntime link to."""

PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
CPU = "cortex-a72"
CPU_INFO = """\
processor\t: {number}
model name\t: QEMU TCG
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3
"""
"""A Cortex-A72. QEMU 7.2 shows the host's own file, and onnxruntime 1.30 and newer crash on it at import."""

POLL_S = 0.25

OnProgress = Callable[[], object]
"""Called for each megabyte."""


def emulator_path() -> Path:
    """Return the emulator's folder, which may not exist yet; onnxruntime's version here and this recipe name it."""
    facts = [debian.QEMU_PACKAGE, *PACKAGES, *_wheel_requirements(), *PLATFORMS, CPU, CPU_INFO, platform.machine()]
    return cache_folder() / "arm64" / hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def emulator_gateway(folder: Path) -> str:
    """Return the gateway that starts the emulated Python in this folder."""
    facts: dict[str, str] = json.loads((folder / READY).read_bytes())
    return f"popen//python={shlex.join(_command(folder, facts['python']))}"


def install_emulator(*, fresh: bool, on_progress: OnProgress) -> Path:
    """Build the emulated Python, unless it exists and not `fresh`; return its folder."""
    path = emulator_path()
    missing = [tool for tool in debian.REQUIRED_TOOLS if not find_program(tool)]
    if missing and (fresh or not is_built(path)):
        raise RuntimeUnavailable(
            f"arm64 is emulated with Debian's packages, and {missing[0]} is not installed here",
            hint="set it up on Debian, or name a board: MNBENCH_ARM64=user@host",
        )

    def build() -> str:
        work, root = path / "work", path / "root"
        (work / "tmp").mkdir(parents=True)
        with _report_size(path, on_progress):
            debian.unpack(debian.download(work, PACKAGES), root, path / EMULATOR)
            python = min((root / "usr/bin").glob("python3.*[0-9]")).name
            _install_wheels(python, root, work / "tmp")
            # QEMU shows this file instead of the host's /proc/cpuinfo.
            (root / "proc").mkdir()
            cpus = (CPU_INFO.format(number=number) for number in range(os.cpu_count() or 1))
            (root / "proc/cpuinfo").write_text("\n".join(cpus))
            trial = (*_command(path, python), "-c", "import numpy, onnxruntime")
            run_installer(trial, "the emulated Python does not run", hint=debian.HINT)
            shutil.rmtree(work)
        return json.dumps({"python": python})

    return build_once(path, build, fresh=fresh)


def _wheel_requirements() -> tuple[str, ...]:
    """Return the same onnxruntime as here, so that only the processor differs."""
    here = find_distribution("onnxruntime")
    return ("numpy", f"onnxruntime=={here.version}" if here else "onnxruntime")


def _install_wheels(python: str, root: Path, temporary: Path) -> None:
    """Install with pip, or with uv if there is no pip; without dependencies, which inference does not need."""
    version, target = python.removeprefix("python"), str(root / "usr/lib/python3/dist-packages")
    uv = find_program("uv")
    if uv and not find_spec("pip"):
        platform_options = ("--python-platform", "aarch64-manylinux_2_28", "--python-version", version)
        install = (uv, "pip", "install", "--no-config", *platform_options, "--only-binary", ":all:")
    else:
        platform_options = ("--implementation", "cp", "--python-version", version)
        platform_options = (*platform_options, *(word for name in PLATFORMS for word in ("--platform", name)))
        pip = (sys.executable, "-I", "-m", "pip", "install", "--disable-pip-version-check")
        install = (*pip, "--no-compile", "--no-cache-dir", *platform_options, "--only-binary=:all:")
    run_installer(
        (*install, "--quiet", "--no-deps", "--target", target, "--", *_wheel_requirements()),
        "arm64 wheels cannot be installed",
        hint=debian.HINT,
        environment={"TMPDIR": str(temporary)},
    )


def _command(path: Path, python: str) -> tuple[str, ...]:
    """Return the command that starts the emulated Python; it ignores the PYTHON… variables."""
    root = path / "root"
    return (str(path / EMULATOR), "-cpu", CPU, "-L", str(root), str(root / "usr/bin" / python), "-I")


@contextmanager
def _report_size(folder: Path, on_progress: OnProgress) -> Generator[None]:
    """During the block, call `on_progress` for each megabyte that the folder grows, up to `SIZE_MB`."""
    ended = threading.Event()

    def watch() -> None:
        reported_mb = 0
        while not ended.wait(POLL_S):
            size_mb = min(folder_size_mb(folder), SIZE_MB)
            for _ in range(size_mb - reported_mb):
                on_progress()
            reported_mb = max(reported_mb, size_mb)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def folder_size_mb(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118  thousands of files, often
    return total // 10**6
