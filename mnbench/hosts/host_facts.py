"""The setting of a measurement: what a figure that is kept for later depends on, and where such figures are kept."""

import hashlib
import json
from pathlib import Path
from typing import Any

from mnbench.results.host_identity import HostIdentity
from mnbench.targets.device import Device
from mnbench.targets.transport import call_worker
from mnbench.workspace import cache_folder

TIMEOUT_S = 60.0


def host_fingerprint(device: Device) -> dict[str, Any]:
    """The host as a worker there finds it, and how the device runs a model.

    Raises:
        UnreachableError: no worker starts there.
    """
    request = {"kind": "host_facts", "rest_s": 0, "gpu": False, "runtime": device.runtime}
    entries = call_worker(device, request, timeout_s=TIMEOUT_S)
    return {
        "gateway": device.gateway,
        "host": HostIdentity.from_facts(entries["facts"]).digest,
        "runtime": f"{device.runtime} {entries['runtime_version']}",
        "provider": device.provider,
        "provider_options": device.provider_options,
        "options": device.options,
        **({"environment": device.environment} if device.environment else {}),
        "threads": device.threads,
        "bound_to": list(device.cores),
    }


def runtime_version(device: Device) -> str:
    """Return the version of the runtime in the device's environment; empty, if it is not installed there.

    Raises:
        UnreachableError: no worker starts there.
    """
    request = {"kind": "host_facts", "rest_s": 0, "gpu": False, "runtime": device.runtime}
    return call_worker(device, request, timeout_s=TIMEOUT_S)["runtime_version"] or ""


def cache_path(kind: str, setting: dict[str, Any]) -> Path:
    """The file for figures of that kind in that setting, in the user's cache (XDG base directory specification)."""
    digest = hashlib.sha256(json.dumps(setting, sort_keys=True).encode()).hexdigest()[:12]
    return cache_folder() / f"{kind}-{digest}.json"
