"""What disturbs a measurement on a host, read from its facts and conditions, and how to mend it."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

from mnbench.units import format_percent, format_percent_1

Facts: TypeAlias = Mapping[str, Any]

PRESSURE = 0.05
MEMORY_PRESSURE = 0.01
STEAL = 0.01
OTHERS_CORES = 0.15
"""More than the kernel's own work: with less, two processors that do nothing for a second differ."""
LOAD = 0.5
HOT_C = 85
BUSIEST = "ps -eo pcpu,pid,comm --sort=-pcpu | head"
GPU_BUSY = 0.05
GPU_HARMLESS = ("idle", "clocks set by a user", "display clocks")


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseSource:
    """Something that makes figures worse, or that one should know before one trusts them."""

    name: str
    severity: Literal["disturbs", "good to know"]
    evidence: str
    fix: str


Found: TypeAlias = Generator[NoiseSource]


def noise_sources(facts: Facts, *snapshots: Facts, gpu: Facts | None = None) -> list[NoiseSource]:
    """What the facts and one or several looks at the conditions, in order, show; what disturbs comes first.

    Counters are compared between looks that follow each other. Where the two are of one process, what the processors
    did besides it was done by others.
    """
    every = [*_standing(facts), *_memory(facts), *_cores(facts), *_tools(facts, snapshots)]
    for before, after in pairwise(snapshots):
        every += [*_changed(before, after), *_others(before, after)]
    for look in snapshots:
        every += _now(look)
    if len(snapshots) == 1:
        every += _load(snapshots[0])  # with two looks, what the processors did in between is known
    every += _gpu(gpu or {})
    named: dict[str, NoiseSource] = {}
    for source in every:
        named.setdefault(source.name, source)
    return sorted(named.values(), key=lambda source: source.severity != "disturbs")


def _standing(facts: Facts) -> Found:
    """What the machine is, and who sets its frequency."""
    if facts.get("emulated"):
        yield _disturbs(
            "emulated", "another processor is imitated here, so times tell nothing", "measure on the real machine"
        )
    governor, low, high = (facts.get(key) for key in ("governor", "frequency_min_hz", "frequency_max_hz"))
    if governor not in {None, "performance"} and (low is None or low != high):
        yield _disturbs(
            "governor",
            f"the governor {governor} changes the frequency as it sees fit",
            "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        )
    if facts.get("turbo"):
        intel = str(facts.get("frequency_driver")).startswith("intel_")
        command = "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo"
        yield _disturbs(
            "turbo",
            "turbo is on: the frequency depends on heat and on what other cores do",
            command if intel else "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost",
        )
    if facts.get("virtual"):
        yield _good_to_know(
            "virtual machine",
            f"a virtual machine{_of(facts.get('hypervisor'))}: its neighbours cannot be seen, and hours differ",
            "compare within one run; for absolute figures take a machine of your own",
        )


def _memory(facts: Facts) -> Found:
    """How memory is handed out."""
    if facts.get("huge_pages") == "never":
        yield _good_to_know(
            "small pages",
            "there are no huge pages: compare and gate see three times the scatter, and need more processes",
            "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
        )


def _cores(facts: Facts) -> Found:
    """Which cores there are, and how much of them may be used."""
    quota, allowed = facts.get("cores_quota"), facts.get("allowed_cpus")
    if quota is not None and quota < _count(allowed):
        text = f"the control group allows {quota:g} of {_count(allowed)} cores"
        mend = "give whole cores instead of a quota: docker run --cpuset-cpus, or raise --cpus or CPUQuota="
        more = "" if quota >= 1 else ": every process is stopped again and again"
        yield NoiseSource(
            name="quota", severity="good to know" if quota >= 1 else "disturbs", evidence=text + more, fix=mend
        )
    threads, distinct = facts.get("threads_per_core") or 1, facts.get("distinct_cpus")
    if threads > 1 and _count(distinct) < _count(allowed):
        yield _disturbs(
            "shared cores",
            f"{threads} logical CPUs share a core: one slows the other",
            f"taskset -c {distinct} mnbench run …, or: echo off | sudo tee /sys/devices/system/cpu/smt/control",
        )
    elif threads > 1:
        yield _good_to_know(
            "shared cores",
            f"others may run on the second logical CPU of each core (of {threads})",
            "echo off | sudo tee /sys/devices/system/cpu/smt/control",
        )
    if kinds := facts.get("core_kinds"):
        names = ", ".join(f"{name} {cpus}" for name, cpus in kinds.items())
        fastest = kinds.get("performance") or list(kinds.values())[-1]
        yield _disturbs(
            "kinds of core",
            f"a thread may run on any of: {names}",
            f"stay on one kind: taskset -c {fastest} mnbench run …",
        )


def _tools(facts: Facts, looks: Sequence[Facts]) -> Found:
    """What the host does not show, so that disturbances stay unseen."""
    if facts.get("perf_counters") is False:
        more = ": the hypervisor passes none on" if facts.get("virtual") else ""
        yield _good_to_know(
            "no counters", f"the processor's counters are not there{more}", "measure where they are, if you need them"
        )
    elif (facts.get("perf_event_paranoid") or 0) > 2:
        yield _good_to_know(
            "no counters",
            "the kernel keeps the processor's counters from users",
            "sudo sysctl kernel.perf_event_paranoid=2",
        )
    if facts.get("system") == "Linux" and looks and all(look.get("cpu_pressure_s") is None for look in looks):
        yield _good_to_know(
            "no pressure",
            "the kernel does not tell how long tasks wait for a core",
            "boot with psi=1 (Linux 4.20 or newer)",
        )


def _changed(before: Facts, after: Facts) -> Found:
    """What counters have counted in between."""
    passed_s = (after["at_ns"] - before["at_ns"]) / 1e9
    total = sum(_grown(before, after, key) for key in ("user_s", "system_s", "idle_s", "steal_s"))
    steal = _grown(before, after, "steal_s")
    if total > 0 and steal > STEAL * total:
        yield _disturbs(
            "steal",
            f"the host took {format_percent_1(steal / total)} of the processors' time for others",
            "use dedicated cores, or another hour",
        )
    for what, most in (("cpu", PRESSURE), ("memory", MEMORY_PRESSURE)):
        waited = _grown(before, after, f"{what}_pressure_s") / passed_s if passed_s > 0 else 0
        if waited > most:
            yield _pressure(what, f"{format_percent(waited)} of the time")
    if stops := _grown(before, after, "quota_stops"):
        yield _disturbs(
            "stopped by quota",
            f"the control group's quota stopped processes {stops:,} times",
            "raise the quota, or use fewer threads",
        )
    if _grown(before, after, "heat_throttles"):
        yield _disturbs("heat", "heat slowed the processor while it was watched", "let it cool down; cool it better")
    swapped = _grown(before, after, "swap_in_bytes") + _grown(before, after, "swap_out_bytes")
    if swapped:
        yield _disturbs("swapping", f"{swapped / 1e6:,.0f} MB were swapped", "free memory, then: sudo swapoff -a")


def _others(before: Facts, after: Facts) -> Found:
    """What others ran between two looks of one process."""
    passed_s = (after["at_ns"] - before["at_ns"]) / 1e9
    if before.get("process_id") != after.get("process_id") or before.get("user_s") is None or passed_s < 0.1:
        return
    busy_s = _grown(before, after, "user_s") + _grown(before, after, "system_s")
    others = (busy_s - _grown(before, after, "process_cpu_s")) / passed_s
    if others > OTHERS_CORES:
        yield _disturbs("other load", f"other processes keep {others:.1f} cores busy", f"end them: {BUSIEST}")


def _now(look: Facts) -> Found:
    """What one look shows by itself."""
    for what, most in (("cpu", PRESSURE), ("memory", MEMORY_PRESSURE)):
        share = look.get(f"{what}_pressure_10s")
        if share is not None and share > most:
            yield _pressure(what, f"{format_percent(share)} of the last ten seconds")
    if (hot := look.get("temperature_c")) is not None and hot >= HOT_C:
        yield _disturbs("heat", f"the processor has {hot:.0f} °C", "let it cool down; cool it better")
    if limits := look.get("firmware_limits"):
        yield _disturbs(
            "firmware limits",
            f"the firmware reports: {', '.join(limits)}",
            "use a stronger power supply" if "under-voltage" in limits else "cool it better",
        )
    if look.get("swap_used_bytes"):
        yield _good_to_know(
            "swap", f"{look['swap_used_bytes'] / 1e6:,.0f} MB lie in swap", "free memory, then: sudo swapoff -a"
        )


def _load(look: Facts) -> Found:
    """What ran in the last minute, be it others or a measurement that has just ended."""
    if (load := look.get("load_1min")) is not None and load > LOAD:
        yield _good_to_know("load", f"the load of the last minute is {load:.2f}", f"wait, or end what runs: {BUSIEST}")


def _gpu(gpu: Facts) -> Found:
    """What holds a GPU back."""
    if limits := [name for name in gpu.get("clock_limits") or () if name not in GPU_HARMLESS]:
        yield _disturbs(
            "GPU clocks", f"the GPU's clocks are limited: {', '.join(limits)}", "cool it, or lower and lock its clocks"
        )
    elif "clocks set by a user" not in (gpu.get("clock_limits") or ()) and gpu.get("sm_clock_max_hz"):
        lower = round(gpu["sm_clock_max_hz"] * 0.75 / 1e6)
        yield _good_to_know(
            "GPU clocks",
            "the GPU's clocks change with load and heat",
            f"sudo nvidia-smi --lock-gpu-clocks={lower} (and --reset-gpu-clocks afterwards)",
        )
    if (gpu.get("utilization") or 0) > GPU_BUSY:
        yield _disturbs(
            "GPU load", f"the GPU is {format_percent(gpu['utilization'])} busy", "nvidia-smi pmon -c 1 shows by what"
        )
    if gpu.get("mig"):
        yield _good_to_know("GPU shared", "the GPU is cut into parts (MIG)", "name the part in every comparison")


def _pressure(what: str, share: str) -> NoiseSource:
    if what == "cpu":
        text, mend = f"tasks waited for a core {share}", "end other load, or use fewer threads than cores"
    else:
        text, mend = f"tasks waited for memory {share}", "free memory, or measure smaller models"
    return _disturbs(f"{'CPU' if what == 'cpu' else what} pressure", text, mend)


def _disturbs(name: str, text: str, mend: str) -> NoiseSource:
    return NoiseSource(name=name, severity="disturbs", evidence=text, fix=mend)


def _good_to_know(name: str, text: str, mend: str) -> NoiseSource:
    return NoiseSource(name=name, severity="good to know", evidence=text, fix=mend)


def _grown(before: Facts, after: Facts, key: str) -> float:
    """By how much a counter has grown; nothing where it is not shown."""
    first, last = before.get(key), after.get(key)
    return 0 if first is None or last is None else max(0, last - first)


def _count(cpus: str | None) -> int:
    """How many CPUs are in the kernel's list `0-2,5`."""
    ranges = (part.partition("-") for part in cpus.split(",")) if cpus else ()
    return sum(int(last or first) - int(first) + 1 for first, _, last in ranges)


def _of(name: str | None) -> str:
    return f" ({name})" if name else ""
