"""What is not compared unless asked for, with the reason."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from mnbench.comparison.paired_trial import ComparisonCase
from mnbench.targets.device import Device

OFF_VALUES = ("", "0", "false", "off", "none")
"""What providers call a switch that is off."""


def precondition_failure(case: ComparisonCase, allow: Collection[str], *, both_files: bool) -> str:
    """Why the sides of a row are not to be compared; empty if nothing speaks against it.

    Of two files of `both_files` nobody has said that their shapes differ.
    """
    profiled = next(filter(None, (_profiled(arm.device) for arm in case.sides)), "")
    if profiled:
        return f"profiling is on ({profiled}), which takes time of its own: leave it out"
    threads = [arm.device.threads for arm in case.sides]
    if "threads" not in allow and threads != [1, 1]:
        return f"{_both(*map(str, threads))} threads: their latency scatters too much to judge by (--allow threads)"
    if "shapes" not in allow and both_files:
        base, candidate = (_shapes(arm.case.inputs_path) for arm in case.sides)
        different = [name for name in sorted({*base, *candidate}) if base.get(name) != candidate.get(name)]
        if different:
            name = different[0]
            what = name.replace("in.", "input ").replace("out.", "output ")
            return f"{what} is {base.get(name, 'missing')} and {candidate.get(name, 'missing')} (--allow shapes)"
    return ""


def _profiled(device: Device) -> str:
    """The option by which a provider is told to profile."""
    every = {**device.options, **{f"provider.{key}": value for key, value in device.provider_options.items()}}
    result = (f"{key}={value}" for key, value in every.items() if "profil" in key and value.lower() not in OFF_VALUES)
    return next(result, "")


def _both(base: str, candidate: str) -> str:
    return base if base == candidate else f"{base} and {candidate}"


def _shapes(feed: Path) -> dict[str, str]:
    """Shape and type of every input and output."""
    with np.load(feed) as arrays:
        entries: dict[str, Any] = {name: arrays[name] for name in arrays.files}
    return {name: f"{item.dtype} {'x'.join(map(str, item.shape))}" for name, item in entries.items()}
