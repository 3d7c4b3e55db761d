"""Show which cost predicts latency."""

from pathlib import Path

import click

from mnbench.cli.options import devices_argument, format_option, host_option, results_option, seed_option
from mnbench.cli.output import emit


@click.command(epilog="\b\nExample:\n  mnbench predict\n  mnbench predict cpu --format json")
@devices_argument
@results_option
@host_option
@seed_option("Seed for the bootstrap of the intervals.")
@format_option()
def command(*, devices: tuple[str, ...], results: Path, host: str | None, seed: int, output: str) -> None:
    """Show which cost predicts latency.

    Fit latency to Mult-Adds, to memory access, to both and to the roofline bound, for each device and setting in the
    results. Show how close each fit is, and its error for variants and for families that were left out of it. Nothing
    is measured.
    """
    from mnbench.analysis.cost_models import fit_cost_models
    from mnbench.results.selection import load_records

    records, notes = load_records(results, devices, host=host)
    rankings = fit_cost_models(records, seed=seed)
    emit((ranking.table() for ranking in rankings), output, {"predictions": rankings}, notes=notes)
