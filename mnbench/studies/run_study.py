"""A study from its file to its result: networks made, timed, profiled or weighed, and each claim judged."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import mnbench
from mnbench.bench.plan import Cell, Plan, Protocol
from mnbench.bench.prepare import prepare
from mnbench.bench.profiling import profile
from mnbench.bench.trial import take
from mnbench.comparison.compare import Preparation
from mnbench.comparison.decide import Finding
from mnbench.comparison.procedure import Contest, Settings
from mnbench.comparison.sides import Pairing, Setup
from mnbench.comparison.storage import Kept
from mnbench.model.build import make
from mnbench.network.cost import cost, peak_activation_bytes
from mnbench.network.network import network
from mnbench.network.variant import Variant, named
from mnbench.studies import claims
from mnbench.studies.study_file import Claim, LessMemory, NotSlower, Saves, ShareOfTime, Slower, Study, TimesLess
from mnbench.studies.study_result import Evidence, Figure, Judged, Result
from mnbench.targets.device import Device
from mnbench.targets.transport import ask

PROCESSES = 6
"""Of a share of time or an amount of memory: as many as make an interval."""

SMALL_SIDE = 64
"""With a map of so many pixels a side, a process holds weights and hardly any activations."""

WEIGHED = Protocol(warmup_runs=0, min_warmup_s=0, max_warmup_s=0.01, min_runs=1, min_duration_s=0.01)

EXAMINE_TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where a study is measured: models go into `folder`, pairs are kept in `raw`, `seen` hears of every process."""

    device: Device
    settings: Settings
    folder: Path
    raw: Path | None
    seen: Callable[[str], object]
    begin_s: float = field(default_factory=time.monotonic)

    @property
    def spent(self) -> bool:
        """Whether the budget is."""
        return time.monotonic() - self.begin_s >= self.settings.budget_s

    def cell(self, variant: Variant) -> Cell:
        """A variant, ready to be measured."""
        made = make(variant, seed=self.settings.seed)
        return prepare(made, self.folder, variant=variant.name, seed=self.settings.seed)

    def plan(self, cell: Cell, protocol: Protocol) -> Plan:
        """The cell alone."""
        allowed = "fallback" in self.settings.allow
        return Plan(cells=(cell,), device=self.device, protocol=protocol, allow_fallback=allowed)


def pairs_of(study: Study) -> list[tuple[str, str]]:
    """The variants of candidate and base of each comparison that a claim asks for, each once."""
    found: dict[tuple[str, str], None] = {}
    for claim in study.claims:
        if isinstance(claim, Slower | NotSlower):
            base = study.row(claim.than).variants
            rows = [study.row(label).variants for label in claim.rows]
            found.update(dict.fromkeys(pair for row in rows for pair in zip(row, base, strict=True)))
    return list(found)


def measured(name: str, study: Study, bench: Bench) -> Result:
    """Measure a study and judge its claims.

    Raises:
        MnbenchError: the device cannot be reached, a network not be built, or what was found not be kept.
    """
    request = {"do": "host_facts", "rest_s": 0, "gpu": bench.device.nvidia, "runtime": bench.device.runtime}
    found = ask(bench.device, request, timeout_s=EXAMINE_TIMEOUT_S)
    findings, latencies_ns = _paired(pairs_of(study), bench)
    memory_bytes = _weighed(study, bench)
    figures = _figures(study, latencies_ns, memory_bytes)
    claims = tuple(_judged(claim, study, findings, figures, memory_bytes, bench) for claim in study.claims)
    return Result(
        study=name,
        title=study.title,
        paper=study.paper,
        table=study.table,
        unit=study.unit,
        on=study.on,
        device=bench.device.name,
        provider=bench.device.provider,
        runtime=f"{bench.device.runtime} {found['runtime_version']}",
        threads=str(bench.device.threads),
        host=found["facts"],
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        mnbench_version=mnbench.__version__,
        seed=bench.settings.seed,
        duration_s=round(time.monotonic() - bench.begin_s, 1),
        figures=tuple(figures),
        claims=claims,
        differs=study.differs,
        run=bench.raw.name if bench.raw and findings else None,
    )


def _paired(pairs: Sequence[tuple[str, str]], bench: Bench) -> tuple[dict[tuple[str, str], Finding], Mapping[str, int]]:
    """What comparing found of each pair, and how long each variant took."""
    if not pairs:
        return {}, {}
    preparation = Preparation(bench.device, bench.folder, bench.settings)
    names = {f"{candidate} / {base}": (candidate, base) for candidate, base in pairs}
    for name, (candidate, base) in names.items():
        sides = (named(base), Setup()), (named(candidate), Setup())
        preparation.add(Pairing(variant=name, base=sides[0], candidate=sides[1]), alone=False)
    kept = Kept(bench.raw)
    contest = Contest(preparation.rows, bench.settings, kept, seen=bench.seen)
    _, findings = contest.held("than", "row", known=preparation.known)
    return {names[finding.variant]: finding for finding in findings}, _latencies_ns(kept, names)


def _latencies_ns(kept: Kept, names: Mapping[str, tuple[str, str]]) -> dict[str, int]:
    """Each variant's median over processes, whatever it was compared with."""
    found: dict[str, list[float]] = {}
    for _, pairs in kept.processes:
        for row in pairs.variants:
            columns = pairs.of(row)
            if columns["row"].size:
                for variant, name in zip(names[row], ("candidate_ns", "base_ns"), strict=True):
                    found.setdefault(variant, []).append(float(np.median(columns[name])))
    return {variant: round(median(each)) for variant, each in found.items()}


def _weighed(study: Study, bench: Bench) -> dict[str, list[int]]:
    """By row, what each process held at most beyond what one with a small map does."""
    wanted = dict.fromkeys(
        label for claim in study.claims if isinstance(claim, LessMemory) for label in (claim.row, *claim.than)
    )
    variants = {label: named(study.row(label).variants[0]) for label in wanted}
    cells = {
        (label, small): bench.cell(replace(variant, resolution=(SMALL_SIDE, SMALL_SIDE)) if small else variant)
        for label, variant in variants.items()
        for small in (True, False)
    }
    peaks: dict[tuple[str, bool], list[int]] = {key: [] for key in cells}
    for process in range(PROCESSES if cells else 0):
        if bench.spent:
            break
        for key, cell in cells.items():
            peak = take(bench.plan(cell, WEIGHED), cell).peak_rss_bytes
            peaks[key] += [peak] if peak else []
        bench.seen(f"process {process + 1}: {len(cells)} networks")
    return {
        label: [peak - round(median(peaks[label, True])) for peak in peaks[label, False]]
        for label in variants
        if peaks[label, True]
    }


def _shares(claim: ShareOfTime, study: Study, bench: Bench) -> list[float]:
    """Of each process, the share of its kernels' time that layers of that type take."""
    cell = bench.cell(named(study.row(claim.row).variants[0]))
    found: list[float] = []
    for process in range(PROCESSES):
        if bench.spent:
            break
        one = profile(bench.plan(cell, Protocol()), cell)
        own = sum(part.duration_ns or 0 for part in one.types if part.type == claim.layer and not part.added)
        found.append(own / one.kernels_ns)
        bench.seen(f"process {process + 1}: {found[-1]:.1%}")
    return found


def _figures(study: Study, latencies_ns: Mapping[str, int], memory_bytes: Mapping[str, list[int]]) -> list[Figure]:
    figures: list[Figure] = []
    for row in study.rows:
        for at, (column, variant) in enumerate(zip(study.columns, row.variants, strict=True)):
            source = named(variant)
            layers = network(source).layers
            total = cost(layers, source.element_bytes)
            figures.append(
                Figure(
                    label=row.label,
                    column=column,
                    variant=variant,
                    mult_adds=total.mult_adds,
                    memory_access_bytes=total.memory_access_bytes,
                    peak_activation_bytes=peak_activation_bytes(layers, source.element_bytes),
                    published=row.published[at] if row.published else None,
                    latency_ns=latencies_ns.get(variant),
                    memory_bytes=round(median(memory_bytes[row.label])) if memory_bytes.get(row.label) else None,
                )
            )
    return figures


def _judged(
    claim: Claim,
    study: Study,
    findings: Mapping[tuple[str, str], Finding],
    figures: Sequence[Figure],
    memory_bytes: Mapping[str, list[int]],
    bench: Bench,
) -> Judged:
    first: dict[str, Any] = {figure.label: figure for figure in reversed(figures)}
    evidence: list[Evidence]
    match claim:
        case Slower() | NotSlower():
            evidence = claims.compared(claim, study, findings)
        case Saves():
            evidence = [claims.saved(claim, first)]
        case TimesLess():
            evidence = [claims.times_less(claim, first)]
        case ShareOfTime():
            evidence = [claims.share(claim, _shares(claim, study, bench))]
        case LessMemory():
            evidence = claims.less_memory(claim, memory_bytes, first)
    return claims.judged(claim, evidence)
