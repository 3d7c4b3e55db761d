"""Fail if any row of a latency table became slower."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnbench.cli.decisions import decision_options, emit_comparison
from mnbench.cli.options import format_option
from mnbench.cli.progress_bar import ProgressBar, verbosity_options
from mnbench.results.host_selection import ALL_HOSTS

if TYPE_CHECKING:
    from mnbench.comparison.procedure import ComparisonSettings


@click.command(
    epilog="\b\nExample:\n  mnbench gate results/cpu.jsonl\n  mnbench gate results/cpu.jsonl --base-ref main"
    "\n  mnbench gate results/cpu.jsonl --report junit=gate.xml --report markdown=gate.md"
)
@click.argument("table", type=click.Path(path_type=Path))
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--base-ref",
    metavar="REV",
    help="Take the baseline's table and graphs from another git revision, and its mnbench if you trust it.",
)
@click.option("--all", "measure_unchanged", is_flag=True, help="Measure unchanged rows too.")
@click.option(
    "--host", default=ALL_HOSTS, help="Compare the rows of this host: the name or digest that a table's title shows."
)
@decision_options
@verbosity_options
@format_option()
def command(
    *,
    table: Path,
    models: tuple[str, ...],
    base_ref: str | None,
    measure_unchanged: bool,
    host: str,
    results: Path,
    reports: Sequence[tuple[str, Path]],
    output: str,
    device: str | None,
    settings: "ComparisonSettings",
) -> None:
    """Fail if any row of a latency table became slower.

    TABLE is a file that `mnbench run` wrote: results/cpu.jsonl. The model of each row is built as it was and as it is
    now, and both are measured in interleaved runs; the stored latency is not used. Unchanged rows are not measured.
    MODEL replaces your own .onnx file of the same name, and NAME=model.onnx that of the row NAME. Rows of every host
    are compared: all figures are measured here. Exit code 0: no row is slower; 3: some rows are; 4: inconclusive.
    """
    from mnbench.comparison.compare import gate_table
    from mnbench.families import find_model
    from mnbench.network.variant import OnnxFile

    with ProgressBar() as bar:
        comparison = gate_table(
            table,
            settings,
            device=device,
            user_models=[find_model(model) or OnnxFile(path=Path(model)) for model in models],
            host=host,
            base_ref=base_ref,
            measure_unchanged=measure_unchanged,
            results=results,
            on_progress=bar,
        )
    emit_comparison(comparison, results, output, reports)
