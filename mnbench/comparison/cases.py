"""The cases of a comparison: its models built, and the preconditions under which two sides are compared."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from mnbench.bench.plan import BenchmarkCase
from mnbench.bench.prepare import prepare_case
from mnbench.bench.trial import PlannedSession
from mnbench.comparison.decide import Finding, Verdict
from mnbench.comparison.paired_trial import ComparisonCase
from mnbench.comparison.procedure import ComparisonSettings
from mnbench.comparison.sides import ComparisonRequest, SideOptions
from mnbench.comparison.verdicts import failed_side_verdict
from mnbench.errors import MnbenchError
from mnbench.model.build import build_model
from mnbench.network.variant import ModelSource, OnnxFile
from mnbench.targets.device import Device

OFF_VALUES = ("", "0", "false", "off", "none")
"""The values by which an option of a provider is off."""


class CaseBuilder:
    """Build the cases of a comparison in `folder`, each model once."""

    def __init__(self, device: Device, folder: Path, settings: ComparisonSettings) -> None:
        self.cases: list[ComparisonCase] = []
        self.findings: list[Finding] = []
        self._device = device
        self._folder = folder
        self._settings = settings
        self._built: list[tuple[ModelSource, BenchmarkCase]] = []

    def add(self, request: ComparisonRequest, *, raise_errors: bool) -> None:
        """Build a row's models, or add a finding that says why not.

        Raises:
            MnbenchError: with `raise_errors`, a model cannot be built or a runtime cannot be installed.
        """
        baseline = request.baseline
        candidate = baseline if self._settings.self_check else request.candidate
        if baseline is None or candidate is None:
            absent = "the base" if baseline is None else "the candidate"
            if "missing" not in self._settings.allow:
                self._add_finding(request, "missing", f"{absent} has no such file (--allow missing)")
            return
        sides: list[PlannedSession] = []
        for name, (source, options) in (("base", baseline), ("candidate", candidate)):
            try:
                sides.append(self._prepare_side(request, source, options))
            except MnbenchError as error:
                if raise_errors:
                    raise
                self._add_finding(request, failed_side_verdict(name), f"the {name}: {error.message}")
                return
        case = ComparisonCase(variant=request.variant, baseline=sides[0], candidate=sides[1], note=request.note)
        both_files = all(isinstance(source, OnnxFile) for source, _ in (baseline, candidate))
        reason = precondition_failure(case, self._settings.allow, both_files=both_files)
        if reason:
            self._add_finding(request, "incomparable", reason)
        else:
            self.cases.append(case)

    def _prepare_side(self, request: ComparisonRequest, source: ModelSource, options: SideOptions) -> PlannedSession:
        device = options.configure_device(self._device)
        case = next((case for built, case in self._built if built == source), None)
        if case is None:
            seed = self._settings.seed
            model = build_model(source, seed=seed, simplified=not isinstance(source, OnnxFile))
            case = prepare_case(model, self._folder, variant=request.variant, seed=seed)
            self._built.append((source, case))
        return PlannedSession(case=case, device=device)

    def _add_finding(self, request: ComparisonRequest, verdict: Verdict, reason: str) -> None:
        self.findings.append(Finding(variant=request.variant, device=self._device.name, verdict=verdict, reason=reason))


def precondition_failure(case: ComparisonCase, allow: Collection[str], *, both_files: bool) -> str:
    """Return why the sides of a row must not be compared; empty if they may be.

    Two files (`both_files`) whose shapes differ are rejected, unless that is allowed.
    """
    for side in case.sides:
        provider_options = {f"provider.{key}": value for key, value in side.device.provider_options.items()}
        for key, value in (side.device.options | provider_options).items():
            if "profil" in key and value.lower() not in OFF_VALUES:
                return f"profiling is on ({key}={value}) and takes time itself: remove the option"
    threads = [side.device.threads for side in case.sides]
    if "threads" not in allow and threads != [1, 1]:
        numbers = " and ".join(dict.fromkeys(map(str, threads)))
        return f"{numbers} threads: their latency scatters too much to judge by (--allow threads)"
    if "shapes" not in allow and both_files:
        base, candidate = (_shapes(side.case) for side in case.sides)
        for name in sorted({*base, *candidate}):
            if base.get(name) != candidate.get(name):
                label = name.replace("in.", "input ").replace("out.", "output ")
                return f"{label} is {base.get(name, 'missing')} and {candidate.get(name, 'missing')} (--allow shapes)"
    return ""


def _shapes(case: BenchmarkCase) -> dict[str, str]:
    """Return the type and shape of every input and output; what selects decides on the shape of its output itself."""
    open_shapes = [f"out.{index}" for index, output in enumerate(case.outputs) if output.ordering_node]
    with np.load(case.inputs_path) as arrays:
        entries: dict[str, Any] = {name.replace("own.", "out."): arrays[name] for name in arrays.files}
    return {
        name: f"{'string' if array.dtype.kind == 'U' else array.dtype} {'x'.join(map(str, array.shape))}"
        for name, array in entries.items()
        if name not in open_shapes
    }
