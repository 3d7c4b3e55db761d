"""Noise sources of a host: rules over its facts and conditions, each with evidence and a fix."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

Facts: TypeAlias = Mapping[str, Any]
Severity: TypeAlias = Literal["disturbs", "good to know"]

MAX_OTHER_CORES = 0.15
"""More than the kernel's own work: two idle processors differ by less in a second."""

HARMLESS_GPU_LIMITS = {"idle", "clocks set by a user", "display clocks"}
BUSIEST = "ps -eo pcpu,pid,comm --sort=-pcpu | head"
SMT_OFF = "echo off | sudo tee /sys/devices/system/cpu/smt/control"
TURBO = "turbo is on: the frequency depends on temperature and on the load of other cores"
QUOTA = "the control group allows {quota:g} of {allowed_count} cores"
WHOLE_CORES = "assign whole cores instead of a quota: docker run --cpuset-cpus, or raise --cpus or CPUQuota="
COUNTERS_ELSEWHERE = "measure where they are available, if you need them"
FEWER_THREADS = "end other load, or use fewer threads than cores"
FREE_MEMORY = "free memory, or measure smaller models"
SWAP_OFF = "free memory, then: sudo swapoff -a"
COOL = "let the processor cool down; improve its cooling"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseSource:
    """A property of the host that makes latencies noisier or limits what they mean."""

    name: str
    severity: Severity
    evidence: str
    fix: str


class Observation(dict[str, Any]):
    """Facts, conditions or changes by name; None where the host does not report a value."""

    def __missing__(self, key: str) -> None:
        """Return None."""

    def above(self, key: str, limit: float) -> float | None:
        value = self[key]
        return value if value is not None and value > limit else None


@dataclass(frozen=True, slots=True)
class Rule:
    """A noise source is present if `when` is true; the texts name its value as {0}, and any other value by its key."""

    name: str
    severity: Severity
    when: Callable[[Observation], Any]
    evidence: str
    fix: str


# fmt: off
RULES = (
    Rule("emulated", "disturbs", lambda host: host["emulated"],
         "this processor is emulated, so its latencies are meaningless", "measure on the real machine"),
    Rule("governor", "disturbs",
         lambda host: host["governor"] if host["governor"] != "performance" and not host["fixed_frequency"] else None,
         "the governor {0} changes the frequency",
         "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"),
    Rule("turbo", "disturbs", lambda host: host["turbo"] and str(host["frequency_driver"]).startswith("intel_"),
         TURBO, "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo"),
    Rule("turbo", "disturbs", lambda host: host["turbo"],
         TURBO, "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost"),
    Rule("virtual machine", "good to know", lambda host: host["virtual"] and (host["hypervisor"] or "unknown"),
         "a virtual machine ({0}): the load of its neighbours is hidden, and hours differ",
         "compare within one run; for absolute latencies use a dedicated machine"),
    Rule("small pages", "good to know", lambda host: host["huge_pages"] == "never",
         "huge pages are off: compare and gate see three times the scatter and need more processes",
         "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled"),
    Rule("quota", "disturbs", lambda host: host["quota"] and host["quota"] < 1,
         f"{QUOTA}: it stops every process repeatedly", WHOLE_CORES),
    Rule("quota", "good to know", lambda host: host["quota"], QUOTA, WHOLE_CORES),
    Rule("shared cores", "disturbs", lambda host: host["shared_threads"],
         "{0} logical CPUs share a core and slow each other down",
         f"taskset -c {{distinct_cpus}} mnbench run …, or: {SMT_OFF}"),
    Rule("shared cores", "good to know", lambda host: host.above("threads_per_core", 1),
         "other processes may run on the second logical CPU of each core (of {0})", SMT_OFF),
    Rule("kinds of core", "disturbs",
         lambda host: host["kind_names"],
         "a thread may run on any of: {0}", "stay on one kind: taskset -c {fastest_cpus} mnbench run …"),
    Rule("no counters", "good to know", lambda host: host["virtual"] and host["perf_counters"] is False,
         "the hypervisor provides no hardware performance counters", COUNTERS_ELSEWHERE),
    Rule("no counters", "good to know", lambda host: host["perf_counters"] is False,
         "there are no hardware performance counters", COUNTERS_ELSEWHERE),
    Rule("no counters", "good to know", lambda host: host.above("perf_event_paranoid", 2),
         "the kernel denies users the hardware performance counters", "sudo sysctl kernel.perf_event_paranoid=2"),
    Rule("no pressure", "good to know", lambda host: host["pressure_unreported"],
         "the kernel does not report how long tasks wait for a core", "boot with psi=1 (Linux 4.20 or newer)"),

    Rule("steal", "disturbs", lambda change: change.above("steal_share", 0.01),
         "the hypervisor took {0:.1%} of the processors' time", "use dedicated cores, or another hour"),
    Rule("CPU pressure", "disturbs", lambda change: change.above("cpu_wait_share", 0.05),
         "tasks waited for a core {0:.0%} of the time", FEWER_THREADS),
    Rule("memory pressure", "disturbs", lambda change: change.above("memory_wait_share", 0.01),
         "tasks waited for memory {0:.0%} of the time", FREE_MEMORY),
    Rule("stopped by quota", "disturbs", lambda change: change["new_quota_stops"],
         "the control group's quota stopped processes {0:,} times", "raise the quota, or use fewer threads"),
    Rule("heat", "disturbs", lambda change: change["new_heat_throttles"], "heat slowed the processor", COOL),
    Rule("swapping", "disturbs", lambda change: change["swapped_mb"], "{0:,.0f} MB were swapped", SWAP_OFF),
    Rule("other load", "disturbs", lambda change: change.above("other_cores", MAX_OTHER_CORES),
         "other processes keep {0:.1f} cores busy", f"end them: {BUSIEST}"),

    Rule("CPU pressure", "disturbs", lambda now: now.above("cpu_pressure_10s", 0.05),
         "tasks waited for a core {0:.0%} of the last ten seconds", FEWER_THREADS),
    Rule("memory pressure", "disturbs", lambda now: now.above("memory_pressure_10s", 0.01),
         "tasks waited for memory {0:.0%} of the last ten seconds", FREE_MEMORY),
    Rule("heat", "disturbs", lambda now: now.above("temperature_c", 84.99), "the processor has {0:.0f} °C", COOL),
    Rule("firmware limits", "disturbs",
         lambda now: "under-voltage" in (now["firmware_limits"] or ()) and ", ".join(now["firmware_limits"]),
         "the firmware reports: {0}", "use a stronger power supply"),
    Rule("firmware limits", "disturbs", lambda now: ", ".join(now["firmware_limits"] or ()),
         "the firmware reports: {0}", "improve the cooling"),
    Rule("swap", "good to know", lambda now: (now["swap_used_bytes"] or 0) / 1e6, "{0:,.0f} MB are in swap", SWAP_OFF),
    Rule("load", "good to know", lambda now: now.above("unexplained_load_1min", 0.5),
         "the load average of the last minute is {0:.2f}", f"wait, or end what runs: {BUSIEST}"),

    Rule("GPU clocks", "disturbs",
         lambda gpu: ", ".join(name for name in gpu["gpu_clock_limits"] or () if name not in HARMLESS_GPU_LIMITS),
         "the GPU's clocks are limited: {0}", "cool the GPU, or lower and lock its clocks"),
    Rule("GPU clocks", "good to know",
         lambda gpu: "clocks set by a user" not in (gpu["gpu_clock_limits"] or ()) and gpu["gpu_lockable_mhz"],
         "the GPU's clocks change with load and temperature",
         "sudo nvidia-smi --lock-gpu-clocks={0} (and --reset-gpu-clocks afterwards)"),
    Rule("GPU load", "disturbs", lambda gpu: gpu.above("gpu_utilization", 0.05),
         "the GPU is {0:.0%} busy", "list its processes: nvidia-smi pmon -c 1"),
    Rule("GPU shared", "good to know", lambda gpu: gpu["gpu_mig"],
         "the GPU is partitioned (MIG)", "name the partition in every comparison"),
)
# fmt: on
"""By what they read: facts, changes between two snapshots, one snapshot, a GPU. The first rule of a name applies."""


def noise_sources(facts: Facts, *snapshots: Facts, gpu: Facts | None = None) -> list[NoiseSource]:
    """Return the noise sources that facts and successive snapshots of the conditions show; disturbing ones first.

    Counters are compared between neighbouring snapshots. If one process took both, the load of others is known too.
    """
    observations = [
        _host(facts, snapshots),
        *(_change(Observation(before), Observation(after)) for before, after in pairwise(snapshots)),
        *map(Observation, snapshots),
        Observation({f"gpu_{name}": value for name, value in (gpu or {}).items()}),
    ]
    if len(snapshots) == 1:  # two snapshots show what the processors did in between; the load may be our own
        observations[1]["unexplained_load_1min"] = snapshots[0].get("load_1min")
    if clock_hz := observations[-1]["gpu_sm_clock_max_hz"]:
        observations[-1]["gpu_lockable_mhz"] = round(clock_hz * 0.75 / 1e6)
    sources: dict[str, NoiseSource] = {}
    for observation in observations:
        for rule in RULES:
            value = rule.name not in sources and rule.when(observation)
            if value:
                words = {name: shlex.quote(fact) for name, fact in observation.items() if isinstance(fact, str)}
                evidence, fix = rule.evidence.format(value, **observation), rule.fix.format(value, **words)
                sources[rule.name] = NoiseSource(name=rule.name, severity=rule.severity, evidence=evidence, fix=fix)
    return sorted(sources.values(), key=lambda source: source.severity != "disturbs")


def _host(facts: Facts, snapshots: Sequence[Facts]) -> Observation:
    """Return the facts, and what follows from several of them."""
    host = Observation(facts)
    allowed, low_hz = _count(host["allowed_cpus"]), host["frequency_min_hz"]
    kinds: dict[str, str] = host["core_kinds"] or {}
    unreported = bool(snapshots) and all(snapshot.get("cpu_pressure_s") is None for snapshot in snapshots)
    host |= {
        "allowed_count": allowed,
        "quota": host["cores_quota"] if (host["cores_quota"] or allowed) < allowed else None,
        "shared_threads": host.above("threads_per_core", 1) if _count(host["distinct_cpus"]) < allowed else None,
        "fixed_frequency": low_hz is not None and low_hz == host["frequency_max_hz"],
        "kind_names": ", ".join(f"{name} {cpus}" for name, cpus in kinds.items()),
        "fastest_cpus": kinds.get("performance") or next(reversed(kinds.values()), None),
        "pressure_unreported": host["system"] == "Linux" and unreported,
    }
    return host


def _change(before: Observation, after: Observation) -> Observation:
    """Return what counters counted between two snapshots; nothing where one is not reported."""

    def growth(*names: str) -> float:
        known = [name for name in names if before[name] is not None and after[name] is not None]
        return sum(max(0, after[name] - before[name]) for name in known)

    elapsed_s = growth("at_ns") / 1e9
    same_process = before["process_id"] == after["process_id"] and before["user_s"] is not None and elapsed_s >= 0.1
    others_s = growth("user_s", "system_s") - growth("process_cpu_s")
    return Observation(
        steal_share=growth("steal_s") / (growth("user_s", "system_s", "idle_s", "steal_s") or 1),
        cpu_wait_share=growth("cpu_pressure_s") / elapsed_s if elapsed_s > 0 else 0,
        memory_wait_share=growth("memory_pressure_s") / elapsed_s if elapsed_s > 0 else 0,
        new_quota_stops=growth("quota_stops"),
        new_heat_throttles=growth("heat_throttles"),
        swapped_mb=growth("swap_in_bytes", "swap_out_bytes") / 1e6,
        other_cores=others_s / elapsed_s if same_process else None,
    )


def _count(cpus: str | None) -> int:
    """Count the CPUs of the kernel's list `0-2,5`."""
    ranges = (part.partition("-") for part in cpus.split(",")) if cpus else ()
    return sum(int(last or first) - int(first) + 1 for first, _, last in ranges)
