"""Whether a model on a device puts out what another, or its own definition, says."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from mnbench.bench.devices import ready_device
from mnbench.bench.request import convert, setting_request
from mnbench.errors import BuildError, TrialError
from mnbench.model.build import build_model
from mnbench.model.equivalence import OUTPUT_TOLERANCES, SELF_REFERENCE_TOLERANCE
from mnbench.model.input_files import load_batches
from mnbench.model.input_sizes import write_sizes
from mnbench.model.inputs import batch_size
from mnbench.model.model import Model
from mnbench.model.output_differences import Limits, OutputDifference, compare_outputs, shape_problem
from mnbench.model.outputs import read_outputs
from mnbench.model.reference import REFERENCE_RUN, run_reference
from mnbench.network.variant import ModelSource, Precision, Variant
from mnbench.progress import OnProgress
from mnbench.tables.table import Column, Table
from mnbench.targets.answers import OutputsAnswer, wrong_answer
from mnbench.targets.device import Device
from mnbench.targets.runtimes import runtime_facts
from mnbench.targets.transport import Heartbeats, call_worker, provide_file
from mnbench.temporary import temporary_folder
from mnbench.units import format_percent_1
from mnbench.worker.session import pack_value

TIMEOUT_S = 120.0
RANDOM_INPUTS = 8


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared, and how far apart the outputs lie. `placement` is how many nodes each provider took.

    `inconclusive` says why outputs without a problem prove nothing; None if they agree or differ.
    """

    agrees: bool
    inconclusive: str | None
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
        columns = [
            Column[OutputDifference](name="output", value=lambda output: output.name, left=True),
            Column[OutputDifference](name="max_abs", title="largest\ndifference", format="{:.1e}".format),
            Column[OutputDifference](name="relative", title="of the\nlargest", format="{:.1e}".format),
            Column[OutputDifference](name="noise", title="of the\nspread", format="{:.1e}".format),
            Column[OutputDifference](name="top1_agreement", title="top-1\nagreement", format=format_percent_1),
        ]
        agrees = "agrees" if self.agrees else "is INCONCLUSIVE" if self.inconclusive else "DIFFERS"
        inputs = f"{self.inputs} input" + ("s" if self.inputs != 1 else "")
        title = f"{self.model} on {self.device} ({self.runtime} {self.provider}) {agrees}"
        subtitle = f"with {self.against} by onnxruntime's CPU without optimizations, {inputs}"
        elsewhere = [
            f"{count} nodes ran on {provider} and not on {self.provider}"
            for provider, count in (self.placement or {}).items()
            if provider != self.provider
        ]
        notes = [
            f"of the largest: the largest difference as a share of the largest number; up to {self.tolerance:g} agrees",
            "of the spread: the root mean square of the differences as a share of the expected standard deviation",
            *(f"`{output.name}` {output.problem}" for output in self.outputs if output.problem),
            *(f"not compared: {output.not_compared}" for output in self.outputs if output.not_compared),
            *(
                f"output `{output.name}` does not depend on the input: equality proves little"
                for output in self.outputs
                if output.varies is False and not self.inconclusive
            ),
            *([f"inconclusive: {self.inconclusive}"] if self.inconclusive else []),
        ]
        notes += elsewhere
        return Table(columns=columns, rows=self.outputs, title=title, subtitles=[subtitle], notes=notes)


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
    """Build a model, run it on the device and compare its outputs with those of a reference, input by input.

    Without a `reference`, the outputs must be what the model's own graph defines in fp32. `inputs` are files; without
    them, random inputs are used.

    Raises:
        BuildError: a model cannot be built, the two take different inputs, or onnxruntime's CPU cannot run `reference`.
        TrialError, RuntimeUnavailable, UnreachableError: the device cannot run the model.
    """
    device = ready_device(device, on_progress)
    model = build_model(source, seed=seed, simplified=isinstance(source, Variant))
    precision = model.precision
    if reference:
        against = build_model(reference, seed=seed, simplified=isinstance(reference, Variant))
        precision = max(precision, against.precision, key=OUTPUT_TOLERANCES.__getitem__)
    else:
        against = replace(model.reference, name="its plain graph in fp32" if model.plain else "itself")
    is_self_reference = precision == "int8" and not reference and not model.plain
    usual = SELF_REFERENCE_TOLERANCE if is_self_reference else OUTPUT_TOLERANCES[precision]
    # Whoever gives a tolerance decides what agrees: how the output varies does not matter then.
    limits = Limits(tolerance, noise=None) if tolerance else Limits(max(device.tolerance or 0, usual))
    all_inputs = load_batches(inputs, model) if inputs else []
    count = random_input_count or (0 if inputs else RANDOM_INPUTS)
    all_inputs += [model.make_inputs(seed + index) for index in range(count)]
    input_names = _shared_inputs(model, against)
    expected = against.run_native(
        REFERENCE_RUN._replace(timeout_s=len(all_inputs) * REFERENCE_RUN.timeout_s),
        run_reference,
        against.session_source(),
        [dict(zip(input_names, arrays.values(), strict=True)) for arrays in all_inputs],
        against.origin if reference else model.origin,
    )
    answer = _run(model, device, all_inputs)
    outputs = read_outputs(model.proto)
    if problem := shape_problem(outputs, expected, answer.outputs):
        raise TrialError(
            f"{model.name} and {against.name} have other outputs: {problem}", hint="compare models of the same task"
        )
    differences = compare_outputs(outputs, expected, answer.outputs, limits)
    inconclusive = _inconclusive(differences)
    return Verification(
        agrees=not inconclusive and not any(output.problem for output in differences),
        inconclusive=inconclusive,
        model=model.name,
        against=against.name,
        outputs=differences,
        inputs=sum(map(batch_size, all_inputs)),
        tolerance=limits.tolerance,
        precision=precision,
        device=device.name,
        runtime=f"{device.runtime} {answer.runtime_version}",
        provider=device.provider,
        placement={name: len(nodes) for name, nodes in answer.placement.items()} if answer.placement else None,
    )


def _inconclusive(differences: Sequence[OutputDifference]) -> str | None:
    """Return why outputs without a problem prove nothing; None if they prove something, or have one."""
    compared = [output for output in differences if not output.not_compared]
    if any(output.problem for output in compared):
        return None
    if not compared:
        return "no output could be compared"
    if all(output.varies is False for output in compared):
        return "no output depends on the inputs that were fed; give others with --input"
    return None


def _shared_inputs(model: Model, against: Model) -> list[str]:
    """Return the names of the inputs of `against`, which must have the shapes and types of those of `model`.

    Raises:
        BuildError: they have not.
    """
    inputs, other_inputs = model.make_inputs(0), against.make_inputs(0)
    kinds, other_kinds = (
        [(array.shape, str(array.dtype)) for array in arrays.values()] for arrays in (inputs, other_inputs)
    )
    if kinds != other_kinds:
        taken = (", ".join(f"{shape} {dtype}" for shape, dtype in kind) for kind in (kinds, other_kinds))
        raise BuildError(
            f"{model.name} and {against.name} take other inputs: {' and '.join(taken)}",
            hint="compare models of one size and batch",
        )
    return list(other_inputs)


def _convert(model: Model, device: Device, inputs: Mapping[str, NDArray[Any]], folder: Path) -> Path:
    """Write the model in the format that the device's runtime reads; converters do not take open sizes."""
    sized, converted = folder / "sized.onnx", folder / "converted"
    if not model.data_bytes:
        shapes = {name: array.shape for name, array in inputs.items()}
        sized.write_bytes(write_sizes(model.proto, shapes).SerializeToString())
    converted.write_bytes(convert(device, sized, inputs, data_bytes=model.data_bytes).model)
    return converted


def _run(model: Model, device: Device, inputs: Sequence[Mapping[str, NDArray[Any]]]) -> OutputsAnswer:
    """Return the worker's answer: the outputs for each input, and the placement of the nodes."""
    with temporary_folder() as folder:
        path = model.file_in(folder)
        if not runtime_facts(device.runtime).reads_onnx:
            path = _convert(model, device, inputs[0], folder)
        request = {
            "kind": "outputs",
            **setting_request(device),
            "model": provide_file(device, path, data_bytes=model.data_bytes),
            "inputs": [{name: pack_value(array) for name, array in arrays.items()} for arrays in inputs],
        }
        heartbeats = Heartbeats(limit=len(inputs), planned_runs=1)
        answer = call_worker(device, request, OutputsAnswer, timeout_s=TIMEOUT_S, heartbeats=heartbeats)
    if len(answer.outputs) != len(inputs):
        raise wrong_answer(
            f"device {device.name}", f"outputs for {len(answer.outputs)} inputs in place of {len(inputs)}"
        )
    return answer
