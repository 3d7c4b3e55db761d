"""An emulated arm64 Python with onnxruntime, made of Debian's packages and arm64 wheels; made once and kept."""

import hashlib
import json
import os
import platform
import shutil
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from mnbench.errors import RuntimeUnavailable
from mnbench.targets import debian
from mnbench.targets.build_once import READY, build_once, is_built
from mnbench.targets.debian import SIZE_MB, run_command
from mnbench.worker.host.installed import find_distribution
from mnbench.workspace import cache_folder

EMULATOR = "qemu-aarch64"
PACKAGES = ("python3-minimal:arm64", "libpython3-stdlib:arm64", "libstdc++6:arm64")
"""Of Debian, with what they depend on: a Python with its standard library, and what numpy and onnxruntime link to."""

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
"""A Cortex-A72. QEMU 7.2 shows the host's own, on which onnxruntime 1.30 and newer crash as they are imported."""

LOOK_S = 0.25

OnProgress = Callable[[], object]
"""Called for each megabyte."""


def emulator_path() -> Path:
    """Return the emulator's folder, which depends on the version of onnxruntime and of this recipe."""
    facts = [debian.QEMU_PACKAGE, *PACKAGES, *_wheel_requirements(), *PLATFORMS, CPU, CPU_INFO, platform.machine()]
    return cache_folder() / "arm64" / hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def emulator_command(folder: os.PathLike[str]) -> tuple[str, ...]:
    """Return the command that starts the emulated Python, without this process's Python variables."""
    facts: dict[str, str] = json.loads((Path(folder) / READY).read_bytes())
    return _command(Path(folder), facts["python"])


def install_emulator(*, fresh: bool, on_progress: OnProgress) -> Path:
    """Make it, if it is not there yet, or if `fresh`. Who comes second waits for the first.

    What a crash leaves behind is made anew.

    Raises:
        RuntimeUnavailable: there is no apt, no network, no space, or what was made does not run.
        FileError: the cache's folder is not writable.
    """
    path = emulator_path()
    missing = [tool for tool in debian.REQUIRED_TOOLS if not shutil.which(tool)]
    if missing and (fresh or not is_built(path)):
        raise RuntimeUnavailable(
            f"arm64 is emulated with Debian's packages, and {missing[0]} is not installed here",
            hint="set it up on Debian, or name a board: MNBENCH_ARM64=user@host",
        )

    def build() -> str:
        work, root = path / "work", path / "root"
        (work / "tmp").mkdir(parents=True)
        with _SizeWatcher(path, on_progress):
            debian.unpack(debian.download(work, PACKAGES), root, path / EMULATOR)
            python = next(program.name for program in sorted((root / "usr/bin").glob("python3.*[0-9]")))
            _install_wheels(python, root, work / "tmp")
            _write_cpu_info(root)
            run_command(
                (*_command(path, python), "-c", "import numpy, onnxruntime"), "the emulated Python does not run"
            )
            shutil.rmtree(work)
        return json.dumps({"python": python})

    return build_once(path, build, fresh=fresh)


def _wheel_requirements() -> tuple[str, ...]:
    """Return the requirement of the same onnxruntime as here, so that only the processor differs."""
    here = find_distribution("onnxruntime")
    return ("numpy", f"onnxruntime=={here.version}" if here else "onnxruntime")


def _install_wheels(python: str, root: Path, temporary: Path) -> None:
    """Install wheels with pip, or uv if there is no pip, without dependencies, which inference does not need."""
    version, target = python.removeprefix("python"), str(root / "usr/lib/python3/dist-packages")
    uv = shutil.which("uv")
    if uv and not find_spec("pip"):
        on = ("--python-platform", "aarch64-manylinux_2_28", "--python-version", version)
        install = (uv, "pip", "install", *on, "--only-binary", ":all:")
    else:
        on = ("--implementation", "cp", "--python-version", version)
        on = (*on, *(word for item in PLATFORMS for word in ("--platform", item)))
        pip = (sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-compile", "--no-cache-dir")
        install = (*pip, *on, "--only-binary=:all:")
    run_command(
        (*install, "--quiet", "--no-deps", "--target", target, *_wheel_requirements()),
        "arm64 wheels cannot be installed",
        environment={"TMPDIR": str(temporary)},
    )


def _write_cpu_info(root: Path) -> None:
    """Write /proc/cpuinfo of the emulated processor, which QEMU reads instead of the host's."""
    blocks = [CPU_INFO.format(number=number) for number in range(os.cpu_count() or 1)]
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text("\n".join(blocks))


def _command(path: Path, python: str) -> tuple[str, ...]:
    root = path / "root"
    return (str(path / EMULATOR), "-cpu", CPU, "-L", str(root), str(root / "usr/bin" / python), "-I")


class _SizeWatcher:
    """Look, while a block runs, how large a folder has become, and call `step` for each megabyte, up to `SIZE_MB`."""

    def __init__(self, folder: Path, step: OnProgress) -> None:
        self._folder = folder
        self._step = step
        self._told = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            now = min(_size_bytes(self._folder) // 10**6, SIZE_MB)
            for _ in range(now - self._told):
                self._step()
            self._told = max(self._told, now)


def folder_size_mb(folder: Path) -> int:
    """Return the size of the folder."""
    return _size_bytes(folder) // 10**6


def _size_bytes(folder: Path) -> int:
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_size  # noqa: PTH118  thousands of files, often
            except OSError:
                continue
    return total
