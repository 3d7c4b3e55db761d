"""The rows of a latency table as pairings: what each was measured with, made again, beside what is there now."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from mnbench import atomic_files
from mnbench.bench.aggregate import session_options
from mnbench.comparison.decide import Finding, Verdict
from mnbench.comparison.sides import ComparisonRequest, SideOptions
from mnbench.errors import MnbenchError, ResultsError
from mnbench.families import parse_variant
from mnbench.model.build import build_model
from mnbench.model.model import Model
from mnbench.model.weightless import refill_weights, strip_weights, weightless_path
from mnbench.network.variant import OnnxFile
from mnbench.results.record import Record
from mnbench.targets.device import Device

NAME_SUFFIXES = ("-plain", "-bn")
"""What `mnbench run` adds to the names of graphs that are not simplified, or keep their batch normalization."""


class RequestBuilder:
    """A table's rows on their way to pairings; models are written into `folder`."""

    def __init__(
        self,
        results: Path,
        folder: Path,
        *,
        device: Device,
        version: str,
        user_models: Mapping[str, Path],
        measure_unchanged: bool = False,
    ) -> None:
        self.requests: list[ComparisonRequest] = []
        self.findings: list[Finding] = []
        self._results = results
        self._folder = folder
        self._device = device
        self._version = version
        self._user_models = user_models
        self._measure_unchanged = measure_unchanged

    def add(self, record: Record, baseline: Path | None = None) -> None:
        """Make a row's two models, or a finding that says why not; `base` is the base's file, if it is at hand."""
        ran, runs = (record.runtime.name, record.provider), (self._device.runtime, self._device.provider)
        if ran != runs:
            reason = f"measured with {' '.join(ran)}, and device {self._device.name} now has {' '.join(runs)}"
            self._know(record, "incomparable", reason)
            return
        try:
            candidate = build_current(record, self._user_models)
        except MnbenchError as failure:
            self._know(record, "missing", f"the candidate cannot be made: {failure.message}")
            return
        now = session_options(self._device)
        same_runtime = record.runtime.version in ("", self._version) or baseline is not None
        same_session = record.session in (None, now)
        try:
            there = build_model(OnnxFile(path=baseline), simplified=False) if baseline else None
            same_model = candidate.sha256 == (there.sha256 if there else record.model_sha256)
            if same_model and same_runtime and same_session and not self._measure_unchanged:
                self._know(record, "identical", "the same model, runtime and options")
                return
            after = self._file(_drawn(candidate))
            before = after if same_model else self._file(_drawn(there) if there else self._stored_model(record))
        except MnbenchError as failure:
            self._know(record, "incomparable", failure.message)
            return
        threads = {"threads": str(record.threads)}
        runtime = "" if same_runtime else f"{record.runtime.name}=={record.runtime.version}"
        taken = record.variant in {pairing.variant for pairing in self.requests}
        self.requests.append(
            ComparisonRequest(
                variant=f"{record.variant} with {record.threads} threads" if taken else record.variant,
                baseline=(
                    before,
                    SideOptions(
                        requirement=runtime, session=None if same_session else record.session, settings=threads
                    ),
                ),
                candidate=(after, SideOptions(settings=threads)),
            )
        )

    def _stored_model(self, record: Record) -> Model:
        """What the row was measured with, made again from what is kept."""
        path = weightless_path(self._results, record.model_sha256)
        try:
            data = path.read_bytes()
        except OSError as failure:
            raise ResultsError(
                f"its graph has changed, and the table's graph is not stored ({path})",
                hint="commit results/graphs with the table, or name a revision that still builds it with --base-ref",
            ) from failure
        return refill_weights(data, record.variant)

    def _file(self, drawn: Model) -> OnnxFile:
        path = self._folder / f"{drawn.sha256}.onnx"
        if not path.exists():
            atomic_files.write_atomically(path, drawn.to_bytes(), durable=False)
        return OnnxFile(path=path)

    def reject(self, record: Record, failure: MnbenchError) -> None:
        """A row whose base cannot be made."""
        self._know(record, "incomparable", failure.message)

    def _know(self, record: Record, verdict: Verdict, reason: str) -> None:
        self.findings.append(Finding(variant=record.variant, device=record.device, verdict=verdict, reason=reason))


def _drawn(model: Model) -> Model:
    """The model with weights drawn anew, so that both sides have the same kind of numbers."""
    return refill_weights(strip_weights(model), model.name)


def build_current(record: Record, user_models: Mapping[str, Path] | None = None) -> Model:
    """The model that a record's variant is now.

    Raises:
        MnbenchError: it cannot be built, or is a user's file that is not named.
    """
    if record.architecture is None:
        path = (user_models or {}).get(record.variant)
        if path is None:
            raise ResultsError(
                "it is a file of your own that is not named", hint="mnbench gate results/cpu.jsonl my_model.onnx"
            )
        return build_model(OnnxFile(path=path), simplified=False)
    name, form = record.variant, ""
    for item in NAME_SUFFIXES:
        if name.endswith(item):
            name, form = name.removesuffix(item), item
    return build_model(parse_variant(name), seed=record.seed, simplified=form != "-plain", keep_bn=form == "-bn")


def build_at_revision(tree: Path, record: Record, folder: Path) -> Path:
    """The record's model, built by the tool of that tree if it has one, or else by this one with that tree's tables.

    Raises:
        ResultsError: it cannot be built there.
    """
    name, form = record.variant, ""
    for item in NAME_SUFFIXES:
        if name.endswith(item):
            name, form = name.removesuffix(item), item
    path = folder / f"{record.variant}.base.onnx"
    flags = {"-plain": ["--no-simplify"], "-bn": ["--keep-bn"]}.get(form, [])
    command = [sys.executable, "-m", "mnbench", "build", *parse_variant(name).arguments(), *flags]
    done = subprocess.run(  # noqa: S603
        [*command, "--seed", str(record.seed), "-o", str(path)], cwd=tree, check=False, capture_output=True, text=True
    )
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if line.startswith("Error")), done.stderr.strip())
        raise ResultsError(f"the base cannot be built: {said[:200]}", hint="name another --base-ref")
    return path
