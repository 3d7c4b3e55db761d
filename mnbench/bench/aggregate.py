"""Aggregation: the trials of a case become its record."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from statistics import median as middle

import msgspec
import numpy as np

import mnbench
from mnbench.bench.issues import TIMELESS, find_issues
from mnbench.bench.plan import BenchmarkCase, HostDrift, Plan
from mnbench.network.cost import layer_cost
from mnbench.results.record import Latency, Placement, Record, Runtime, SessionOptions
from mnbench.results.trial_result import TrialResult
from mnbench.stats import effective_runs, median_interval
from mnbench.targets.device import Device

MIN_P99_RUNS = 662
"""Effective sample size that a 99th percentile needs (MLPerf inference rules, early stopping)."""


def aggregate(plan: Plan, cell: BenchmarkCase, run: str, samples: Sequence[TrialResult]) -> Record:
    """Return the record of a case from all its trials."""
    if samples[0].host.get("emulated"):
        return _emulated(plan, cell, run, samples)
    latency = aggregate_latency(samples)
    peaks = [sample.peak_rss_bytes for sample in samples if sample.peak_rss_bytes]
    placement = _least_placed(plan, cell, samples)
    return msgspec.structs.replace(
        _record(plan, cell, run, samples),
        latency_ns=_with_drift(latency, plan.drift),
        first_run_ns=round(middle(sample.first_run_ns for sample in samples)),
        session_ns=round(middle(sample.session_ns for sample in samples)),
        conversion_ns=max((trial.conversion_ns for trial in samples if trial.conversion_ns is not None), default=None),
        cpu_ns=round(middle(float(np.median(sample.cpu_ns)) for sample in samples)),
        copies_ns={name: round(middle(trial.copies_ns[name] for trial in samples)) for name in samples[0].copies_ns},
        difference=max(sample.difference for sample in samples),
        peak_rss_bytes=max(peaks) if peaks else None,
        runs=sum(len(sample.latencies_ns) for sample in samples),
        effective_runs=round(_effective_runs(samples)),
        placement=placement,
        issues=tuple(find_issues(plan, samples, latency, placement)),
    )


def _emulated(plan: Plan, cell: BenchmarkCase, run: str, samples: Sequence[TrialResult]) -> Record:
    """Return the record of an emulated case, with outputs and placement: times and memory are the emulator's."""
    placement = _least_placed(plan, cell, samples)
    return msgspec.structs.replace(
        _record(plan, cell, run, samples),
        difference=max(sample.difference for sample in samples),
        placement=placement,
        issues=tuple(
            issue
            for issue in find_issues(plan, samples, aggregate_latency(samples), placement)
            if issue.name in TIMELESS
        ),
    )


def _least_placed(plan: Plan, cell: BenchmarkCase, samples: Sequence[TrialResult]) -> Placement:
    """Return the placement of the process with the fewest nodes on the provider."""
    placements = [_placement(sample.placement, plan.device.provider, cell) for sample in samples]
    return min(placements, key=lambda placement: 1.0 if placement.nodes is None else placement.nodes)


def failed_record(plan: Plan, cell: BenchmarkCase, run: str, error: str, samples: Sequence[TrialResult]) -> Record:
    """Return the record of a failed case; `samples` are the trials before the failure."""
    return msgspec.structs.replace(_record(plan, cell, run, samples), error=error)


def _record(plan: Plan, cell: BenchmarkCase, run: str, samples: Sequence[TrialResult]) -> Record:
    first = samples[0] if samples else None
    wanted = plan.device.threads
    return Record(
        id=f"{run}/{cell.variant}",
        run=run,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        mnbench_version=mnbench.__version__,
        variant=cell.variant,
        architecture=cell.architecture,
        alpha=cell.alpha,
        resolution=cell.resolution,
        precision=cell.precision,
        batch=cell.batch,
        classes=cell.source.classes if cell.source else None,
        options=dict(cell.source.options) if cell.source else {},
        padding=cell.source.padding if cell.source else "torch",
        simplified=cell.simplified,
        fold_batch_norm=cell.fold_batch_norm,
        device=plan.device.name,
        provider=plan.device.provider,
        runtime=msgspec.convert(first.runtime, Runtime) if first else Runtime(name=plan.device.runtime, version=""),
        threads=first.threads if first else 0 if wanted == "all" else wanted,
        session=session_options(plan.device),
        processes=len(samples),
        params=cell.cost.params,
        mult_adds=cell.cost.mult_adds,
        memory_access=cell.cost.memory_access,
        memory_access_bytes=cell.cost.memory_access_bytes,
        peak_activation_bytes=cell.peak_activation_bytes,
        roofline=plan.roofline_bounds.get(cell.variant),
        model_sha256=cell.sha256,
        seed=plan.sampling.seed,
        host=first.host if first else {},
        conditions=[samples[0].conditions[0], samples[-1].conditions[-1]] if samples else [],
        gpu=first.gpu if first else None,
    )


def session_options(device: Device) -> SessionOptions:
    """Return the options, provider options and environment that the device sets now."""
    return SessionOptions(
        options=device.options, provider_options=device.provider_options, environment=device.environment
    )


def aggregate_latency(samples: Sequence[TrialResult]) -> Latency:
    """Return the latency figures of a case, from one trial per process."""
    medians = [float(np.median(sample.latencies_ns)) for sample in samples]
    low, high, coverage = median_interval(medians)
    pooled = np.concatenate([sample.latencies_ns for sample in samples])
    p10, p90, p99 = (round(float(item)) for item in np.quantile(pooled, (0.1, 0.9, 0.99)))
    return Latency(
        median=round(middle(medians)),
        low=round(low),
        high=round(high),
        p10=p10,
        p90=p90,
        p99=p99 if _effective_runs(samples) >= MIN_P99_RUNS else None,
        min=int(pooled.min()),
        coverage=round(coverage, 4),
    )


def _with_drift(latency: Latency, drift: HostDrift | None) -> Latency:
    """Widen the interval by the differences between runs on this host."""
    if drift is None:
        return latency
    below, above = drift.factors_near(latency.median)
    return msgspec.structs.replace(
        latency, low_with_drift=round(latency.low / above), high_with_drift=round(latency.high / below)
    )


def _effective_runs(samples: Sequence[TrialResult]) -> float:
    return sum(effective_runs(sample.latencies_ns) for sample in samples)


def _placement(nodes: dict[str, list[str]] | None, provider: str, cell: BenchmarkCase) -> Placement:
    if not nodes:
        return Placement(nodes=None, mult_adds=None)
    there, every = nodes.get(provider, []), list(chain.from_iterable(nodes.values()))
    if len(there) == len(every):
        # A runtime that converts a model also renames its nodes.
        return Placement(nodes=1.0, mult_adds=1.0)
    mult_adds = {layer.scope: layer_cost(layer).mult_adds for layer in cell.layers}
    total = sum(mult_adds.get(name, 0) for name in every)
    return Placement(
        nodes=len(there) / len(every),
        mult_adds=sum(mult_adds.get(name, 0) for name in there) / total if total else None,
    )
