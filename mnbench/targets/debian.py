"""Download Debian packages for another processor and unpack them into a folder, without root."""

import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE

from mnbench.errors import RuntimeUnavailable, first_line
from mnbench.targets.installers import installer_environment, run_installer

QEMU_PACKAGE = "qemu-user-static"
EMULATORS = ("qemu-aarch64-static", "qemu-aarch64")
"""The package's program for arm64: until Debian 12, and since Debian 13."""

REQUIRED_TOOLS = ("apt-get", "dpkg", "dpkg-deb")
SIZE_MB = 340
"""Largest size of packages and wheels while building, the total of the progress bar. The result is smaller."""

HINT = "check that Debian's packages and the package index can be reached, and try again"

APT = """\
APT::Architecture "{host}";
#clear APT::Architectures;
APT::Architectures {{ "{host}"; "arm64"; }};
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
"""
"""Settings that keep apt away from the installed system, so that it needs no root."""


def download(work: Path, names: Sequence[str]) -> list[Path]:
    """Download these packages, the emulator and all dependencies; return their files."""
    host = run_installer(("dpkg", "--print-architecture"), "dpkg fails", hint=HINT).strip()
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    (work / "status").touch()
    (work / "apt.conf").write_text(APT.format(host=host, folder=work))
    apt = ("apt-get", "--quiet", "--yes", "--config-file", str(work / "apt.conf"))
    run_installer((*apt, "update"), "Debian's lists of packages cannot be read", hint=HINT)
    wanted = (f"{QEMU_PACKAGE}:{host}", *names)
    run_installer((*apt, "--download-only", "install", *wanted), "Debian's packages cannot be downloaded", hint=HINT)
    return sorted((work / "cache/archives").glob("*.deb"))


def unpack(packages: Sequence[Path], root: Path, emulator: Path) -> None:
    """Unpack arm64 packages below `root`, and the one program of the emulator's package to `emulator`."""
    for package in packages:
        kind = package.stem.rpartition("_")[2]
        if kind in {"arm64", "all"}:
            run_installer(
                ("dpkg-deb", "--extract", str(package), str(root)), f"{package.name} cannot be unpacked", hint=HINT
            )
        elif package.name.startswith("qemu-user"):
            _extract_emulator(package, emulator)
    # Since Debian 13, libraries are only in /usr/lib.
    if not (root / "lib").exists():
        (root / "lib").symlink_to("usr/lib")


def _extract_emulator(package: Path, target: Path) -> None:
    """Extract the one needed program, if the package has it: all its programs together take half a gigabyte."""
    unpack = ("dpkg-deb", "--fsys-tarfile", str(package))
    try:
        with (
            subprocess.Popen(unpack, stdout=PIPE, stderr=DEVNULL, env=installer_environment()) as unpacking,  # noqa: S603
            tarfile.open(fileobj=unpacking.stdout, mode="r|") as members,
        ):
            for member in members:
                # In Debian 13, another package holds a link with the old name.
                wanted = member.isfile() and Path(member.name).name in EMULATORS
                if wanted and (io := members.extractfile(member)):
                    with target.open("wb") as file:
                        shutil.copyfileobj(io, file)
                    target.chmod(0o755)
                    return
    except tarfile.TarError as failure:
        raise RuntimeUnavailable(
            f"{package.name} cannot be unpacked: {first_line(failure)}", hint="try again"
        ) from failure
