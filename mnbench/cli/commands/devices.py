"""List the devices, or show, set up or check one."""

from typing import TYPE_CHECKING

import click

from mnbench.cli.options import allow_fallback_option, format_option, trust_option
from mnbench.cli.output import echo, emit
from mnbench.cli.param_types import WorkspaceName
from mnbench.cli.progress_bar import ProgressBar, echo_note, verbosity_options
from mnbench.targets.device import read_device, require_trust_in
from mnbench.workspace import table_paths

if TYPE_CHECKING:
    from mnbench.targets.device import Device

NAME = WorkspaceName("devices")


@click.group(
    invoke_without_command=True,
    epilog="\b\nExample:\n  mnbench devices\n  mnbench devices show cpu\n  mnbench devices probe cpu",
)
@format_option()
@click.pass_context
def command(ctx: click.Context, output: str) -> None:
    """List the devices, or show, set up or check one."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_devices, output=output)


@command.command("list", epilog="\b\nExample:\n  mnbench devices list --format json")
@format_option()
def list_devices(*, output: str) -> None:
    """List the devices: built in, and from ./devices.

    Each device is ready, or has the one command that makes it ready.
    """
    from mnbench.targets.listing import device_table, device_to_dict
    from mnbench.targets.readiness import check_readiness

    states = [(device, check_readiness(device)) for device in map(read_device, table_paths("devices"))]
    emit(device_table(states), output, {"devices": [device_to_dict(device, state) for device, state in states]})


@command.command(epilog="\b\nExample:\n  mnbench devices show cpu")
@click.argument("device", type=NAME)
@format_option()
def show(*, device: str, output: str) -> None:
    """Show a device file."""
    from mnbench.targets.listing import device_file_table, device_to_dict
    from mnbench.targets.readiness import check_readiness

    described = read_device(device)
    state = check_readiness(described)
    emit(device_file_table(described, state), output, device_to_dict(described, state))


@command.command(
    epilog="\b\nExample:\n  mnbench devices setup openvino\n  mnbench devices setup openvino --fresh"
    "\n  mnbench devices setup arm64"
)
@click.argument("device", type=NAME)
@click.option("--fresh", is_flag=True, help="Create the environment again, with the newest packages.")
@trust_option
@verbosity_options
def setup(*, device: str, fresh: bool) -> None:
    """Create the environment that a device requires, or its emulator."""
    from mnbench.bench.devices import ready_device
    from mnbench.targets.readiness import check_readiness
    from mnbench.targets.resolve import resolve_target

    described = require_trust_in(read_device(device))
    if resolve_target(described).kind in {"emulated", "unavailable"}:
        _emulate(described, fresh=fresh)
        return
    with ProgressBar() as bar:
        ready = ready_device(described, bar, fresh=fresh)
    if described.requires:
        echo(f"{described.name}: {ready.gateway.partition('python=')[2]}")
        return
    echo(f"{described.name}: it needs no environment; {check_readiness(described).text}")


def _emulate(device: "Device", *, fresh: bool) -> None:
    """Create the emulated Python."""
    from mnbench.progress import StageProgress
    from mnbench.targets import debian, emulation
    from mnbench.targets.build_once import is_built

    if fresh or not is_built(emulation.emulator_path()):
        echo_note("making an emulated arm64 Python from Debian's packages, once")
    with ProgressBar() as bar:
        progress = StageProgress(bar, "download", debian.SIZE_MB)
        path = emulation.install_emulator(fresh=fresh, on_progress=progress.advance)
    echo(f"{device.name}: {path}, {emulation.folder_size_mb(path)} MB; emulated, so it measures no latency")


@command.command(epilog="\b\nExample:\n  mnbench devices probe cpu")
@click.argument("device", type=NAME)
@allow_fallback_option
@trust_option
@verbosity_options
@format_option()
def probe(*, device: str, allow_fallback: bool, output: str) -> None:
    """Check that a device works, with a small model.

    A small graph runs there in a fresh process; its outputs are checked, and the provider of every node is shown. The
    environment that the device requires is created first if it is missing.
    """
    from mnbench.bench.devices import ready_device
    from mnbench.bench.probe import probe as run_probe

    with ProgressBar() as bar:
        ready = ready_device(read_device(device), bar)
    result = run_probe(ready, allow_fallback=allow_fallback)
    emit(result.table(), output, result)
