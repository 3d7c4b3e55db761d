"""Made models become cells: bytes and right answers in a folder, costs beside them."""

from io import BytesIO
from pathlib import Path

import numpy as np

from mnbench import atomic_files
from mnbench.bench.plan import BenchmarkCase
from mnbench.errors import BuildError
from mnbench.model import equivalence
from mnbench.model.build import BuiltModel
from mnbench.model.inputs import random_inputs
from mnbench.model.onnx_layers import onnx_layers
from mnbench.network.cost import peak_activation_bytes, total_cost


def prepare_case(built: BuiltModel, folder: Path, *, variant: str, seed: int) -> BenchmarkCase:
    """Write the model into `folder`, with inputs and what the reference answers to them, and count it.

    `variant` is the name that its records get.

    Raises:
        BuildError, RuntimeUnavailable: onnxruntime's CPU provider cannot tell the answer.
        FileError: no space, no permission.
    """
    path = folder / f"{built.model.sha256}.onnx"
    atomic_files.write_atomically(path, built.model.data, durable=False)
    inputs = random_inputs(built.model.proto, seed)
    answers = equivalence.reference_outputs(built.reference.data, inputs, name=variant)
    if any(array.dtype.kind not in "biuf" for array in (*inputs.values(), *answers)):
        raise BuildError(f"{variant}: an input or output is no number", hint="cut the model down to its numeric part")
    feed = {f"in.{name}": array for name, array in inputs.items()}
    feed |= {f"out.{index}": array for index, array in enumerate(answers)}
    if built.precision == "int8":
        # Rounding moves its outputs far from fp32's: only against its own definition can a wrong one be told.
        own = equivalence.reference_outputs(built.model.data, inputs, name=variant)
        feed |= {f"own.{index}": array for index, array in enumerate(own)}
    packed = BytesIO()
    np.savez(packed, allow_pickle=False, **feed)
    atomic_files.write_atomically(path.with_suffix(".npz"), packed.getvalue(), durable=False)
    plain = built.variant is not None and built.difference is None
    nodes = built.model.proto.graph.node
    batch_norms = built.variant is not None and any(node.op_type == "BatchNormalization" for node in nodes)
    return BenchmarkCase(
        variant=variant,
        architecture=built.architecture,
        alpha=built.alpha,
        resolution=built.resolution,
        precision=built.precision,
        batch=next((array.shape[0] for array in inputs.values() if array.ndim), 1),
        path=path,
        inputs_path=path.with_suffix(".npz"),
        sha256=built.model.sha256,
        cost=total_cost(built.layers, built.element_bytes),
        peak_activation_bytes=peak_activation_bytes(built.layers, built.element_bytes),
        layers=onnx_layers(built.model),
        source=built.variant,
        simplified=not plain,
        fold_batch_norm=plain or not batch_norms,
    )
