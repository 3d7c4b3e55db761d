"""`mnbench devices`."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnbench.cli.options import format_option
from mnbench.cli.output import emit
from mnbench.cli.param_types import WorkspaceName
from mnbench.targets.device import read_device
from mnbench.workspace import table_paths

if TYPE_CHECKING:
    from mnbench.targets.device import Device

NAME = WorkspaceName("devices", ".toml")


@click.group(
    invoke_without_command=True,
    epilog="\b\nExample:\n  mnbench devices\n  mnbench devices show cpu\n  mnbench devices probe cpu",
)
@format_option()
@click.pass_context
def command(ctx: click.Context, output: str) -> None:
    """List the devices, show, set up or prove one."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_devices, output=output)


@command.command("list", epilog="\b\nExample:\n  mnbench devices list --format json")
@format_option()
def list_devices(*, output: str) -> None:
    """List the devices: built in, and from ./devices.

    Each is ready, or has the one command that makes it so.
    """
    from mnbench.targets import listing
    from mnbench.targets.readiness import check_readiness

    known = [(device, check_readiness(device)) for device in map(read_device, table_paths("devices"))]
    data = {"devices": [listing.device_to_dict(device, state) for device, state in known]}
    emit(listing.device_table(known), output, data)


@command.command(epilog="\b\nExample:\n  mnbench devices show cpu")
@click.argument("device", type=NAME)
@format_option()
def show(*, device: str, output: str) -> None:
    """Show a device's profile."""
    from mnbench.targets import listing
    from mnbench.targets.readiness import check_readiness

    profile = read_device(device)
    state = check_readiness(profile)
    emit(listing.device_file_table(profile, state), output, listing.device_to_dict(profile, state))


@command.command(
    epilog="\b\nExample:\n  mnbench devices setup openvino\n  mnbench devices setup openvino --fresh"
    "\n  mnbench devices setup arm64"
)
@click.argument("device", type=NAME)
@click.option("--fresh", is_flag=True, help="Make it again, with the newest packages.")
def setup(*, device: str, fresh: bool) -> None:
    """Make the environment that a device requires, or what emulates it."""
    from mnbench.cli.measuring import announce_environment
    from mnbench.targets.environments import prepare_device
    from mnbench.targets.readiness import check_readiness
    from mnbench.targets.resolve import resolve_target

    profile = read_device(device)
    if resolve_target(profile).kind in {"emulated", "unavailable"}:
        _emulate(profile, fresh=fresh)
        return
    ready = prepare_device(profile, fresh=fresh, on_create=announce_environment)
    if profile.requires:
        click.echo(f"{profile.name}: {ready.gateway.partition('python=')[2]}")
        return
    state = check_readiness(profile)
    click.echo(f"{profile.name}: it has no environment of its own; {state.text}")


def _emulate(profile: "Device", *, fresh: bool) -> None:
    """Make the emulated Python."""
    from mnbench.cli.progress_bar import show_progress
    from mnbench.targets import debian, emulation
    from mnbench.targets.build_once import is_built

    if fresh or not is_built(emulation.emulator_path()):
        click.echo("making an emulated arm64 Python of Debian's packages, once", err=True)
    with show_progress("megabytes", debian.SIZE_MB) as step:
        path = emulation.install_emulator(fresh=fresh, on_progress=step)
    click.echo(f"{profile.name}: {path}, {emulation.folder_size_mb(path)} MB; emulated, so it tells no latency")


@command.command(epilog="\b\nExample:\n  mnbench devices probe cpu")
@click.argument("device", type=NAME)
@click.option("--allow-fallback", is_flag=True, help="Do not fail where nodes ran elsewhere than on its provider.")
@format_option()
def probe(*, device: str, allow_fallback: bool, output: str) -> None:
    """Prove that a device works, by a run.

    A small graph runs there in a fresh process, its outputs are checked, and the place of every node is told. The
    environment that the device requires is made first, if it is not there.
    """
    from mnbench.bench.probe import probe as run_probe
    from mnbench.bench.probe import probe_table, probe_to_dict
    from mnbench.cli.measuring import announce_environment
    from mnbench.targets.environments import prepare_device

    profile = prepare_device(read_device(device), on_create=announce_environment)
    with tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        cell, sample = run_probe(profile, Path(folder), allow_fallback=allow_fallback)
    emit(probe_table(profile, cell.variant, sample), output, probe_to_dict(profile, cell.variant, sample))
