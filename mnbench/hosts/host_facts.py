"""Facts of a host, read by a worker there; and the cache of figures that hold for one host and setting."""

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from mnbench import atomic_files
from mnbench.errors import MnbenchError
from mnbench.json_files import read_json
from mnbench.results.host_identity import HostIdentity
from mnbench.targets.answers import HostSnapshot
from mnbench.targets.device import Device
from mnbench.targets.transport import call_worker
from mnbench.workspace import cache_folder

TIMEOUT_S = 60.0


def read_host(device: Device, *, rest_s: float = 0.0, gpu: bool | None = None) -> HostSnapshot:
    """Start a worker on the device and read its host; `gpu` defaults to whether the device uses one."""
    with_gpu = device.nvidia if gpu is None else gpu
    request = {"kind": "host_facts", "rest_s": rest_s, "gpu": with_gpu, "runtime": device.runtime}
    return call_worker(device, request, HostSnapshot, timeout_s=TIMEOUT_S)


def host_fingerprint(device: Device) -> dict[str, Any]:
    """Return what a cached figure depends on: the host, and how the device runs a model there."""
    host = read_host(device, gpu=False)
    return {
        "gateway": device.gateway,
        "host": HostIdentity.from_facts(host.facts).digest,
        "runtime": f"{device.runtime} {host.runtime_version}",
        "provider": device.provider,
        "provider_options": device.provider_options,
        "options": device.options,
        **({"environment": device.environment} if device.environment else {}),
        "threads": device.threads,
        "bound_to": list(device.cores),
    }


def runtime_version(device: Device) -> str:
    """Return the version of the runtime in the device's environment; empty if it is not installed there."""
    return read_host(device, gpu=False).runtime_version or ""


class CachedFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures that hold for one host and setting, as the cache stores them."""

    setting: dict[str, Any]


Figures = TypeVar("Figures", bound=CachedFigures)


def load_cached(kind: str, setting: dict[str, Any], figures: type[Figures]) -> Figures | None:
    """Return the cached figures of that setting; None if there are none that can be read."""
    try:
        stored = read_json(cache_path(kind, setting), figures)
    except (FileNotFoundError, MnbenchError):
        return None
    return stored if stored.setting == setting else None


def save_cached(kind: str, figures: CachedFigures) -> None:
    """Store the figures.

    Raises:
        FileError: no space, no permission.
    """
    atomic_files.write_atomically(cache_path(kind, figures.setting), msgspec.json.encode(figures))


def cache_path(kind: str, setting: dict[str, Any]) -> Path:
    """Return the file for figures of that kind in that setting."""
    digest = hashlib.sha256(json.dumps(setting, sort_keys=True).encode()).hexdigest()[:12]
    return cache_folder() / f"{kind}-{digest}.json"
