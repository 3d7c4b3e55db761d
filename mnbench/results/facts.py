"""The facts that a worker reports of its machine, as records hold them. What is not reported is None or absent."""

from typing import Annotated, TypeAlias, TypedDict

from msgspec import Meta

Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Nanoseconds: TypeAlias = Annotated[int, Meta(ge=1, le=2**63 - 1)]
"""A duration of something that ran."""

Duration: TypeAlias = Annotated[int, Meta(ge=0, le=10**18)]
"""Nanoseconds, up to 31 years: sums and means fit into a record."""

PositiveDuration: TypeAlias = Annotated[int, Meta(ge=1, le=10**18)]

Amount: TypeAlias = Annotated[float, Meta(ge=0, le=1e100)]
Real: TypeAlias = Annotated[float, Meta(ge=-1e100, le=1e100)]
Rate: TypeAlias = Annotated[float, Meta(ge=1, le=1e100)]
"""Of a machine, in units a second."""

Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]

Text: TypeAlias = Annotated[str, Meta(max_length=2**17)]
"""Free text, at most as long as an argument of a command: it never becomes a path or a command."""

Name: TypeAlias = Annotated[str, Meta(pattern=r"\A\w[\w.+-]{0,119}\Z")]
"""A text that may become part of a path or a command: of a device, a run or a runtime."""

Version: TypeAlias = Annotated[str, Meta(pattern=r"\A([0-9][0-9A-Za-z.+!-]{0,99})?\Z")]
"""The version of a package; empty if it is not known."""

Sha256: TypeAlias = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]

Threads: TypeAlias = Annotated[int, Meta(ge=1, le=10_000)]
NodesByProvider: TypeAlias = Annotated[dict[Annotated[str, Meta(max_length=100)], list[str]], Meta(max_length=100)]
"""The names of nodes by the provider that ran them."""

Texts: TypeAlias = Annotated[list[Text], Meta(max_length=10_000)]
Integer: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Temperature: TypeAlias = Annotated[float, Meta(ge=-1000, le=100_000)]

Cpus: TypeAlias = Annotated[str, Meta(pattern=r"\A([0-9]{1,6}(-[0-9]{1,6})?(,(?!\Z)|\Z))*\Z", max_length=10_000)]
"""The kernel's list of processors, as `0-2,5`."""


class Cache(TypedDict, total=False):
    level: Count
    type: Text
    size_bytes: Count
    shared_by: Count | None


class HostFacts(TypedDict, total=False):
    """What a machine is; see `mnbench/worker/host/facts.py`."""

    board: Text
    cpu: Text
    cpu_vendor: Text | None
    cpu_family: Integer | None
    cpu_model: Integer | None
    cpu_stepping: Integer | None
    cpu_flags: Texts
    core_kinds: Annotated[dict[Text, Cpus], Meta(max_length=1000)]
    machine: Text
    cores: Annotated[int, Meta(ge=1, lt=2**31)]
    cores_quota: Amount | None
    allowed_cpus: Cpus | None
    logical_cpus: Count | None
    threads_per_core: Count | None
    distinct_cpus: Cpus | None
    numa_nodes: Count | None
    caches: Annotated[list[Cache], Meta(max_length=1000)]
    governor: Text | None
    frequency_driver: Text | None
    frequency_min_hz: Count | None
    frequency_max_hz: Count | None
    turbo: bool | None
    memory_bytes: Count | None
    memory_limit_bytes: Count | None
    swap_bytes: Count | None
    huge_pages: Text | None
    huge_pages_bytes: Count | None
    system: Text
    kernel: Text
    libc: Text | None
    python: Text
    product: Text | None
    virtual: bool | None
    hypervisor: Text | None
    emulated: bool | None
    container: Text | None
    perf_counters: bool | None
    perf_event_paranoid: Integer | None


class Conditions(TypedDict, total=False):
    """What a machine's state is at a moment; see `mnbench/worker/host/conditions.py`."""

    at_ns: Count
    load_1min: Amount | None
    load_5min: Amount | None
    load_15min: Amount | None
    cpu_pressure_10s: Amount | None
    cpu_pressure_s: Amount | None
    memory_pressure_10s: Amount | None
    memory_pressure_s: Amount | None
    user_s: Amount | None
    system_s: Amount | None
    idle_s: Amount | None
    steal_s: Amount | None
    process_id: Count
    process_cpu_s: Amount
    voluntary_switches: Count | None
    involuntary_switches: Count | None
    frequency_hz: Amount | None
    temperature_c: Temperature | None
    heat_throttles: Count | None
    firmware_limits: Texts | None
    quota_stops: Count | None
    quota_stopped_s: Amount | None
    free_memory_bytes: Count | None
    swap_used_bytes: Count | None
    swap_in_bytes: Count | None
    swap_out_bytes: Count | None


class GpuFacts(TypedDict, total=False):
    """A GPU and its state; see `mnbench/worker/host/gpu.py`."""

    name: Text | None
    driver_version: Text | None
    sm_clock_hz: Amount | None
    memory_clock_hz: Amount | None
    sm_clock_max_hz: Amount | None
    memory_clock_max_hz: Amount | None
    power_w: Amount | None
    power_limit_w: Amount | None
    temperature_c: Temperature | None
    utilization: Share | None
    clock_limits: Texts | None
    mig: bool | None
