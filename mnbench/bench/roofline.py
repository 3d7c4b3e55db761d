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
from mnbench.bench.plan import BenchmarkCase, Plan, SamplingConfig
from mnbench.bench.prepare import prepare_case
from mnbench.bench.trial import run_trial
from mnbench.errors import BuildError, FileError, TrialError
from mnbench.hosts.host_facts import cache_path, host_fingerprint
from mnbench.model import probe_models
from mnbench.model.build import BuiltModel
from mnbench.model.model import Model
from mnbench.model.onnx_layers import onnx_layers
from mnbench.model.precision import convert_precision
from mnbench.network.cost import total_cost
from mnbench.network.variant import ELEMENT_BYTES, Precision
from mnbench.results.record import RooflineBound
from mnbench.targets.device import Device
from mnbench.units import NS_PER_S, rate_per_s

VERSION = 1
"""Goes up when the probes change, so that what older ones found is measured again."""

EXPIRES = timedelta(days=30)
SHORTEST_NS = 500_000
"""A probe that takes less is made larger: it would measure how a run begins and ends."""

LARGEST_BATCH = 256
RATE_SAMPLING = SamplingConfig(processes=1, warmup_runs=1, min_runs=3, min_duration_s=0.2, max_warmup_s=0.2)

READ_SIZES_BYTES = (2**20, 2**22, 2**24, 2**26)
"""Of the arrays whose reading is timed: what caches of one kind or another hold, and what none does."""

Quantity: TypeAlias = Precision | int
"""Mult-Adds a second in a precision, or bytes a second of arrays of a size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """The most Mult-Adds a second by precision, and bytes a second by the size of the arrays."""

    peaks: Mapping[Precision, float | None]
    bandwidths: Mapping[int, float | None]

    def bound_for(self, case: BenchmarkCase) -> RooflineBound:
        """The ceiling of a cell.

        The runs of a cell follow each other, so its weights come from a cache, if one holds them all: the bandwidth is
        the best of arrays of that size and larger ones.
        """
        moved, peak = compulsory_bytes(case), self.peaks.get(case.precision)
        size = max((size for size in self.bandwidths if size <= moved), default=0)
        bandwidth = max((rate for item, rate in self.bandwidths.items() if item >= size and rate), default=None)
        bound_s = max(case.cost.mult_adds / peak, moved / bandwidth) if peak and bandwidth else None
        return RooflineBound(
            peak_mult_adds_per_s=peak,
            bandwidth_bytes_per_s=bandwidth,
            moved_bytes=moved,
            bound_ns=None if bound_s is None else round(bound_s * NS_PER_S),
        )


def compulsory_bytes(case: BenchmarkCase) -> int:
    """Weights, inputs and outputs, each once."""
    read = {tensor.name: tensor.elements for layer in case.layers for tensor in layer.inputs}
    written = {tensor.name: tensor.elements for layer in case.layers for tensor in layer.outputs}
    ends = sum(elements for name, elements in (read | written).items() if (name in read) != (name in written))
    return (case.cost.weights + ends) * ELEMENT_BYTES[case.precision]


class CachedRate(msgspec.Struct, frozen=True, kw_only=True):
    """One figure as it is kept: what was measured, where, when and with what result."""

    setting: dict[str, Any]
    measured_at: datetime
    per_s: float | None


def roofline_quantities(precisions: Iterable[Precision]) -> list[Quantity]:
    """The figures that a roofline for these precisions has."""
    return [*READ_SIZES_BYTES, *dict.fromkeys(precisions)]


def measure_roofline(
    device: Device,
    precisions: Iterable[Precision],
    *,
    fresh: bool = False,
    on_progress: Callable[[], None] = lambda: None,
) -> Roofline:
    """A device's roofline, each figure as it was kept if it was measured in the last 30 days, or else measured now.

    `step` is called after each of the `quantities`.

    Raises:
        RuntimeUnavailable, UnreachableError: nothing can be measured on this device.
    """
    where = host_fingerprint(device)
    entries: dict[Quantity, float | None] = {}
    for quantity in roofline_quantities(precisions):
        setting = {"roofline": VERSION, "quantity": quantity, **where}
        path = cache_path("roofline", setting)
        cached_rate = None if fresh else _read(path, setting)
        entries[quantity] = cached_rate.per_s if cached_rate else _keep(path, setting, measure_rate(device, quantity))
        on_progress()
    return Roofline(
        peaks={item: rate for item, rate in entries.items() if not isinstance(item, int)},
        bandwidths={item: rate for item, rate in entries.items() if isinstance(item, int)},
    )


def measure_rate(device: Device, quantity: Quantity) -> float | None:
    """The most that any probe reaches in its fastest run; None if none ran."""
    if isinstance(quantity, int):
        return _probe_rate(device, probe_models.memory_read_model(quantity), quantity)
    result = [_compute_rate(device, probe, quantity) for probe in COMPUTE_PROBES]
    return max((rate for rate in result if rate), default=None)


def _compute_rate(device: Device, probe: Callable[[int], Model], precision: Precision) -> float | None:
    batch, best = 1, None
    while batch <= LARGEST_BATCH:
        model = probe(batch)
        work = total_cost(onnx_layers(model)).mult_adds
        try:
            rate = _probe_rate(device, convert_precision(model, precision), work, precision)
        except BuildError:
            break
        best = max(filter(None, (best, rate)), default=None)
        if rate is None or work / rate * NS_PER_S > SHORTEST_NS:
            break
        batch *= 8
    return best


COMPUTE_PROBES: Sequence[Callable[[int], Model]] = (
    probe_models.matmul_model,
    lambda batch: probe_models.convolution_model(1, 256, 28, batch),
    lambda batch: probe_models.convolution_model(3, 192, 14, batch),
)


def _probe_rate(device: Device, model: Model, work: int, precision: Precision = "fp32") -> float | None:
    """What the fastest run of a visit did a second; None where the runtime cannot run the model there."""
    built = BuiltModel(
        model=model,
        reference=model,
        layers=onnx_layers(model),
        plain_nodes=model.nodes,
        precision=precision,
        resolution=None,
    )
    with tempfile.TemporaryDirectory(prefix="mnbench-") as place:
        try:
            cell = prepare_case(built, Path(place), variant=model.name, seed=0)
            trial = run_trial(Plan(cases=(cell,), device=device, sampling=RATE_SAMPLING), cell)
        except (TrialError, BuildError):
            return None
    return rate_per_s(work, int(trial.latencies_ns.min()))


def _read(path: Path, setting: dict[str, Any]) -> CachedRate | None:
    """What the file holds, if it is readable, about this setting and not too old."""
    try:
        cached_rate = msgspec.json.decode(path.read_bytes(), type=CachedRate)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    age = datetime.now(UTC) - cached_rate.measured_at
    return cached_rate if cached_rate.setting == setting and timedelta(0) <= age < EXPIRES else None


def _keep(path: Path, setting: dict[str, Any], value: float | None) -> float | None:
    """Write down what was found; where that is impossible, it is measured again next time."""
    cached_rate = CachedRate(setting=setting, measured_at=datetime.now(UTC), per_s=value)
    with suppress(FileError):
        atomic_files.write_atomically(path, msgspec.json.encode(cached_rate), durable=False)
    return value
