"""The cases of a comparison: its models built, and the preconditions under which two sides are compared."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from mnbench.bench.plan import BenchmarkCase
from mnbench.bench.prepare import prepare_case
from mnbench.comparison.decide import Finding, Verdict
from mnbench.comparison.paired_trial import ComparisonCase, PreparedSide
from mnbench.comparison.procedure import ComparisonSettings
from mnbench.comparison.sides import ComparisonRequest, SideOptions
from mnbench.errors import MnbenchError
from mnbench.model.build import build_model
from mnbench.network.variant import ModelSource, OnnxFile
from mnbench.targets.device import Device

OFF_VALUES = ("", "0", "false", "off", "none")
"""What providers call a switch that is off."""


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
        sides: list[PreparedSide] = []
        for name, (source, options) in (("base", baseline), ("candidate", candidate)):
            try:
                sides.append(self._prepare_side(request, source, options))
            except MnbenchError as error:
                if raise_errors:
                    raise
                verdict = "incomparable" if name == "base" else "missing"
                self._add_finding(request, verdict, f"the {name}: {error.message}")
                return
        case = ComparisonCase(variant=request.variant, baseline=sides[0], candidate=sides[1])
        both_files = all(isinstance(source, OnnxFile) for source, _ in (baseline, candidate))
        reason = precondition_failure(case, self._settings.allow, both_files=both_files)
        if reason:
            self._add_finding(request, "incomparable", reason)
        else:
            self.cases.append(case)

    def _prepare_side(self, request: ComparisonRequest, source: ModelSource, options: SideOptions) -> PreparedSide:
        device = options.configure_device(self._device)
        source = options.with_precision(source)
        case = next((case for built, case in self._built if built == source), None)
        if case is None:
            seed = self._settings.seed
            model = build_model(source, seed=seed, simplified=not isinstance(source, OnnxFile))
            case = prepare_case(model, self._folder, variant=request.variant, seed=seed)
            self._built.append((source, case))
        return PreparedSide(case=case, device=device)

    def _add_finding(self, request: ComparisonRequest, verdict: Verdict, reason: str) -> None:
        self.findings.append(Finding(variant=request.variant, device=self._device.name, verdict=verdict, reason=reason))


def precondition_failure(case: ComparisonCase, allow: Collection[str], *, both_files: bool) -> str:
    """Return why the sides of a row must not be compared; empty if they may be.

    Two files (`both_files`) whose shapes differ are rejected, unless that is allowed.
    """
    profiled = next(filter(None, (_profiled(arm.device) for arm in case.sides)), "")
    if profiled:
        return f"profiling is on ({profiled}), which takes time of its own: leave it out"
    threads = [arm.device.threads for arm in case.sides]
    if "threads" not in allow and threads != [1, 1]:
        return f"{_both(*map(str, threads))} threads: their latency scatters too much to judge by (--allow threads)"
    if "shapes" not in allow and both_files:
        base, candidate = (_shapes(arm.case.inputs_path) for arm in case.sides)
        different = [name for name in sorted({*base, *candidate}) if base.get(name) != candidate.get(name)]
        if different:
            name = different[0]
            label = name.replace("in.", "input ").replace("out.", "output ")
            return f"{label} is {base.get(name, 'missing')} and {candidate.get(name, 'missing')} (--allow shapes)"
    return ""


def _profiled(device: Device) -> str:
    """The option by which a provider is told to profile."""
    every = {**device.options, **{f"provider.{key}": value for key, value in device.provider_options.items()}}
    result = (f"{key}={value}" for key, value in every.items() if "profil" in key and value.lower() not in OFF_VALUES)
    return next(result, "")


def _both(base: str, candidate: str) -> str:
    return base if base == candidate else f"{base} and {candidate}"


def _shapes(feed: Path) -> dict[str, str]:
    """Shape and type of every input and output."""
    with np.load(feed) as arrays:
        entries: dict[str, Any] = {name: arrays[name] for name in arrays.files}
    return {name: f"{item.dtype} {'x'.join(map(str, item.shape))}" for name, item in entries.items()}
