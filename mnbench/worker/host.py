"""Facts of the machine that the worker finds itself on."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path
from typing import Union
from zlib import crc32

Fact = Union[str, int, float, None]


def host_facts() -> dict[str, Fact]:
    """What a reader needs to know before comparing two tables; None where the system does not tell."""
    cpuinfo = _read("/proc/cpuinfo")
    return {
        "cpu": _cpu_model(cpuinfo),
        "cpu_id": _cpu_id(cpuinfo),
        "machine": platform.machine(),
        "cores": allowed_cores(),
        "memory_bytes": _bytes(_read("/proc/meminfo"), "MemTotal"),
        "system": platform.system(),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "python": platform.python_version(),
        "virtual": " hypervisor" in cpuinfo if cpuinfo else None,
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None,
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def busy(limits: dict[str, float]) -> str | None:
    """Why this machine is too busy to measure on; None where it is not, or does not tell.

    `pressure` is the share of the last ten seconds in which some task waited for a core; `load` how many more tasks
    than cores want to run.
    """
    waiting = re.search(r"^some avg10=([\d.]+)", _read("/proc/pressure/cpu"), re.MULTILINE)
    if waiting and float(waiting.group(1)) > 100 * limits["pressure"]:
        return f"tasks waited for a core {float(waiting.group(1)):.0f} % of the last ten seconds"
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    cores = os.cpu_count() or 1
    return f"the load is {load:.1f} on {cores} cores" if load > cores + limits["load"] else None


def waits() -> int | None:
    """How often this thread has given its core away to wait for something; None where the system does not tell."""
    try:
        import resource  # noqa: PLC0415  not on Windows

        return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw  # of Linux alone
    except (ImportError, AttributeError):
        return None


def peak_rss_bytes() -> int | None:
    """The most memory that this process has held.

    Linux passes a parent's ru_maxrss on through exec, so its own high-water mark is read from /proc instead.
    """
    own = _bytes(_read("/proc/self/status"), "VmHWM")
    if own is not None or sys.platform == "win32":
        return own
    import resource  # noqa: PLC0415  not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _cpu_model(cpuinfo: str) -> str:
    found = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def _cpu_id(cpuinfo: str) -> str | None:
    """What makes two CPUs of one name differ: family, model, stepping, and a sum over what they can do."""
    facts = dict(re.findall(r"^([\w ]+?)\s*:[ ]?(.*)$", cpuinfo.partition("\n\n")[0], re.MULTILINE))
    names = (
        "vendor_id",
        "cpu family",
        "model",
        "stepping",
        "CPU implementer",
        "CPU part",
        "CPU variant",
        "CPU revision",
    )
    parts = [facts[name] for name in names if name in facts]
    flags = " ".join(sorted(facts.get("flags", facts.get("Features", "")).split()))
    return "/".join([*parts, f"{crc32(flags.encode()):08x}"]) if parts else None


def allowed_cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _bytes(text: str, key: str) -> int | None:
    found = re.search(rf"^{key}:\s*(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
