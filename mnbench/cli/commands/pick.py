"""Choose the most accurate network for a budget."""

import re
from pathlib import Path
from typing import Any, Literal

import click

from mnbench.cli.options import format_option, results_option
from mnbench.cli.output import emit
from mnbench.cli.param_types import Duration, WorkspaceName
from mnbench.units import NS_PER_S


class ByteSize(click.ParamType[int]):
    """`10MB`, in bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Decimal units, as the tables have them."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(kB|KB|MB|GB)", str(value))
        size_bytes = round(float(match[1]) * {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}[match[2][0]]) if match else 0
        if size_bytes < 1:
            self.fail(f"{value!r} is no size such as 10MB or 500kB", param, ctx)
        return size_bytes


@click.command(epilog="\b\nExample:\n  mnbench pick --budget 10ms\n  mnbench pick --budget 5ms --max-size 10MB")
@click.option("--budget", required=True, type=Duration(), help="What an inference may take: 10ms.")
@click.option("--max-size", "max_bytes", type=ByteSize(), help="What its weights may take: 10MB.")
@click.option(
    "--best",
    default="top1",
    show_default=True,
    type=click.Choice(["top1", "params"]),
    help="Pick the variant with the most of this: published top-1 accuracy, or params.",
)
@click.option("--device", type=WorkspaceName("devices"), help="Whose results. Default: each that there are results of.")
@results_option
@format_option()
def command(
    *,
    budget: float,
    max_bytes: int | None,
    best: Literal["top1", "params"],
    device: str | None,
    results: Path,
    output: str,
) -> None:
    """Choose the most accurate network for a budget.

    Of the variants that were measured, the one with the highest published accuracy whose latency, to the upper end of
    its interval, is within the budget; with what it beat, and what does not fit. Nothing is measured.
    """
    from mnbench.results.pick import pick
    from mnbench.results.selection import load_records

    records = load_records(results, [device] if device else [])
    picks = pick(records, budget_ns=round(budget * NS_PER_S), max_bytes=max_bytes, best=best)
    emit((choice.table() for choice in picks), output, {"choices": [choice.to_dict() for choice in picks]})
