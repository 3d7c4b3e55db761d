"""The facts that a worker reports of its machine, as records hold them. What is not reported is None or absent."""

from typing import Annotated, TypeAlias, TypedDict

from msgspec import Meta

Count: TypeAlias = Annotated[int, Meta(ge=0, lt=2**63)]


class Cache(TypedDict, total=False):
    level: Count
    type: str
    size_bytes: Count
    shared_by: Count | None


class HostFacts(TypedDict, total=False):
    """What a machine is; see `mnbench/worker/host/facts.py`."""

    board: str
    cpu: str
    cpu_vendor: str | None
    cpu_family: int | None
    cpu_model: int | None
    cpu_stepping: int | None
    cpu_flags: list[str]
    core_kinds: dict[str, str]
    machine: str
    cores: Annotated[int, Meta(ge=1, lt=2**31)]
    cores_quota: float | None
    allowed_cpus: str | None
    logical_cpus: Count | None
    threads_per_core: Count | None
    distinct_cpus: str | None
    numa_nodes: Count | None
    caches: list[Cache]
    governor: str | None
    frequency_driver: str | None
    frequency_min_hz: Count | None
    frequency_max_hz: Count | None
    turbo: bool | None
    memory_bytes: Count | None
    memory_limit_bytes: Count | None
    swap_bytes: Count | None
    huge_pages: str | None
    huge_pages_bytes: Count | None
    system: str
    kernel: str
    libc: str | None
    python: str
    product: str | None
    virtual: bool | None
    hypervisor: str | None
    emulated: bool | None
    container: str | None
    perf_counters: bool | None
    perf_event_paranoid: int | None


class Conditions(TypedDict, total=False):
    """What a machine's state is at a moment; see `mnbench/worker/host/conditions.py`."""

    at_ns: int
    load_1min: float | None
    load_5min: float | None
    load_15min: float | None
    cpu_pressure_10s: float | None
    cpu_pressure_s: float | None
    memory_pressure_10s: float | None
    memory_pressure_s: float | None
    user_s: float | None
    system_s: float | None
    idle_s: float | None
    steal_s: float | None
    process_id: int
    process_cpu_s: float
    voluntary_switches: Count | None
    involuntary_switches: Count | None
    frequency_hz: float | None
    temperature_c: float | None
    heat_throttles: Count | None
    firmware_limits: list[str] | None
    quota_stops: Count | None
    quota_stopped_s: float | None
    free_memory_bytes: Count | None
    swap_used_bytes: Count | None
    swap_in_bytes: Count | None
    swap_out_bytes: Count | None


class GpuFacts(TypedDict, total=False):
    """A GPU and its state; see `mnbench/worker/host/gpu.py`."""

    name: str | None
    driver_version: str | None
    sm_clock_hz: float | None
    memory_clock_hz: float | None
    sm_clock_max_hz: float | None
    memory_clock_max_hz: float | None
    power_w: float | None
    power_limit_w: float | None
    temperature_c: float | None
    utilization: float | None
    clock_limits: list[str] | None
    mig: bool | None
