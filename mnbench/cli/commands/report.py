"""Write the results as one HTML file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnbench.cli.options import devices_argument, host_option, results_option, where_option
from mnbench.cli.output import echo

if TYPE_CHECKING:
    from mnbench.results.selection import Condition


@click.command(epilog="\b\nExample:\n  mnbench report\n  mnbench report cpu --where 'graph=v3-*' -o v3.html")
@devices_argument
@results_option
@host_option
@where_option
@click.option(
    "-o",
    "--output",
    "path",
    default="report.html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write.",
)
@click.option("--title", default="Latency, measured", help="Heading of the page.")
def command(
    *,
    devices: tuple[str, ...],
    results: Path,
    host: str | None,
    conditions: "Sequence[Condition]",
    path: Path,
    title: str,
) -> None:
    """Write the results as one HTML file.

    The file needs no other file and no network. It holds tables that sort and filter, plots that name the row under the
    pointer, the issues, the facts of the hosts, and the commands that measure everything again.
    """
    from mnbench import atomic_files
    from mnbench.report.page import render_page
    from mnbench.results.selection import load_records

    records, notes = load_records(results, devices, conditions, host=host)
    page = render_page(results, records, title=title, notes=notes)
    atomic_files.write_atomically(path, page.encode(), durable=False)
    echo(path)
