"""Whether a model on a device puts out what another, or its own definition, says."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from mnbench.bench.request import setting_request
from mnbench.bench.trial import OUTPUT_TOLERANCES
from mnbench.errors import BuildError, TrialError
from mnbench.model import equivalence
from mnbench.model.inputs import random_inputs
from mnbench.model.model import Model
from mnbench.network.variant import Precision
from mnbench.targets.device import Device
from mnbench.targets.transport import call_worker, provide_file
from mnbench.worker.session import pack_array

Feed: TypeAlias = dict[str, NDArray[Any]]

TIMEOUT_S = 120.0


class OutputDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One output over all inputs.

    `max_abs` is the largest difference; `relative` that as a share of the standard deviation of what is expected. Both
    are None where an output is not finite, and `relative` where what is expected is constant and the difference is not
    nothing. `top1_agreement` is the share of inputs whose largest class is the same; None where there are no classes.
    """

    name: str
    max_abs: float | None
    relative: float | None
    top1_agreement: float | None


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


def verify(
    model: Model,
    against: Model,
    device: Device,
    feeds: Sequence[Feed],
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
    answer = call_worker(device, _request(device, path, feeds), timeout_s=TIMEOUT_S)
    result = [[np.frombuffer(data, dtype).reshape(shape) for dtype, shape, data in item] for item in answer["outputs"]]
    renamed = [dict(zip(random_inputs(against.proto, 0), feed.values(), strict=True)) for feed in feeds]
    expected = [equivalence.reference_outputs(against.data, feed, name=against.name) for feed in renamed]
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
        inputs=sum(len(next(iter(feed.values()))) for feed in feeds),
        tolerance=allowed,
        precision=precision,
        device=device.name,
        runtime=f"{device.runtime} {answer['runtime_version']}",
        provider=device.provider,
        placement={provider: len(nodes) for provider, nodes in placement.items()} if placement else None,
    )


def compare_output(name: str, expected: NDArray[Any], actual: NDArray[Any]) -> OutputDifference:
    """One output for every input: (inputs, batch, …)."""
    with np.errstate(invalid="ignore"):
        largest = float(np.abs(expected.astype(np.float64) - actual.astype(np.float64)).max(initial=0))
    classes = expected.ndim == 3 and expected.shape[-1] > 1
    same = expected.argmax(-1) == actual.argmax(-1)
    relative = equivalence.relative_difference(expected, actual)
    return OutputDifference(
        name=name,
        max_abs=largest if math.isfinite(largest) else None,
        relative=relative if math.isfinite(relative) else None,
        top1_agreement=float(same.mean()) if classes else None,
    )


def _request(device: Device, path: Path, feeds: Sequence[Feed]) -> dict[str, Any]:
    return {
        "kind": "outputs",
        **setting_request(device),
        "model": provide_file(device, path),
        "feeds": [{name: pack_array(array) for name, array in feed.items()} for feed in feeds],
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
