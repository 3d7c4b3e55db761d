"""Choose the most accurate network for a budget."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnbench.cli.options import format_option, host_option, results_option
from mnbench.cli.output import emit
from mnbench.cli.param_types import DURATION_S, SIZE_BYTES, WorkspaceName
from mnbench.network.architecture import METRICS
from mnbench.units import NS_PER_S

if TYPE_CHECKING:
    from mnbench.results.pick import Criterion


@click.command(epilog="\b\nExample:\n  mnbench pick --budget 10ms\n  mnbench pick --budget 5ms --max-size 10MB")
@click.option("--budget", required=True, type=DURATION_S, help="Limit of the latency: 10ms.")
@click.option("--max-size", "max_bytes", type=SIZE_BYTES, help="Limit of the weights' size: 10MB.")
@click.option(
    "--best",
    default="top1",
    type=click.Choice([*METRICS, "params"]),
    help="Pick the variant with the most of this: a published accuracy, or params.",
)
@click.option(
    "--device", type=WorkspaceName("devices"), help="Device whose results to use. Default: every device with results."
)
@results_option
@host_option
@format_option()
def command(
    *,
    budget: float,
    max_bytes: int | None,
    best: "Criterion",
    device: str | None,
    results: Path,
    host: str | None,
    output: str,
) -> None:
    """Choose the most accurate network for a budget.

    Choose, among the variants in the results, the one with the highest published accuracy whose interval of latency
    ends within the budget. Also show the variants that it beat and those that exceed the budget. Nothing is measured.
    """
    from mnbench.results.pick import pick
    from mnbench.results.selection import load_records

    records, notes = load_records(results, [device] if device else [], host=host)
    picks = pick(records, budget_ns=round(budget * NS_PER_S), max_bytes=max_bytes, best=best)
    emit((choice.table() for choice in picks), output, {"choices": [choice.to_dict() for choice in picks]}, notes=notes)
