"""A record: everything about one measured cell, as one line of JSON."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from statistics import median as middle
from typing import Any

import msgspec

import mnbench
from mnbench.measure.plan import Cell, Plan
from mnbench.measure.sample import Sample
from mnbench.stats import median_interval, quantile

SCHEMA = 1
"""Schema 1: the first."""

NOISY_RATIO = 1.2
SHORT_RUNS = 100


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Nanoseconds of one run. `median` is that of the processes' medians, between `low` and `high` with `coverage`.

    `p10`, `p90` and `min` are of all runs together.
    """

    median: int
    low: int
    high: int
    p10: int
    p90: int
    min: int
    coverage: float


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """What ran the model."""

    name: str
    version: str


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Shares, 0 to 1, of nodes and of Mult-Adds that ran on the provider asked for; None where it does not tell."""

    nodes: float | None
    mult_adds: float | None


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """Why a figure should not be trusted, and what to do."""

    name: str
    advice: str


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One cell. `error` says why it has no latency; `first_run_ns` and `session_ns` are medians over processes."""

    schema: int = SCHEMA
    id: str
    run: str
    measured_at: str
    mnbench_version: str
    variant: str
    architecture: str | None
    alpha: float | None
    resolution: tuple[int, int] | None
    device: str
    provider: str
    runtime: Runtime
    threads: int
    error: str | None = None
    latency_ns: Latency | None = None
    first_run_ns: int | None = None
    session_ns: int | None = None
    peak_rss_bytes: int | None = None
    processes: int = 0
    runs: int = 0
    params: int
    mult_adds: int
    memory_access: int
    memory_access_bytes: int
    peak_activation_bytes: int
    placement: Placement = Placement(nodes=None, mult_adds=None)
    issues: tuple[Issue, ...] = ()
    model_sha256: str
    seed: int
    host: dict[str, Any]

    @property
    def trusted(self) -> bool:
        """Whether nothing speaks against the latency."""
        return self.latency_ns is not None and not self.issues


def measured(plan: Plan, cell: Cell, run: str, samples: Sequence[Sample]) -> Record:
    """The record of a cell from the samples of all its processes."""
    latency = _latency([sorted(sample.latencies_ns.tolist()) for sample in samples])
    runs = sum(len(sample.latencies_ns) for sample in samples)
    peaks = [sample.peak_rss_bytes for sample in samples if sample.peak_rss_bytes]
    placements = [_placement(sample.placement, plan.device.provider, cell) for sample in samples]
    placement = min(placements, key=lambda one: 1.0 if one.nodes is None else one.nodes)
    return msgspec.structs.replace(
        _record(plan, cell, run, samples[0].runtime_version, samples[0].host),
        latency_ns=latency,
        first_run_ns=round(middle(sample.first_run_ns for sample in samples)),
        session_ns=round(middle(sample.session_ns for sample in samples)),
        peak_rss_bytes=max(peaks) if peaks else None,
        processes=len(samples),
        runs=runs,
        placement=placement,
        issues=_issues(latency, runs, placement, plan.device.provider),
    )


def failed(plan: Plan, cell: Cell, run: str, error: str, samples: Sequence[Sample]) -> Record:
    """The record of a cell that could not be measured; `samples` are those before it failed."""
    version, host = (samples[0].runtime_version, samples[0].host) if samples else ("", {})
    return msgspec.structs.replace(_record(plan, cell, run, version, host), error=error, processes=len(samples))


def _record(plan: Plan, cell: Cell, run: str, version: str, host: dict[str, Any]) -> Record:
    return Record(
        id=f"{run}/{cell.variant}",
        run=run,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        mnbench_version=mnbench.__version__,
        variant=cell.variant,
        architecture=cell.architecture,
        alpha=cell.alpha,
        resolution=cell.resolution,
        device=plan.device.name,
        provider=plan.device.provider,
        runtime=Runtime(name=plan.device.runtime, version=version),
        threads=plan.device.threads,
        params=cell.cost.params,
        mult_adds=cell.cost.mult_adds,
        memory_access=cell.cost.memory_access,
        memory_access_bytes=cell.cost.memory_access_bytes,
        peak_activation_bytes=cell.peak_activation_bytes,
        model_sha256=cell.sha256,
        seed=plan.protocol.seed,
        host=host,
    )


def _latency(processes: Sequence[Sequence[int]]) -> Latency:
    medians = [quantile(latencies, 0.5) for latencies in processes]
    low, high, coverage = median_interval(medians)
    pooled = sorted(chain.from_iterable(processes))
    return Latency(
        median=round(middle(medians)),
        low=round(low),
        high=round(high),
        p10=round(quantile(pooled, 0.1)),
        p90=round(quantile(pooled, 0.9)),
        min=pooled[0],
        coverage=round(coverage, 4),
    )


def _placement(nodes: dict[str, list[str]] | None, provider: str, cell: Cell) -> Placement:
    if not nodes:
        return Placement(nodes=None, mult_adds=None)
    there, every = nodes.get(provider, []), list(chain.from_iterable(nodes.values()))
    total = sum(cell.node_mult_adds.get(name, 0) for name in every)
    return Placement(
        nodes=len(there) / len(every),
        mult_adds=sum(cell.node_mult_adds.get(name, 0) for name in there) / total if total else None,
    )


def _issues(latency: Latency, runs: int, placement: Placement, provider: str) -> tuple[Issue, ...]:
    issues: list[Issue] = []
    if latency.high > NOISY_RATIO * latency.low:
        issues.append(
            Issue(
                name="noisy",
                advice=f"processes differ by {latency.high / latency.low - 1:.0%}: end other load, run again",
            )
        )
    if runs < SHORT_RUNS:
        issues.append(Issue(name="short", advice=f"only {runs} runs: give it more time with --duration"))
    if placement.nodes is not None and placement.nodes < 1:
        issues.append(
            Issue(name="misplaced", advice=f"{1 - placement.nodes:.0%} of the nodes did not run on {provider}")
        )
    return tuple(issues)
