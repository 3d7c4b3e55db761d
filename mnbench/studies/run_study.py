"""Run a study: build its networks, measure what its claims are about, and decide each claim."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np

import mnbench
from mnbench.bench.benchmark import ready_device
from mnbench.bench.plan import BenchmarkCase, Plan, SamplingConfig
from mnbench.bench.prepare import prepare_case
from mnbench.bench.profiling import profile_layers
from mnbench.bench.trial import run_trial
from mnbench.comparison.cases import CaseBuilder
from mnbench.comparison.decide import Finding
from mnbench.comparison.procedure import ComparisonSettings, Procedure
from mnbench.comparison.sides import ComparisonRequest, SideOptions
from mnbench.comparison.storage import PairedTrialLog, unfinished_folders
from mnbench.families import parse_variant
from mnbench.hosts.host_facts import read_host
from mnbench.model.build import build_model
from mnbench.network.cost import peak_activation_bytes, total_cost
from mnbench.network.network import build_network
from mnbench.network.variant import Variant
from mnbench.progress import OnProgress, StageProgress
from mnbench.studies.claims import judge_claim, latency_evidence, value_evidence
from mnbench.studies.study_file import Claim, Study, read_study
from mnbench.studies.study_result import ClaimResult, StudyFigure, StudyResult, save_result
from mnbench.targets.device import Device

PROCESSES = 6
"""Processes for a time share or an amount of memory: as many as an interval of 95 % needs."""

SMALL_SIDE = 64
"""The input side at which a process holds weights, but hardly any activations."""

MEMORY_SAMPLING = SamplingConfig(warmup_runs=0, min_warmup_s=0, max_warmup_s=0.01, min_runs=1, duration_s=0.01)


@dataclass(frozen=True, kw_only=True)
class StudySession:
    """The device and settings of a study, the folder for its models, and the folder that stores its pairs."""

    device: Device
    settings: ComparisonSettings
    folder: Path
    pairs_folder: Path | None
    on_progress: Callable[[str], object]
    started_s: float = field(default_factory=time.monotonic)

    @property
    def budget_spent(self) -> bool:
        """Whether the time budget is used up."""
        return time.monotonic() - self.started_s >= self.settings.budget_s

    def build_case(self, variant: Variant) -> BenchmarkCase:
        """Build a variant as a benchmark case."""
        model = build_model(variant, seed=self.settings.seed)
        return prepare_case(model, self.folder, variant=variant.name, seed=self.settings.seed)

    def plan(self, case: BenchmarkCase, sampling: SamplingConfig) -> Plan:
        """Return a plan of this case alone."""
        allow_fallback = "fallback" in self.settings.allow
        return Plan(cases=(case,), device=self.device, sampling=sampling, allow_fallback=allow_fallback)


def required_pairs(study: Study) -> list[tuple[str, str]]:
    """Return the variants of candidate and baseline of each latency comparison, without repetitions."""
    pairs: dict[tuple[str, str], None] = {}
    for claim in study.claims:
        if claim.quantity == "latency":
            baseline = study.row(claim.baseline).variants
            for label in claim.rows:
                pairs.update(dict.fromkeys(zip(study.row(label).variants, baseline, strict=True)))
    return list(pairs)


def measure_study(
    name: str, device: Device, settings: ComparisonSettings, results: Path, on_progress: OnProgress | None = None
) -> tuple[Path, StudyResult]:
    """Measure a study on a device and save its result; return the path and the result.

    Raises:
        MnbenchError: the study or a network is wrong, the device cannot be used, or the result cannot be saved.
    """
    study = read_study(name)
    device = ready_device(device, on_progress, real_for="and are not studied")
    with (
        unfinished_folders(results, "study") as new_folder,
        tempfile.TemporaryDirectory(prefix="mnbench-") as folder,
    ):
        session = StudySession(
            device=device,
            settings=settings,
            folder=Path(folder),
            pairs_folder=new_folder() if required_pairs(study) else None,
            on_progress=StageProgress(on_progress, "compare", settings.rules.processes).advance,
        )
        result = run_study(Path(name).stem, study, session)
    return save_result(results, result), result


def run_study(name: str, study: Study, session: StudySession) -> StudyResult:
    """Measure a study and decide its claims.

    Raises:
        MnbenchError: the device cannot be reached, a network cannot be built, or the pairs cannot be stored.
    """
    host = read_host(session.device)
    findings, latencies_ns = _compare_pairs(required_pairs(study), session)
    memory_bytes = _measure_memory(study, session)
    figures = _figures(study, latencies_ns, memory_bytes)
    claims = tuple(_decide(claim, study, findings, figures, memory_bytes, session) for claim in study.claims)
    return StudyResult(
        study=name,
        title=study.title,
        paper=study.paper,
        table=study.table,
        unit=study.unit,
        on=study.on,
        device=session.device.name,
        provider=session.device.provider,
        runtime=f"{session.device.runtime} {host.runtime_version}",
        threads=str(session.device.threads),
        host=host.facts,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        mnbench_version=mnbench.__version__,
        seed=session.settings.seed,
        duration_s=round(time.monotonic() - session.started_s, 1),
        figures=tuple(figures),
        claims=claims,
        differs=study.differs,
        run=session.pairs_folder.name if session.pairs_folder and findings else None,
    )


def _compare_pairs(
    pairs: Sequence[tuple[str, str]], session: StudySession
) -> tuple[dict[tuple[str, str], Finding], Mapping[str, int]]:
    """Return the finding for each pair, and the latency of each variant."""
    if not pairs:
        return {}, {}
    builder = CaseBuilder(session.device, session.folder, session.settings)
    names = {f"{candidate} / {baseline}": (candidate, baseline) for candidate, baseline in pairs}
    for name, (candidate, baseline) in names.items():
        sides = (parse_variant(baseline), SideOptions()), (parse_variant(candidate), SideOptions())
        builder.add(ComparisonRequest(variant=name, baseline=sides[0], candidate=sides[1]), raise_errors=False)
    log = PairedTrialLog(session.pairs_folder)
    procedure = Procedure(builder.cases, session.settings, log, on_progress=session.on_progress)
    findings = procedure.run("than", "row", known_findings=builder.findings).findings
    return {names[finding.variant]: finding for finding in findings}, _latencies_ns(log, names)


def _latencies_ns(log: PairedTrialLog, names: Mapping[str, tuple[str, str]]) -> dict[str, int]:
    """Return each variant's median over the processes of all its comparisons."""
    medians: dict[str, list[float]] = {}
    for _, trial in log.processes:
        for row in trial.variants:
            columns = trial.columns_of(row)
            if columns["row"].size:
                for variant, column in zip(names[row], ("candidate_ns", "base_ns"), strict=True):
                    medians.setdefault(variant, []).append(float(np.median(columns[column])))
    return {variant: round(median(values)) for variant, values in medians.items()}


def _measure_memory(study: Study, session: StudySession) -> dict[str, list[int]]:
    """Return each row's peak memory in each process, less that of the same network with a small input."""
    labels = dict.fromkeys(label for claim in study.claims if claim.quantity == "memory" for label in claim.row_labels)
    variants = {label: parse_variant(study.row(label).variants[0]) for label in labels}
    cases = {
        (label, small): session.build_case(replace(variant, resolution=(SMALL_SIDE, SMALL_SIDE)) if small else variant)
        for label, variant in variants.items()
        for small in (True, False)
    }
    peaks: dict[tuple[str, bool], list[int]] = {key: [] for key in cases}
    for process in range(PROCESSES if cases else 0):
        if session.budget_spent:
            break
        for key, case in cases.items():
            peak = run_trial(session.plan(case, MEMORY_SAMPLING), case).peak_rss_bytes
            peaks[key] += [peak] if peak else []
        session.on_progress(f"process {process + 1}: {len(cases)} networks")
    return {
        label: [peak - round(median(peaks[label, True])) for peak in peaks[label, False]]
        for label in variants
        if peaks[label, True]
    }


def _measure_shares(label: str, layer: str, study: Study, session: StudySession) -> list[float]:
    """Return the share of the kernels' time that layers of that type take, for each process."""
    case = session.build_case(parse_variant(study.row(label).variants[0]))
    shares: list[float] = []
    for process in range(PROCESSES):
        if session.budget_spent:
            break
        profile = profile_layers(session.plan(case, SamplingConfig()), case)
        duration_ns = sum(
            part.duration_ns or 0 for part in profile.times_by_type if part.type == layer and not part.added
        )
        shares.append(duration_ns / profile.kernels_ns)
        session.on_progress(f"process {process + 1}: {shares[-1]:.1%}")
    return shares


def _figures(study: Study, latencies_ns: Mapping[str, int], memory_bytes: Mapping[str, list[int]]) -> list[StudyFigure]:
    figures: list[StudyFigure] = []
    for row in study.rows:
        for index, (column, name) in enumerate(zip(study.columns, row.variants, strict=True)):
            variant = parse_variant(name)
            layers = build_network(variant).layers
            total = total_cost(layers, variant.element_bytes)
            figures.append(
                StudyFigure(
                    label=row.label,
                    column=column,
                    variant=name,
                    mult_adds=total.mult_adds,
                    memory_access_bytes=total.memory_access_bytes,
                    peak_activation_bytes=peak_activation_bytes(layers, variant.element_bytes),
                    published=row.published[index] if row.published else None,
                    latency_ns=latencies_ns.get(name),
                    memory_bytes=round(median(memory_bytes[row.label])) if memory_bytes.get(row.label) else None,
                )
            )
    return figures


def _decide(
    claim: Claim,
    study: Study,
    findings: Mapping[tuple[str, str], Finding],
    figures: Sequence[StudyFigure],
    memory_bytes: Mapping[str, list[int]],
    session: StudySession,
) -> ClaimResult:
    match claim.quantity:
        case "latency":
            return judge_claim(claim, latency_evidence(claim, study, findings))
        case "mult_adds":
            values: Mapping[str, Sequence[float]] = {figure.label: (figure.mult_adds,) for figure in reversed(figures)}
        case "memory":
            values = memory_bytes
        case "time_share":
            values = {label: _measure_shares(label, claim.layer, study, session) for label in claim.rows}
    return judge_claim(claim, value_evidence(claim, study, values))
