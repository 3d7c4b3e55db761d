"""Check quickly whether a device is ready: no process starts, and no runtime is imported."""

import platform
from dataclasses import dataclass
from importlib.metadata import Distribution

from mnbench.targets.build_once import is_built
from mnbench.targets.device import Device
from mnbench.targets.environments import environment_path, required_packages
from mnbench.targets.resolve import resolve_target
from mnbench.targets.runtimes import runtime_facts
from mnbench.worker.host.installed import find_distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """`ready`, or the `command` that makes the device ready. `reason` says why it cannot be, or where it runs."""

    ready: bool
    command: str = ""
    reason: str = ""

    @property
    def text(self) -> str:
        if self.ready:
            return f"ready, {self.reason}" if self.reason else "ready"
        return ": ".join(part for part in (self.reason, self.command) if part)


def check_readiness(device: Device) -> Readiness:
    """Return what can be seen from here. Only `mnbench devices probe` proves that a device works."""
    probe = Readiness(ready=False, command=f"mnbench devices probe {device.name}")
    if elsewhere := _elsewhere(device, probe):
        return elsewhere
    if device.systems and platform.system() not in device.systems:
        return Readiness(ready=False, reason=f"needs {' or '.join(device.systems)}")
    if device.requires:
        built = is_built(environment_path(*required_packages(device), no_deps=device.requires_no_deps))
        return (
            Readiness(ready=True) if built else Readiness(ready=False, command=f"mnbench devices setup {device.name}")
        )
    return _here(device, probe)


def _elsewhere(device: Device, probe: Readiness) -> Readiness | None:
    if device.is_fleet:
        return Readiness(ready=False, command=device.install_hint)
    target = resolve_target(device)
    if target.kind == "board":
        return Readiness(ready=False, command=probe.command, reason=f"board {target.board}" if target.board else "")
    if target.kind == "emulated":
        return Readiness(ready=True, reason="emulated")
    if target.kind == "unavailable":
        return Readiness(ready=False, command=f"mnbench devices setup {device.name}")
    return None


def _here(device: Device, probe: Readiness) -> Readiness:
    distribution = find_distribution(device.runtime)
    library = runtime_facts(device.runtime).provider_libraries.get(device.provider)
    if distribution and library is not None and (not library or _holds(distribution, library)):
        return Readiness(ready=True)
    if distribution and device.systems:
        return probe
    return Readiness(ready=False, command=device.install_hint or f"pip install {device.runtime}")


def _holds(distribution: Distribution, library: str) -> bool:
    return any(library in path.name for path in distribution.files or ())
