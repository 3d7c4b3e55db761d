"""Python environments of their own, for runtimes that the one at hand does not have; made once and kept."""

import hashlib
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from mnbench.errors import RuntimeUnavailable, UnreachableError
from mnbench.targets.build_once import build_once, is_built
from mnbench.targets.device import Device, expand_variables
from mnbench.targets.resolve import resolve_gateway
from mnbench.workspace import cache_folder

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def prepare_device(
    device: Device, *, fresh: bool = False, on_create: Callable[[Sequence[str]], object] = lambda _: None
) -> Device:
    """Return the device resolved to its machine, with the Python of the environment that it `requires`.

    The environment is made if it is not there yet, or if `fresh`.

    `making` is told what it is made of, if it is.

    Raises:
        DeviceFileError: its `gateway` names a variable that is not set.
        RuntimeUnavailable: a package cannot be installed, or the device is, or needs, another machine.
        FileError: the cache's folder is not writable.
    """
    device = resolve_gateway(expand_variables(device))
    here = device.gateway == "popen"
    if device.is_fleet:
        raise UnreachableError(
            f"device {device.name}: only `mnbench run` hands work to a fleet",
            hint="reach the board by ssh: docs/devices.md",
        )
    if here and device.systems and platform.system() not in device.systems:
        raise RuntimeUnavailable(
            f"device {device.name}: needs {' or '.join(device.systems)}, and this is {platform.system()}",
            hint="run mnbench there, or give a profile that extends it a `gateway` to such a machine",
        )
    if not device.requires:
        return device
    if not here:
        raise RuntimeUnavailable(
            f"device {device.name}: {' '.join(device.requires)} is not installed on other machines",
            hint="make it there, and name its Python in `gateway`, with `requires = []`: "
            f"python3 -m venv mnbench && mnbench/bin/pip install {' '.join(required_packages(device))}",
        )
    packages, no_deps = required_packages(device), device.requires_no_deps
    if fresh or not is_built(environment_path(*packages, no_deps=no_deps)):
        on_create((*device.requires, *no_deps))
    python = create_environment(*packages, no_deps=no_deps, fresh=fresh)
    return msgspec.structs.replace(device, gateway=f"popen//python={shlex.quote(str(python))}")


def with_packages(device: Device, packages: Sequence[str]) -> Device:
    """Return the device with these packages in its environment, in place of others of the same name."""
    if not packages:
        return device
    names = [distribution_name(package) for package in packages]
    texts = [text for text in device.requires if distribution_name(text) not in names]
    if not device.requires and not any(name.startswith(device.runtime) for name in names):
        texts = [device.runtime]
    alone = [text for text in device.requires_no_deps if distribution_name(text) not in names]
    own = [
        package
        for package in packages
        if distribution_name(package) not in map(distribution_name, device.requires_no_deps)
    ]
    alone += [package for package in packages if package not in own]
    return msgspec.structs.replace(device, requires=(*texts, *own), requires_no_deps=tuple(alone))


def is_used_by(package: str, device: Device) -> bool:
    """Whether the package is the device's runtime, a build of it, or one of those that it requires."""
    name = distribution_name(package)
    known = map(distribution_name, (*device.requires, *device.requires_no_deps))
    return name in known or name == device.runtime or name.startswith(f"{device.runtime}-")


def required_packages(device: Device) -> tuple[str, ...]:
    """Return the packages of the device's environment; the worker always needs numpy."""
    return (*device.requires, "numpy")


def distribution_name(requirement: str) -> str:
    """Return the normalized name in `Some_Package[extra]==1.0`."""
    match = NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else requirement


def environment_path(*requirements: str, no_deps: Sequence[str] = (), folder: Path | None = None) -> Path:
    """Return the folder of such an environment."""
    facts = "\n".join(
        [*sorted(requirements), *sorted(f"{no_dep} alone" for no_dep in no_deps), sys.version, sys.platform]
    )
    return (folder or cache_folder() / "environments") / hashlib.sha256(
        f"{facts}\n{sys.executable}".encode()
    ).hexdigest()[:16]


def create_environment(
    *requirements: str, no_deps: Sequence[str] = (), fresh: bool = False, folder: Path | None = None
) -> Path:
    """Create an environment with these packages (`onnxruntime==1.30.0`, `numpy`) and return its Python.

    Packages that go there `alone` bring none that they depend on. It is made by uv where that is installed, or else by
    venv and pip; who comes second waits for the first. What a crash leaves behind is made anew.

    Raises:
        RuntimeUnavailable: a package cannot be installed.
        FileError: the cache's folder is not writable.
    """
    path = environment_path(*requirements, no_deps=no_deps, folder=folder)
    python = path / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

    def build() -> str:
        uv = shutil.which("uv")
        if uv:
            _run((uv, "venv", "--quiet", "--python", sys.executable, str(path)), requirements)
            install = (uv, "pip", "install", "--quiet", "--python", str(python))
        else:
            _run((sys.executable, "-m", "venv", str(path)), requirements)
            install = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _run((*install, *requirements), requirements)
        if no_deps:
            _run((*install, "--no-deps", *no_deps), no_deps)
        return "\n".join([*requirements, *no_deps])

    build_once(path, build, fresh=fresh)
    return python


def _run(command: Sequence[str], requirements: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith("error")] or lines or ["no message"]
        raise RuntimeUnavailable(
            f"{' '.join(requirements)} cannot be installed: {errors[-1][:200]}",
            hint="name a version that exists for this Python, and see that the package index can be reached",
        )
