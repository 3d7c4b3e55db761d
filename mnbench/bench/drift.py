"""How far a host's own runs lie apart from hour to hour: calibrated once, included in intervals later."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from math import log
from typing import Any

import msgspec
import numpy as np

from mnbench import atomic_files
from mnbench.bench.plan import Cell, Drift, Plan
from mnbench.bench.trial import Sample, take
from mnbench.hosts.host_facts import cache_folder, kept_in, setting_of
from mnbench.stats import median
from mnbench.targets.device import Device

KIND = "drift"
FEWEST = 10
"""Runs below which a drift is not known."""

MOST = 200
"""Runs that are kept, the newest."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the calibration: the latency of each of its models, as `mnbench run` would have told it."""

    measured_at: datetime
    latencies_ns: dict[str, int]


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """All runs in one setting."""

    setting: dict[str, Any]
    runs: list[Seen]


def calibrate(
    plan: Plan,
    *,
    runs: int,
    every_s: float,
    seen: Callable[[], None],
    visit: Callable[[Plan, Cell], Sample] = take,
    wait: Callable[[float], None] = time.sleep,
) -> Kept:
    """Run the plan's cells again and again, and keep what each run found beside what earlier calibrations did.

    `every_s` passes from the start of one run to that of the next; `seen` is called after each.

    Raises:
        MnbenchError: nothing can be measured here, or kept.
    """
    kept = kept_for(plan.device)
    for number in range(runs):
        begin = time.monotonic()
        plan = replace(plan, protocol=replace(plan.protocol, seed=number))
        run = Seen(measured_at=datetime.now(UTC), latencies_ns=_run(plan, visit))
        kept = msgspec.structs.replace(kept, runs=[*kept.runs, run][-MOST:])
        atomic_files.write(kept_in(KIND, kept.setting), msgspec.json.encode(kept))
        seen()
        if number < runs - 1:
            wait(max(0.0, every_s - (time.monotonic() - begin)))
    return kept


def drift_of(device: Device) -> Drift | None:
    """The drift of the device's host, if it was calibrated in this setting."""
    if not any(cache_folder().glob(f"{KIND}-*.json")):
        return None
    return drift(kept_for(device))


def drift(kept: Kept) -> Drift | None:
    """What the runs tell, if they are enough: of each model, by its latency, how far each run lay from their median."""
    if len(kept.runs) < FEWEST:
        return None
    deviations: dict[int, list[float]] = {}
    for variant in kept.runs[-1].latencies_ns:
        found = [run.latencies_ns[variant] for run in kept.runs if variant in run.latencies_ns]
        middle = median(found)
        deviations[round(middle)] = [log(one / middle) for one in found]
    return Drift(deviations=deviations)


def kept_for(device: Device) -> Kept:
    """What is kept for the device's setting, as it is now; nothing where the file cannot be read."""
    setting = setting_of(device)
    try:
        kept = msgspec.json.decode(kept_in(KIND, setting).read_bytes(), type=Kept)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return Kept(setting=setting, runs=[])
    return kept if kept.setting == setting else Kept(setting=setting, runs=[])


def _run(plan: Plan, visit: Callable[[Plan, Cell], Sample]) -> dict[str, int]:
    """The median of the processes' medians of each cell."""
    medians: dict[str, list[float]] = {cell.variant: [] for cell in plan.cells}
    for process in range(plan.protocol.processes):
        for cell in plan.round(process):
            medians[cell.variant].append(float(np.median(visit(plan, cell).latencies_ns)))
    return {variant: round(median(found)) for variant, found in medians.items()}
