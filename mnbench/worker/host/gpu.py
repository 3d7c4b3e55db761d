"""Conditions of an NVIDIA GPU, from nvidia-smi."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

from .procfs import parse_decimal, parse_integer

FIELDS = {
    "name": "name",
    "driver_version": "driver_version",
    "sm_clock_hz": "clocks.sm",
    "memory_clock_hz": "clocks.mem",
    "sm_clock_max_hz": "clocks.max.sm",
    "memory_clock_max_hz": "clocks.max.mem",
    "power_w": "power.draw",
    "power_limit_w": "power.limit",
    "temperature_c": "temperature.gpu",
    "utilization": "utilization.gpu",
    "clock_limits": "clocks_throttle_reasons.active",  # the old name, which new drivers know as well
    "mig": "mig.mode.current",
}
LIMITS = (
    "idle",
    "clocks set by a user",
    "power limit",
    "hardware slowdown",
    "synchronised with another GPU",
    "temperature, by software",
    "temperature, by hardware",
    "power brake",
    "display clocks",
)
"""The reasons for lower clocks, by bit (NVML's nvmlClocksEventReasons)."""

TIMEOUT_S = 10.0


def gpu_conditions() -> dict[str, Any] | None:
    """Read the first GPU that this process may use; None without a GPU or nvidia-smi. It takes some 20 ms."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip() or "0"
    query = ("nvidia-smi", f"--id={first}", f"--query-gpu={','.join(FIELDS.values())}", "--format=csv,noheader,nounits")
    try:
        reported = subprocess.run(query, capture_output=True, timeout=TIMEOUT_S, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_gpu_query(reported.decode(errors="replace"))


def parse_gpu_query(text: str) -> dict[str, Any] | None:
    """Parse the tool's output into base units; None for values that the GPU does not report."""
    words = re.split(r",\s*", text.strip().partition("\n")[0])
    if len(words) != len(FIELDS):
        return None
    reported = {key: None if re.match(r"\[|N/A", word) else word.strip() for key, word in zip(FIELDS, words)}
    entries: dict[str, Any] = {key: reported[key] for key in ("name", "driver_version")}
    for key, unit in (("_hz", 10**6), ("_w", 1), ("_c", 1), ("utilization", 0.01)):
        entries.update({name: _scaled(word, unit) for name, word in reported.items() if name.endswith(key)})
    bits = parse_integer(reported["clock_limits"])
    entries["clock_limits"] = None if bits is None else [name for bit, name in enumerate(LIMITS) if bits >> bit & 1]
    entries["mig"] = {"Enabled": True, "Disabled": False}.get(reported["mig"] or "")
    return entries


def _scaled(word: str | None, unit: float) -> float | None:
    value = parse_decimal(word)
    return None if value is None else value * unit
