"""Made models become cells: bytes and right answers in a folder, costs beside them."""

from io import BytesIO
from pathlib import Path

import numpy as np

from mnbench import atomic_files
from mnbench.bench.plan import Cell
from mnbench.errors import BuildError
from mnbench.model import equivalence
from mnbench.model.build import Made
from mnbench.model.inputs import seeded_feed
from mnbench.model.onnx_layers import layers_of
from mnbench.network.cost import cost, peak_activation_bytes


def prepare(made: Made, folder: Path, *, variant: str, seed: int) -> Cell:
    """Write the model into `folder`, with inputs and what the reference answers to them, and count it.

    `variant` is the name that its records get.

    Raises:
        BuildError, RuntimeUnavailable: onnxruntime's CPU provider cannot tell the answer.
        FileError: no space, no permission.
    """
    path = folder / f"{made.model.sha256}.onnx"
    atomic_files.write(path, made.model.data, durable=False)
    inputs = seeded_feed(made.model.proto, seed)
    answers = equivalence.run(made.reference.data, inputs, name=variant)
    if any(array.dtype.kind not in "biuf" for array in (*inputs.values(), *answers)):
        raise BuildError(f"{variant}: an input or output is no number", hint="cut the model down to its numeric part")
    feed = {f"in.{name}": array for name, array in inputs.items()}
    feed |= {f"out.{index}": array for index, array in enumerate(answers)}
    if made.precision == "int8":
        # Rounding moves its outputs far from fp32's: only against its own definition can a wrong one be told.
        own = equivalence.run(made.model.data, inputs, name=variant)
        feed |= {f"own.{index}": array for index, array in enumerate(own)}
    packed = BytesIO()
    np.savez(packed, allow_pickle=False, **feed)
    atomic_files.write(path.with_suffix(".npz"), packed.getvalue(), durable=False)
    return Cell(
        variant=variant,
        architecture=made.architecture,
        alpha=made.alpha,
        resolution=made.resolution,
        precision=made.precision,
        batch=next((array.shape[0] for array in inputs.values() if array.ndim), 1),
        path=path,
        feed=path.with_suffix(".npz"),
        sha256=made.model.sha256,
        cost=cost(made.layers, made.element_bytes),
        peak_activation_bytes=peak_activation_bytes(made.layers, made.element_bytes),
        layers=layers_of(made.model),
    )
