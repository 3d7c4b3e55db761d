"""List the architectures, or show one row by row."""

from typing import Any

import click

from mnbench import families
from mnbench.cli.options import format_option, select_sources, variant_options
from mnbench.cli.output import emit
from mnbench.network.model_file import read_model_file
from mnbench.network.variant import Variant
from mnbench.workspace import is_built_in, table_paths


@click.group(
    invoke_without_command=True, epilog="\b\nExample:\n  mnbench graphs\n  mnbench graphs show v1 --alpha 0.5 --res 160"
)
@format_option()
@click.pass_context
def command(ctx: click.Context, output: str) -> None:
    """List the architectures, or show one row by row."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_graphs, output=output)


@command.command("list", epilog="\b\nExample:\n  mnbench graphs list --format json")
@format_option()
def list_graphs(*, output: str) -> None:
    """List the architectures: built in, and from ./graphs."""
    from mnbench.targets import listing

    known, paths = families.architectures(), table_paths("graphs")
    models = [file for path in paths.values() if (file := read_model_file(path))]
    local = {name: str(path) for name, path in paths.items() if not is_built_in(path, "graphs")}
    graphs = [{**listing.graph_to_dict(architecture), "file": local.get(architecture.name)} for architecture in known]
    data: dict[str, Any] = {"graphs": graphs}
    if models:
        data["models"] = [{"name": file.name, "path": file.row.file} for file in models]
    notes = [
        f"graph {architecture.name} is {local[architecture.name]}"
        for architecture in known
        if architecture.name in local
    ]
    table = listing.graph_table(known).with_notes(notes)
    emit([table, *([listing.model_file_table(models)] if models else [])], output, data)


@command.command(epilog="\b\nExample:\n  mnbench graphs show v1 --alpha 0.5 --res 160")
@variant_options
@format_option()
def show(*, output: str, **selection: Any) -> None:
    """Show graphs row by row, as the paper's table does, with the shapes and costs at that α and resolution."""
    from mnbench.network.cost_tables import row_costs_to_dict, row_table
    from mnbench.network.network import build_network

    chosen = [source for source in select_sources(**selection) if isinstance(source, Variant)]
    if not chosen or len(chosen) < len(selection["graphs"]):
        raise click.UsageError("name a graph: mnbench graphs show v1 (of an .onnx file: mnbench cost FILE --layers)")
    networks = [build_network(variant) for variant in chosen]
    data = [row_costs_to_dict(network) for network in networks]
    emit(map(row_table, networks), output, data[0] if len(data) == 1 else {"graphs": data})
