"""Compare our counts with the published figures."""

from typing import TYPE_CHECKING, Any

import click

from mnbench import families
from mnbench.cli.options import format_option
from mnbench.cli.output import emit
from mnbench.cli.param_types import WorkspaceName

if TYPE_CHECKING:
    from mnbench.tables.table import Table


@click.command(epilog="\b\nExample:\n  mnbench reproduce v2\n  mnbench reproduce --disputed")
@click.argument("graphs", nargs=-1, metavar="[GRAPH]...", type=WorkspaceName("graphs"))
@click.option("--disputed", is_flag=True, help="Show only figures that no count reproduces, with the reason.")
@format_option()
def command(*, graphs: tuple[str, ...], disputed: bool, output: str) -> None:
    """Compare our counts with the published figures.

    A figure agrees, is truncated, or is disputed with a reason. Without a GRAPH, compare those of every graph.
    Accuracies and latencies are shown as published and are not checked. The systems of the papers that no source
    describes layer by layer are listed last.
    """
    import msgspec

    from mnbench.network import published_figures

    known = [families.architecture(name) for name in graphs] if graphs else families.architectures()
    figures = [figure for architecture in known for figure in published_figures.check_published(architecture)]
    shown = [figure for figure in figures if figure.verdict == "disputed" or not disputed]
    data: dict[str, Any] = {
        "figures": msgspec.to_builtins(shown),
        "tally": published_figures.count_agreements(figures),
    }
    tables: list[Table[Any]] = [published_figures.published_figure_table(shown, figures)]
    if not graphs:
        unbuilt = published_figures.read_unbuilt()
        tables.append(published_figures.unbuilt_table(unbuilt))
        data |= {"unbuilt": msgspec.to_builtins(unbuilt)}
    emit(tables, output, data)
