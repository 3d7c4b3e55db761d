"""Conditions of the machine. They change while a worker runs, and are read before and after a trial."""

from __future__ import annotations

import fnmatch
import os
import re
import time
from typing import Any

from .cgroup import count_throttling
from .cpu import CPUS, read_hz
from .procfs import ProcFiles, allowed_cpus, not_none, parse_decimal, parse_integer, parse_kib_line, resource_usage

MOST_CPUS = 16
"""Frequency, throttling and temperature are read of at most this many CPUs: each takes some microseconds."""

CHIPS = re.compile(r"coretemp|k8temp|k10temp|zenpower|cpu\w*|soc\w*")
ZONES = re.compile(r"cpu|core|cluster|soc|pkg|package|apss|big|little", re.IGNORECASE)
"""The names of the processor's sensors. Others, such as those of disks, are irrelevant and sometimes slow."""

FIRMWARE = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "temperature limit"}
"""Bits of the Raspberry Pi's firmware: the limits that apply now."""


def conditions(files: ProcFiles | None = None) -> dict[str, Any]:
    """Read the host's present conditions; None where the host does not report one.

    Counters start at arbitrary values, so only differences between two calls have a meaning. `…_s` of processors are
    sums over all of them. Context switches and `process_cpu_s` are those of this process.
    """
    files = files or ProcFiles()
    stopped, stopped_s = count_throttling(files)
    cpus, used = _sample_cpus(allowed_cpus()), resource_usage("SELF")
    frequencies_hz = not_none(read_hz(files, f"{CPUS}/cpu{cpu}/cpufreq/scaling_cur_freq") for cpu in cpus)
    return {
        "at_ns": time.monotonic_ns(),
        **_load(),
        **_pressure(files, "cpu"),
        **_pressure(files, "memory"),
        **_processors(files),
        "process_id": os.getpid(),
        "process_cpu_s": time.process_time(),
        "voluntary_switches": getattr(used, "ru_nvcsw", None),
        "involuntary_switches": getattr(used, "ru_nivcsw", None),
        "frequency_hz": sum(frequencies_hz) / len(frequencies_hz) if frequencies_hz else None,
        "temperature_c": _temperature(files),
        "heat_throttles": _heat_throttles(files, cpus),
        "firmware_limits": _firmware_limits(files),
        "quota_stops": stopped,
        "quota_stopped_s": stopped_s,
        **_memory(files),
    }


def busy_reason(limits: dict[str, float], files: ProcFiles | None = None) -> str | None:
    """Return why this machine is too busy to measure on; None if it is not, or does not report its load.

    `pressure` limits the share of the last ten seconds in which a task waited for a core; `load` limits the number of
    runnable tasks above the number of cores.
    """
    waiting = _pressure(files or ProcFiles(), "cpu")["cpu_pressure_10s"] or 0.0
    if waiting > limits["pressure"]:
        return f"tasks waited for a core {100 * waiting:.0f} % of the last ten seconds"
    load, cores = _load()["load_1min"] or 0.0, os.cpu_count() or 1
    return f"the load is {load:.1f} on {cores} cores" if load > cores + limits["load"] else None


def blocking_waits() -> int | None:
    """Return how often this thread has blocked; None if the system does not report it."""
    return getattr(resource_usage("THREAD"), "ru_nvcsw", None)


def _sample_cpus(cpus: list[int]) -> list[int]:
    """Return at most MOST_CPUS of the CPUs, evenly spaced."""
    return cpus[:: -(-len(cpus) // MOST_CPUS)]


def _load() -> dict[str, Any]:
    names = ("load_1min", "load_5min", "load_15min")
    try:
        return {name: round(load, 2) for name, load in zip(names, os.getloadavg())}
    except (AttributeError, OSError):
        return dict.fromkeys(names)


def _pressure(files: ProcFiles, resource: str) -> dict[str, Any]:
    """Return the share of the last ten seconds, and the total seconds, in which a task waited for this resource."""
    text = files.read_text(f"proc/pressure/{resource}")
    match = re.search(r"^some avg10=([0-9.]+) .*total=([0-9]+)", text, re.MULTILINE)
    percent, total_us = (parse_decimal(match[1]), parse_integer(match[2])) if match else (None, None)
    return {
        f"{resource}_pressure_10s": None if percent is None else round(percent / 100, 4),
        f"{resource}_pressure_s": None if total_us is None else total_us / 1e6,
    }


def _processors(files: ProcFiles) -> dict[str, Any]:
    """Return the time of all logical CPUs since the start: user, system, idle, and stolen by the host."""
    words = files.read_text("proc/stat").partition("\n")[0].split()
    ticks = not_none(parse_integer(word) for word in words[1:9]) if words[:1] == ["cpu"] else []
    if len(ticks) < 8:
        return dict.fromkeys(("user_s", "system_s", "idle_s", "steal_s"))
    user, nice, system, idle, waiting, interrupts, soft, steal = ticks
    sums = {"user": user + nice, "system": system + interrupts + soft, "idle": idle + waiting, "steal": steal}
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    return {f"{name}_s": count / ticks_per_s for name, count in sums.items()}


def _temperature(files: ProcFiles) -> float | None:
    """Return the hottest plausible figure of the processor's sensors; a sensor that is off may report nonsense."""
    zones = (f"sys/class/thermal/{zone}" for zone in files.list_names("sys/class/thermal"))
    paths = [f"{zone}/temp" for zone in zones if ZONES.search(files.read_text(f"{zone}/type"))]
    for chip in files.list_names("sys/class/hwmon"):
        folder = f"sys/class/hwmon/{chip}"
        if CHIPS.fullmatch(files.read_text(f"{folder}/name")):
            sensors = fnmatch.filter(files.list_names(folder), "temp*_input")[:MOST_CPUS]
            paths += [f"{folder}/{name}" for name in sensors]
    result = not_none(files.read_integer(path) for path in paths)
    return max((value / 1000 for value in result if 0 < value < 150_000), default=None)


def _heat_throttles(files: ProcFiles, cpus: list[int]) -> int | None:
    """Return how often heat has slowed these cores and their package."""
    folders = [f"{CPUS}/cpu{cpu}/thermal_throttle" for cpu in cpus]
    cores = not_none(files.read_integer(f"{folder}/core_throttle_count") for folder in folders)
    packages = not_none(files.read_integer(f"{folder}/package_throttle_count") for folder in folders)
    return sum(cores) + max(packages, default=0) if cores or packages else None


def _firmware_limits(files: ProcFiles) -> list[str] | None:
    """Return the limits that a Raspberry Pi's firmware applies because of low power or heat."""
    for folder in (name for name in files.list_names("sys/devices/platform") if name.startswith("soc")):
        text = files.read_text(f"sys/devices/platform/{folder}/soc:firmware/get_throttled")
        bits = parse_integer(f"0x{text.removeprefix('0x')}" if text else None)
        if bits is not None:
            return [name for bit, name in FIRMWARE.items() if bits >> bit & 1]
    return None


def _memory(files: ProcFiles) -> dict[str, Any]:
    """Return free memory, and the memory swapped in and out since the start."""
    meminfo = files.read_text("proc/meminfo")
    pages = dict(re.findall(r"^(pswpin|pswpout) ([0-9]{1,18})$", files.read_text("proc/vmstat"), re.MULTILINE))
    total, free = parse_kib_line(meminfo, "SwapTotal"), parse_kib_line(meminfo, "SwapFree")
    return {
        "free_memory_bytes": parse_kib_line(meminfo, "MemAvailable"),
        "swap_used_bytes": None if total is None or free is None else total - free,
        "swap_in_bytes": _page_bytes(pages.get("pswpin")),
        "swap_out_bytes": _page_bytes(pages.get("pswpout")),
    }


def _page_bytes(pages: str | None) -> int | None:
    return None if pages is None else int(pages) * os.sysconf("SC_PAGE_SIZE")
