"""Facts of the machine that the worker finds itself on: what does not change while it runs."""

from __future__ import annotations

import os
import platform
import re
import sys
from typing import Any

from . import cpu
from .cgroup import memory_limit_bytes, quota_cores
from .procfs import ProcFiles, allowed_cpus, format_cpu_list, parse_kib_line

VIRTUAL_PRODUCTS = re.compile(
    r"QEMU|KVM|VMware|VirtualBox|Virtual Machine|Bochs|Xen|HVM domU|Parallels|OpenStack|BHYVE"
    r"|Google Compute Engine|Amazon EC2|Alibaba Cloud|Firecracker|Apple Virtualization"
)
CONTAINERS = {
    "docker": "docker",
    "libpod": "podman",
    "kubepods": "kubernetes",
    "lxc": "lxc",
    "containerd": "containerd",
}


def host_facts(files: ProcFiles | None = None) -> dict[str, Any]:
    """What a reader needs to know before comparing two tables; None where the system does not tell."""
    files = files or ProcFiles()
    cpuinfo, meminfo = files.read_text("proc/cpuinfo"), files.read_text("proc/meminfo")
    allowed = allowed_cpus()
    quota = quota_cores(files)
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
        "huge_pages": _huge_pages(files),
        "system": platform.system(),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "python": platform.python_version(),
        **_machine(files, cpuinfo),
        "container": _container(files),
        **_counters(files),
    }


def usable_cores(allowed: int, quota: float | None) -> int:
    """How many threads `all` means: as many as can run all the time.

    A quota is rounded down, so that it never stops a measurement: two threads under a quota of 1.5 would both stand
    still for a quarter of the time. Under a quota below 1 even one thread does.
    """
    return max(1, min(allowed, int(quota) if quota is not None else allowed))


def peak_rss_bytes() -> int | None:
    """The most memory that this process has held.

    Linux passes a parent's ru_maxrss on through exec, so its own high-water mark is read from /proc instead.
    """
    own = parse_kib_line(ProcFiles().read_text("proc/self/status"), "VmHWM")
    if own is not None or sys.platform == "win32":
        return own
    import resource  # noqa: PLC0415  not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def huge_pages_bytes() -> int | None:
    """How much of this process's memory lies on huge pages now; None where the system does not tell."""
    return parse_kib_line(ProcFiles().read_text("proc/self/smaps_rollup"), "AnonHugePages")


def _huge_pages(files: ProcFiles) -> str | None:
    """Who gets transparent huge pages: `always` everyone, `madvise` who asks for them, `never` no one."""
    chosen = re.search(r"\[(\w+)\]", files.read_text("sys/kernel/mm/transparent_hugepage/enabled"))
    return chosen and chosen.group(1)


def _physical_bytes() -> int | None:
    """The memory, where no /proc tells."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _machine(files: ProcFiles, cpuinfo: str) -> dict[str, Any]:
    """The product, and whether it is a virtual or an emulated one. `hypervisor` is its name, where it tells one."""
    dmi = " ".join(files.read_text(f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name")).strip()
    product = dmi or files.read_text("proc/device-tree/model") or None
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    message = files.read_text("sys/hypervisor/type") or files.read_text(
        "proc/device-tree/hypervisor/compatible"
    ).replace("\0", " ")
    named = message or (dmi if VIRTUAL_PRODUCTS.search(dmi) else "")
    if flags:
        # Clouds put their name on machines of metal too: on x86 the processor knows better.
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
    """Whether instructions are translated: the kernel's processor is of another kind than this process'.

    QEMU shows a process it translates the host's own /sys, and before version 8 the host's /proc/cpuinfo.
    """
    if "QEMU TCG" in cpuinfo:
        return True
    kernel = (
        files.read_text("sys/devices/system/cpu/modalias").partition("type:")[2].partition(",")[0].partition(":")[0]
    )
    if not kernel and re.search(r"^vendor_id\s*:", cpuinfo, re.MULTILINE):
        kernel = "x86"
    family = _family(platform.machine())
    return _family(kernel) != family if family and _family(kernel) else None


def _family(machine: str) -> str:
    """Arm, x86, RISC-V …: a kernel runs processes of all widths of one family by itself."""
    families = {"x86": r"x86|i[3-6]86|amd64", "arm": r"arm|aarch64", "riscv": r"riscv", "ppc": r"ppc", "s390": r"s390"}
    return next((name for name, own in families.items() if re.match(own, machine.lower())), "")


def _container(files: ProcFiles) -> str | None:
    """What kind of container this runs in; None where nothing shows one."""
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    if files.read_text("run/.containerenv") or "containerenv" in " ".join(files.list_names("run")):
        return "podman"
    groups = files.read_text("proc/1/cgroup") + files.read_text("proc/self/cgroup")
    text = next((kind for word, kind in CONTAINERS.items() if word in groups), None)
    return text or (
        "docker" if ".dockerenv" in files.list_names("") else files.read_text("run/systemd/container") or None
    )


def _counters(files: ProcFiles) -> dict[str, Any]:
    """Whether the processor's own counters can be seen at all, and how far the kernel lets users at them."""
    devices = files.list_names("sys/bus/event_source/devices")
    known = re.compile(r"cpu|cpu_core|cpu_atom|arm\w*_pmu\w*|arm\w*cortex\w*|armv\d\w*|apple_\w+_pmu")
    return {
        "perf_counters": any(known.fullmatch(name) for name in devices) if devices else None,
        "perf_event_paranoid": files.read_integer("proc/sys/kernel/perf_event_paranoid"),
    }
