"""The small text files in which Linux tells about itself: what is not there is empty."""

from __future__ import annotations

import os
import re
from typing import Iterable, TypeVar

T = TypeVar("T")


class ProcFiles:
    """Files under a root; tests have one of their own."""

    def __init__(self, root: str = "/") -> None:
        self.root = root

    def read_text(self, path: str) -> str:
        """What the file says; nothing where it cannot be read."""
        try:
            with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as file:  # noqa: PTH118, PTH123  called hundreds of times beside a measurement
                return file.read().strip("\0\n ")
        except OSError:
            return ""

    def list_names(self, folder: str) -> list[str]:
        """The names in a folder, in order; none where it cannot be read."""
        try:
            return sorted(os.listdir(os.path.join(self.root, folder)))  # noqa: PTH118, PTH208
        except OSError:
            return []

    def read_integer(self, path: str) -> int | None:
        """The first word as a whole number; None for `max`, for words and for nothing."""
        words = self.read_text(path).split()
        return parse_integer(words[0]) if words else None


def not_none(values: Iterable[T | None]) -> list[T]:
    """The values that were found."""
    return [value for value in values if value is not None]


def parse_integer(text: str | None) -> int | None:
    """A whole number as the kernel writes one, in tens or as 0x…, or the -1 of no limit; None for anything else."""
    if not text or not re.fullmatch(r"-1|[0-9]{1,19}|0x[0-9a-fA-F]{1,16}", text):
        return None
    return int(text, 0) if "x" in text else int(text)


def parse_decimal(text: str | None) -> float | None:
    """A decimal as the kernel writes one; None for anything else."""
    return float(text) if text and re.fullmatch(r"-?[0-9]{1,19}(\.[0-9]{1,9})?", text) else None


def parse_cpu_list(text: str) -> list[int]:
    """The kernel's lists of CPUs, `0-2,5`, as numbers."""
    result: set[int] = set()
    for first, last in re.findall(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", text):
        result.update(range(int(first), int(last or first) + 1))
    return sorted(result)


def format_cpu_list(cpus: Iterable[int]) -> str:
    """Numbers as the kernel's list, which `taskset -c` takes: `0-2,5`."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def parse_size_bytes(text: str) -> int | None:
    """A size as the kernel writes it: `32K`, `1024 KB`, `24684096 kB`."""
    match = re.fullmatch(r"([0-9]{1,15})\s*([KMGkmg]?)B?", text.strip())
    if not match:
        return None
    return int(match.group(1)) * 1024 ** " KMG".index(match.group(2).upper() or " ")


def parse_kib_line(text: str, key: str) -> int | None:
    """The bytes in a line of /proc/meminfo or /proc/self/status: `MemTotal:  24684096 kB`."""
    match = re.search(rf"^{key}:\s*([0-9]{{1,15}}) kB", text, re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


def allowed_cpus() -> list[int]:
    """The logical CPUs on which this process may run."""
    affinity = getattr(os, "sched_getaffinity", None)
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))
