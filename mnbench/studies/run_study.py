"""Run a study: build its networks, measure what its claims are about, and decide each claim."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

import mnbench
from mnbench.bench.case_trials import measure_alone
from mnbench.bench.devices import ready_device
from mnbench.bench.plan import BenchmarkCase, Plan, SamplingConfig
from mnbench.bench.prepare import prepare_case
from mnbench.bench.profiling import profile_layers
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
from mnbench.stats import median_of_medians
from mnbench.studies.claims import judge_claim, latency_evidence, rank_evidence, value_evidence
from mnbench.studies.study_file import Claim, Study, read_study
from mnbench.studies.study_result import ClaimResult, StudyFigure, StudyResult, save_result
from mnbench.targets.device import Device
from mnbench.temporary import temporary_folder

PROCESSES = 6
"""Processes for a time share or an amount of memory: as many as an interval of 95 % needs."""

SMALL_SIDE = 64
"""The input side at which a process holds weights, but hardly any activations."""

MEMORY_SAMPLING = SamplingConfig(min_runs=1, duration_s=0.0, warmup_s=0.0, max_settle_s=0.0)


def required_pairs(study: Study) -> list[tuple[str, str]]:
    """Return the variants of candidate and baseline of each latency comparison, without repetitions."""
    pairs: dict[tuple[str, str], None] = {}
    for claim in study.claims:
        if claim.quantity in ("latency", "rank"):
            baseline = study.row(claim.baseline).variants
            for label in claim.rows:
                pairs.update(dict.fromkeys(zip(study.row(label).variants, baseline, strict=True)))
    return list(pairs)


def measure_study(
    name: str, device: Device, settings: ComparisonSettings, results: Path, on_progress: OnProgress | None = None
) -> tuple[Path, StudyResult]:
    """Measure a study on a device, decide its claims and save its result; return the path and the result.

    Raises:
        MnbenchError: the study or a network is wrong, the device cannot be used, or the result cannot be saved.
    """
    study = read_study(name)
    device = ready_device(device, on_progress, real_for="and are not studied")
    with (
        unfinished_folders(results, "study") as new_folder,
        temporary_folder() as folder,
    ):
        run = StudyRun(
            study=study,
            device=device,
            settings=settings,
            folder=folder,
            pairs_folder=new_folder() if required_pairs(study) else None,
            on_progress=StageProgress(on_progress, "compare", settings.rules.processes).advance,
        )
        result = run.result(Path(name).stem)
    return save_result(results, result), result


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """A running study. `folder` holds its models, `pairs_folder` stores its pairs."""

    study: Study
    device: Device
    settings: ComparisonSettings
    folder: Path
    pairs_folder: Path | None
    on_progress: Callable[[str], object]
    started_s: float = field(default_factory=time.monotonic)

    def result(self, name: str) -> StudyResult:
        """Measure, and decide the claims."""
        study, device = self.study, self.device
        host = read_host(device)
        findings, latencies_ns, ratios = self._compare_pairs()
        memory_bytes = self._measure_memory()
        figures = self._figures(latencies_ns, memory_bytes)
        claims = tuple(self._decide(claim, findings, ratios, figures, memory_bytes) for claim in study.claims)
        return StudyResult(
            study=name,
            title=study.title,
            paper=study.paper,
            table=study.table,
            unit=study.unit,
            on=study.on,
            device=device.name,
            provider=device.provider,
            runtime=f"{device.runtime} {host.runtime_version}",
            threads=str(device.threads),
            host=host.facts,
            measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
            mnbench_version=mnbench.__version__,
            seed=self.settings.seed,
            duration_s=round(time.monotonic() - self.started_s, 1),
            figures=figures,
            claims=claims,
            differs=study.differs,
            run=self.pairs_folder.name if self.pairs_folder and findings else None,
        )

    def _compare_pairs(
        self,
    ) -> tuple[dict[tuple[str, str], Finding], dict[str, int], dict[tuple[str, str], list[float]]]:
        """Return for each pair the finding and the ratio in each process, and each variant's median latency.

        The median is over the processes of all pairs of the variant.
        """
        pairs = {
            f"{candidate} / {baseline}": (candidate, baseline) for candidate, baseline in required_pairs(self.study)
        }
        if not pairs:
            return {}, {}, {}
        builder = CaseBuilder(self.device, self.folder, self.settings)
        for name, (candidate, baseline) in pairs.items():
            sides = (parse_variant(baseline), SideOptions()), (parse_variant(candidate), SideOptions())
            builder.add(ComparisonRequest(variant=name, baseline=sides[0], candidate=sides[1]), raise_errors=False)
        log = PairedTrialLog(self.pairs_folder)
        procedure = Procedure(builder.cases, self.settings, log, on_progress=self.on_progress)
        findings = procedure.run("than", "row", known_findings=builder.findings).findings
        latencies: dict[str, list[NDArray[np.int64]]] = {}
        ratios: dict[tuple[str, str], list[float]] = {}
        for _, trial in log.processes:
            for name in trial.variants:
                columns = trial.columns_of(name)
                if columns["row"].size:
                    medians = [float(np.median(columns[column])) for column in ("candidate_ns", "base_ns")]
                    ratios.setdefault(pairs[name], []).append(medians[0] / medians[1])
                    for variant, column in zip(pairs[name], ("candidate_ns", "base_ns"), strict=True):
                        latencies.setdefault(variant, []).append(columns[column])
        latencies_ns = {variant: median_of_medians(processes) for variant, processes in latencies.items()}
        return {pairs[finding.variant]: finding for finding in findings}, latencies_ns, ratios

    def _measure_memory(self) -> dict[str, list[int]]:
        """Return each row's peak memory in each process, minus that of the same network with a small input."""
        claims = [claim for claim in self.study.claims if claim.quantity == "memory"]
        labels = dict.fromkeys(label for claim in claims for label in claim.row_labels)
        cases: dict[tuple[str, bool], BenchmarkCase] = {}
        for label in labels:
            variant = parse_variant(self.study.row(label).variants[0])
            cases[label, True] = self._build_case(replace(variant, resolution=(SMALL_SIDE, SMALL_SIDE)))
            cases[label, False] = self._build_case(variant)
        peaks: dict[tuple[str, bool], list[int]] = {key: [] for key in cases}
        for process in range(PROCESSES if cases else 0):
            if self._budget_spent:
                break
            for key, case in cases.items():
                peak = measure_alone(self._plan(case, MEMORY_SAMPLING), case).peak_rss_bytes
                peaks[key] += [peak] if peak else []
            self.on_progress(f"process {process + 1}: {len(cases)} networks")
        return {
            label: [peak - round(median(peaks[label, True])) for peak in peaks[label, False]]
            for label in labels
            if peaks[label, True]
        }

    def _measure_shares(self, label: str, layer: str) -> list[float]:
        """Return the share of the kernels' time that layers of that type take, for each process."""
        case = self._build_case(parse_variant(self.study.row(label).variants[0]))
        shares: list[float] = []
        for process in range(PROCESSES):
            if self._budget_spent:
                break
            profile = profile_layers(self._plan(case, SamplingConfig()), case)
            parts = [part for part in profile.times_by_type if part.type == layer and not part.added]
            shares.append(sum(part.duration_ns or 0 for part in parts) / profile.kernels_ns)
            self.on_progress(f"process {process + 1}: {shares[-1]:.1%}")
        return shares

    @property
    def _budget_spent(self) -> bool:
        return time.monotonic() - self.started_s >= self.settings.budget_s

    def _build_case(self, variant: Variant) -> BenchmarkCase:
        model = build_model(variant, seed=self.settings.seed)
        return prepare_case(model, self.folder, variant=variant.name, seed=self.settings.seed)

    def _plan(self, case: BenchmarkCase, sampling: SamplingConfig) -> Plan:
        allow_fallback = "fallback" in self.settings.allow
        return Plan(cases=(case,), device=self.device, sampling=sampling, allow_fallback=allow_fallback)

    def _figures(
        self, latencies_ns: Mapping[str, int], memory_bytes: Mapping[str, list[int]]
    ) -> tuple[StudyFigure, ...]:
        figures: list[StudyFigure] = []
        for row in self.study.rows:
            for index, (column, name) in enumerate(zip(self.study.columns, row.variants, strict=True)):
                variant = parse_variant(name)
                layers = build_network(variant).layers
                total = total_cost(layers)
                peak = peak_activation_bytes(layers)
                # Those of a variant are always known.
                assert total.mult_adds is not None
                assert total.memory_access_bytes is not None
                assert peak is not None
                figures.append(
                    StudyFigure(
                        label=row.label,
                        column=column,
                        variant=name,
                        mult_adds=total.mult_adds,
                        memory_access_bytes=total.memory_access_bytes,
                        peak_activation_bytes=peak,
                        published=row.published[index] if row.published else None,
                        latency_ns=latencies_ns.get(name),
                        memory_bytes=round(median(memory_bytes[row.label])) if memory_bytes.get(row.label) else None,
                    )
                )
        return tuple(figures)

    def _decide(
        self,
        claim: Claim,
        findings: Mapping[tuple[str, str], Finding],
        ratios: Mapping[tuple[str, str], Sequence[float]],
        figures: Sequence[StudyFigure],
        memory_bytes: Mapping[str, list[int]],
    ) -> ClaimResult:
        match claim.quantity:
            case "latency":
                return judge_claim(claim, latency_evidence(claim, self.study, findings))
            case "rank":
                return judge_claim(claim, rank_evidence(claim, self.study, ratios))
            case "mult_adds":
                values: Mapping[str, Sequence[float]] = {item.label: (item.mult_adds,) for item in reversed(figures)}
            case "memory":
                values = memory_bytes
            case "time_share":
                values = {label: self._measure_shares(label, claim.layer) for label in claim.rows}
        return judge_claim(claim, value_evidence(claim, self.study, values))
