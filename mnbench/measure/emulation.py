"""An emulated arm64 Python with onnxruntime, made of Debian's packages and arm64 wheels; made once and kept."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock

from mnbench import files
from mnbench.errors import RuntimeUnavailable, first_line
from mnbench.measure.places import cache
from mnbench.worker.installed import distribution

READY = "ready"
QEMU = "qemu-user-static"
EMULATORS = ("qemu-aarch64-static", "qemu-aarch64")
"""Its program for arm64, until Debian 12 and from Debian 13 on."""

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

SIZE_MB = 340
"""What all files together take at the most, by which the time that remains is told; what is kept takes less."""

LOOK_S = 0.25

APT = """\
APT::Architecture "{host}";
#clear APT::Architectures;
APT::Architectures {{ "{host}"; "arm64"; }};
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State "{place}/state";
Dir::State::status "{place}/status";
Dir::Cache "{place}/cache";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
"""
"""Settings under which apt keeps away from what is installed, and needs no rights."""

Step = Callable[[], object]
"""Called for each megabyte."""


def place() -> Path:
    """Where it lies, or would: another version of onnxruntime here, or of this recipe, is another one."""
    facts = [QEMU, *PACKAGES, *_wheels(), *PLATFORMS, CPU, CPU_INFO, platform.machine()]
    return cache() / "arm64" / hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def is_made(place: Path) -> bool:
    """Whether it is whole."""
    return (place / READY).exists()


def command(place: os.PathLike[str]) -> tuple[str, ...]:
    """What starts the emulated Python, which takes no notice of this one's variables."""
    facts: dict[str, str] = json.loads((Path(place) / READY).read_bytes())
    return _command(Path(place), facts["python"])


def set_up(*, fresh: bool, step: Step) -> Path:
    """Make it, if it is not there yet, or if `fresh`. Who comes second waits for the first.

    What a crash leaves behind is made anew.

    Raises:
        RuntimeUnavailable: there is no apt, no network, no space, or what was made does not run.
        FileError: the cache's folder is not writable.
    """
    made = place()
    if is_made(made) and not fresh:
        return made
    try:
        made.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(made.with_suffix(".lock")):
            if fresh or not is_made(made):
                _make(made, step)
    except OSError as failure:
        raise files.unwritable(made, failure) from failure
    return made


def _make(made: Path, step: Step) -> None:
    missing = [tool for tool in ("apt-get", "dpkg", "dpkg-deb") if not shutil.which(tool)]
    if missing:
        raise RuntimeUnavailable(
            f"arm64 is emulated with Debian's packages, and {missing[0]} is not installed here",
            hint="set it up on Debian, or name a board: MNBENCH_ARM64=user@host",
        )
    shutil.rmtree(made, ignore_errors=True)
    try:
        work = made / "work"
        (work / "tmp").mkdir(parents=True)
        with _counted(made, step):
            root = made / "root"
            _unpacked(_packages(work), root)
            python = next(path.name for path in sorted((root / "usr/bin").glob("python3.*[0-9]")))
            _wheels_installed(python, root, work / "tmp")
            _cpu_info(root)
            _run((*_command(made, python), "-c", "import numpy, onnxruntime"), "the emulated Python does not run")
            shutil.rmtree(work)
        (made / READY).write_text(json.dumps({"python": python}))
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _packages(work: Path) -> list[Path]:
    """Download the packages, and all that they depend on."""
    host = _run(("dpkg", "--print-architecture"), "dpkg fails").strip()
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    (work / "status").touch()
    (work / "apt.conf").write_text(APT.format(host=host, place=work))
    apt = ("apt-get", "--quiet", "--yes", "--config-file", str(work / "apt.conf"))
    _run((*apt, "update"), "Debian's lists of packages cannot be read")
    wanted = (f"{QEMU}:{host}", *PACKAGES)
    _run((*apt, "--download-only", "install", *wanted), "Debian's packages cannot be downloaded")
    return sorted((work / "cache/archives").glob("*.deb"))


def _unpacked(packages: Sequence[Path], root: Path) -> None:
    """Those for arm64, and of the emulator its one program."""
    for package in packages:
        kind = package.stem.rpartition("_")[2]
        if kind in {"arm64", "all"}:
            _run(("dpkg-deb", "--extract", str(package), str(root)), f"{package.name} cannot be unpacked")
        elif package.name.startswith("qemu-user"):
            _emulator(package, root.parent / "qemu-aarch64")
    # From Debian 13 on the libraries lie in /usr/lib alone.
    if not (root / "lib").exists():
        (root / "lib").symlink_to("usr/lib")


def _emulator(package: Path, target: Path) -> None:
    """The one program that is needed of the package, if it has it: all its programs together take half a gigabyte."""
    unpack = ("dpkg-deb", "--fsys-tarfile", str(package))
    try:
        with (
            subprocess.Popen(unpack, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as unpacking,  # noqa: S603
            tarfile.open(fileobj=unpacking.stdout, mode="r|") as members,
        ):
            for member in members:
                # Debian 13 has a link of the old name in a package of its own.
                wanted = member.isfile() and Path(member.name).name in EMULATORS
                if wanted and (found := members.extractfile(member)):
                    with target.open("wb") as file:
                        shutil.copyfileobj(found, file)
                    target.chmod(0o755)
                    return
    except tarfile.TarError as failure:
        raise RuntimeUnavailable(
            f"{package.name} cannot be unpacked: {first_line(failure)}", hint="try again"
        ) from failure


def _wheels() -> tuple[str, ...]:
    """The same onnxruntime as here, so that only the processor differs."""
    here = distribution("onnxruntime")
    return ("numpy", f"onnxruntime=={here.version}" if here else "onnxruntime")


def _wheels_installed(python: str, root: Path, temporary: Path) -> None:
    """By pip, or by uv where there is no pip; without what they depend on, which inference does not need."""
    version, target = python.removeprefix("python"), str(root / "usr/lib/python3/dist-packages")
    uv = shutil.which("uv")
    if uv and not find_spec("pip"):
        on = ("--python-platform", "aarch64-manylinux_2_28", "--python-version", version)
        install = (uv, "pip", "install", *on, "--only-binary", ":all:")
    else:
        on = ("--implementation", "cp", "--python-version", version)
        on = (*on, *(word for one in PLATFORMS for word in ("--platform", one)))
        pip = (sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-compile", "--no-cache-dir")
        install = (*pip, *on, "--only-binary=:all:")
    _run(
        (*install, "--quiet", "--no-deps", "--target", target, *_wheels()),
        "arm64 wheels cannot be installed",
        environment={"TMPDIR": str(temporary)},
    )


def _cpu_info(root: Path) -> None:
    """QEMU looks for absolute paths in here first."""
    blocks = [CPU_INFO.format(number=number) for number in range(os.cpu_count() or 1)]
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text("\n".join(blocks))


def _command(made: Path, python: str) -> tuple[str, ...]:
    root = made / "root"
    return (str(made / "qemu-aarch64"), "-cpu", CPU, "-L", str(root), str(root / "usr/bin" / python), "-I")


def _run(command: Sequence[str], failure: str, *, environment: Mapping[str, str] | None = None) -> str:
    """What the command prints.

    Raises:
        RuntimeUnavailable: it fails.
    """
    done = subprocess.run(  # noqa: S603  these commands are ours
        command,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C", **(environment or {})},
    )
    if done.returncode:
        reason, hint = _reason(f"{done.stdout}\n{done.stderr}", done.returncode)
        raise RuntimeUnavailable(f"{failure}: {reason}", hint=hint)
    return done.stdout


def _reason(told: str, code: int) -> tuple[str, str]:
    """The line that says what went wrong, and what helps."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    space = [line for line in lines if "No space left" in line or "enough free space" in line]
    errors = [line for line in lines if line.lower().startswith(("e: ", "error", "dpkg-deb: error"))]
    line = next(iter(space or errors or lines[-1:]), f"exit code {code}")[:200]
    if space:
        return line, f"free {SIZE_MB} MB, or name another place with MNBENCH_CACHE"
    return line, "see that Debian's packages and the package index can be reached, and try again"


class _counted:  # noqa: N801  used as a function
    """Look, while a block runs, how large a folder has become, and call `step` for each megabyte, up to `SIZE_MB`."""

    def __init__(self, folder: Path, step: Step) -> None:
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


def size_mb(place: Path) -> int:
    """What is kept."""
    return _size_bytes(place) // 10**6


def _size_bytes(folder: Path) -> int:
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_size  # noqa: PTH118  thousands of files, often
            except OSError:
                continue
    return total
