"""Whether a model on a device puts out what another, or its own definition, says."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from mnbench.bench.request import setting_request
from mnbench.bench.trial import TOLERANCE
from mnbench.errors import BuildError, MeasureError
from mnbench.model import equivalence
from mnbench.model.inputs import seeded_feed
from mnbench.model.model import Model
from mnbench.network.variant import Precision
from mnbench.targets.device import Device
from mnbench.targets.transport import ask, file_for
from mnbench.worker.session import packed

Feed: TypeAlias = dict[str, NDArray[Any]]

TIMEOUT_S = 120.0


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """One output over all inputs.

    `max_abs` is the largest difference; `relative` that as a share of the standard deviation of what is expected. Both
    are None where an output is not finite, and `relative` where what is expected is constant and the difference is not
    nothing. `top1_agreement` is the share of inputs whose largest class is the same; None where there are no classes.
    """

    name: str
    max_abs: float | None
    relative: float | None
    top1_agreement: float | None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared, and how far apart the outputs lie. `placement` is how many nodes each provider took."""

    agrees: bool
    model: str
    against: str
    outputs: tuple[Output, ...]
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
) -> Verdict:
    """Run the model, which `path` holds, on the device, and the other by definition; compare them input by input.

    Raises:
        BuildError: they do not take or give the same, or onnxruntime's CPU cannot run `against`.
        MeasureError, RuntimeUnavailable, GatewayError: the device cannot run the model.
    """
    _same_inputs(model, against)
    answer = ask(device, _request(device, path, feeds), timeout_s=TIMEOUT_S)
    found = [[np.frombuffer(data, dtype).reshape(shape) for dtype, shape, data in one] for one in answer["outputs"]]
    renamed = [dict(zip(seeded_feed(against.proto, 0), feed.values(), strict=True)) for feed in feeds]
    expected = [equivalence.run(against.data, feed, name=against.name) for feed in renamed]
    names = [output.name for output in model.proto.graph.output]
    for one, other in zip(found, expected, strict=True):
        if [array.shape for array in one] != [array.shape for array in other]:
            raise MeasureError(
                f"{model.name} and {against.name} put out {[array.shape for array in one]} and "
                f"{[array.shape for array in other]}",
                hint="compare models of the same task",
            )
    outputs = tuple(
        compared(name, np.stack([one[at] for one in expected]), np.stack([one[at] for one in found]))
        for at, name in enumerate(names)
    )
    allowed = tolerance or device.tolerance or TOLERANCE[precision]
    placement: Mapping[str, Sequence[str]] | None = answer["placement"]
    return Verdict(
        agrees=all(one.relative is not None and one.relative <= allowed for one in outputs),
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


def compared(name: str, expected: NDArray[Any], found: NDArray[Any]) -> Output:
    """One output for every input: (inputs, batch, …)."""
    with np.errstate(invalid="ignore"):
        largest = float(np.abs(expected.astype(np.float64) - found.astype(np.float64)).max(initial=0))
    classes = expected.ndim == 3 and expected.shape[-1] > 1
    same = expected.argmax(-1) == found.argmax(-1)
    relative = equivalence.difference(expected, found)
    return Output(
        name=name,
        max_abs=largest if math.isfinite(largest) else None,
        relative=relative if math.isfinite(relative) else None,
        top1_agreement=float(same.mean()) if classes else None,
    )


def _request(device: Device, path: Path, feeds: Sequence[Feed]) -> dict[str, Any]:
    return {
        "do": "outputs",
        **setting_request(device),
        "model": file_for(device, path),
        "feeds": [{name: packed(array) for name, array in feed.items()} for feed in feeds],
    }


def _same_inputs(model: Model, against: Model) -> None:
    """Refuse models that take inputs of other sizes or types.

    Raises:
        BuildError: they do.
    """
    kinds = [
        [(array.shape, str(array.dtype)) for array in seeded_feed(one.proto, 0).values()] for one in (model, against)
    ]
    if kinds[0] != kinds[1]:
        taken = (", ".join(f"{shape} {dtype}" for shape, dtype in kind) for kind in kinds)
        raise BuildError(
            f"{model.name} and {against.name} take other inputs: {' and '.join(taken)}",
            hint="compare models of one size and batch",
        )
