"""Plot the results."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from mnbench.cli.options import devices_argument, host_option, results_option, where_option
from mnbench.cli.output import echo, echo_rendered
from mnbench.plots import PLOT_KINDS

if TYPE_CHECKING:
    from mnbench.results.selection import Condition


@click.command(
    epilog="\b\nExample:\n  mnbench plot mult-adds\n  mnbench plot mult-adds cpu -o plot.svg -o plot.png\n"
    "  mnbench plot accuracy --where 'latency_ns<10ms' --dark -o plot.png"
)
@click.argument("kind", metavar="KIND", type=click.Choice(PLOT_KINDS))
@devices_argument
@results_option
@host_option
@where_option
@click.option(
    "-o",
    "--output",
    "paths",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write: .svg, .png or .json (Vega). Repeatable. Default: draw in the terminal.",
)
@click.option("--dark", is_flag=True, help="Draw light on dark.")
def command(
    *,
    kind: str,
    devices: tuple[str, ...],
    results: Path,
    host: str | None,
    conditions: "Sequence[Condition]",
    paths: Sequence[Path],
    dark: bool,
) -> None:
    """Plot the results.

    KIND is one of: mult-adds, memory-access, params (latency against a cost); accuracy (published top-1 against
    latency, with the Pareto front); roofline; devices (latency by device, a panel a variant); layers (the time by layer
    type, from profiles); distribution (of the raw samples of the first six variants).
    """
    from mnbench.plots.figures import Plot
    from mnbench.results.selection import load_records

    records, notes = load_records(results, devices, conditions, host=host)
    plot = Plot(kind=cast("Any", kind), results=results, records=records, dark=dark)
    for note in notes:
        echo(note, err=True)
    if not paths:
        from mnbench.plots.terminal import draw_text
        from mnbench.tables.rich_text import PIPE_WIDTH

        terminal = sys.stdout.isatty()
        width = shutil.get_terminal_size((PIPE_WIDTH, 24)).columns
        echo_rendered(draw_text(plot, width=width, colors=terminal and "NO_COLOR" not in os.environ))
        return
    plot.save(*paths)
    for path in paths:
        echo(path)
