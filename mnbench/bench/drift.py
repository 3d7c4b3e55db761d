"""Drift of a host: how much runs differ from hour to hour. It is calibrated once and included in later intervals."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from math import log
from typing import Any

import msgspec
import numpy as np

from mnbench import atomic_files
from mnbench.bench.plan import BenchmarkCase, HostDrift, Plan
from mnbench.bench.trial import run_trial
from mnbench.hosts.host_facts import cache_path, host_fingerprint
from mnbench.results.trial_result import TrialResult
from mnbench.stats import median
from mnbench.targets.device import Device
from mnbench.workspace import cache_folder

KIND = "drift"
MIN_RUNS = 10
"""The number of runs that a calibration needs."""

MAX_RUNS = 200
"""The number of runs that are stored, newest last."""


class DriftRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the calibration: the latency of each model, as `mnbench run` measures it."""

    measured_at: datetime
    latencies_ns: dict[str, int]


class DriftLog(msgspec.Struct, frozen=True, kw_only=True):
    """All runs of one setting."""

    setting: dict[str, Any]
    runs: list[DriftRun]


def calibrate(
    plan: Plan,
    *,
    runs: int,
    interval_s: float,
    on_run: Callable[[], None],
    run_trial: Callable[[Plan, BenchmarkCase], TrialResult] = run_trial,
    sleep: Callable[[float], None] = time.sleep,
) -> DriftLog:
    """Measure the plan's cases repeatedly, and add each run to the stored calibration.

    Runs start every `interval_s`; `on_run` is called after each.

    Raises:
        MnbenchError: measuring or storing failed.
    """
    stored = load_drift_log(plan.device)
    for number in range(runs):
        begin = time.monotonic()
        plan = replace(plan, sampling=replace(plan.sampling, seed=number))
        run = DriftRun(measured_at=datetime.now(UTC), latencies_ns=_run(plan, run_trial))
        stored = msgspec.structs.replace(stored, runs=[*stored.runs, run][-MAX_RUNS:])
        atomic_files.write_atomically(cache_path(KIND, stored.setting), msgspec.json.encode(stored))
        on_run()
        if number < runs - 1:
            sleep(max(0.0, interval_s - (time.monotonic() - begin)))
    return stored


def load_drift(device: Device) -> HostDrift | None:
    """Return the drift of the device's host, or None if this setting is not calibrated."""
    if not any(cache_folder().glob(f"{KIND}-*.json")):
        return None
    return compute_drift(load_drift_log(device))


def compute_drift(drift_log: DriftLog) -> HostDrift | None:
    """Return each run's deviation from the median, by the model's latency; None if there are too few runs."""
    if len(drift_log.runs) < MIN_RUNS:
        return None
    deviations: dict[int, list[float]] = {}
    for variant in drift_log.runs[-1].latencies_ns:
        result = [run.latencies_ns[variant] for run in drift_log.runs if variant in run.latencies_ns]
        middle = median(result)
        deviations[round(middle)] = [log(item / middle) for item in result]
    return HostDrift(deviations=deviations)


def load_drift_log(device: Device) -> DriftLog:
    """Load the stored runs of the device's present setting; none if the file cannot be read."""
    setting = host_fingerprint(device)
    try:
        stored = msgspec.json.decode(cache_path(KIND, setting).read_bytes(), type=DriftLog)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return DriftLog(setting=setting, runs=[])
    return stored if stored.setting == setting else DriftLog(setting=setting, runs=[])


def _run(plan: Plan, visit: Callable[[Plan, BenchmarkCase], TrialResult]) -> dict[str, int]:
    """Return the median of the processes' medians of each case."""
    medians: dict[str, list[float]] = {cell.variant: [] for cell in plan.cases}
    for process in range(plan.sampling.processes):
        for cell in plan.cases_of_round(process):
            medians[cell.variant].append(float(np.median(visit(plan, cell).latencies_ns)))
    return {variant: round(median(result)) for variant, result in medians.items()}
