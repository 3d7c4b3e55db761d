"""The roofline of a device: the peak of Mult-Adds and of bytes a second that its runtime reaches, cached for a month.

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
from mnbench.model.model import Model
from mnbench.model.precision import convert_precision
from mnbench.network.variant import ELEMENT_BYTES, Precision
from mnbench.results.record import RooflineBound
from mnbench.targets.device import Device
from mnbench.units import NS_PER_S, rate_per_s

VERSION = 1
"""Increased when the probes change: older cached rates are measured again."""

EXPIRES = timedelta(days=30)
SHORTEST_NS = 500_000
"""A faster probe is enlarged, because it would measure the overhead of a run."""

LARGEST_BATCH = 256
RATE_SAMPLING = SamplingConfig(processes=1, warmup_runs=1, min_runs=3, duration_s=0.2, max_warmup_s=0.2)

READ_SIZES_BYTES = (2**20, 2**22, 2**24, 2**26)
"""Sizes of the arrays whose reading is timed: from those that caches hold to one that no cache holds."""

Quantity: TypeAlias = Precision | int
"""Mult-Adds a second in a precision, or bytes a second of arrays of a size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """Peak Mult-Adds a second by precision, and bandwidth in bytes a second by the size of the arrays."""

    peaks: Mapping[Precision, float | None]
    bandwidths: Mapping[int, float | None]

    def bound_for(self, case: BenchmarkCase) -> RooflineBound:
        """Return the lower bound of a case's latency.

        Successive runs of a case read its weights from a cache if one holds them all, so the bandwidth is the best of
        arrays of that size and larger ones.
        """
        moved, peak = compulsory_bytes(case), self.peaks.get(case.precision)
        size = max((size for size in self.bandwidths if size <= moved), default=0)
        bandwidth = max((rate for read, rate in self.bandwidths.items() if read >= size and rate), default=None)
        bound_s = max(case.cost.mult_adds / peak, moved / bandwidth) if peak and bandwidth else None
        return RooflineBound(
            peak_mult_adds_per_s=peak,
            bandwidth_bytes_per_s=bandwidth,
            moved_bytes=moved,
            bound_ns=None if bound_s is None else round(bound_s * NS_PER_S),
        )


def compulsory_bytes(case: BenchmarkCase) -> int:
    """Return the bytes that every run must move: weights, inputs and outputs, each once."""
    read = {tensor.name: tensor.elements for layer in case.layers for tensor in layer.inputs}
    written = {tensor.name: tensor.elements for layer in case.layers for tensor in layer.outputs}
    ends = sum(elements for name, elements in (read | written).items() if (name in read) != (name in written))
    return (case.cost.weights + ends) * ELEMENT_BYTES[case.precision]


class CachedRate(msgspec.Struct, frozen=True, kw_only=True):
    """A measured rate with its setting and time; None if no probe ran."""

    setting: dict[str, Any]
    measured_at: datetime
    per_s: float | None


def roofline_quantities(precisions: Iterable[Precision]) -> list[Quantity]:
    """Return the quantities of a roofline for these precisions."""
    return [*READ_SIZES_BYTES, *dict.fromkeys(precisions)]


def measure_roofline(
    device: Device,
    precisions: Iterable[Precision],
    *,
    fresh: bool = False,
    on_progress: Callable[[], None] = lambda: None,
) -> Roofline:
    """Return a device's roofline: rates cached in the last 30 days, or else measured now.

    `on_progress` is called after each quantity of `roofline_quantities`.

    Raises:
        RuntimeUnavailable, UnreachableError: nothing can be measured on this device.
    """
    fingerprint = host_fingerprint(device)
    rates: dict[Quantity, float | None] = {}
    for quantity in roofline_quantities(precisions):
        setting = {"roofline": VERSION, "quantity": quantity, **fingerprint}
        path = cache_path("roofline", setting)
        cached_rate = None if fresh else _read(path, setting)
        rates[quantity] = cached_rate.per_s if cached_rate else _store(path, setting, measure_rate(device, quantity))
        on_progress()
    return Roofline(
        peaks={item: rate for item, rate in rates.items() if not isinstance(item, int)},
        bandwidths={item: rate for item, rate in rates.items() if isinstance(item, int)},
    )


def measure_rate(device: Device, quantity: Quantity) -> float | None:
    """Return the rate of the fastest run of any probe; None if none ran."""
    if isinstance(quantity, int):
        return _probe_rate(device, probe_models.memory_read_model(quantity), quantity)
    rates = [_compute_rate(device, probe, quantity) for probe in COMPUTE_PROBES]
    return max(filter(None, rates), default=None)


def _compute_rate(device: Device, probe: Callable[[int], Model], precision: Precision) -> float | None:
    batch, best = 1, None
    while batch <= LARGEST_BATCH:
        model = probe(batch)
        work = model.cost.mult_adds
        try:
            rate = _probe_rate(device, convert_precision(model, precision), work)
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


def _probe_rate(device: Device, model: Model, work: int) -> float | None:
    """Return the rate of the fastest run of one trial; None if the runtime cannot run the model there."""
    with tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        try:
            case = prepare_case(model, Path(folder), variant=model.name, seed=0)
            trial = run_trial(Plan(cases=(case,), device=device, sampling=RATE_SAMPLING), case)
        except (TrialError, BuildError):
            return None
    return rate_per_s(work, int(trial.latencies_ns.min()))


def _read(path: Path, setting: dict[str, Any]) -> CachedRate | None:
    """Return the cached rate if the file is readable, of this setting and recent."""
    try:
        cached_rate = msgspec.json.decode(path.read_bytes(), type=CachedRate)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    age = datetime.now(UTC) - cached_rate.measured_at
    return cached_rate if cached_rate.setting == setting and timedelta(0) <= age < EXPIRES else None


def _store(path: Path, setting: dict[str, Any], value: float | None) -> float | None:
    """Store the rate; if that fails, it is measured again next time."""
    cached_rate = CachedRate(setting=setting, measured_at=datetime.now(UTC), per_s=value)
    with suppress(FileError):
        atomic_files.write_atomically(path, msgspec.json.encode(cached_rate), durable=False)
    return value
