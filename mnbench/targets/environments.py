"""Python environments for runtimes that this Python does not have, each built once."""

import hashlib
import logging
import platform
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from mnbench.errors import RuntimeUnavailable, UnreachableError
from mnbench.programs import find_program, run_program
from mnbench.targets.build_once import build_once, is_built
from mnbench.targets.device import Device, expand_variables, require_trust_in
from mnbench.targets.installers import installer_environment
from mnbench.targets.resolve import resolve_gateway
from mnbench.targets.runtimes import runtime_facts
from mnbench.workspace import cache_folder

logger = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def prepare_device(
    device: Device, *, fresh: bool = False, on_create: Callable[[Sequence[str]], object] = lambda _: None
) -> Device:
    """Resolve the device's machine, and build the environment that it `requires`, if it is missing or `fresh`.

    The returned device's `gateway` names the environment's Python, and it has no demand any more. `on_create` gets the
    packages before a build.

    Raises:
        TrustError: its file demands what the user has not trusted.
        DeviceFileError: its `gateway` names a variable that is not set.
        RuntimeUnavailable: a package cannot be installed, or the device needs another machine.
        FileError: the cache's folder is not writable.
    """
    device = resolve_gateway(expand_variables(require_trust_in(device)))
    here = device.gateway == "popen"
    if device.is_fleet:
        raise UnreachableError(
            f"device {device.name}: only `mnbench run` can use a fleet",
            hint="reach the board by ssh: docs/devices.md",
        )
    if here and device.systems and platform.system() not in device.systems:
        raise RuntimeUnavailable(
            f"device {device.name}: needs {' or '.join(device.systems)}, and this is {platform.system()}",
            hint="run mnbench on such a machine, or write a device file that extends this one and sets `gateway`",
        )
    if not device.requires:
        return device
    if not here:
        raise RuntimeUnavailable(
            f"device {device.name}: {' '.join(device.requires)} is not installed on other machines",
            hint="create the environment on the device, set `gateway` to its Python, and set `requires = []`: "
            f"python3 -m venv mnbench && mnbench/bin/pip install {' '.join(required_packages(device))}",
        )
    if fresh or not is_built(environment_path(*required_packages(device), no_deps=device.requires_no_deps)):
        on_create((*device.requires, *device.requires_no_deps))
    python = create_device_environment(device, fresh=fresh)
    return msgspec.structs.replace(device, gateway=f"popen//python={shlex.quote(str(python))}")


def with_packages(device: Device, packages: Sequence[str]) -> Device:
    """Add packages to the device's environment; they replace others of the same name."""
    if not packages:
        return device
    names = [distribution_name(package) for package in packages]
    required = [package for package in device.requires if distribution_name(package) not in names]
    if not device.requires and not any(name.startswith(device.runtime) for name in names):
        required = [device.runtime]
    no_deps = [package for package in device.requires_no_deps if distribution_name(package) not in names]
    known_no_deps = set(map(distribution_name, device.requires_no_deps))
    for package in packages:
        (no_deps if distribution_name(package) in known_no_deps else required).append(package)
    return msgspec.structs.replace(device, requires=tuple(required), requires_no_deps=tuple(no_deps))


def is_used_by(package: str, device: Device) -> bool:
    """Return whether the package is the device's runtime, a build of it, or required by the device."""
    name = distribution_name(package)
    known = map(distribution_name, (*device.requires, *device.requires_no_deps))
    return name in known or name == device.runtime or name.startswith(f"{device.runtime}-")


def required_packages(device: Device) -> tuple[str, ...]:
    """Return the packages of the device's environment; every worker needs numpy."""
    return (*device.requires, "numpy")


def distribution_name(requirement: str) -> str:
    """Return the normalized name in `Some_Package[extra]==1.0`."""
    match = NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else requirement


def create_device_environment(device: Device, *, fresh: bool = False) -> Path:
    """Build the environment that the device requires, unless it exists and not `fresh`; return its Python."""
    return create_environment(
        *required_packages(device),
        no_deps=device.requires_no_deps,
        fresh=fresh,
        modules=("numpy", runtime_facts(device.runtime).module or device.runtime),
    )


def environment_path(*requirements: str, no_deps: Sequence[str] = (), folder: Path | None = None) -> Path:
    """Return the folder of such an environment, which exists or not."""
    alone = (f"{package} alone" for package in no_deps)
    facts = "\n".join([*sorted(requirements), *sorted(alone), sys.version, sys.platform, sys.executable])
    return (folder or cache_folder() / "environments") / hashlib.sha256(facts.encode()).hexdigest()[:16]


def create_environment(
    *requirements: str,
    no_deps: Sequence[str] = (),
    fresh: bool = False,
    folder: Path | None = None,
    modules: Sequence[str] = (),
) -> Path:
    """Build an environment of these packages, unless it exists and not `fresh`; return its Python.

    Packages of `no_deps` are installed without their dependencies. uv is used if installed, else venv and pip; neither
    reads configuration or modules of the current folder. The environment stays only if its `modules` can be imported.
    """
    path = environment_path(*requirements, no_deps=no_deps, folder=folder)
    python = path / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

    def build() -> str:
        run = partial(_run, folder=path.parent)
        uv = find_program("uv")
        if uv:
            run((uv, "venv", "--no-config", "--quiet", "--python", sys.executable, str(path)), requirements)
            install = (uv, "pip", "install", "--no-config", "--quiet", "--python", str(python))
        else:
            run((sys.executable, "-I", "-m", "venv", str(path)), requirements)
            install = (str(python), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        run((*install, "--", *requirements), requirements)
        if no_deps:
            run((*install, "--no-deps", "--", *no_deps), no_deps)
        if modules:
            run((str(python), "-I", "-c", f"import {', '.join(modules)}"), requirements)
        return "\n".join([*requirements, *no_deps])

    build_once(path, build, fresh=fresh)
    return python


def _run(command: Sequence[str], requirements: Sequence[str], *, folder: Path) -> None:
    logger.info("running %s", shlex.join(command))
    done = run_program(command, folder=folder, environment=installer_environment())
    if done.returncode:
        output = (done.stderr or done.stdout).decode(errors="replace")
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith("error")] or lines or ["no message"]
        reason = errors[-1].removeprefix("ERROR: ").removeprefix("error: ")  # pip's word, and uv's
        raise RuntimeUnavailable(
            f"{' '.join(requirements)} cannot be installed: {reason[:200]}",
            hint="name a version that exists for this Python, and check that the package index can be reached",
        )
