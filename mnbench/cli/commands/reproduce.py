"""`mnbench reproduce`."""

import click

from mnbench import families
from mnbench.cli.options import echo_json, format_option
from mnbench.cli.param_types import TableName
from mnbench.workspace import table_paths


@click.command(epilog="\b\nExample:\n  mnbench reproduce v2\n  mnbench reproduce --disputed")
@click.argument("graphs", nargs=-1, metavar="[GRAPH]...", type=TableName("graphs", ".toml"))
@click.option("--disputed", is_flag=True, help="Only the figures that no count gives, with the reason.")
@format_option()
def command(*, graphs: tuple[str, ...], disputed: bool, output: str) -> None:
    """Put published figures beside ours.

    Each is equal, truncated, or disputed with the reason. Without a GRAPH, those of every graph. Accuracies and
    latencies are the sources', for reading.
    """
    from mnbench.network import published_table
    from mnbench.network.published_figures import reproduce

    names = graphs or tuple(table_paths("graphs"))
    figures = [figure for name in names for figure in reproduce(families.architecture(name))]
    shown = [figure for figure in figures if figure.verdict == "disputed" or not disputed]
    if output == "json":
        echo_json(
            {"figures": [published_table.figure_payload(one) for one in shown], "tally": published_table.tally(figures)}
        )
        return
    from mnbench.tables.render import echo

    echo(published_table.figure_table(shown, figures), output)
