"""Show which cost predicts latency."""

from pathlib import Path

import click

from mnbench.cli.options import format_option, results_option, seed_option
from mnbench.cli.output import emit
from mnbench.cli.param_types import WorkspaceName


@click.command(epilog="\b\nExample:\n  mnbench predict\n  mnbench predict cpu --format json")
@click.argument("devices", nargs=-1, metavar="[DEVICE]...", type=WorkspaceName("devices"))
@results_option
@seed_option("Seed for the draws of the intervals.")
@format_option()
def command(*, devices: tuple[str, ...], results: Path, seed: int, output: str) -> None:
    """Show which cost predicts latency.

    For each device and setting among the results: how closely latency follows Mult-Adds, memory access, both together
    and the roofline bound, and how far off a line through other variants, or other families, is. Nothing is measured.
    """
    from mnbench.analysis.cost_models import fit_cost_models
    from mnbench.results.selection import load_records

    rankings = fit_cost_models(load_records(results, devices), seed=seed)
    emit((ranking.table() for ranking in rankings), output, {"predictions": rankings})
