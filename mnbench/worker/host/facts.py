"""Facts of the machine that the worker runs on. They do not change while it runs."""

from __future__ import annotations

import os
import platform
import re
import sys
from typing import Any

from . import cpu
from .cgroup import memory_limit_bytes, quota_cores
from .procfs import ProcFiles, allowed_cpus, format_cpu_list, parse_kib_line, resource_usage

VIRTUAL_PRODUCTS = re.compile(
    r"QEMU|KVM|VMware|VirtualBox|Virtual Machine|Bochs|Xen|HVM domU|Parallels|OpenStack|BHYVE"
    r"|Google Compute Engine|Amazon EC2|Alibaba Cloud|Firecracker|Apple Virtualization"
)
CPU_COUNTERS = re.compile(r"cpu|cpu_core|cpu_atom|arm\w*_pmu\w*|arm\w*cortex\w*|armv\d\w*|apple_\w+_pmu")
"""The kernel's names for a processor's hardware counters."""

CONTAINERS = {
    "docker": "docker",
    "libpod": "podman",
    "kubepods": "kubernetes",
    "lxc": "lxc",
    "containerd": "containerd",
}
"""Words in the name of a control group, and the kind of container."""


def host_facts(files: ProcFiles | None = None) -> dict[str, Any]:
    """Return the facts that a reader needs to compare two tables; None where the system does not report one."""
    files = files or ProcFiles()
    cpuinfo, meminfo = files.read_text("proc/cpuinfo"), files.read_text("proc/meminfo")
    allowed = allowed_cpus()
    quota = quota_cores(files)
    # The system's setting, in brackets: `always`, `madvise` (on request) or `never`.
    huge_pages = re.search(r"\[(\w+)\]", files.read_text("sys/kernel/mm/transparent_hugepage/enabled"))
    counters = files.list_names("sys/bus/event_source/devices")
    return {
        **cpu.identity(files, cpuinfo),
        "machine": platform.machine(),
        "cores": usable_cores(len(allowed), quota),
        "cores_quota": quota,
        "allowed_cpus": format_cpu_list(allowed),
        "logical_cpus": os.cpu_count(),
        **cpu.topology(files, allowed),
        "caches": cpu.caches(files, allowed[0]),
        **cpu.frequency(files, allowed[0]),
        "memory_bytes": parse_kib_line(meminfo, "MemTotal") or _physical_bytes(),
        "memory_limit_bytes": memory_limit_bytes(files),
        "swap_bytes": parse_kib_line(meminfo, "SwapTotal"),
        "huge_pages": huge_pages and huge_pages[1],
        "system": platform.system(),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "python": platform.python_version(),
        **_machine(files, cpuinfo),
        "container": _container(files),
        "perf_counters": any(map(CPU_COUNTERS.fullmatch, counters)) if counters else None,
        "perf_event_paranoid": files.read_integer("proc/sys/kernel/perf_event_paranoid"),
    }


def usable_cores(allowed: int, quota: float | None) -> int:
    """Return the number of threads that `all` stands for: as many as can run all the time.

    A quota is rounded down, so that it never pauses a measurement: under a quota of 1.5, two threads would both pause
    for a quarter of the time. Under a quota below 1, even one thread pauses.
    """
    return max(1, min(allowed, int(quota) if quota is not None else allowed))


def peak_rss_bytes() -> int | None:
    """Return this process's peak memory: on Linux from /proc, because ru_maxrss includes the parent's peak."""
    peak = parse_kib_line(ProcFiles().read_text("proc/self/status"), "VmHWM")
    used = resource_usage("SELF")
    if peak is not None or used is None:
        return peak
    return used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def huge_pages_bytes() -> int | None:
    """Return how much of this process's memory is on huge pages; None if the system does not report it."""
    return parse_kib_line(ProcFiles().read_text("proc/self/smaps_rollup"), "AnonHugePages")


def _physical_bytes() -> int | None:
    """Return the physical memory on systems without /proc."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _machine(files: ProcFiles, cpuinfo: str) -> dict[str, Any]:
    """Return the product, whether it is virtual or emulated, and the name of the hypervisor if it reports one."""
    dmi = " ".join(files.read_text(f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name")).strip()
    product = dmi or files.read_text("proc/device-tree/model") or None
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    compatible = files.read_text("proc/device-tree/hypervisor/compatible").replace("\0", " ")
    named = files.read_text("sys/hypervisor/type") or compatible or (dmi if VIRTUAL_PRODUCTS.search(dmi) else "")
    if flags:
        # Clouds put their name on physical machines too; on x86, the processor's flag is reliable.
        virtual: bool | None = "hypervisor" in flags.group(1).split()
    else:
        virtual = True if named else False if product else None
    return {
        "product": product,
        "virtual": virtual,
        "hypervisor": named or None if virtual else None,
        "emulated": _emulated(files, cpuinfo),
    }


def _emulated(files: ProcFiles, cpuinfo: str) -> bool | None:
    """Return whether the processor is emulated: the kernel's processor is of another kind than this process's.

    QEMU passes the host's /sys to an emulated process, and before version 8 also the host's /proc/cpuinfo.
    """
    if "QEMU TCG" in cpuinfo:
        return True
    kernel = re.split("[,:]", files.read_text("sys/devices/system/cpu/modalias").partition("type:")[2])[0]
    if not kernel and re.search(r"^vendor_id\s*:", cpuinfo, re.MULTILINE):
        kernel = "x86"
    family = _family(platform.machine())
    return _family(kernel) != family if family and _family(kernel) else None


def _family(machine: str) -> str:
    """Return the processor family (Arm, x86, RISC-V …); a kernel runs 32-bit and 64-bit processes of its own family."""
    families = {"x86": r"x86|i[3-6]86|amd64", "arm": r"arm|aarch64", "riscv": r"riscv", "ppc": r"ppc", "s390": r"s390"}
    return next((name for name, pattern in families.items() if re.match(pattern, machine.lower())), "")


def _container(files: ProcFiles) -> str | None:
    """Return the kind of container that this process runs in, or None."""
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    if files.read_text("run/.containerenv") or "containerenv" in " ".join(files.list_names("run")):
        return "podman"
    groups = files.read_text("proc/1/cgroup") + files.read_text("proc/self/cgroup")
    if kinds := [kind for word, kind in CONTAINERS.items() if word in groups]:
        return kinds[0]
    return "docker" if ".dockerenv" in files.list_names("") else files.read_text("run/systemd/container") or None
