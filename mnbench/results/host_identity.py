"""The only definition of "same host", and the key by which a newer record replaces an older one."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from math import ceil
from typing import Any, NamedTuple, Self

FACTS = (
    *("cpu", "cpu_vendor", "cpu_family", "cpu_model", "cpu_stepping", "cpu_flags", "core_kinds", "machine", "cores"),
    *("caches", "hypervisor"),
)
"""Facts of a host that decide about latency and stay the same from boot to boot."""


class HostIdentity(NamedTuple):
    """A host by what it is: equal identities are one host. Facts that a record lacks are left out."""

    name: str
    digest: str

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], gpu: Mapping[str, Any] | None = None) -> Self:
        """Identify the host with these facts, and with this GPU if a GPU ran the model."""
        identity = _identity(facts, gpu)
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
        return cls(str(facts.get("cpu")), digest)

    def label(self, hosts: "Iterable[HostIdentity]") -> str:
        """Return the name, with the digest if one of these other hosts has the same name."""
        shared = any(other.name == self.name and other != self for other in hosts)
        return f"{self.name} {self.digest}" if shared else self.name


def host_difference(facts: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return what the hosts with these facts differ in, or an empty string if they are the same host."""
    identity, other_identity = _identity(facts), _identity(other)
    for fact in dict.fromkeys([*identity, *other_identity]):
        values = identity.get(fact), other_identity.get(fact)
        if values[0] != values[1]:
            long = any(isinstance(value, list | dict) for value in values)
            return f"{fact} differ" if long else f"{fact} {values[0]}, then {values[1]}"
    return ""


def _identity(facts: Mapping[str, Any], gpu: Mapping[str, Any] | None = None) -> dict[str, Any]:
    identity = {name: facts[name] for name in FACTS if facts.get(name) not in (None, {}, [])}
    if facts.get("emulated"):
        identity["emulated"] = True
    if memory_bytes := facts.get("memory_bytes"):
        # The memory that the kernel reserves changes with its version.
        identity["memory_gib"] = ceil(memory_bytes / 2**30)
    if gpu:
        identity["gpu"] = gpu.get("name")
    return identity


class Setting(NamedTuple):
    """Where and how a model runs: figures of two settings are not mixed."""

    device: str
    threads: int
    runtime: str
    runtime_version: str
    host: HostIdentity


class RecordKey(NamedTuple):
    """A variant, or a model file of that name, in a setting."""

    variant: str
    architecture: str | None
    setting: Setting
