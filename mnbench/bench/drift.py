"""Drift of a host: how much runs differ from hour to hour. It is calibrated once and included in later intervals."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from math import exp
from typing import Any

import msgspec

from mnbench.bench.case_trials import MeasureCases, measure_all, measure_cases
from mnbench.bench.plan import HostDrift, Plan
from mnbench.hosts.host_facts import CachedFigures, host_fingerprint, load_cached, save_cached
from mnbench.progress import OnProgress, StageProgress
from mnbench.results.facts import Nanoseconds, Text
from mnbench.stats import median_of_medians
from mnbench.tables.quantities import quantity
from mnbench.tables.table import Column, Table
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
    latencies_ns: dict[Text, Nanoseconds]


class DriftLog(CachedFigures, frozen=True, kw_only=True):
    """The repeated runs of one setting, from which the host's drift is estimated."""

    runs: list[DriftRun]

    @property
    def drift(self) -> HostDrift | None:
        """Return each run's deviation from the median, by the model's latency; None if there are too few runs."""
        if len(self.runs) < MIN_RUNS:
            return None
        return HostDrift.of_runs([run.latencies_ns for run in self.runs])

    def tables(self) -> list[Table[Any]]:
        """Return how much runs differ, one row a model; no table if there are too few runs."""
        drift = self.drift
        if not drift:
            return []

        def column(name: str, value: Callable[[int], float]) -> Column[int]:
            return Column[int](name=name, value=lambda latency_ns: value(latency_ns) - 1, format="{:+.1%}".format)

        columns = [
            quantity("latency_ns", lambda latency_ns: latency_ns),
            column("slowest", lambda latency_ns: exp(max(drift.deviations[latency_ns]))),
            column("fastest", lambda latency_ns: exp(min(drift.deviations[latency_ns]))),
            column("95 % above", lambda latency_ns: drift.factors_near(latency_ns)[0]),
            column("95 % below", lambda latency_ns: drift.factors_near(latency_ns)[1]),
        ]
        notes = [f"{len(self.runs)} runs are stored; intervals of later runs in this setting include this drift"]
        return [Table(columns=columns, rows=sorted(drift.deviations), title="drift between runs", notes=notes)]

    def to_dict(self) -> dict[str, Any]:
        return {"runs": self.runs, "drift": self.drift}


def calibrate(
    plan: Plan,
    *,
    runs: int,
    interval_s: float,
    on_progress: OnProgress | None = None,
    measure: MeasureCases = measure_cases,
    sleep: Callable[[float], None] = time.sleep,
) -> DriftLog:
    """Measure the plan's cases repeatedly, and add each run to the stored calibration.

    Runs start every `interval_s`.

    Raises:
        MnbenchError: measuring or storing failed.
    """
    progress = StageProgress(on_progress, "calibrate", runs)
    stored = load_drift_log(plan.device)
    for number in range(runs):
        begin = time.monotonic()
        plan = replace(plan, sampling=replace(plan.sampling, seed=number))
        run = DriftRun(measured_at=datetime.now(UTC), latencies_ns=_run(plan, measure))
        stored = msgspec.structs.replace(stored, runs=[*stored.runs, run][-MAX_RUNS:])
        save_cached(KIND, stored)
        progress.advance()
        if number < runs - 1:
            sleep(max(0.0, interval_s - (time.monotonic() - begin)))
    return stored


def load_drift(device: Device) -> HostDrift | None:
    """Return the drift of the device's host, or None if this setting is not calibrated."""
    if not any(cache_folder().glob(f"{KIND}-*.json")):
        return None
    return load_drift_log(device).drift


def load_drift_log(device: Device) -> DriftLog:
    """Load the stored runs of the device's present setting; none if the file cannot be read."""
    setting = host_fingerprint(device)
    return load_cached(KIND, setting, DriftLog) or DriftLog(setting=setting, runs=[])


def _run(plan: Plan, measure: MeasureCases) -> dict[str, int]:
    processes = [
        measure_all(plan, f"{plan.sampling.seed}/{process}", measure) for process in range(plan.sampling.processes)
    ]
    return {
        case.variant: median_of_medians(results[case.variant].latencies_ns for results in processes)
        for case in plan.cases
    }
