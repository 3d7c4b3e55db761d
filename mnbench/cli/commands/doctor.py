"""Describe a device, its noise sources with their fixes, and its noise."""

import click

from mnbench.cli.options import device_option, format_option, trust_option
from mnbench.cli.output import emit
from mnbench.cli.param_types import DURATION_S
from mnbench.cli.progress_bar import ProgressBar, verbosity_options
from mnbench.targets.device import read_device


@click.command(
    epilog="\b\nExample:\n  mnbench doctor\n  mnbench doctor --quick --format json\n  mnbench doctor --calibrate 2h"
)
@device_option("Device to diagnose.")
@click.option("--quick", is_flag=True, help="Describe the device without measuring its noise.")
@click.option(
    "--calibrate",
    type=DURATION_S,
    help="Measure for this long how much runs drift: 2h. Intervals of later runs include the drift.",
)
@trust_option
@verbosity_options
@format_option("rich", "json")
def command(*, device: str, quick: bool, calibrate: float | None, output: str) -> None:
    """Describe a device, its noise sources with their fixes, and its noise.

    Show the facts of the host, and its noise sources with the command that fixes each. Then measure in about 20 seconds
    how much two runs of one model differ.
    """
    from mnbench.bench.devices import ready_device
    from mnbench.bench.diagnose import calibrate_host, diagnose

    with ProgressBar() as bar:
        target = ready_device(read_device(device), bar)
        if calibrate:
            result = calibrate_host(target, duration_s=calibrate, on_progress=bar)
        else:
            result = diagnose(target, measure_noise=not quick, on_progress=bar)
    emit(result.tables(), output, result.to_dict())
