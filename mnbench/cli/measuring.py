"""What `mnbench run` is made of: cells, devices, rooflines, visits and profiles, each with its progress."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from mnbench.cli import EXIT_INTERRUPTED
from mnbench.errors import DeviceFileError, MnbenchError, RuntimeUnavailable, UnreachableError
from mnbench.network.variant import ModelSource, OnnxFile, Precision
from mnbench.targets.device import expand_variables, read_device

if TYPE_CHECKING:
    from mnbench.bench.plan import BenchmarkCase
    from mnbench.bench.schedule import DeviceRun, OnTrial
    from mnbench.results.layer_profile import LayerProfile
    from mnbench.results.record import Record, RooflineBound
    from mnbench.targets.device import Device, Threads


def prepare_cases(
    chosen: Sequence[ModelSource], folder: Path, *, seed: int, simplified: bool, keep_bn: bool
) -> list["BenchmarkCase"]:
    """The variants as models with their answers, in that folder."""
    from mnbench.bench.prepare import prepare_case
    from mnbench.cli.progress_bar import show_progress
    from mnbench.model.build import build_model

    form = "-plain" if not simplified else "-bn" if keep_bn else ""
    cells: list[BenchmarkCase] = []
    with show_progress("building", len(chosen)) as step:
        for source in chosen:
            own = not isinstance(source, OnnxFile)
            model = build_model(source, seed=seed, simplified=simplified and own, keep_bn=keep_bn)
            cells.append(prepare_case(model, folder, variant=source.name + form, seed=seed))
            step()
    return cells


def measure_roofline_bounds(
    cells: Sequence["BenchmarkCase"], device: "Device", *, fresh: bool
) -> dict[str, "RooflineBound"]:
    """What bounds each cell from below, by variant; nothing where the device fails its probes."""
    from mnbench.bench.roofline import measure_roofline, roofline_quantities
    from mnbench.cli.progress_bar import show_progress
    from mnbench.errors import TrialError

    precisions: list[Precision] = [cell.precision for cell in cells]
    try:
        with show_progress("peak and bandwidth", len(roofline_quantities(precisions))) as step:
            roofline = measure_roofline(device, precisions, fresh=fresh, on_progress=step)
    except TrialError as failure:
        click.echo(f"no roofline: {failure.message}", err=True)
        return {}
    return {cell.variant: roofline.bound_for(cell) for cell in cells}


def read_devices(names: Sequence[str], packages: Sequence[str]) -> list["Device"]:
    """The devices of these names, with environments of the packages that concern them.

    Raises:
        DeviceFileError: there is none of a name, or its profile is wrong.
        click.UsageError: a name stands twice, or a package concerns none of several.
    """
    from mnbench.targets.environments import is_used_by, with_packages

    devices = [_named(name) for name in names]
    twice = [device.name for at, device in enumerate(devices) if device.name in [other.name for other in devices[:at]]]
    if twice:
        raise click.UsageError(f"--device names {twice[0]} twice")
    idle = [
        package
        for package in packages
        if len(devices) > 1 and not any(is_used_by(package, device) for device in devices)
    ]
    if idle:
        raise click.UsageError(f"--with {idle[0]}: none of these devices uses it; name one device")
    return [
        with_packages(device, [package for package in packages if len(devices) == 1 or is_used_by(package, device)])
        for device in devices
    ]


def _named(name: str) -> "Device":
    """A device; a fleet keeps the name of the one device that is chosen of it, as in `fleet:rpi5`."""
    import msgspec

    fleet, _, item = name.partition(":")
    if not item or name.endswith(".toml"):
        return read_device(name)
    device = read_device(fleet)
    if not device.is_fleet:
        raise click.UsageError(f"--device {name}: {fleet} is no fleet")
    return msgspec.structs.replace(device, name=name)


def prepare_devices(chosen: Sequence["Device"]) -> tuple[list["Device"], list[MnbenchError]]:
    """Those of the devices whose environments are there, made now where they are not, and why others are not ready."""
    from mnbench.bench.fleet import fleet_devices
    from mnbench.targets.environments import prepare_device

    devices: list[Device] = []
    lost: list[MnbenchError] = []
    for device in chosen:
        try:
            # Boards make their own environments.
            some = (
                fleet_devices(expand_variables(device))
                if device.is_fleet
                else [prepare_device(device, on_create=announce_environment)]
            )
            devices += [item for item in some if item.name not in [other.name for other in devices]]
        except (DeviceFileError, RuntimeUnavailable, UnreachableError) as failure:
            lost.append(failure)
    return devices, lost


def reject_emulated(device: "Device", otherwise: str) -> None:
    """Refuse an emulated processor.

    Raises:
        RuntimeUnavailable: it is one.
    """
    if device.emulated:
        raise RuntimeUnavailable(
            f"device {device.name} is emulated: its times tell nothing, {otherwise}",
            hint="name a real machine: MNBENCH_ARM64=user@host" if device.machine else "name a real machine",
        )


def announce_environment(packages: Sequence[str]) -> None:
    """Making an environment takes long enough to say so."""
    click.echo(f"making an environment with {', '.join(packages)}, once", err=True)


@contextmanager
def discard_unfinished(results: Path, what: str) -> Generator[Callable[[], Path]]:
    """Makes the folder for a comparison's pairs when it is asked to; of one that is not finished nothing is kept."""
    from mnbench.comparison import storage

    folders: list[Path] = []

    def new_folder() -> Path:
        folders.append(storage.new_comparison_folder(results))
        return folders[-1]

    try:
        yield new_folder
    except (KeyboardInterrupt, MnbenchError) as failure:
        for folder in folders:
            storage.delete_comparison(folder)
        if isinstance(failure, MnbenchError):
            raise
        click.echo(f"stopped: nothing is kept of a {what} that is not finished", err=True)
        raise click.exceptions.Exit(EXIT_INTERRUPTED) from None


def measure_runs(tasks: Sequence["DeviceRun"]) -> dict[int, MnbenchError]:
    """Visit all cells of the tasks, in rounds that they share; by a task's index, why its device was lost.

    Each row's graph is kept beside its table, so that a later gate can make the model again.
    """
    from mnbench.cli.progress_bar import show_progress
    from mnbench.model.weightless import save_weightless
    from mnbench.results.columns import COLUMNS

    for run in (task.folder for task in tasks if task.folder.trial_count):
        click.echo(f"continuing run {run.id}: {run.trial_count} visits are made (--fresh starts anew)", err=True)
    least = max((task.plan.sampling.processes for task in tasks), default=0)
    with show_progress("measuring", sum(len(task.plan.cases) for task in tasks) * least) as step:

        def seen(cell: "BenchmarkCase", process: int, record: "Record | None") -> None:
            if record and record.latency_ns:
                save_weightless(tasks[0].results_file.folder, cell.path, cell.sha256)
            where = f" on {record.device}" if record and len(tasks) > 1 else ""
            line = f"{record.variant}{where}: {COLUMNS['latency_ns'].text(record)}" if record else ""
            line += " ms" if record and record.latency_ns else ""
            step(line, added_steps=least - process - 1 if record else int(process + 1 >= least))

        try:
            return _all(tasks, seen)
        except KeyboardInterrupt:
            interrupted = True
    assert interrupted
    visits, folders = sum(task.folder.trial_count for task in tasks), ", ".join(str(task.folder.path) for task in tasks)
    click.echo(f"stopped: {visits} visits are kept in {folders}; --resume continues", err=True)
    raise click.exceptions.Exit(EXIT_INTERRUPTED)


def _all(tasks: Sequence["DeviceRun"], on_trial: "OnTrial") -> dict[int, MnbenchError]:
    """Visit all cells: those of this machine and of boards over ssh in rounds that they share, then those of fleets."""
    from mnbench.bench.fleet import Fleet, run_on_fleet, scheduler_address
    from mnbench.bench.schedule import run_all

    groups: dict[str, list[int]] = {}
    for at, task in enumerate(tasks):
        device = task.plan.device
        groups.setdefault(scheduler_address(device) if device.is_fleet else "", []).append(at)
    lost: dict[int, MnbenchError] = {}
    for address, members in sorted(groups.items()):
        some = [tasks[at] for at in members]
        if not address:
            failures = run_all(some, on_trial=on_trial)
        else:
            try:
                with Fleet(address) as fleet:
                    failures = run_on_fleet(
                        some, fleet, on_trial=on_trial, on_message=lambda line: click.echo(line, err=True)
                    )
            except UnreachableError as failure:
                failures = dict.fromkeys(range(len(some)), failure)
        lost |= {members[at]: failure for at, failure in failures.items()}
    return lost


@dataclass(kw_only=True)
class BenchmarkOutcome:
    """What became of the devices: the tasks that were brought to their end, and why others were not."""

    device_runs: list["DeviceRun"]
    records: list["Record"]
    profiles: list["LayerProfile"]
    failures: list[MnbenchError]


def measure_in_turn(
    chosen: Sequence["Device"],
    counts: Sequence["Threads | None"],
    task_of: Callable[["Device", "Threads | None"], "DeviceRun"],
    *,
    with_profiles: bool,
) -> BenchmarkOutcome:
    """Measure on all devices together, by one number of threads after another. A device that is lost is left out."""
    outcome, left = BenchmarkOutcome(device_runs=[], records=[], profiles=[], failures=[]), list(chosen)
    for count in counts:
        tasks: list[DeviceRun] = []
        for device in list(left):
            try:
                tasks.append(task_of(device, count))
            except (RuntimeUnavailable, UnreachableError) as failure:
                outcome.failures.append(failure)
                left.remove(device)
        failures = measure_runs(tasks) if tasks else {}
        outcome.failures += failures.values()
        for at, task in enumerate(tasks):
            if at in failures:
                left = [device for device in left if device.name != task.plan.device.name]
                continue
            outcome.device_runs.append(task)
            records = task.read_records()
            outcome.records += records
            outcome.profiles += measure_profiles(task, records) if with_profiles else []
    return outcome


def raise_failures(lost: Sequence[MnbenchError]) -> NoReturn:
    """End with what was lost: each with its line and hint."""
    for failure in lost[:-1]:
        click.echo(f"Error: {failure.message}\nHint: {failure.hint}", err=True)
    raise lost[-1]


def measure_profiles(task: "DeviceRun", records: Sequence["Record"]) -> list["LayerProfile"]:
    """A profile of each cell that has a latency, kept with the run."""
    from mnbench.bench.profiling import profile_layers
    from mnbench.cli.progress_bar import show_progress
    from mnbench.errors import TrialError
    from mnbench.results.layer_profile import save_profile

    profiles: list[LayerProfile] = []
    with show_progress("profiling", len(records)) as step:
        for cell, record in zip(task.plan.cases, records, strict=True):
            if record.latency_ns:
                try:
                    profiles.append(profile_layers(task.plan, cell, latency_ns=record.latency_ns.median))
                    save_profile(task.folder, profiles[-1])
                except TrialError as failure:
                    click.echo(f"{cell.variant} on {record.device}: no profile: {failure.message}", err=True)
            step()
    return profiles
