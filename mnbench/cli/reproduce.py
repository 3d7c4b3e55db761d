"""`mnbench reproduce`."""

import click

from mnbench.cli.kinds import TableName
from mnbench.cli.options import echo_json, format_option
from mnbench.spec import locate


@click.command(epilog="\b\nExample:\n  mnbench reproduce v2\n  mnbench reproduce --disputed")
@click.argument("graphs", nargs=-1, metavar="[GRAPH]...", type=TableName("graphs", ".toml"))
@click.option("--disputed", is_flag=True, help="Only the figures that no count gives, with the reason.")
@format_option()
def command(*, graphs: tuple[str, ...], disputed: bool, output: str) -> None:
    """Put published figures beside ours.

    Each is equal, truncated, or disputed with the reason. Without a GRAPH, those of every graph. Accuracies and
    latencies are the sources', for reading.
    """
    from mnbench.network.reproduce import reproduce
    from mnbench.show import published

    names = graphs or tuple(locate.tables("graphs"))
    figures = [figure for name in names for figure in reproduce(locate.architecture(name))]
    shown = [figure for figure in figures if figure.verdict == "disputed" or not disputed]
    if output == "json":
        echo_json({"figures": [published.figure_payload(one) for one in shown], "tally": published.tally(figures)})
        return
    from mnbench.show.render import echo

    echo(published.figure_table(shown, figures), output)
