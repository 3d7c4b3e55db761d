"""Count params, Mult-Adds and memory access."""

from dataclasses import replace
from typing import Any

import click

from mnbench.cli.options import format_option, select_sources, variant_options
from mnbench.cli.output import emit, fail_if_rejected, rejected_to_dict


@click.command(epilog="\b\nExample:\n  mnbench cost v1 --alpha 1,0.5 --res 224,160\n  mnbench cost model.onnx --layers")
@variant_options
@click.option("--layers", is_flag=True, help="One row per layer; with --format json, add the layers.")
@click.option("--types", is_flag=True, help="One row per layer type, with its share.")
@format_option()
def command(*, layers: bool, types: bool, output: str, **selection: Any) -> None:
    """Count params, Mult-Adds and memory access.

    GRAPH is a graph's or variant's name, a path to a .toml table or a path to an .onnx model. Nothing is measured, and
    graphs do not need the onnx package. Mult-Adds are counted once and exclude bias, batch normalization and
    activations.
    """
    if layers and types:
        raise click.UsageError("--layers and --types show different tables: use one of them")
    if not selection["graphs"]:
        raise click.UsageError("name a graph or an .onnx file: mnbench cost v1")
    from mnbench.model.attempts import attempt_each
    from mnbench.model.count import count_model
    from mnbench.network.cost_tables import cost_table
    from mnbench.network.row import row_labels

    per = "layer" if layers else "type" if types else "model"
    sources = select_sources(**selection)
    labels = row_labels(source.row for source in sources)
    costs, rejected = attempt_each(sources, lambda source: replace(count_model(source, per), name=labels[source.row]))
    if per == "model":
        tables = [cost_table(costs).with_failures(rejected)]
    else:
        tables = [*(item.table() for item in costs), *([cost_table([]).with_failures(rejected)] if rejected else [])]
    data = [item.to_dict() for item in costs]
    emit(tables, output, data[0] if len(sources) == 1 else {"costs": data, **rejected_to_dict(rejected)})
    fail_if_rejected(rejected, len(sources))
