"""`mnbench predict`."""

from pathlib import Path

import click

from mnbench.cli.options import echo_json, format_option
from mnbench.cli.param_types import TableName


@click.command(epilog="\b\nExample:\n  mnbench predict\n  mnbench predict cpu --format json")
@click.argument("devices", nargs=-1, metavar="[DEVICE]...", type=TableName("devices"))
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
    from mnbench.analysis.cost_model_table import prediction_payload, prediction_table
    from mnbench.analysis.cost_models import predictions
    from mnbench.results.selection import chosen

    found = predictions(chosen(results, devices), seed=seed)
    if output == "json":
        echo_json({"predictions": [prediction_payload(one) for one in found]})
        return
    from mnbench.tables.render import echo

    for at, one in enumerate(found):
        if at:
            click.echo()
        echo(prediction_table(one), output)
