"""Count the costs of a variant or an ONNX file."""

from mnbench.network.cost_tables import Costs, Per
from mnbench.network.network import build_network
from mnbench.network.variant import ModelSource, Variant


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
    if str(source.inputs):
        model.make_inputs(0)  # a file of fixed sizes is counted without inputs, and would not notice
    if model.counted.error:
        raise model.counted.error
    return Costs(
        name=model.name,
        resolution=model.resolution,
        layers=model.layers,
        notes=model.counted.notes,
        per=per,
    )
