"""The rows of a latency table as comparisons: what each was measured with, rebuilt, with what is there now."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mnbench import atomic_files, families
from mnbench.bench.aggregate import session_options
from mnbench.comparison.decide import Finding, Verdict
from mnbench.comparison.sides import ComparisonRequest, SideOptions
from mnbench.errors import MnbenchError, ResultsError
from mnbench.model.build import build_model
from mnbench.model.model import Model
from mnbench.model.weightless import refill_weights, strip_weights, weightless_path
from mnbench.network.row import Row
from mnbench.network.variant import OnnxFile, Variant
from mnbench.results.record import Record
from mnbench.targets.device import Device


@dataclass(kw_only=True)
class RequestBuilder:
    """Turn the rows of a table in `results` into comparisons; models are written into `folder`.

    `version` is that of the device's runtime now; `user_models` are the files of rows that no graph describes, with
    their inputs. `labels` name rows whose names are not unique.
    """

    results: Path
    folder: Path
    device: Device
    version: str
    user_models: Mapping[Row, OnnxFile]
    measure_unchanged: bool = False
    labels: Mapping[Row, str] = field(default_factory=dict[Row, str])
    requests: list[ComparisonRequest] = field(default_factory=list[ComparisonRequest])
    findings: list[Finding] = field(default_factory=list[Finding])

    def add(self, record: Record, baseline_file: Path | None = None) -> None:
        """Add a row, or a finding that says why it is not measured."""
        then, now = (record.runtime.name, record.provider), (self.device.runtime, self.device.provider)
        if then != now:
            reason = f"measured with {' '.join(then)}, and device {self.device.name} now has {' '.join(now)}"
            self.add_finding(record, "incomparable", reason)
            return
        try:
            candidate = self._build_candidate(record)
        except MnbenchError as failure:
            self.add_finding(record, "missing", f"the candidate cannot be built: {failure.message}")
            return
        same_runtime = baseline_file is not None or record.runtime.version in ("", self.version)
        same_session = record.session in (None, session_options(self.device))
        try:
            baseline = build_model(OnnxFile(path=baseline_file), simplified=False) if baseline_file else None
            same_model = candidate.sha256 == (baseline.sha256 if baseline else record.model_sha256)
            if same_model and same_runtime and same_session and not self.measure_unchanged:
                self.add_finding(record, "identical", "the same model, runtime and options")
                return
            # Both sides get new weights, so that they compute with the same kind of numbers.
            candidate_file = self._write(refill_weights(strip_weights(candidate), candidate.name), record)
            if same_model:
                rebuilt_file = candidate_file
            elif baseline:
                rebuilt_file = self._write(refill_weights(strip_weights(baseline), baseline.name), record)
            else:
                rebuilt_file = self._write(self._rebuild_stored(record), record)
        except MnbenchError as failure:
            self.add_finding(record, "incomparable", failure.message)
            return
        threads = {"threads": str(record.threads)}
        baseline_options = SideOptions(
            requirement="" if same_runtime else f"{record.runtime.name}=={record.runtime.version}",
            session=None if same_session else record.session,
            settings=threads,
        )
        variant = self._label(record)
        is_taken = any(request.variant == variant for request in self.requests)
        self.requests.append(
            ComparisonRequest(
                variant=f"{variant} with {record.threads} threads" if is_taken else variant,
                baseline=(rebuilt_file, baseline_options),
                candidate=(candidate_file, SideOptions(settings=threads)),
            )
        )

    def add_finding(self, record: Record, verdict: Verdict, reason: str) -> None:
        """Add the verdict of a row that is not measured."""
        self.findings.append(Finding(variant=self._label(record), device=record.device, verdict=verdict, reason=reason))

    def _label(self, record: Record) -> str:
        return self.labels.get(record.row, record.variant)

    def _build_candidate(self, record: Record) -> Model:
        if record.architecture is None:
            file = self.user_models.get(record.row)
            if file is None:
                raise ResultsError("it is your own file; name it", hint="mnbench gate results/cpu.jsonl my_model.onnx")
            return build_model(file, simplified=False)
        return build_model(
            record_variant(record),
            seed=record.seed,
            simplified=record.simplified,
            keep_bn=not record.fold_batch_norm,
        )

    def _rebuild_stored(self, record: Record) -> Model:
        """Return the model that the row was measured with, from the graph stored beside the table."""
        path = weightless_path(self.results, record.model_sha256)
        try:
            data = path.read_bytes()
        except OSError as failure:
            raise ResultsError(
                f"its graph has changed, and the table's graph is not stored ({path})",
                hint="commit results/graphs with the table, or name a revision that still builds it with --base-ref",
            ) from failure
        return refill_weights(data, record.variant)

    def _write(self, model: Model, record: Record) -> OnnxFile:
        path = self.folder / f"{model.sha256}.onnx"
        if not path.exists():
            atomic_files.write_atomically(path, model.to_bytes(), durable=False)
        file = self.user_models.get(record.row)
        return replace(file, path=path) if file else OnnxFile(path=path)


def record_variant(record: Record) -> Variant:
    """Return the variant of a record, as its graph file is now.

    Raises:
        ResultsError: the record is of a user's file.
        GraphFileError, BuildError: the graph is gone, or does not have this variant any more.
    """
    if record.architecture is None or record.alpha is None or record.resolution is None:
        raise ResultsError(f"{record.variant}: is a model file, not a variant of a graph", hint="name the file")
    return Variant(
        architecture=families.architecture(record.architecture),
        alpha=record.alpha,
        resolution=record.resolution,
        batch=record.batch,
        classes=record.classes,
        options=record.options,
        padding=record.padding,
        precision=record.precision,
    )


def build_at_revision(tree: Path, record: Record, folder: Path) -> Path:
    """Build a record's model with the mnbench of that tree, if it has one, or with this one and the tree's graphs.

    Raises:
        ResultsError: it cannot be built there.
    """
    path = folder / f"{record.variant}.base.onnx"
    command = [sys.executable, "-m", "mnbench", "build", *record_variant(record).arguments()]
    command += [] if record.simplified else ["--no-simplify"]
    command += [] if record.fold_batch_norm else ["--keep-bn"]
    command += ["--seed", str(record.seed), "-o", str(path)]
    build = subprocess.run(command, cwd=tree, check=False, capture_output=True, text=True)  # noqa: S603
    if build.returncode:
        error = next((line for line in build.stderr.splitlines() if line.startswith("Error")), build.stderr.strip())
        raise ResultsError(f"the base cannot be built: {error[:200]}", hint="name another --base-ref")
    return path
