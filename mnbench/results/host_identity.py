"""The only definition of "same host", and the key by which a newer record replaces an older one."""

import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from math import ceil
from typing import Any, NamedTuple, Self

import msgspec

from mnbench.network.row import Row

FACTS = (
    *("cpu", "cpu_vendor", "cpu_family", "cpu_model", "cpu_stepping", "cpu_flags", "core_kinds", "machine", "cores"),
    *("caches", "hypervisor"),
)
"""Facts of a host that decide about latency and stay the same from boot to boot."""

MIN_DIGITS = 4
"""The digits of a digest that are shown, and that name a host at least."""

NOISE_WORDS = re.compile(r"\((?:R|TM)\)|@.*|\b(?:AMD|Intel|CPU|Processor|\d+-Core)\b", re.IGNORECASE)
"""What a processor's name says of every processor of its maker, or besides its name."""


class HostIdentity(NamedTuple):
    """A host by what it is: equal identities are one host. Facts that a record lacks are left out."""

    name: str
    digest: str

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], gpu: Mapping[str, Any] | None = None) -> Self:
        """Identify the host with these facts, and with this GPU if a GPU ran the model."""
        return cls(*_name_and_digest(msgspec.json.encode(_identity(facts, gpu))))

    def __str__(self) -> str:
        """Return `EPYC 25/17/1, 2 cores, #3fa2`: the processor's name and model, and the digest's first digits."""
        return f"{self.name}, #{self.digest[:MIN_DIGITS]}"

    def matches(self, text: str) -> bool:
        """Return whether a text names this host: its label, its name, or its digest or the beginning of it."""
        digest = text.removeprefix("#")
        return text in (str(self), self.name) or (len(digest) >= MIN_DIGITS and self.digest.startswith(digest))


@lru_cache
def _name_and_digest(encoded: bytes) -> tuple[str, str]:
    """Return them of the facts in this JSON: thousands of records are of one host."""
    identity = msgspec.json.decode(encoded)
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return _short_name(identity), digest


def _short_name(identity: Mapping[str, Any]) -> str:
    """Return GPU, processor, its numbers on x86 (family/model/stepping), and the number of cores."""
    cpu = " ".join(NOISE_WORDS.sub(" ", str(identity.get("cpu") or "")).split())
    numbers = [identity.get(f"cpu_{fact}") for fact in ("family", "model", "stepping")]
    if identity.get("machine") in ("x86_64", "AMD64") and None not in numbers:
        cpu = f"{cpu} {'/'.join(map(str, numbers))}".strip()
    cores = identity.get("cores")
    parts = [
        identity.get("gpu"),
        ("emulated " if identity.get("emulated") else "") + (cpu or identity.get("machine") or "unknown processor"),
        cores and f"{cores} core{'s' if cores > 1 else ''}",
    ]
    return ", ".join(filter(None, parts))


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
        identity["gpu"] = " ".join([str(gpu.get("name")), *(["MIG"] if gpu.get("mig") else [])])
    return identity


class Setting(NamedTuple):
    """Where and how a model runs: figures of two settings are not mixed."""

    device: str
    threads: int
    runtime: str
    runtime_version: str
    host: HostIdentity | None


class RecordKey(NamedTuple):
    """A row in a setting."""

    row: Row
    setting: Setting
