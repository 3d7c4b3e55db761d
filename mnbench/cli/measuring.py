"""What `mnbench run` is made of: cells, devices, rooflines, visits and profiles, each with its progress."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from mnbench.cli import INTERRUPTED
from mnbench.errors import DeviceError, GatewayError, MnbenchError, RuntimeUnavailable
from mnbench.network.variant import OnnxFile, Precision, Source
from mnbench.targets.device import expand_variables, read_device

if TYPE_CHECKING:
    from mnbench.bench.plan import Ceiling, Cell
    from mnbench.bench.profiling import Profile
    from mnbench.bench.schedule import Seen, Task
    from mnbench.results.record import Record
    from mnbench.targets.device import Device, Threads


def cells(chosen: Sequence[Source], folder: Path, *, seed: int, simplified: bool, keep_bn: bool) -> list["Cell"]:
    """The variants as models with their answers, in that folder."""
    from mnbench.bench.prepare import prepare
    from mnbench.cli.progress_bar import progress
    from mnbench.model.build import make

    form = "-plain" if not simplified else "-bn" if keep_bn else ""
    cells: list[Cell] = []
    with progress("building", len(chosen)) as step:
        for source in chosen:
            own = not isinstance(source, OnnxFile)
            made = make(source, seed=seed, simplified=simplified and own, keep_bn=keep_bn)
            cells.append(prepare(made, folder, variant=source.name + form, seed=seed))
            step()
    return cells


def ceilings(cells: Sequence["Cell"], device: "Device", *, fresh: bool) -> dict[str, "Ceiling"]:
    """What bounds each cell from below, by variant; nothing where the device fails its probes."""
    from mnbench.bench.roofline import quantities, roofline
    from mnbench.cli.progress_bar import progress
    from mnbench.errors import MeasureError

    precisions: list[Precision] = [cell.precision for cell in cells]
    try:
        with progress("peak and bandwidth", len(quantities(precisions))) as step:
            found = roofline(device, precisions, fresh=fresh, step=step)
    except MeasureError as failure:
        click.echo(f"no roofline: {failure.message}", err=True)
        return {}
    return {cell.variant: found.over(cell) for cell in cells}


def devices(names: Sequence[str], packages: Sequence[str]) -> list["Device"]:
    """The devices of these names, with environments of the packages that concern them.

    Raises:
        DeviceError: there is none of a name, or its profile is wrong.
        click.UsageError: a name stands twice, or a package concerns none of several.
    """
    from mnbench.targets.environments import concerns, with_packages

    found = [_named(name) for name in names]
    twice = [one.name for at, one in enumerate(found) if one.name in [other.name for other in found[:at]]]
    if twice:
        raise click.UsageError(f"--device names {twice[0]} twice")
    idle = [one for one in packages if len(found) > 1 and not any(concerns(one, device) for device in found)]
    if idle:
        raise click.UsageError(f"--with {idle[0]}: none of these devices uses it; name one device")
    return [
        with_packages(device, [one for one in packages if len(found) == 1 or concerns(one, device)]) for device in found
    ]


def _named(name: str) -> "Device":
    """A device; a fleet keeps the name of the one device that is chosen of it, as in `fleet:rpi5`."""
    import msgspec

    fleet, _, one = name.partition(":")
    if not one or name.endswith(".toml"):
        return read_device(name)
    found = read_device(fleet)
    if not found.fleet:
        raise click.UsageError(f"--device {name}: {fleet} is no fleet")
    return msgspec.structs.replace(found, name=name)


def ready(chosen: Sequence["Device"]) -> tuple[list["Device"], list[MnbenchError]]:
    """Those of the devices whose environments are there, made now where they are not, and why others are not ready."""
    from mnbench.bench.fleet import devices_of
    from mnbench.targets.environments import installed

    found: list[Device] = []
    lost: list[MnbenchError] = []
    for device in chosen:
        try:
            # Boards make their own environments.
            some = devices_of(expand_variables(device)) if device.fleet else [installed(device, making=announced)]
            found += [one for one in some if one.name not in [other.name for other in found]]
        except (DeviceError, RuntimeUnavailable, GatewayError) as failure:
            lost.append(failure)
    return found, lost


def real(device: "Device", otherwise: str) -> None:
    """Refuse an emulated processor.

    Raises:
        RuntimeUnavailable: it is one.
    """
    if device.emulated:
        raise RuntimeUnavailable(
            f"device {device.name} is emulated: its times tell nothing, {otherwise}",
            hint="name a real machine: MNBENCH_ARM64=user@host" if device.machine else "name a real machine",
        )


def announced(packages: Sequence[str]) -> None:
    """Making an environment takes long enough to say so."""
    click.echo(f"making an environment with {', '.join(packages)}, once", err=True)


@contextmanager
def all_or_nothing(results: Path, what: str) -> Generator[Callable[[], Path]]:
    """Makes the folder for a comparison's pairs when it is asked to; of one that is not finished nothing is kept."""
    from mnbench.comparison import storage

    folders: list[Path] = []

    def new_folder() -> Path:
        folders.append(storage.new_folder(results))
        return folders[-1]

    try:
        yield new_folder
    except (KeyboardInterrupt, MnbenchError) as failure:
        for folder in folders:
            storage.discard(folder)
        if isinstance(failure, MnbenchError):
            raise
        click.echo(f"stopped: nothing is kept of a {what} that is not finished", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None


def measured(tasks: Sequence["Task"]) -> dict[int, MnbenchError]:
    """Visit all cells of the tasks, in rounds that they share; by a task's index, why its device was lost.

    Each row's graph is kept beside its table, so that a later gate can make the model again.
    """
    from mnbench.cli.progress_bar import progress
    from mnbench.model.weightless import keep
    from mnbench.results.columns import COLUMNS

    for run in (task.run for task in tasks if task.run.visits):
        click.echo(f"continuing run {run.id}: {run.visits} visits are made (--fresh starts anew)", err=True)
    least = max((task.plan.protocol.processes for task in tasks), default=0)
    with progress("measuring", sum(len(task.plan.cells) for task in tasks) * least) as step:

        def seen(cell: "Cell", process: int, record: "Record | None") -> None:
            if record and record.latency_ns:
                keep(tasks[0].store.folder, cell.path, cell.sha256)
            where = f" on {record.device}" if record and len(tasks) > 1 else ""
            line = f"{record.variant}{where}: {COLUMNS['latency_ns'].text(record)}" if record else ""
            line += " ms" if record and record.latency_ns else ""
            step(line, more=least - process - 1 if record else int(process + 1 >= least))

        try:
            return _all(tasks, seen)
        except KeyboardInterrupt:
            interrupted = True
    assert interrupted
    visits, folders = sum(task.run.visits for task in tasks), ", ".join(str(task.run.folder) for task in tasks)
    click.echo(f"stopped: {visits} visits are kept in {folders}; --resume continues", err=True)
    raise click.exceptions.Exit(INTERRUPTED)


def _all(tasks: Sequence["Task"], seen: "Seen") -> dict[int, MnbenchError]:
    """Visit all cells: those of this machine and of boards over ssh in rounds that they share, then those of fleets."""
    from mnbench.bench.fleet import Fleet, address_of
    from mnbench.bench.fleet_schedule import spread
    from mnbench.bench.schedule import collect_all

    groups: dict[str, list[int]] = {}
    for at, task in enumerate(tasks):
        device = task.plan.device
        groups.setdefault(address_of(device) if device.fleet else "", []).append(at)
    lost: dict[int, MnbenchError] = {}
    for address, members in sorted(groups.items()):
        some = [tasks[at] for at in members]
        if not address:
            failures = collect_all(some, seen=seen)
        else:
            try:
                with Fleet(address) as fleet:
                    failures = spread(some, fleet, seen=seen, told=lambda line: click.echo(line, err=True))
            except GatewayError as failure:
                failures = dict.fromkeys(range(len(some)), failure)
        lost |= {members[at]: failure for at, failure in failures.items()}
    return lost


@dataclass(kw_only=True)
class Found:
    """What became of the devices: the tasks that were brought to their end, and why others were not."""

    tasks: list["Task"]
    records: list["Record"]
    profiles: list["Profile"]
    lost: list[MnbenchError]


def in_turn(
    chosen: Sequence["Device"],
    counts: Sequence["Threads | None"],
    task_of: Callable[["Device", "Threads | None"], "Task"],
    *,
    profiled: bool,
) -> Found:
    """Measure on all devices together, by one number of threads after another. A device that is lost is left out."""
    found, left = Found(tasks=[], records=[], profiles=[], lost=[]), list(chosen)
    for count in counts:
        tasks: list[Task] = []
        for device in list(left):
            try:
                tasks.append(task_of(device, count))
            except (RuntimeUnavailable, GatewayError) as failure:
                found.lost.append(failure)
                left.remove(device)
        failures = measured(tasks) if tasks else {}
        found.lost += failures.values()
        for at, task in enumerate(tasks):
            if at in failures:
                left = [device for device in left if device.name != task.plan.device.name]
                continue
            found.tasks.append(task)
            records = task.records()
            found.records += records
            found.profiles += profiles_of(task, records) if profiled else []
    return found


def fail(lost: Sequence[MnbenchError]) -> NoReturn:
    """End with what was lost: each with its line and hint."""
    for failure in lost[:-1]:
        click.echo(f"Error: {failure.message}\nHint: {failure.hint}", err=True)
    raise lost[-1]


def profiles_of(task: "Task", records: Sequence["Record"]) -> list["Profile"]:
    """A profile of each cell that has a latency, kept with the run."""
    from mnbench.bench.profiling import profile
    from mnbench.cli.progress_bar import progress
    from mnbench.errors import MeasureError
    from mnbench.results.layer_profile import keep

    profiles: list[Profile] = []
    with progress("profiling", len(records)) as step:
        for cell, record in zip(task.plan.cells, records, strict=True):
            if record.latency_ns:
                try:
                    profiles.append(profile(task.plan, cell, latency_ns=record.latency_ns.median))
                    keep(task.run, profiles[-1])
                except MeasureError as failure:
                    click.echo(f"{cell.variant} on {record.device}: no profile: {failure.message}", err=True)
            step()
    return profiles
