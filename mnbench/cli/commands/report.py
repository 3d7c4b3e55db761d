"""Write the results as one HTML file."""

from collections.abc import Sequence
from pathlib import Path

import click

from mnbench.cli.options import parse_option, results_option, where_option
from mnbench.cli.param_types import WorkspaceName


@click.command(epilog="\b\nExample:\n  mnbench report\n  mnbench report cpu --where 'graph=v3-*' -o v3.html")
@click.argument("devices", nargs=-1, metavar="[DEVICE]...", type=WorkspaceName("devices"))
@results_option
@where_option
@click.option(
    "-o",
    "--output",
    "path",
    default="report.html",
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write.",
)
@click.option("--title", default="Latency, measured", show_default=True, help="The page's heading.")
def command(*, devices: tuple[str, ...], results: Path, where: Sequence[str], path: Path, title: str) -> None:
    """Write the results as one HTML file.

    It loads nothing from anywhere: tables that sort and filter, plots that name what is under the pointer, the issues,
    the hosts' facts, and the commands that measure it again.
    """
    from mnbench import atomic_files
    from mnbench.report.page import render_page
    from mnbench.results.selection import Condition, load_records

    records = load_records(results, devices, [parse_option(Condition.parse, text) for text in where])
    atomic_files.write_atomically(path, render_page(results, records, title=title).encode(), durable=False)
    click.echo(path)
