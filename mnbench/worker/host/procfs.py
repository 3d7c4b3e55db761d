"""Reading Linux's /proc and /sys: a missing file reads as empty."""

from __future__ import annotations

import os
import re
from typing import Any, Iterable, TypeVar

T = TypeVar("T")


class ProcFiles:
    """The files below a root folder; tests use a root of their own."""

    def __init__(self, root: str = "/") -> None:
        self.root = root

    def read_text(self, path: str) -> str:
        """Return the file's text; empty if it cannot be read."""
        try:
            with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as file:  # noqa: PTH118, PTH123  called hundreds of times beside a measurement
                return file.read().strip("\0\n ")
        except OSError:
            return ""

    def list_names(self, folder: str) -> list[str]:
        """Return the sorted names in a folder; none if it cannot be read."""
        try:
            return sorted(os.listdir(os.path.join(self.root, folder)))  # noqa: PTH118, PTH208
        except OSError:
            return []

    def read_integer(self, path: str) -> int | None:
        """Return the first word as an integer; None for `max`, other words and an empty file."""
        words = self.read_text(path).split()
        return parse_integer(words[0]) if words else None


def not_none(values: Iterable[T | None]) -> list[T]:
    return [value for value in values if value is not None]


def parse_integer(text: str | None) -> int | None:
    """Parse an integer as the kernel writes it: decimal, 0x…, or -1 for no limit; None for anything else."""
    if not text or not re.fullmatch(r"-1|[0-9]{1,19}|0x[0-9a-fA-F]{1,16}", text):
        return None
    return int(text, 0) if "x" in text else int(text)


def parse_decimal(text: str | None) -> float | None:
    """Parse a decimal number as the kernel writes it; None for anything else."""
    return float(text) if text and re.fullmatch(r"-?[0-9]{1,19}(\.[0-9]{1,9})?", text) else None


def parse_cpu_list(text: str) -> list[int]:
    """Parse a list of CPUs as the kernel writes it: `0-2,5`."""
    result: set[int] = set()
    for first, last in re.findall(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", text):
        result.update(range(int(first), int(last or first) + 1))
    return sorted(result)


def format_cpu_list(cpus: Iterable[int]) -> str:
    """Format CPU numbers as the kernel and `taskset -c` do: `0-2,5`."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def parse_size_bytes(text: str) -> int | None:
    """Parse a size as the kernel writes it: `32K`, `1024 KB`, `24684096 kB`."""
    match = re.fullmatch(r"([0-9]{1,15})\s*([KMGkmg]?)B?", text.strip())
    if not match:
        return None
    return int(match.group(1)) * 1024 ** " KMG".index(match.group(2).upper() or " ")


def parse_kib_line(text: str, key: str) -> int | None:
    """Return the bytes of a line of /proc/meminfo or /proc/self/status: `MemTotal:  24684096 kB`."""
    match = re.search(rf"^{key}:\s*([0-9]{{1,15}}) kB", text, re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


def resource_usage(of: str) -> Any:
    """Return what this process (`SELF`) or thread (`THREAD`) has used; None if the system does not report it."""
    try:
        import resource  # noqa: PLC0415  not on Windows

        return resource.getrusage(getattr(resource, f"RUSAGE_{of}"))
    except (ImportError, AttributeError):
        return None


def allowed_cpus() -> list[int]:
    """Return the logical CPUs on which this process may run."""
    affinity = getattr(os, "sched_getaffinity", None)
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))
