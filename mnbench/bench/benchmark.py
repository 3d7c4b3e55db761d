"""Benchmark models on devices: what `mnbench run` and `mnbench.run` do."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import msgspec

from mnbench import atomic_files
from mnbench.bench.case_sampling import DeviceRun, SamplingStatus
from mnbench.bench.devices import ready_device
from mnbench.bench.drift import load_drift
from mnbench.bench.fleet import Fleet, fleet_devices, run_on_fleet, scheduler_address
from mnbench.bench.plan import BenchmarkCase, Plan, SamplingConfig, shuffle_round
from mnbench.bench.prepare import prepare_case
from mnbench.bench.profiling import profile_layers
from mnbench.bench.roofline import measure_roofline
from mnbench.bench.schedule import OnProcess, run_all
from mnbench.bench.stop_rule import run_budget_s
from mnbench.errors import DeviceFileError, MnbenchError, RuntimeUnavailable, TrialError, UnreachableError
from mnbench.model.attempts import Rejection, attempt_each
from mnbench.model.build import build_model
from mnbench.model.weightless import copy_weightless, save_weightless, weightless_path
from mnbench.network.row import row_labels
from mnbench.network.variant import ModelSource, OnnxFile, Precision
from mnbench.progress import OnProgress, StageProgress, report
from mnbench.results.columns import COLUMNS
from mnbench.results.latency_table import latency_table
from mnbench.results.layer_profile import LayerProfile, save_profile
from mnbench.results.record import Record, RooflineBound
from mnbench.results.selection import select_records
from mnbench.results.store import ResultsFile
from mnbench.targets.device import Device, Threads
from mnbench.temporary import temporary_folder
from mnbench.units import format_percent_1, format_time

MIN_ANNOUNCED_S = 60.0
"""A run that may take this long says so before it begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkOptions:
    """How a benchmark is run. `threads` and `cores` are the device's own where they are empty.

    `arguments` are stored with an unfinished run, so that `mnbench run --resume` can continue it.
    """

    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    threads: tuple[int | Literal["all"], ...] = ()
    cores: tuple[int, ...] = ()
    simplified: bool = True
    keep_bn: bool = False
    roofline: bool = True
    profile: bool = False
    allow_fallback: bool = False
    fresh: bool = False
    arguments: tuple[str, ...] = ()


@dataclass(kw_only=True)
class BenchmarkOutcome:
    """The completed runs of a benchmark with their records, the models that were rejected, and the skipped devices."""

    runs: list[DeviceRun] = field(default_factory=list[DeviceRun])
    records: list[Record] = field(default_factory=list[Record])
    profiles: list[LayerProfile] = field(default_factory=list[LayerProfile])
    rejected: list[Rejection] = field(default_factory=list[Rejection])
    skipped: dict[str, MnbenchError] = field(default_factory=dict[str, MnbenchError])

    @property
    def results_files(self) -> list[ResultsFile]:
        """The files that the records were appended to."""
        return list({run.results_file.path: run.results_file for run in self.runs}.values())


def run_benchmark(
    sources: Sequence[ModelSource],
    devices: Sequence[Device],
    results: Path,
    options: BenchmarkOptions,
    on_progress: OnProgress | None = None,
) -> BenchmarkOutcome:
    """Measure every model on every device, append the records to the results folder and render its tables.

    For each number of threads in turn, all devices share rounds. A device that cannot be used is skipped, and so is a
    model of several that cannot be built or run on onnxruntime's CPU. An interrupted run stays in the folder, and the
    same call continues it.

    Raises:
        TrustError: a device file demands what the user has not trusted; nothing was measured.
        BuildError: the only model cannot be built or run.
        FileError: a result cannot be saved.
    """
    outcome = BenchmarkOutcome()
    ready = _prepare_devices(devices, outcome.skipped, on_progress)
    timed = sum(not (device.is_fleet or device.emulated) for device in ready)
    if announcement := announce_duration(len(sources), timed, options):
        report(on_progress, "prepare", announcement)
    with temporary_folder() as folder:
        cases, outcome.rejected = _prepare_cases(sources if ready else (), folder, results, options, on_progress)
        if not cases:
            return outcome
        benchmark = _Benchmark(
            cases=cases, folder=folder, results=results, options=options, on_progress=on_progress, outcome=outcome
        )
        for threads in dict.fromkeys(options.threads or (None,)):
            benchmark.run([device for device in ready if device.name not in outcome.skipped], threads)
    # Not before: a command that is continued resumes all of its runs, the complete ones too.
    for run in outcome.runs:
        run.folder.finish()
    for results_file in outcome.results_files:
        records, notes = select_records(results_file.read_records())
        table = latency_table(records).with_notes(notes)
        atomic_files.write_atomically(results_file.path.with_suffix(".md"), table.to("markdown").encode())
    return outcome


def announce_duration(model_count: int, device_count: int, options: BenchmarkOptions) -> str:
    """Return how long measuring so many cases takes at most, or an empty string if that is soon."""
    run_count = device_count * max(1, len(options.threads))
    longest_s = run_count * run_budget_s(options.sampling, model_count)
    cases = "1 case" if model_count * run_count == 1 else f"{model_count * run_count} cases"
    return f"measuring {cases}: {format_time(longest_s)} at most" if longest_s >= MIN_ANNOUNCED_S else ""


def _prepare_devices(
    devices: Sequence[Device], skipped: dict[str, MnbenchError], on_progress: OnProgress | None
) -> list[Device]:
    """Return the devices with their environments; those that cannot be prepared are skipped."""
    ready: dict[str, Device] = {}
    for device in devices:
        try:
            # Boards create their own environments.
            members = fleet_devices(device) if device.is_fleet else [ready_device(device, on_progress)]
        except (DeviceFileError, RuntimeUnavailable, UnreachableError) as error:
            skipped[device.name] = error
        else:
            ready = {member.name: member for member in members} | ready
    return list(ready.values())


def _prepare_cases(
    sources: Sequence[ModelSource],
    folder: Path,
    results: Path,
    options: BenchmarkOptions,
    on_progress: OnProgress | None,
) -> tuple[tuple[BenchmarkCase, ...], list[Rejection]]:
    """Build each model in that folder, with its reference outputs, and with its graph unless the results have it.

    A user's own file is measured as it is.
    """
    form = "-plain" if not options.simplified else "-bn" if options.keep_bn else ""
    seed = options.sampling.seed
    progress = StageProgress(on_progress, "build", len(sources))
    numbers = {source.row: number for number, source in enumerate(sources)}

    def prepare(source: ModelSource) -> tuple[int, BenchmarkCase]:
        is_file = isinstance(source, OnnxFile)
        simplified, variant = options.simplified and not is_file, source.name + ("" if is_file else form)
        model = build_model(source, seed=seed, simplified=simplified, keep_bn=options.keep_bn)
        case = prepare_case(model, folder, variant=variant, seed=seed, file=source.row.file)
        if not case.data_bytes and not weightless_path(results, case.sha256).exists():
            save_weightless(folder, case.path, case.sha256)
        return numbers[source.row], case

    # In the given order, small models often come first, and the remaining time would be too short.
    numbered, rejected = attempt_each(shuffle_round(sources, seed, "build"), prepare, progress.advance)
    return tuple(case for _, case in sorted(numbered, key=itemgetter(0))), sorted(rejected, key=itemgetter(0))


@dataclass(frozen=True, kw_only=True)
class _Benchmark:
    """Cases to measure with some options, built in `folder`; the runs and their records are added to `outcome`."""

    cases: tuple[BenchmarkCase, ...]
    folder: Path
    results: Path
    options: BenchmarkOptions
    on_progress: OnProgress | None
    outcome: BenchmarkOutcome

    def run(self, devices: Sequence[Device], threads: Threads | None) -> None:
        """Measure all cases on the devices with this number of threads, or else with the devices' own."""
        runs: list[DeviceRun] = []
        for device in devices:
            try:
                runs.append(self._open_run(device, threads))
            except (RuntimeUnavailable, UnreachableError) as error:
                self.outcome.skipped[device.name] = error
        errors = self._measure(runs) if runs else {}
        for run in runs:
            if run.device in errors:
                self.outcome.skipped[run.device] = errors[run.device]
                continue
            records = run.read_records()
            self.outcome.runs.append(run)
            self.outcome.records += records
            self.outcome.profiles += self._profile(run, records) if self.options.profile else []

    def _open_run(self, device: Device, threads: Threads | None) -> DeviceRun:
        """Plan the device's run and open it: a new one, or the unfinished one of the same plan."""
        options = self.options
        device = msgspec.structs.replace(
            device, threads=threads or device.threads, cores=options.cores or tuple(device.cores)
        )
        timed = not (device.is_fleet or device.emulated)
        plan = Plan(
            cases=self.cases,
            device=device,
            sampling=options.sampling.for_emulator() if device.emulated else options.sampling,
            allow_fallback=options.allow_fallback,
            roofline_bounds=self._roofline_bounds(device) if options.roofline and timed else {},
            drift=load_drift(device) if timed else None,
        )
        results_file = ResultsFile(self.results, device.name)
        folder = results_file.open_run(plan.id, fresh=options.fresh, arguments=options.arguments)
        return DeviceRun(plan=plan, results_file=results_file, folder=folder)

    def _roofline_bounds(self, device: Device) -> dict[str, RooflineBound]:
        """Measure the device's roofline; return each case's bound, or no bounds if the device fails the probes."""
        precisions: list[Precision] = [case.precision for case in self.cases]
        try:
            roofline = measure_roofline(device, precisions, fresh=self.options.fresh, on_progress=self.on_progress)
        except TrialError as error:
            report(self.on_progress, "roofline", f"no roofline: {error.message}")
            return {}
        return {case.row.id: roofline.bound_for(case) for case in self.cases}

    def _measure(self, runs: Sequence[DeviceRun]) -> dict[str, MnbenchError]:
        """Measure all cases of the runs; return the errors of the devices that cannot be used any more.

        The graph of each measured model is stored with the results, so that a later gate can build the model again.
        """
        for folder in (run.folder for run in runs if run.folder.trial_count):
            text = f"continuing run {folder.id}: {folder.trial_count} trials are stored (--fresh starts anew)"
            report(self.on_progress, "measure", text)
        progress = StageProgress(self.on_progress, "measure", len(runs) * len(self.cases))
        labels = row_labels(case.row for case in self.cases)

        def on_process(records: Sequence[Record], status: SamplingStatus) -> None:
            detail = f"widest interval ±{format_percent_1(status.widest)}" if status.widest else ""
            state: dict[str, Any] = {"done": status.done, "detail": detail, "remaining_s": status.remaining_s}
            for record in records:
                if record.latency_ns:
                    copy_weightless(self.folder, self.results, record.model_sha256)
                where = f" on {record.device}" if len(runs) > 1 else ""
                unit = " ms" if record.latency_ns else ""
                message = f"{labels[record.row]}{where}: {COLUMNS['latency_ns'].text(record)}{unit}"
                progress.report(message, record=record, **state)
            if not records:
                progress.report(**state)

        try:
            return self._run_groups(runs, on_process)
        except KeyboardInterrupt as interrupt:
            trials = sum(run.folder.trial_count for run in runs)
            folders = ", ".join(str(run.folder.path) for run in runs)
            interrupt.add_note(f"{trials} trials are kept in {folders}; --resume continues")
            raise

    def _run_groups(self, runs: Sequence[DeviceRun], on_process: OnProcess) -> dict[str, MnbenchError]:
        """Measure on this machine and on boards over SSH in shared rounds, then on each fleet."""
        groups: dict[str, list[DeviceRun]] = {}
        for run in runs:
            address = scheduler_address(run.plan.device) if run.plan.device.is_fleet else ""
            groups.setdefault(address, []).append(run)
        errors: dict[str, MnbenchError] = run_all(groups.pop(""), on_process=on_process) if "" in groups else {}
        for address, members in sorted(groups.items()):
            try:
                with Fleet(address) as fleet:
                    errors |= run_on_fleet(
                        members,
                        fleet,
                        on_process=on_process,
                        on_message=lambda line: report(self.on_progress, "measure", line),
                    )
            except UnreachableError as error:
                errors |= dict.fromkeys((run.device for run in members), error)
        return errors

    def _profile(self, run: DeviceRun, records: Sequence[Record]) -> list[LayerProfile]:
        """Profile each case that has a latency, and save the profile with the run."""
        progress = StageProgress(self.on_progress, "profile", len(records))
        profiles: list[LayerProfile] = []
        for case, record in zip(run.plan.cases, records, strict=True):
            if record.latency_ns:
                try:
                    profile = profile_layers(
                        run.plan, case, latency_ns=record.latency_ns.median, host=record.host_identity
                    )
                except (TrialError, UnreachableError) as error:
                    text = f"{case.variant} on {record.device}: no profile: {error.message}"
                    report(self.on_progress, "profile", text)
                else:
                    save_profile(run.folder, profile)
                    profiles.append(profile)
            progress.advance()
        return profiles
