"""A comparison from its sides to its judgement."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mnbench.bench.plan import BenchmarkCase
from mnbench.bench.prepare import prepare_case
from mnbench.comparison.cases import precondition_failure
from mnbench.comparison.decide import Comparison, Finding, overall_verdict
from mnbench.comparison.paired_trial import ComparisonCase, PreparedSide
from mnbench.comparison.procedure import ComparisonSettings, Procedure
from mnbench.comparison.sides import ComparisonRequest, SideOptions
from mnbench.comparison.storage import PairedTrialLog
from mnbench.errors import MnbenchError
from mnbench.model.build import build_model
from mnbench.network.variant import ModelSource, OnnxFile
from mnbench.targets.device import Device


class CaseBuilder:
    """Pairings on their way to rows; each model is made once, in `folder`."""

    def __init__(self, device: Device, folder: Path, settings: ComparisonSettings) -> None:
        self.cases: list[ComparisonCase] = []
        self.findings: list[Finding] = []
        self._device = device
        self._folder = folder
        self._settings = settings
        self._cells: list[tuple[ModelSource, BenchmarkCase]] = []

    def add(self, request: ComparisonRequest, *, raise_errors: bool) -> None:
        """Make a row's models, or a finding that says why not. The only row of all may as well fail.

        Raises:
            MnbenchError: a model of the only row cannot be made, or a runtime not be installed.
        """
        base, candidate = request.baseline, request.baseline if self._settings.self_check else request.candidate
        if base is None or candidate is None:
            where = "the base" if base is None else "the candidate"
            self._know(request, "missing", f"{where} has no such file", lift="missing")
            return
        arms: list[PreparedSide] = []
        for which, (source, setup) in (("base", base), ("candidate", candidate)):
            try:
                arms.append(self._arm(request, source, setup))
            except MnbenchError as failure:
                if raise_errors:
                    raise
                self._know(request, "incomparable" if which == "base" else "missing", f"the {which}: {failure.message}")
                return
        row = ComparisonCase(variant=request.variant, baseline=arms[0], candidate=arms[1])
        files = all(isinstance(source, OnnxFile) for source, _ in (base, candidate))
        reason = precondition_failure(row, self._settings.allow, both_files=files)
        if reason:
            self._know(request, "incomparable", reason)
        else:
            self.cases.append(row)

    def _arm(self, pairing: ComparisonRequest, source: ModelSource, setup: SideOptions) -> PreparedSide:
        device = setup.configure_device(self._device)
        wanted = setup.with_precision(source)
        cell = next((cell for known, cell in self._cells if known == wanted), None)
        if cell is None:
            model = build_model(wanted, seed=self._settings.seed, simplified=not isinstance(wanted, OnnxFile))
            cell = prepare_case(model, self._folder, variant=pairing.variant, seed=self._settings.seed)
            self._cells.append((wanted, cell))
        return PreparedSide(case=cell, device=device)

    def _know(self, pairing: ComparisonRequest, verdict: str, reason: str, *, lift: str = "") -> None:
        if lift and lift in self._settings.allow:
            return
        hint = f" (--allow {lift})" if lift else ""
        self.findings.append(
            Finding(
                variant=pairing.variant,
                device=self._device.name,
                verdict="missing" if verdict == "missing" else "incomparable",
                reason=reason + hint,
            )
        )


def compare(
    cases: Sequence[ComparisonCase],
    known_findings: Sequence[Finding],
    settings: ComparisonSettings,
    *,
    names: tuple[str, str],
    folder: Path | None,
    on_progress: Callable[[str], object],
) -> Comparison:
    """Measure the rows and judge the table; `names` are those of base and candidate, `folder` keeps the pairs.

    Raises:
        RuntimeUnavailable, UnreachableError: nothing can be measured on this device.
        FileError: the pairs cannot be kept.
    """
    begin = time.monotonic()
    contest = Procedure(cases, settings, PairedTrialLog(folder), on_progress=on_progress)
    _, findings = contest.run(*names, known_findings=known_findings)
    return Comparison(
        verdict=overall_verdict(findings, settings.allow),
        base=names[0],
        candidate=names[1],
        findings=findings,
        rules=settings.rules,
        seed=settings.seed,
        run=folder.name if folder else None,
        duration_s=round(time.monotonic() - begin, 1),
    )
