"""`mnbench predict`."""

from pathlib import Path

import click

from mnbench.cli.options import format_option
from mnbench.cli.output import emit
from mnbench.cli.param_types import WorkspaceName


@click.command(epilog="\b\nExample:\n  mnbench predict\n  mnbench predict cpu --format json")
@click.argument("devices", nargs=-1, metavar="[DEVICE]...", type=WorkspaceName("devices"))
@click.option(
    "--results", default="results", show_default=True, type=click.Path(path_type=Path), help="Folder of the results."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of the draws of intervals.")
@format_option()
def command(*, devices: tuple[str, ...], results: Path, seed: int, output: str) -> None:
    """Tell which cost predicts latency.

    For each device and setting among the results: how closely latency follows Mult-Adds, memory access, both together
    and the roofline bound, and how far off a line through other variants, or other families, is. Nothing is measured.
    """
    from mnbench.analysis.cost_model_table import cost_model_table
    from mnbench.analysis.cost_models import fit_cost_models
    from mnbench.results.selection import load_records

    rankings = fit_cost_models(load_records(results, devices), seed=seed)
    emit(map(cost_model_table, rankings), output, {"predictions": rankings})
