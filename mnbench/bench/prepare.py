"""Turn built models into benchmark cases: files with model, inputs and expected outputs, and costs."""

import hashlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnbench import atomic_files
from mnbench.bench.plan import BenchmarkCase
from mnbench.model.equivalence import QUANTIZATION_SHARE, move
from mnbench.model.input_sizes import image_size
from mnbench.model.inputs import MadeInput
from mnbench.model.model import Model
from mnbench.model.outputs import read_outputs
from mnbench.model.reference import REFERENCE_RUN, Value, reference_outputs
from mnbench.model.stored_tensors import denormal_share
from mnbench.results.record import FedInput


def prepare_case(model: Model, folder: Path, *, variant: str, seed: int, file: str | None = None) -> BenchmarkCase:
    """Write the model, inputs and the reference's outputs into `folder`, and count costs.

    Records of the case are named `variant`; `file` is the path of a user's file.

    Raises:
        BuildError, RuntimeUnavailable: onnxruntime's CPU provider cannot compute the outputs.
        FileError: no space, no permission.
    """
    path = model.file_in(folder)
    described = model.describe_inputs(seed)
    inputs = {name: entry.array for name, entry in described.items()}
    values: dict[str, Value] = {f"in.{name}": array for name, array in inputs.items()}
    references = {"out": (model.reference, inputs)}
    if model.precision == "int8":
        # Rounding moves its outputs far from fp32's, so a wrong output shows only against the graph's own definition.
        references = {"own": (model, inputs), "moved": (model, move(inputs, QUANTIZATION_SHARE))}
        references |= {} if model.plain is None else {"out": (model.plain, inputs)}
    for prefix, (reference, feed) in references.items():
        outputs = reference.run_native(
            REFERENCE_RUN, reference_outputs, reference.session_source(), feed, reference.origin
        )
        values |= {f"{prefix}.{index}": output for index, output in enumerate(outputs)}
    arrays = {name: value for name, value in values.items() if value is not None}
    # Strings are stored without pickle.
    arrays |= {name: array.astype(np.str_) for name, array in arrays.items() if array.dtype.kind == "O"}
    packed = BytesIO()
    np.savez(packed, allow_pickle=False, **arrays)
    # One file may be measured with several inputs.
    inputs_path = folder / f"{model.sha256}.{hashlib.sha256(variant.encode()).hexdigest()[:8]}.npz"
    atomic_files.write_atomically(inputs_path, packed.getvalue(), durable=False)
    plain = model.variant is not None and model.difference is None
    return BenchmarkCase(
        variant=variant,
        architecture=model.variant.architecture.name if model.variant else None,
        alpha=model.alpha,
        resolution=model.resolution,
        precision=model.precision,
        batch=_batch(model, inputs),
        path=path,
        inputs_path=inputs_path,
        inputs=tuple(_describe(name, entry) for name, entry in described.items()),
        sha256=model.sha256,
        cost=model.cost,
        peak_activation_bytes=model.peak_activation_bytes,
        layers=model.node_layers,
        data_bytes=model.data_bytes,
        file=file,
        moved_bytes=model.counted.moved_bytes,
        count_notes=() if model.variant else model.reference.counted.notes,
        outputs=read_outputs(model.proto),
        source=model.variant,
        simplified=not plain,
        fold_batch_norm=not model.keeps_batch_norm,
        denormal_share=denormal_share(model.proto),
    )


def _batch(model: Model, inputs: Mapping[str, NDArray[Any]]) -> int | None:
    """Return the number of images per run, or the `--batch` of a file; None if its first axis may be another one."""
    if model.input_options.batch is not None:
        return model.input_options.batch
    shapes = [array.shape for array in inputs.values() if model.variant or image_size(array.shape)]
    return shapes[0][0] if shapes else None


def _describe(name: str, entry: MadeInput) -> FedInput:
    data = entry.array.tobytes() if entry.array.dtype != object else "\0".join(entry.array.flat).encode()
    return FedInput(
        name=name,
        type=str(entry.array.dtype),
        shape=entry.array.shape,
        values=entry.values,
        chosen=entry.chosen,
        sha256=hashlib.sha256(data).hexdigest(),
        assumed=entry.assumed,
    )
