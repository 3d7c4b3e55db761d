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
from mnbench.bench.plan import BenchmarkCase, Plan, SamplingConfig
from mnbench.bench.prepare import prepare_case
from mnbench.bench.profiling import profile_layers
from mnbench.bench.trial import run_trial
from mnbench.comparison.compare import CaseBuilder
from mnbench.comparison.decide import Finding
from mnbench.comparison.procedure import ComparisonSettings, Procedure
from mnbench.comparison.sides import ComparisonRequest, SideOptions
from mnbench.comparison.storage import PairedTrialLog
from mnbench.model.build import build_model
from mnbench.network.cost import peak_activation_bytes, total_cost
from mnbench.network.network import build_network
from mnbench.network.variant import Variant, parse_variant
from mnbench.studies import claims
from mnbench.studies.study_file import Claim, LessMemory, NotSlower, Saves, ShareOfTime, Slower, Study, TimesLess
from mnbench.studies.study_result import ClaimResult, Evidence, StudyFigure, StudyResult
from mnbench.targets.device import Device
from mnbench.targets.transport import call_worker

PROCESSES = 6
"""Of a share of time or an amount of memory: as many as make an interval."""

SMALL_SIDE = 64
"""With a map of so many pixels a side, a process holds weights and hardly any activations."""

MEMORY_SAMPLING = SamplingConfig(warmup_runs=0, min_warmup_s=0, max_warmup_s=0.01, min_runs=1, min_duration_s=0.01)

EXAMINE_TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class StudySession:
    """Where a study is measured: models go into `folder`, pairs are kept in `raw`, `seen` hears of every process."""

    device: Device
    settings: ComparisonSettings
    folder: Path
    pairs_folder: Path | None
    on_progress: Callable[[str], object]
    started_s: float = field(default_factory=time.monotonic)

    @property
    def budget_spent(self) -> bool:
        """Whether the budget is."""
        return time.monotonic() - self.started_s >= self.settings.budget_s

    def build_case(self, variant: Variant) -> BenchmarkCase:
        """A variant, ready to be measured."""
        model = build_model(variant, seed=self.settings.seed)
        return prepare_case(model, self.folder, variant=variant.name, seed=self.settings.seed)

    def plan(self, cell: BenchmarkCase, protocol: SamplingConfig) -> Plan:
        """The cell alone."""
        allowed = "fallback" in self.settings.allow
        return Plan(cases=(cell,), device=self.device, sampling=protocol, allow_fallback=allowed)


def required_pairs(study: Study) -> list[tuple[str, str]]:
    """The variants of candidate and base of each comparison that a claim asks for, each once."""
    entries: dict[tuple[str, str], None] = {}
    for claim in study.claims:
        if isinstance(claim, Slower | NotSlower):
            base = study.row(claim.than).variants
            rows = [study.row(label).variants for label in claim.rows]
            entries.update(dict.fromkeys(pair for row in rows for pair in zip(row, base, strict=True)))
    return list(entries)


def run_study(name: str, study: Study, session: StudySession) -> StudyResult:
    """Measure a study and judge its claims.

    Raises:
        MnbenchError: the device cannot be reached, a network not be built, or what was found not be kept.
    """
    request = {"kind": "host_facts", "rest_s": 0, "gpu": session.device.nvidia, "runtime": session.device.runtime}
    entries = call_worker(session.device, request, timeout_s=EXAMINE_TIMEOUT_S)
    findings, latencies_ns = _paired(required_pairs(study), session)
    memory_bytes = _weighed(study, session)
    figures = _figures(study, latencies_ns, memory_bytes)
    claims = tuple(_judged(claim, study, findings, figures, memory_bytes, session) for claim in study.claims)
    return StudyResult(
        study=name,
        title=study.title,
        paper=study.paper,
        table=study.table,
        unit=study.unit,
        on=study.on,
        device=session.device.name,
        provider=session.device.provider,
        runtime=f"{session.device.runtime} {entries['runtime_version']}",
        threads=str(session.device.threads),
        host=entries["facts"],
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        mnbench_version=mnbench.__version__,
        seed=session.settings.seed,
        duration_s=round(time.monotonic() - session.started_s, 1),
        figures=tuple(figures),
        claims=claims,
        differs=study.differs,
        run=session.pairs_folder.name if session.pairs_folder and findings else None,
    )


def _paired(
    pairs: Sequence[tuple[str, str]], bench: StudySession
) -> tuple[dict[tuple[str, str], Finding], Mapping[str, int]]:
    """What comparing found of each pair, and how long each variant took."""
    if not pairs:
        return {}, {}
    preparation = CaseBuilder(bench.device, bench.folder, bench.settings)
    names = {f"{candidate} / {base}": (candidate, base) for candidate, base in pairs}
    for name, (candidate, base) in names.items():
        sides = (parse_variant(base), SideOptions()), (parse_variant(candidate), SideOptions())
        preparation.add(ComparisonRequest(variant=name, baseline=sides[0], candidate=sides[1]), raise_errors=False)
    log = PairedTrialLog(bench.pairs_folder)
    contest = Procedure(preparation.cases, bench.settings, log, on_progress=bench.on_progress)
    _, findings = contest.run("than", "row", known_findings=preparation.findings)
    return {names[finding.variant]: finding for finding in findings}, _latencies_ns(log, names)


def _latencies_ns(log: PairedTrialLog, names: Mapping[str, tuple[str, str]]) -> dict[str, int]:
    """Each variant's median over processes, whatever it was compared with."""
    entries: dict[str, list[float]] = {}
    for _, pairs in log.processes:
        for row in pairs.variants:
            columns = pairs.columns_of(row)
            if columns["row"].size:
                for variant, name in zip(names[row], ("candidate_ns", "base_ns"), strict=True):
                    entries.setdefault(variant, []).append(float(np.median(columns[name])))
    return {variant: round(median(item)) for variant, item in entries.items()}


def _weighed(study: Study, bench: StudySession) -> dict[str, list[int]]:
    """By row, what each process held at most beyond what one with a small map does."""
    wanted = dict.fromkeys(
        label for claim in study.claims if isinstance(claim, LessMemory) for label in (claim.row, *claim.than)
    )
    variants = {label: parse_variant(study.row(label).variants[0]) for label in wanted}
    cells = {
        (label, small): bench.build_case(replace(variant, resolution=(SMALL_SIDE, SMALL_SIDE)) if small else variant)
        for label, variant in variants.items()
        for small in (True, False)
    }
    peaks: dict[tuple[str, bool], list[int]] = {key: [] for key in cells}
    for process in range(PROCESSES if cells else 0):
        if bench.budget_spent:
            break
        for key, cell in cells.items():
            peak = run_trial(bench.plan(cell, MEMORY_SAMPLING), cell).peak_rss_bytes
            peaks[key] += [peak] if peak else []
        bench.on_progress(f"process {process + 1}: {len(cells)} networks")
    return {
        label: [peak - round(median(peaks[label, True])) for peak in peaks[label, False]]
        for label in variants
        if peaks[label, True]
    }


def _shares(claim: ShareOfTime, study: Study, bench: StudySession) -> list[float]:
    """Of each process, the share of its kernels' time that layers of that type take."""
    cell = bench.build_case(parse_variant(study.row(claim.row).variants[0]))
    result: list[float] = []
    for process in range(PROCESSES):
        if bench.budget_spent:
            break
        profile = profile_layers(bench.plan(cell, SamplingConfig()), cell)
        own = sum(
            part.duration_ns or 0 for part in profile.times_by_type if part.type == claim.layer and not part.added
        )
        result.append(own / profile.kernels_ns)
        bench.on_progress(f"process {process + 1}: {result[-1]:.1%}")
    return result


def _figures(study: Study, latencies_ns: Mapping[str, int], memory_bytes: Mapping[str, list[int]]) -> list[StudyFigure]:
    figures: list[StudyFigure] = []
    for row in study.rows:
        for at, (column, variant) in enumerate(zip(study.columns, row.variants, strict=True)):
            source = parse_variant(variant)
            layers = build_network(source).layers
            total = total_cost(layers, source.element_bytes)
            figures.append(
                StudyFigure(
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
    figures: Sequence[StudyFigure],
    memory_bytes: Mapping[str, list[int]],
    bench: StudySession,
) -> ClaimResult:
    first: dict[str, Any] = {figure.label: figure for figure in reversed(figures)}
    evidence: list[Evidence]
    match claim:
        case Slower() | NotSlower():
            evidence = claims.comparison_evidence(claim, study, findings)
        case Saves():
            evidence = [claims.savings_evidence(claim, first)]
        case TimesLess():
            evidence = [claims.ratio_evidence(claim, first)]
        case ShareOfTime():
            evidence = [claims.time_share_evidence(claim, _shares(claim, study, bench))]
        case LessMemory():
            evidence = claims.memory_evidence(claim, memory_bytes, first)
    return claims.judge_claim(claim, evidence)
