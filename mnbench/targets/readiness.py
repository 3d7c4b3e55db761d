"""Check quickly whether a device is ready: no process starts, and no runtime is imported."""

import platform
import shlex
from dataclasses import dataclass
from importlib.metadata import Distribution

from mnbench.targets.build_once import is_built
from mnbench.targets.device import Device
from mnbench.targets.environments import environment_path
from mnbench.targets.resolve import resolve_target
from mnbench.targets.runtimes import runtime_facts
from mnbench.worker.runtimes import find_distribution


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
    setup, probe = (f"mnbench devices {verb} {shlex.quote(device.name)}" for verb in ("setup", "probe"))
    target = resolve_target(device)
    ready, command, reason = False, "", ""
    if device.is_fleet:
        command = device.install_hint
    elif target.kind == "board":
        command, reason = probe, f"board {target.board}" if target.board else ""
    elif target.kind == "emulated":
        ready, reason = True, "emulated"
    elif target.kind == "unavailable":
        command = setup
    elif device.systems and platform.system() not in device.systems:
        reason = f"needs {' or '.join(device.systems)}"
    elif device.requires:
        ready = is_built(environment_path(device))
        command = "" if ready else setup
    else:
        distribution = find_distribution(device.runtime)
        ready = distribution is not None and _has_provider(distribution, device)
        if not ready:
            install = device.install_hint or f"pip install {device.runtime}"
            command = probe if distribution and device.systems else install
    return Readiness(ready=ready, command=command, reason=reason)


def _has_provider(distribution: Distribution, device: Device) -> bool:
    """Return whether the installed build has the device's provider: every build, or those with its library."""
    library = runtime_facts(device.runtime).provider_libraries.get(device.provider)
    return library is not None and (not library or any(library in path.name for path in distribution.files or ()))
