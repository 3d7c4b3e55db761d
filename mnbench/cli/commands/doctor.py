"""Describe a device, its sources of noise, and how to fix them."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

import click

from mnbench.cli.options import format_option
from mnbench.cli.output import emit
from mnbench.cli.param_types import Duration, WorkspaceName
from mnbench.targets.device import read_device


@click.command(
    epilog="\b\nExample:\n  mnbench doctor\n  mnbench doctor --quick --format json\n  mnbench doctor --calibrate 2h"
)
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    type=WorkspaceName("devices", ".toml"),
    help="Where to look and measure.",
)
@click.option("--quick", is_flag=True, help="Only look: measure no noise.")
@click.option(
    "--calibrate",
    type=Duration(),
    help="Measure for so long how far runs lie apart, and keep it for the intervals of later runs: 2h.",
)
@format_option("rich", "json")
def command(*, device: str, quick: bool, calibrate: float | None, output: str) -> None:
    """Tell what a device is, what disturbs it, and its noise.

    Shows the facts of the host, what disturbs measurements there and how to mend it, and measures A against A: how far
    two runs of the same model lie apart, in about 20 seconds.
    """
    from mnbench.bench import diagnose
    from mnbench.cli.measuring import announce_environment
    from mnbench.targets.environments import prepare_device

    target = prepare_device(read_device(device), on_create=announce_environment)
    if calibrate:
        with _progress("calibrating") as on_progress:
            log = diagnose.calibrate_host(target, duration_s=calibrate, on_progress=on_progress)
        emit(log.tables(), output, log.to_dict())
        return
    with _progress("measuring noise") as on_progress:
        report = diagnose.diagnose(target, measure_noise=not quick, on_progress=on_progress)
    emit(report.tables(), output, report.to_dict())


@contextmanager
def _progress(activity: str) -> Generator[Callable[[int, int], None]]:
    """Show how many of the trials or runs are done."""
    from mnbench.cli.progress_bar import show_progress

    with show_progress(activity, 0) as step:
        shown = 0

        def on_progress(_done: int, total: int) -> None:
            nonlocal shown
            step(added_steps=total - shown)
            shown = total

        yield on_progress
