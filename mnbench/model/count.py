"""Count the costs of a variant or an ONNX file."""

from mnbench.errors import InputError
from mnbench.network.cost_tables import Costs, Per
from mnbench.network.network import build_network
from mnbench.network.variant import ModelSource, Variant, format_assumed, format_inputs


def count_model(source: ModelSource, per: Per = "model") -> Costs:
    """Count a variant's layers, or those of an ONNX file; only a file needs the onnx package.

    Raises:
        FileError, BuildError: the file cannot be read, its inputs have open sizes, or what is given does not fit them.
    """
    if isinstance(source, Variant):
        return Costs(
            name=source.name,
            variant=source,
            resolution=source.resolution,
            layers=build_network(source).layers,
            per=per,
        )
    from mnbench.model.build import build_model  # noqa: PLC0415  variants need no onnx

    model = build_model(source, simplified=False)
    try:
        inputs = model.describe_inputs(0)
    except InputError:
        if str(source.inputs):
            raise  # a file of fixed sizes is counted without inputs, and would not notice
        inputs = {}
    if model.counted.error:
        raise model.counted.error
    assumed = format_assumed([name for name, entry in inputs.items() if entry.assumed])
    return Costs(
        name=model.name,
        resolution=model.resolution,
        inputs=format_inputs([(entry.array.shape, entry.values) for entry in inputs.values()]),
        layers=model.layers,
        notes=[assumed] * bool(assumed) + [*model.counted.notes],
        per=per,
    )
