"""Facts of the processor: name, instruction sets, caches, and how its frequency is controlled."""

from __future__ import annotations

import platform
import re
from typing import Any

from .procfs import ProcFiles, format_cpu_list, not_none, parse_cpu_list, parse_integer, parse_size_bytes

KERNEL_FLAGS = re.compile(
    r"ssse3|sse4_[12]|avx\w*|fma4?|f16c|amx\w*"  # x86
    r"|neon|vfpv4|asimd\w*|fphp|bf16|ebf16|i8mm|f[36][24]mm|sve\w*|sme(?!p)\w*"  # Arm
)
"""The instruction sets that neural-network kernels are selected by."""

# fmt: off
MAKERS = {
    0x41: "Arm", 0x46: "Fujitsu", 0x48: "HiSilicon", 0x4E: "NVIDIA", 0x51: "Qualcomm", 0x61: "Apple", 0xC0: "Ampere",
}
ARM_CORES = {
    0xB76: "ARM1176", 0xC07: "Cortex-A7", 0xC0F: "Cortex-A15",
    0xD03: "Cortex-A53", 0xD04: "Cortex-A35", 0xD05: "Cortex-A55", 0xD07: "Cortex-A57", 0xD08: "Cortex-A72",
    0xD09: "Cortex-A73", 0xD0A: "Cortex-A75", 0xD0B: "Cortex-A76", 0xD0C: "Neoverse-N1", 0xD0D: "Cortex-A77",
    0xD40: "Neoverse-V1", 0xD41: "Cortex-A78", 0xD44: "Cortex-X1", 0xD46: "Cortex-A510", 0xD47: "Cortex-A710",
    0xD48: "Cortex-X2", 0xD49: "Neoverse-N2", 0xD4D: "Cortex-A715", 0xD4E: "Cortex-X3", 0xD4F: "Neoverse-V2",
    0xD80: "Cortex-A520", 0xD81: "Cortex-A720", 0xD82: "Cortex-X4",
}
# fmt: on
INTEL_KINDS = {"performance": "cpu_core", "efficient": "cpu_atom"}
"""The kinds of core of Intel's hybrid processors, and the folder of each."""

CPUS = "sys/devices/system/cpu"


def identity(files: ProcFiles, cpuinfo: str) -> dict[str, Any]:
    """Return the processor's name and the numbers of its model; on Arm, those of the identification register."""
    lines = ([line.partition(":") for line in block.splitlines()] for block in cpuinfo.split("\n\n"))
    blocks = [{key.strip(): value.strip() for key, _, value in block} for block in lines]
    first = next((block for block in blocks if "processor" in block), dict[str, str]())
    maker = parse_integer(first.get("CPU implementer"))
    revision = not_none(parse_integer(first.get(key)) for key in ("CPU variant", "CPU revision"))
    flags = (first.get("flags") or first.get("Features") or "").split()
    kinds = _kinds(files, blocks)
    return {
        "cpu": _name(cpuinfo, blocks, kinds),
        "cpu_vendor": first.get("vendor_id") or (MAKERS.get(maker, hex(maker)) if maker is not None else None),
        "cpu_family": parse_integer(first.get("cpu family") or first.get("CPU architecture")),
        "cpu_model": parse_integer(first.get("model") or first.get("CPU part")),
        # On Arm: variant and revision as one number.
        "cpu_stepping": revision[0] * 16 + revision[1] if len(revision) == 2 else parse_integer(first.get("stepping")),
        "cpu_flags": sorted({flag for flag in flags if KERNEL_FLAGS.fullmatch(flag)}),
        "core_kinds": {name: format_cpu_list(cpus) for name, cpus in kinds.items()} if len(kinds) > 1 else {},
    }


def topology(files: ProcFiles, allowed: list[int]) -> dict[str, Any]:
    """Return how the allowed CPUs share cores: `distinct_cpus` holds one CPU of each core."""
    siblings = {
        cpu: parse_cpu_list(files.read_text(f"{CPUS}/cpu{cpu}/topology/thread_siblings_list")) for cpu in allowed
    }
    reported = all(cpu in siblings[cpu] for cpu in allowed)
    distinct = {min(other for other in siblings[cpu] if other in siblings) for cpu in allowed if reported}
    return {
        "threads_per_core": max(len(cpus) for cpus in siblings.values()) if reported else None,
        "distinct_cpus": format_cpu_list(distinct) if reported else None,
        "numa_nodes": len(parse_cpu_list(files.read_text("sys/devices/system/node/online"))) or None,
    }


def caches(files: ProcFiles, cpu: int) -> list[dict[str, Any]]:
    """Return the caches of one CPU, nearest first: the size of each, and how many logical CPUs share it."""
    result: list[dict[str, Any]] = []
    folder = f"{CPUS}/cpu{cpu}/cache"
    for name in files.list_names(folder):
        keys = ("level", "type", "size", "shared_cpu_list")
        level, kind, size, sharing = (files.read_text(f"{folder}/{name}/{key}") for key in keys)
        cache = {
            "level": parse_integer(level),
            "type": kind.lower(),
            "size_bytes": parse_size_bytes(size),
            "shared_by": len(parse_cpu_list(sharing)) or None,
        }
        if cache["level"] is not None and cache["size_bytes"]:
            result.append(cache)
    return sorted(result, key=lambda cache: (cache["level"], cache["type"]))


def frequency(files: ProcFiles, cpu: int) -> dict[str, Any]:
    """Return how the frequency is controlled, and its limits; None where the host does not report them."""
    folder = f"{CPUS}/cpu{cpu}/cpufreq"
    return {
        "governor": files.read_text(f"{folder}/scaling_governor") or None,
        "frequency_driver": files.read_text(f"{folder}/scaling_driver") or None,
        "frequency_min_hz": read_hz(files, f"{folder}/scaling_min_freq"),
        "frequency_max_hz": read_hz(files, f"{folder}/scaling_max_freq"),
        "turbo": _turbo(files, folder),
    }


def read_hz(files: ProcFiles, path: str) -> int | None:
    """Read a frequency in kilohertz and return it in hertz."""
    value = files.read_integer(path)
    return None if value is None or value < 0 else value * 1000


def _turbo(files: ProcFiles, folder: str) -> bool | None:
    off = files.read_integer(f"{CPUS}/intel_pstate/no_turbo")
    if off is not None:
        return off == 0
    reported = not_none(files.read_integer(path) for path in (f"{CPUS}/cpufreq/boost", f"{folder}/boost"))
    return reported[0] == 1 if reported else None


def _name(cpuinfo: str, blocks: list[dict[str, str]], kinds: dict[str, list[int]]) -> str:
    """Return the name that the kernel or the maker uses; on Arm, the names of the cores."""
    if any("CPU part" in block for block in blocks) and kinds:
        many = len(kinds) > 1
        return " + ".join(f"{len(cpus)} × {name}" if many else name for name, cpus in kinds.items())
    match = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return match.group(1).strip() if match else platform.processor() or platform.machine()


def _kinds(files: ProcFiles, blocks: list[dict[str, str]]) -> dict[str, list[int]]:
    """Return the kinds of core with the CPUs of each: on Arm from the part number, on Intel from two folders."""
    entries = {kind: parse_cpu_list(files.read_text(f"sys/devices/{name}/cpus")) for kind, name in INTEL_KINDS.items()}
    entries = {kind: cpus for kind, cpus in entries.items() if cpus}
    for block in blocks:
        maker, part, cpu = (parse_integer(block.get(key)) for key in ("CPU implementer", "CPU part", "processor"))
        if maker is None or part is None or cpu is None:
            continue
        arm_core = ARM_CORES.get(part) if maker == 0x41 else None
        entries.setdefault(arm_core or f"{MAKERS.get(maker, hex(maker))} {part:#x}", []).append(cpu)
    return entries
