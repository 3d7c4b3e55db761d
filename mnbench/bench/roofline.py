"""The roofline of a device: the most Mult-Adds and bytes a second that its runtime reaches, measured and kept.

Samuel Williams, Andrew Waterman, David Patterson: Roofline, an insightful visual performance model (2009).
"""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from mnbench import atomic_files
from mnbench.bench.plan import Ceiling, Cell, Plan, Protocol
from mnbench.bench.prepare import prepare
from mnbench.bench.trial import take
from mnbench.errors import BuildError, FileError, MeasureError
from mnbench.hosts.host_facts import kept_in, setting_of
from mnbench.model import probe_models
from mnbench.model.build import Made
from mnbench.model.model import Model
from mnbench.model.onnx_layers import layers_of
from mnbench.model.precision import converted
from mnbench.network.cost import cost
from mnbench.network.variant import ELEMENT_BYTES, Precision
from mnbench.targets.device import Device
from mnbench.units import NS_PER_S, per_s

VERSION = 1
"""Goes up when the probes change, so that what older ones found is measured again."""

EXPIRES = timedelta(days=30)
SHORTEST_NS = 500_000
"""A probe that takes less is made larger: it would measure how a run begins and ends."""

LARGEST_BATCH = 256
PROTOCOL = Protocol(processes=1, warmup_runs=1, min_runs=3, min_duration_s=0.2, max_warmup_s=0.2)

SIZES_BYTES = (2**20, 2**22, 2**24, 2**26)
"""Of the arrays whose reading is timed: what caches of one kind or another hold, and what none does."""

Quantity: TypeAlias = Precision | int
"""Mult-Adds a second in a precision, or bytes a second of arrays of a size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """The most Mult-Adds a second by precision, and bytes a second by the size of the arrays."""

    peaks: Mapping[Precision, float | None]
    bandwidths: Mapping[int, float | None]

    def over(self, cell: Cell) -> Ceiling:
        """The ceiling of a cell.

        The runs of a cell follow each other, so its weights come from a cache, if one holds them all: the bandwidth is
        the best of arrays of that size and larger ones.
        """
        moved, peak = compulsory_bytes(cell), self.peaks.get(cell.precision)
        size = max((size for size in self.bandwidths if size <= moved), default=0)
        bandwidth = max((rate for one, rate in self.bandwidths.items() if one >= size and rate), default=None)
        bound_s = max(cell.cost.mult_adds / peak, moved / bandwidth) if peak and bandwidth else None
        return Ceiling(
            peak_mult_adds_per_s=peak,
            bandwidth_bytes_per_s=bandwidth,
            moved_bytes=moved,
            bound_ns=None if bound_s is None else round(bound_s * NS_PER_S),
        )


def compulsory_bytes(cell: Cell) -> int:
    """Weights, inputs and outputs, each once."""
    read = {tensor.name: tensor.elements for layer in cell.layers for tensor in layer.inputs}
    written = {tensor.name: tensor.elements for layer in cell.layers for tensor in layer.outputs}
    ends = sum(elements for name, elements in (read | written).items() if (name in read) != (name in written))
    return (cell.cost.weights + ends) * ELEMENT_BYTES[cell.precision]


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One figure as it is kept: what was measured, where, when and with what result."""

    setting: dict[str, Any]
    measured_at: datetime
    per_s: float | None


def quantities(precisions: Iterable[Precision]) -> list[Quantity]:
    """The figures that a roofline for these precisions has."""
    return [*SIZES_BYTES, *dict.fromkeys(precisions)]


def roofline(
    device: Device,
    precisions: Iterable[Precision],
    *,
    fresh: bool = False,
    step: Callable[[], None] = lambda: None,
) -> Roofline:
    """A device's roofline, each figure as it was kept if it was measured in the last 30 days, or else measured now.

    `step` is called after each of the `quantities`.

    Raises:
        RuntimeUnavailable, GatewayError: nothing can be measured on this device.
    """
    where = setting_of(device)
    found: dict[Quantity, float | None] = {}
    for quantity in quantities(precisions):
        setting = {"roofline": VERSION, "quantity": quantity, **where}
        path = kept_in("roofline", setting)
        kept = None if fresh else _read(path, setting)
        found[quantity] = kept.per_s if kept else _keep(path, setting, measure(device, quantity))
        step()
    return Roofline(
        peaks={one: rate for one, rate in found.items() if not isinstance(one, int)},
        bandwidths={one: rate for one, rate in found.items() if isinstance(one, int)},
    )


def measure(device: Device, quantity: Quantity) -> float | None:
    """The most that any probe reaches in its fastest run; None if none ran."""
    if isinstance(quantity, int):
        return _rate(device, probe_models.read(quantity), quantity)
    found = [_compute_rate(device, probe, quantity) for probe in COMPUTE]
    return max((rate for rate in found if rate), default=None)


def _compute_rate(device: Device, probe: Callable[[int], Model], precision: Precision) -> float | None:
    batch, best = 1, None
    while batch <= LARGEST_BATCH:
        model = probe(batch)
        work = cost(layers_of(model)).mult_adds
        try:
            rate = _rate(device, converted(model, precision), work, precision)
        except BuildError:
            break
        best = max(filter(None, (best, rate)), default=None)
        if rate is None or work / rate * NS_PER_S > SHORTEST_NS:
            break
        batch *= 8
    return best


COMPUTE: Sequence[Callable[[int], Model]] = (
    probe_models.matmul,
    lambda batch: probe_models.convolutions(1, 256, 28, batch),
    lambda batch: probe_models.convolutions(3, 192, 14, batch),
)


def _rate(device: Device, model: Model, work: int, precision: Precision = "fp32") -> float | None:
    """What the fastest run of a visit did a second; None where the runtime cannot run the model there."""
    made = Made(
        model=model,
        reference=model,
        layers=layers_of(model),
        nodes_before=model.nodes,
        precision=precision,
        resolution=None,
    )
    with tempfile.TemporaryDirectory(prefix="mnbench-") as place:
        try:
            cell = prepare(made, Path(place), variant=model.name, seed=0)
            found = take(Plan(cells=(cell,), device=device, protocol=PROTOCOL), cell)
        except (MeasureError, BuildError):
            return None
    return per_s(work, int(found.latencies_ns.min()))


def _read(path: Path, setting: dict[str, Any]) -> Kept | None:
    """What the file holds, if it is readable, about this setting and not too old."""
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=Kept)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    age = datetime.now(UTC) - kept.measured_at
    return kept if kept.setting == setting and timedelta(0) <= age < EXPIRES else None


def _keep(path: Path, setting: dict[str, Any], found: float | None) -> float | None:
    """Write down what was found; where that is impossible, it is measured again next time."""
    kept = Kept(setting=setting, measured_at=datetime.now(UTC), per_s=found)
    with suppress(FileError):
        atomic_files.write(path, msgspec.json.encode(kept), durable=False)
    return found
