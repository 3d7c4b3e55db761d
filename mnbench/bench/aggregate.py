"""Aggregation: the trials of a case become its record."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain
from statistics import median

import msgspec
import numpy as np

import mnbench
from mnbench.bench.issues import TIMELESS, find_issues
from mnbench.bench.plan import BenchmarkCase, Plan
from mnbench.results.record import Latency, Placement, Record, Runtime, SessionOptions
from mnbench.results.trial_result import TrialResult
from mnbench.stats import effective_runs, faster_half_mean, median_interval, median_of_medians
from mnbench.targets.device import Device
from mnbench.text import printable

MIN_P99_RUNS = 662
"""Effective trial size that a 99th percentile needs (MLPerf inference rules, early stopping)."""


def aggregate(plan: Plan, case: BenchmarkCase, run: str, trials: Sequence[TrialResult]) -> Record:
    """Return the record of a case from all its trials. Times and memory of an emulator are left out."""
    latency = aggregate_latency(trials)
    placements = [_placement(trial.placement, plan.device.provider, case) for trial in trials]
    least_placed = min(placements, key=lambda placement: 1.0 if placement.nodes is None else placement.nodes)
    issues = tuple(find_issues(plan, case, trials, latency, least_placed))
    record = msgspec.structs.replace(
        _record(plan, case, run, trials),
        difference=max((trial.difference for trial in trials if trial.difference is not None), default=None),
        not_compared=tuple(dict.fromkeys(reason for trial in trials for reason in trial.not_compared)),
        placement=least_placed,
        issues=issues,
    )
    if record.emulated:
        timeless = tuple(issue for issue in issues if issue.name in TIMELESS)
        return msgspec.structs.replace(record, issues=timeless)
    if plan.drift:
        latency = plan.drift.widen(latency)
    return msgspec.structs.replace(
        record,
        latency_ns=latency,
        first_run_ns=_median_of(trial.first_run_ns for trial in trials),
        session_ns=_median_of(trial.session_ns for trial in trials),
        conversion_ns=max((trial.conversion_ns for trial in trials if trial.conversion_ns is not None), default=None),
        cpu_ns=median_of_medians(trial.cpu_ns for trial in trials),
        copies_ns={
            name: round(median(trial.copies_ns[name] for trial in trials))
            for name in trials[0].copies_ns
            if all(name in trial.copies_ns for trial in trials)
        },
        peak_rss_bytes=max((trial.peak_rss_bytes for trial in trials if trial.peak_rss_bytes), default=None),
        runs=sum(len(trial.latencies_ns) for trial in trials),
        effective_runs=round(_effective_runs(trials)),
    )


def _median_of(values_ns: Iterable[int | None]) -> int | None:
    """Return the median of the known values; None if none is known."""
    known = [value for value in values_ns if value is not None]
    return round(median(known)) if known else None


def failed_record(plan: Plan, case: BenchmarkCase, run: str, error: str, trials: Sequence[TrialResult]) -> Record:
    """Return the record of a failed case; `trials` are the trials before the failure."""
    return msgspec.structs.replace(_record(plan, case, run, trials), error=error)


def _record(plan: Plan, case: BenchmarkCase, run: str, trials: Sequence[TrialResult]) -> Record:
    first = trials[0] if trials else None
    requested = plan.device.threads
    return Record(
        id=f"{run}/{case.row.id}",
        run=run,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        mnbench_version=mnbench.__version__,
        variant=case.variant,
        architecture=case.architecture,
        alpha=case.alpha,
        resolution=case.resolution,
        precision=case.precision,
        batch=case.batch,
        classes=case.source.classes if case.source else None,
        options=dict(case.source.options) if case.source else {},
        padding=case.source.padding if case.source else "torch",
        simplified=case.simplified,
        fold_batch_norm=case.fold_batch_norm,
        device=plan.device.name,
        provider=plan.device.provider,
        runtime=first.runtime if first else Runtime(name=plan.device.runtime, version=""),
        threads=first.threads if first else 0 if requested == "all" else requested,
        session=session_options(plan.device),
        precision_target=plan.sampling.precision,
        processes=len(trials),
        params=case.cost.params,
        mult_adds=case.cost.mult_adds,
        memory_access=case.cost.memory_access,
        memory_access_bytes=case.cost.memory_access_bytes,
        peak_activation_bytes=case.peak_activation_bytes,
        count_notes=case.count_notes,
        roofline=plan.roofline_bounds.get(case.row.id),
        model_sha256=case.sha256,
        inputs=case.inputs,
        file=case.file,
        seed=plan.sampling.seed,
        host=first.host if first else {},
        conditions=[trials[0].conditions[0], trials[-1].conditions[-1]] if trials else [],
        gpu=first.gpu if first else None,
    )


def session_options(device: Device) -> SessionOptions:
    """Return the options, provider options and environment that the device sets now."""
    return SessionOptions(
        options=device.options, provider_options=device.provider_options, environment=device.environment
    )


def aggregate_latency(trials: Sequence[TrialResult]) -> Latency:
    """Return the latency figures of a case, from one trial per process."""
    low, high, coverage = median_interval([trial.median_ns for trial in trials])
    pooled = np.concatenate([trial.latencies_ns for trial in trials])
    p10, p90, p99 = (round(float(value)) for value in np.quantile(pooled, (0.1, 0.9, 0.99)))
    return Latency(
        median=median_of_medians(trial.latencies_ns for trial in trials),
        low=round(low),
        high=round(high),
        undisturbed=round(faster_half_mean(float(trial.latencies_ns.min()) for trial in trials)),
        p10=p10,
        p90=p90,
        p99=p99 if _effective_runs(trials) >= MIN_P99_RUNS else None,
        min=int(pooled.min()),
        coverage=round(coverage, 4),
    )


def _effective_runs(trials: Sequence[TrialResult]) -> float:
    return sum(effective_runs(trial.latencies_ns) for trial in trials)


def _placement(nodes: dict[str, list[str]] | None, provider: str, case: BenchmarkCase) -> Placement:
    if not nodes:
        return Placement(nodes=None, mult_adds=None)
    on_provider, names = nodes.get(provider, []), list(chain.from_iterable(nodes.values()))
    if len(on_provider) == len(names):
        # A runtime that converts a model also renames its nodes.
        return Placement(nodes=1.0, mult_adds=1.0)
    mult_adds = {printable(layer.scope): layer.mult_adds for layer in case.layers if layer.mult_adds is not None}
    known = len(mult_adds) == len({printable(layer.scope) for layer in case.layers})
    total = sum(mult_adds.get(name, 0) for name in names)
    return Placement(
        nodes=len(on_provider) / len(names),
        mult_adds=sum(mult_adds.get(name, 0) for name in on_provider) / total if known and total else None,
    )
