"""Whether a model on a device puts out what another, or its own definition, says."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from mnbench import atomic_files
from mnbench.bench.benchmark import ready_device
from mnbench.bench.request import setting_request
from mnbench.errors import BuildError, TrialError
from mnbench.model.build import build_model
from mnbench.model.equivalence import (
    OUTPUT_TOLERANCES,
    SELF_REFERENCE_TOLERANCE,
    OutputDifference,
    compare_output,
    reference_outputs,
)
from mnbench.model.inputs import load_inputs, random_inputs
from mnbench.model.model import Model
from mnbench.network.variant import ModelSource, Precision, Variant
from mnbench.progress import OnProgress
from mnbench.tables.table import Column, Table
from mnbench.targets.device import Device
from mnbench.targets.transport import call_worker, provide_file
from mnbench.units import format_percent_1
from mnbench.worker.session import pack_array

ModelInputs: TypeAlias = dict[str, NDArray[Any]]

TIMEOUT_S = 120.0
RANDOM_INPUTS = 8


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared, and how far apart the outputs lie. `placement` is how many nodes each provider took."""

    agrees: bool
    model: str
    against: str
    outputs: tuple[OutputDifference, ...]
    inputs: int
    tolerance: float
    precision: Precision
    device: str
    runtime: str
    provider: str
    placement: dict[str, int] | None

    def table(self) -> Table[OutputDifference]:
        """Return one row per output."""
        columns = [
            Column[OutputDifference](name="output", value=lambda output: output.name, left=True),
            Column[OutputDifference](name="max_abs", title="largest\ndifference", format="{:.1e}".format),
            Column[OutputDifference](name="relative", title="of the\nspread", format="{:.1e}".format),
            Column[OutputDifference](
                name="top1_agreement",
                title="top-1\nagreement",
                format=format_percent_1,
            ),
        ]
        agrees = "agrees" if self.agrees else "DIFFERS"
        inputs = f"{self.inputs} input" + ("s" if self.inputs != 1 else "")
        title = (
            f"{self.model} on {self.device} ({self.runtime} {self.provider}) {agrees}\n"
            f"with {self.against} by onnxruntime's CPU without optimizations, {inputs}"
        )
        elsewhere = [
            f"{count} nodes ran on {provider} and not on {self.provider}"
            for provider, count in (self.placement or {}).items()
            if provider != self.provider
        ]
        note = f"of the spread: a share of the expected output's standard deviation; up to {self.tolerance:g} agrees"
        return Table(columns=columns, rows=self.outputs, title=title, notes=[note, *elsewhere])


def verify(
    model: Model,
    against: Model,
    device: Device,
    inputs: Sequence[ModelInputs],
    *,
    path: Path,
    precision: Precision,
    tolerance: float | None = None,
) -> Verification:
    """Run the model, which `path` holds, on the device, and the other by definition; compare them input by input.

    Raises:
        BuildError: they do not take or give the same, or onnxruntime's CPU cannot run `against`.
        TrialError, RuntimeUnavailable, UnreachableError: the device cannot run the model.
    """
    _same_inputs(model, against)
    answer = call_worker(device, _request(device, path, inputs), timeout_s=TIMEOUT_S)
    result = [[np.frombuffer(data, dtype).reshape(shape) for dtype, shape, data in item] for item in answer["outputs"]]
    renamed = [dict(zip(random_inputs(against.proto, 0), arrays.values(), strict=True)) for arrays in inputs]
    expected = [reference_outputs(against.to_bytes(), arrays, name=against.name) for arrays in renamed]
    names = [output.name for output in model.proto.graph.output]
    for item, other in zip(result, expected, strict=True):
        if [array.shape for array in item] != [array.shape for array in other]:
            raise TrialError(
                f"{model.name} and {against.name} put out {[array.shape for array in item]} and "
                f"{[array.shape for array in other]}",
                hint="compare models of the same task",
            )
    outputs = tuple(
        compare_output(name, np.stack([item[at] for item in expected]), np.stack([item[at] for item in result]))
        for at, name in enumerate(names)
    )
    allowed = tolerance or device.tolerance or OUTPUT_TOLERANCES[precision]
    placement: Mapping[str, Sequence[str]] | None = answer["placement"]
    return Verification(
        agrees=all(output.relative is not None and output.relative <= allowed for output in outputs),
        model=model.name,
        against=against.name,
        outputs=outputs,
        inputs=sum(len(next(iter(arrays.values()))) for arrays in inputs),
        tolerance=allowed,
        precision=precision,
        device=device.name,
        runtime=f"{device.runtime} {answer['runtime_version']}",
        provider=device.provider,
        placement={provider: len(nodes) for provider, nodes in placement.items()} if placement else None,
    )


def _request(device: Device, path: Path, inputs: Sequence[ModelInputs]) -> dict[str, Any]:
    return {
        "kind": "outputs",
        **setting_request(device),
        "model": provide_file(device, path),
        "inputs": [{name: pack_array(array) for name, array in arrays.items()} for arrays in inputs],
    }


def _same_inputs(model: Model, against: Model) -> None:
    """Refuse models that take inputs of other sizes or types.

    Raises:
        BuildError: they do.
    """
    kinds = [
        [(array.shape, str(array.dtype)) for array in random_inputs(item.proto, 0).values()]
        for item in (model, against)
    ]
    if kinds[0] != kinds[1]:
        taken = (", ".join(f"{shape} {dtype}" for shape, dtype in kind) for kind in kinds)
        raise BuildError(
            f"{model.name} and {against.name} take other inputs: {' and '.join(taken)}",
            hint="compare models of one size and batch",
        )


def verify_model(
    source: ModelSource,
    reference: ModelSource | None,
    device: Device,
    *,
    inputs: Sequence[Path] = (),
    random_input_count: int | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Verification:
    """Build a model, run it on the device and compare its outputs with those of a reference.

    Without a `reference`, the outputs must be what the model's own graph defines in fp32. `inputs` are files; without
    them, random inputs are used.

    Raises:
        BuildError: a model cannot be built, or the two take different inputs.
        TrialError, RuntimeUnavailable, UnreachableError: the device cannot run the model.
    """
    device = ready_device(device, on_progress)
    model = _build(source, seed)
    other = _build(reference, seed) if reference else None
    is_own_reference = model.plain is None
    if other is None and is_own_reference and model.precision == "int8":
        tolerance = tolerance or SELF_REFERENCE_TOLERANCE
    own_name = "itself" if is_own_reference else "its plain graph in fp32"
    precisions: list[Precision] = [model.precision, *([other.precision] if other else [])]
    all_inputs = load_inputs(inputs, model.proto) if inputs else []
    count = random_input_count or (0 if inputs else RANDOM_INPUTS)
    all_inputs += [random_inputs(model.proto, seed + index) for index in range(count)]
    with tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        path = Path(folder) / "model.onnx"
        atomic_files.write_atomically(path, model.to_bytes(), durable=False)
        return verify(
            model,
            other or replace(model.reference, name=own_name),
            device,
            all_inputs,
            path=path,
            precision=max(precisions, key=OUTPUT_TOLERANCES.__getitem__),
            tolerance=tolerance,
        )


def _build(source: ModelSource, seed: int) -> Model:
    return build_model(source, seed=seed, simplified=isinstance(source, Variant))
