"""`mnbench cost`."""

from typing import Any

import click

from mnbench.cli.options import format_option, select_sources, variant_options
from mnbench.cli.output import emit


@click.command(epilog="\b\nExample:\n  mnbench cost v1 --alpha 1,0.5 --res 224,160\n  mnbench cost model.onnx --layers")
@variant_options
@click.option("--layers", is_flag=True, help="One row a layer; with --format json, add the layers.")
@click.option("--types", is_flag=True, help="One row a layer type, with its share.")
@format_option()
def command(*, layers: bool, types: bool, output: str, **selection: Any) -> None:
    """Count params, Mult-Adds and memory access.

    GRAPH is a name, a path to a .toml table or a path to an .onnx model. Nothing is measured, and for graphs not even
    onnx is needed. Mult-Adds are counted once and leave out bias, batch normalization and activations.
    """
    if layers and types:
        raise click.UsageError("--layers and --types are two tables: give one")
    if not selection["graphs"]:
        raise click.UsageError("name a graph or an .onnx file: mnbench cost v1")
    from mnbench.network import cost_tables

    counted = [_counted(source) for source in select_sources(**selection)]
    if layers:
        tables: list[Any] = [cost_tables.layer_table(item) for item in counted]
    elif types:
        tables = [cost_tables.type_table(item) for item in counted]
    else:
        tables = [cost_tables.cost_table(counted)]
    data = [item.to_dict(layers=layers) for item in counted]
    emit(tables, output, data[0] if len(data) == 1 else {"costs": data})


def _counted(source: Any) -> Any:
    from mnbench.network.cost_tables import CountedModel
    from mnbench.network.network import build_network
    from mnbench.network.variant import Variant

    if isinstance(source, Variant):
        layers = build_network(source).layers
        return CountedModel(
            source=source, resolution=source.resolution, layers=layers, element_bytes=source.element_bytes
        )
    from mnbench.model.build import build_model

    model = build_model(source, simplified=False)
    return CountedModel(
        source=source, resolution=model.resolution, layers=model.layers, element_bytes=model.element_bytes
    )
