"""Made models become cells: their bytes in a folder, their costs beside them."""

from pathlib import Path

from mnbench import files
from mnbench.measure.plan import Cell
from mnbench.model.layers_of import layers_of
from mnbench.model.make import Made
from mnbench.network.cost import cost, layer_cost, peak_activation_bytes


def prepare(made: Made, folder: Path, *, variant: str) -> Cell:
    """Write the model into `folder` and count it; `variant` is the name that its records get."""
    path = folder / f"{made.model.sha256}.onnx"
    files.write(path, made.model.data, durable=False)
    return Cell(
        variant=variant,
        architecture=made.architecture,
        alpha=made.alpha,
        resolution=made.resolution,
        path=path,
        sha256=made.model.sha256,
        cost=cost(made.layers, made.element_bytes),
        peak_activation_bytes=peak_activation_bytes(made.layers, made.element_bytes),
        node_mult_adds={layer.scope: layer_cost(layer).mult_adds for layer in layers_of(made.model)},
    )
