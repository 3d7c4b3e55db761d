"""The rows of a latency table as comparisons: what each was measured with, rebuilt, with what is there now."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mnbench import atomic_files, families
from mnbench.bench.aggregate import session_options
from mnbench.comparison.decide import Finding, Verdict
from mnbench.comparison.sides import ComparisonRequest, SideOptions
from mnbench.comparison.user_models import recorded_inputs, require_stored_inputs
from mnbench.errors import MnbenchError, ResultsError
from mnbench.model.build import build_model
from mnbench.model.model import Model
from mnbench.model.weightless import refill_weights, strip_weights, weightless_path
from mnbench.network.row import Row
from mnbench.network.variant import OnnxFile, Variant
from mnbench.programs import needed_environment, run_program
from mnbench.regular_files import read_regular
from mnbench.results.record import Record
from mnbench.targets.device import Device
from mnbench.workspace import CURRENT_FOLDER

DRAWN_WEIGHTS = "both sides have random weights: the file that the row was measured with is gone"

UNBUILT_BASE = "the base cannot be built"
OTHER_BASE = "name another --base-ref"
BUILD_TIMEOUT_S = 600.0

TOOL_OF_TREE = """
import runpy, sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
specification = PathFinder.find_spec("mnbench", [sys.argv.pop(1)])
sys.modules["mnbench"] = module_from_spec(specification)
specification.loader.exec_module(sys.modules["mnbench"])
runpy.run_module("mnbench", run_name="__main__")
"""
"""Runs the mnbench of a folder; the folder's other modules hide none that it imports."""


@dataclass(kw_only=True)
class RequestBuilder:
    """Turn the rows of a table in `results` into comparisons; models are written into `folder`.

    `version` is that of the device's runtime now. `tree` is the git revision that the baselines are taken from; their
    runtime is today's. `user_models` replace the files that rows were measured with. `labels` name rows whose names
    are not unique.
    """

    results: Path
    folder: Path
    device: Device
    version: str
    tree: Path | None = None
    user_models: Mapping[Row, OnnxFile] = field(default_factory=dict[Row, OnnxFile])
    labels: Mapping[Row, str] = field(default_factory=dict[Row, str])
    measure_unchanged: bool = False
    requests: list[ComparisonRequest] = field(default_factory=list[ComparisonRequest])
    findings: list[Finding] = field(default_factory=list[Finding])

    def add(self, record: Record) -> None:
        """Add a row, or a finding that says why it is not measured."""
        label = self.labels.get(record.row, record.variant)
        then, now = (record.runtime.name, record.provider), (self.device.runtime, self.device.provider)
        if then != now:
            reason = f"measured with {' '.join(then)}, and device {self.device.name} now has {' '.join(now)}"
            self._add_finding(label, "incomparable", reason)
            return
        try:
            candidate = self._build_candidate(record)
        except MnbenchError as failure:
            self._add_finding(label, "missing", f"the candidate cannot be built: {failure.message}")
            return
        try:
            self._add_request(record, candidate, label)
        except MnbenchError as failure:
            self._add_finding(label, "incomparable", failure.message)

    def _add_finding(self, label: str, verdict: Verdict, reason: str) -> None:
        self.findings.append(Finding(variant=label, device=self.device.name, verdict=verdict, reason=reason))

    def _add_request(self, record: Record, candidate: Model, label: str) -> None:
        """Add a row whose candidate is built, with the model that it was measured with.

        True weights are used where both sides have them. Else both get new ones, so that they compute with the same
        kind of numbers.
        """
        true_baseline = self._find_baseline(record)
        same_runtime = self.tree is not None or record.runtime.version in ("", self.version)
        same_session = record.session in (None, session_options(self.device))
        same_model = candidate.sha256 == (true_baseline.sha256 if true_baseline else record.model_sha256)
        if same_model and same_runtime and same_session and not self.measure_unchanged:
            self._add_finding(label, "identical", "the same model, runtime and options")
            return
        if same_model:
            true_baseline = candidate
        has_drawn_weights = true_baseline is None
        baseline = true_baseline or self._rebuild_stored(record)
        if has_drawn_weights:
            drawn = refill_weights(strip_weights(candidate), candidate.name)
            candidate = replace(drawn, input_options=candidate.input_options)
        threads = {"threads": str(record.threads)}
        baseline_options = SideOptions(
            requirement="" if same_runtime else f"{record.runtime.name}=={record.runtime.version}",
            session=None if same_session else record.session,
            settings=threads,
        )
        is_taken = any(request.variant == label for request in self.requests)
        self.requests.append(
            ComparisonRequest(
                variant=f"{label} with {record.threads} threads" if is_taken else label,
                baseline=(self._write(baseline), baseline_options),
                candidate=(self._write(candidate), SideOptions(settings=threads)),
                note=DRAWN_WEIGHTS if has_drawn_weights and record.architecture is None else "",
            )
        )

    def _build_candidate(self, record: Record) -> Model:
        if record.architecture is None:
            file = self.user_models.get(record.row) or (OnnxFile(path=Path(record.file)) if record.file else None)
            if file is None:
                raise ResultsError("it was a model in memory; name a file", hint="mnbench gate results/cpu.jsonl MODEL")
            require_stored_inputs(record)
            return _read_file(file.path, record)
        return _build_recorded(record)

    def _find_baseline(self, record: Record) -> Model | None:
        """Return the model that the row was measured with, with its own weights; None if they are gone."""
        if self.tree:
            path = find_at_revision(self.tree, record, self.folder)
        else:
            path = Path(record.file) if record.file else None
        if path is None or not path.is_file():
            return None
        model = _read_file(path, record)
        return model if self.tree or model.sha256 == record.model_sha256 else None

    def _rebuild_stored(self, record: Record) -> Model:
        """Return the model that the row was measured with, from the graph stored beside the table."""
        path = weightless_path(self.results, record.model_sha256)
        try:
            data = read_regular(path)
        except FileNotFoundError as failure:
            raise ResultsError(
                f"its graph has changed, and the table's graph is not stored ({path})",
                hint="commit results/graphs with the table, or name a revision that still builds it with --base-ref",
            ) from failure
        return replace(refill_weights(data, record.variant), input_options=recorded_inputs(record))

    def _write(self, model: Model) -> OnnxFile:
        """Return the file of a model: its own, or else a new one."""
        return OnnxFile(path=model.file_in(self.folder), preset=model.input_options)


def _read_file(path: Path, record: Record) -> Model:
    """Read a model that is fed the record's inputs."""
    return build_model(OnnxFile(path=path, label=record.variant, preset=recorded_inputs(record)), simplified=False)


def _build_recorded(record: Record, root: Path = CURRENT_FOLDER) -> Model:
    """Build the variant of a record as the workspace `root` has its graph."""
    return build_model(
        record_variant(record, root),
        seed=record.seed,
        simplified=record.simplified,
        keep_bn=not record.fold_batch_norm,
    )


def record_variant(record: Record, root: Path = CURRENT_FOLDER) -> Variant:
    """Return the variant of a record, as its graph file is in the workspace `root`.

    Raises:
        ResultsError: the record is of a user's file.
        GraphFileError, BuildError: the graph is gone, or does not have this variant any more.
    """
    if record.architecture is None or record.alpha is None or record.resolution is None:
        raise ResultsError(f"{record.variant}: is a model file, not a variant of a graph", hint="name the file")
    return Variant(
        architecture=families.architecture(record.architecture, root),
        alpha=record.alpha,
        resolution=record.resolution,
        batch=record.batch,
        classes=record.classes,
        options=record.options,
        padding=record.padding,
        precision=record.precision,
    )


def find_at_revision(tree: Path, record: Record, folder: Path) -> Path | None:
    """Return the model of a record at a git revision: the user's file, or a variant, built there; None without a file.

    Raises:
        ResultsError: the variant cannot be built there.
    """
    if record.architecture is not None:
        return build_at_revision(tree, record, folder)
    path = Path(os.path.relpath(record.file)) if record.file else None
    return None if path is None or path.parts[0] == ".." else tree / path


def holds_tool(tree: Path) -> bool:
    """Return whether a revision has an mnbench of its own, which builds its models."""
    return (tree / "mnbench" / "__main__.py").is_file()


def build_at_revision(tree: Path, record: Record, folder: Path) -> Path:
    """Build a record's model with the mnbench of that tree, if it has one, or with this one and the tree's graphs.

    Raises:
        ResultsError: it cannot be built there.
    """
    if not holds_tool(tree):
        try:
            return _build_recorded(record, tree).file_in(folder)
        except MnbenchError as failure:
            raise ResultsError(f"{UNBUILT_BASE}: {failure.message}", hint=OTHER_BASE) from failure
    path = folder / f"{atomic_files.file_name(record.row.id)}.base.onnx"
    command = [sys.executable, "-P", "-c", TOOL_OF_TREE, str(tree), "build", *record_variant(record).arguments()]
    command += [] if record.simplified else ["--no-simplify"]
    command += [] if record.fold_batch_norm else ["--keep-bn"]
    command += ["--seed", str(record.seed), "-o", str(path)]
    try:
        build = run_program(command, folder=tree, environment=needed_environment(), timeout_s=BUILD_TIMEOUT_S)
    except subprocess.TimeoutExpired as failure:
        raise ResultsError(f"{UNBUILT_BASE} within {BUILD_TIMEOUT_S:g} s", hint=OTHER_BASE) from failure
    if build.returncode:
        message = build.stderr.decode(errors="replace")
        error = next((line for line in message.splitlines() if line.startswith("Error")), message.strip())
        raise ResultsError(f"{UNBUILT_BASE}: {error[:200]}", hint=OTHER_BASE)
    return path
