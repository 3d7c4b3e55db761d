"""The roofline of a device: the peak of Mult-Adds and of bytes a second that its runtime reaches, cached for a month.

Samuel Williams, Andrew Waterman, David Patterson: Roofline, an insightful visual performance model (2009).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from mnbench.bench.case_trials import measure_alone
from mnbench.bench.plan import BenchmarkCase, Plan, SamplingConfig
from mnbench.bench.prepare import prepare_case
from mnbench.errors import BuildError, FileError, TrialError
from mnbench.hosts.host_facts import CachedFigures, host_fingerprint, load_cached, save_cached
from mnbench.model import probe_models
from mnbench.model.model import Model
from mnbench.model.precision import convert_precision
from mnbench.network.variant import Precision
from mnbench.progress import OnProgress, StageProgress
from mnbench.results.facts import Amount
from mnbench.results.record import RooflineBound
from mnbench.targets.device import Device
from mnbench.temporary import temporary_folder
from mnbench.units import NS_PER_S, rate_per_s

KIND = "roofline"
VERSION = 1
"""Increased when the probes change: older cached rates are measured again."""

EXPIRES = timedelta(days=30)
SHORTEST_NS = 500_000
"""A faster probe is enlarged, because it would measure the overhead of a run."""

LARGEST_BATCH = 256
RATE_SAMPLING = SamplingConfig(min_runs=3, duration_s=0.2, max_settle_s=0.2)

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
        moved, peak = case.moved_bytes, self.peaks.get(case.precision)
        size = max((size for size in self.bandwidths if size <= (moved or 0)), default=0)
        bandwidth = max((rate for read, rate in self.bandwidths.items() if read >= size and rate), default=None)
        mult_adds = case.cost.mult_adds
        bound_s = None
        if peak and bandwidth and mult_adds is not None and moved is not None:
            bound_s = max(mult_adds / peak, moved / bandwidth)
        return RooflineBound(
            peak_mult_adds_per_s=peak,
            bandwidth_bytes_per_s=bandwidth,
            moved_bytes=moved,
            bound_ns=None if bound_s is None else round(bound_s * NS_PER_S),
        )


class CachedRate(CachedFigures, frozen=True, kw_only=True):
    """A measured rate with its setting and time; None if no probe ran."""

    measured_at: datetime
    per_s: Amount | None


def measure_roofline(
    device: Device, precisions: Iterable[Precision], *, fresh: bool = False, on_progress: OnProgress | None = None
) -> Roofline:
    """Return a device's roofline: rates cached in the last 30 days, or else measured now.

    Raises:
        RuntimeUnavailable, UnreachableError: nothing can be measured on this device.
    """
    quantities: list[Quantity] = [*READ_SIZES_BYTES, *dict.fromkeys(precisions)]
    progress = StageProgress(on_progress, "roofline", len(quantities))
    fingerprint = host_fingerprint(device)
    rates: dict[Quantity, float | None] = {}
    for quantity in quantities:
        setting = {"roofline": VERSION, "quantity": quantity, **fingerprint}
        cached = None if fresh else load_cached(KIND, setting, CachedRate)
        if cached is None or not timedelta(0) <= datetime.now(UTC) - cached.measured_at < EXPIRES:
            rate = measure_rate(device, quantity)
            cached = CachedRate(setting=setting, measured_at=datetime.now(UTC), per_s=rate)
            # A rate that cannot be stored is measured again next time.
            with suppress(FileError):
                save_cached(KIND, cached)
        rates[quantity] = cached.per_s
        progress.advance()
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
        assert work  # a probe is a convolution or a product of matrices
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
    with temporary_folder() as folder:
        try:
            case = prepare_case(model, folder, variant=model.name, seed=0)
            trial = measure_alone(Plan(cases=(case,), device=device, sampling=RATE_SAMPLING), case)
        except (TrialError, BuildError):
            return None
    return rate_per_s(work, int(trial.latencies_ns.min()))
