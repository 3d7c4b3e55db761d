"""Benchmark models on devices: what `mnbench run` and `mnbench.run` do."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from mnbench import atomic_files
from mnbench.bench.drift import load_drift
from mnbench.bench.fleet import Fleet, fleet_devices, run_on_fleet, scheduler_address
from mnbench.bench.plan import BenchmarkCase, Plan, SamplingConfig
from mnbench.bench.prepare import prepare_case
from mnbench.bench.profiling import profile_layers
from mnbench.bench.roofline import measure_roofline, roofline_quantities
from mnbench.bench.schedule import DeviceRun, OnTrial, run_all
from mnbench.errors import DeviceFileError, MnbenchError, RuntimeUnavailable, TrialError, UnreachableError
from mnbench.model.build import build_model
from mnbench.model.weightless import save_weightless
from mnbench.network.variant import ModelSource, OnnxFile, Precision
from mnbench.progress import OnProgress, StageProgress, report
from mnbench.results.columns import COLUMNS
from mnbench.results.latency_table import latency_table, newest_records
from mnbench.results.layer_profile import LayerProfile, save_profile
from mnbench.results.record import Record, RooflineBound
from mnbench.results.store import ResultsFile
from mnbench.targets.device import Device, Threads, expand_variables, read_device
from mnbench.targets.environments import is_used_by, prepare_device, with_packages


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
    """The result of a benchmark: the completed runs with their records, and the error of each skipped device."""

    runs: list[DeviceRun] = field(default_factory=list[DeviceRun])
    records: list[Record] = field(default_factory=list[Record])
    profiles: list[LayerProfile] = field(default_factory=list[LayerProfile])
    skipped: dict[str, MnbenchError] = field(default_factory=dict[str, MnbenchError])

    @property
    def results_files(self) -> list[ResultsFile]:
        """The files that the records were appended to."""
        return list({run.results_file.path: run.results_file for run in self.runs}.values())


def select_devices(names: Sequence[str], packages: Sequence[str] = ()) -> list[Device]:
    """Read the devices of these names, with environments of the packages that they use.

    Raises:
        DeviceFileError: a device is unknown, or its file is wrong.
        ValueError: a name is repeated, or no device uses a package.
    """
    devices = [_read_named(name) for name in names]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise ValueError(f"device {repeated[0]} is named twice")
    unused = [
        package for package in packages if len(devices) > 1 and not any(is_used_by(package, dev) for dev in devices)
    ]
    if unused:
        raise ValueError(f"none of these devices uses {unused[0]}; name one device")
    return [
        with_packages(device, [package for package in packages if len(devices) == 1 or is_used_by(package, device)])
        for device in devices
    ]


def _read_named(name: str) -> Device:
    """Read a device; `fleet:rpi5`, one device of a fleet, keeps its whole name."""
    fleet_name, _, member = name.partition(":")
    if not member or name.endswith(".toml"):
        return read_device(name)
    device = read_device(fleet_name)
    if not device.is_fleet:
        raise ValueError(f"device {name}: {fleet_name} is not a fleet")
    return msgspec.structs.replace(device, name=name)


def ready_device(
    device: Device, on_progress: OnProgress | None = None, *, real_for: str = "", fresh: bool = False
) -> Device:
    """Return the device with its environment, which is created if it is missing.

    `fresh` creates it again. `real_for` says what an emulated processor's latencies cannot be used for.

    Raises:
        RuntimeUnavailable: the environment cannot be created, or the processor is emulated.
    """

    def announce(packages: Sequence[str]) -> None:
        report(on_progress, "prepare", f"making an environment with {', '.join(packages)}, once")

    device = prepare_device(device, fresh=fresh, on_create=announce)
    if real_for:
        reject_emulated(device, real_for)
    return device


def reject_emulated(device: Device, consequence: str) -> None:
    """Raise an error if the device's processor is emulated.

    Raises:
        RuntimeUnavailable: it is.
    """
    if device.emulated:
        raise RuntimeUnavailable(
            f"device {device.name} is emulated: its latencies are meaningless, {consequence}",
            hint="name a real machine: MNBENCH_ARM64=user@host" if device.machine else "name a real machine",
        )


def prepare_devices(
    devices: Sequence[Device], on_progress: OnProgress | None = None
) -> tuple[list[Device], dict[str, MnbenchError]]:
    """Prepare the devices' environments; return the ready devices and the errors of the others."""
    ready: dict[str, Device] = {}
    errors: dict[str, MnbenchError] = {}
    for device in devices:
        try:
            # Boards create their own environments.
            prepared = (
                fleet_devices(expand_variables(device)) if device.is_fleet else [ready_device(device, on_progress)]
            )
        except (DeviceFileError, RuntimeUnavailable, UnreachableError) as error:
            errors[device.name] = error
        else:
            for member in prepared:
                ready.setdefault(member.name, member)
    return list(ready.values()), errors


def run_benchmark(
    sources: Sequence[ModelSource],
    devices: Sequence[Device],
    results: Path,
    options: BenchmarkOptions,
    on_progress: OnProgress | None = None,
) -> BenchmarkOutcome:
    """Measure every model on every device, append the records to the results folder and render its tables.

    All devices share rounds, for each number of threads in turn. A device that cannot be used is skipped. An
    interrupted run stays in the folder, and the same call continues it.

    Raises:
        BuildError: a model cannot be built.
        FileError: a result cannot be saved.
    """
    outcome = BenchmarkOutcome()
    devices, outcome.skipped = prepare_devices(devices, on_progress)
    with tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        cases = prepare_cases(sources if devices else (), Path(folder), options, on_progress)
        for threads in dict.fromkeys(options.threads or (None,)):
            usable = [device for device in devices if device.name not in outcome.skipped]
            runs = _open_runs(usable, threads, cases, results, options, outcome.skipped, on_progress)
            errors = _measure(runs, on_progress) if runs else {}
            for index, run in enumerate(runs):
                if index in errors:
                    outcome.skipped[run.plan.device.name] = errors[index]
                    continue
                records = run.read_records()
                outcome.runs.append(run)
                outcome.records += records
                outcome.profiles += _profile(run, records, on_progress) if options.profile else []
    # Not before: a command that is continued resumes all of its runs, the complete ones too.
    for run in outcome.runs:
        run.folder.finish()
    for results_file in outcome.results_files:
        table = latency_table(newest_records(results_file.read_records()))
        atomic_files.write_atomically(results_file.path.with_suffix(".md"), table.to("markdown").encode())
    return outcome


def prepare_cases(
    sources: Sequence[ModelSource], folder: Path, options: BenchmarkOptions, on_progress: OnProgress | None = None
) -> tuple[BenchmarkCase, ...]:
    """Build each model, with its reference outputs, in that folder. A user's own file is not simplified."""
    suffix = "-plain" if not options.simplified else "-bn" if options.keep_bn else ""
    seed = options.sampling.seed
    progress = StageProgress(on_progress, "build", len(sources))
    cases: list[BenchmarkCase] = []
    for source in sources:
        simplified = options.simplified and not isinstance(source, OnnxFile)
        model = build_model(source, seed=seed, simplified=simplified, keep_bn=options.keep_bn)
        cases.append(prepare_case(model, folder, variant=source.name + suffix, seed=seed))
        progress.advance()
    return tuple(cases)


def _open_runs(
    devices: Sequence[Device],
    threads: Threads | None,
    cases: tuple[BenchmarkCase, ...],
    results: Path,
    options: BenchmarkOptions,
    skipped: dict[str, MnbenchError],
    on_progress: OnProgress | None,
) -> list[DeviceRun]:
    """Plan each device and open its run: a new one, or the unfinished one of the same plan."""
    runs: list[DeviceRun] = []
    for device in devices:
        configured = msgspec.structs.replace(
            device, threads=threads or device.threads, cores=options.cores or tuple(device.cores)
        )
        timed = not (configured.is_fleet or configured.emulated)
        try:
            plan = Plan(
                cases=cases,
                device=configured,
                sampling=options.sampling.for_emulator() if configured.emulated else options.sampling,
                allow_fallback=options.allow_fallback,
                roofline_bounds=_roofline_bounds(cases, configured, on_progress, fresh=options.fresh)
                if options.roofline and timed
                else {},
                drift=load_drift(configured) if timed else None,
            )
        except (RuntimeUnavailable, UnreachableError) as error:
            skipped[device.name] = error
            continue
        results_file = ResultsFile(results, device.name)
        folder = results_file.open_run(plan.id, fresh=options.fresh, arguments=options.arguments)
        runs.append(DeviceRun(plan=plan, results_file=results_file, folder=folder))
    return runs


def _roofline_bounds(
    cases: Sequence[BenchmarkCase], device: Device, on_progress: OnProgress | None, *, fresh: bool
) -> dict[str, RooflineBound]:
    """Measure the device's roofline; return each case's bound, or nothing if the device fails the probes."""
    precisions: list[Precision] = [case.precision for case in cases]
    progress = StageProgress(on_progress, "roofline", len(roofline_quantities(precisions)))
    try:
        roofline = measure_roofline(device, precisions, fresh=fresh, on_progress=progress.advance)
    except TrialError as error:
        report(on_progress, "roofline", f"no roofline: {error.message}")
        return {}
    return {case.variant: roofline.bound_for(case) for case in cases}


def _measure(runs: Sequence[DeviceRun], on_progress: OnProgress | None) -> dict[int, MnbenchError]:
    """Measure all cases of the runs; return the error of each run that its device ended, by the run's index.

    The graph of each measured model is saved without its weights, so that a later gate can build the model again.
    """
    for folder in (run.folder for run in runs if run.folder.trial_count):
        text = f"continuing run {folder.id}: {folder.trial_count} trials are stored (--fresh starts anew)"
        report(on_progress, "measure", text)
    processes = max(run.plan.sampling.processes for run in runs)
    progress = StageProgress(on_progress, "measure", sum(len(run.plan.cases) for run in runs) * processes)

    def on_trial(case: BenchmarkCase, process: int, record: Record | None) -> None:
        if record and record.latency_ns:
            save_weightless(runs[0].results_file.folder, case.path, case.sha256)
        added_steps = processes - process - 1 if record else int(process + 1 >= processes)
        message = _record_line(record, several_devices=len(runs) > 1) if record else ""
        progress.advance(message, added_steps=added_steps, record=record)

    try:
        return _run_groups(runs, on_trial, on_progress)
    except KeyboardInterrupt as interrupt:
        trials = sum(run.folder.trial_count for run in runs)
        folders = ", ".join(str(run.folder.path) for run in runs)
        interrupt.add_note(f"{trials} trials are kept in {folders}; --resume continues")
        raise


def _record_line(record: Record, *, several_devices: bool) -> str:
    where = f" on {record.device}" if several_devices else ""
    unit = " ms" if record.latency_ns else ""
    return f"{record.variant}{where}: {COLUMNS['latency_ns'].text(record)}{unit}"


def _run_groups(
    runs: Sequence[DeviceRun], on_trial: OnTrial, on_progress: OnProgress | None
) -> dict[int, MnbenchError]:
    """Measure on this machine and on boards over SSH in shared rounds, then on each fleet."""
    groups: dict[str, list[int]] = {}
    for index, run in enumerate(runs):
        device = run.plan.device
        groups.setdefault(scheduler_address(device) if device.is_fleet else "", []).append(index)
    errors: dict[int, MnbenchError] = {}
    for address, indices in sorted(groups.items()):
        members = [runs[index] for index in indices]
        if not address:
            failures = run_all(members, on_trial=on_trial)
        else:
            try:
                with Fleet(address) as fleet:
                    failures = run_on_fleet(
                        members,
                        fleet,
                        on_trial=on_trial,
                        on_message=lambda line: report(on_progress, "measure", line),
                    )
            except UnreachableError as error:
                failures = dict.fromkeys(range(len(members)), error)
        errors |= {indices[index]: error for index, error in failures.items()}
    return errors


def _profile(run: DeviceRun, records: Sequence[Record], on_progress: OnProgress | None) -> list[LayerProfile]:
    """Profile each case that has a latency, and save the profile with the run."""
    progress = StageProgress(on_progress, "profile", len(records))
    profiles: list[LayerProfile] = []
    for case, record in zip(run.plan.cases, records, strict=True):
        if record.latency_ns:
            try:
                profile = profile_layers(run.plan, case, latency_ns=record.latency_ns.median)
            except TrialError as error:
                text = f"{case.variant} on {record.device}: no profile: {error.message}"
                report(on_progress, "profile", text)
            else:
                save_profile(run.folder, profile)
                profiles.append(profile)
        progress.advance()
    return profiles
