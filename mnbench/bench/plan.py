"""Plans: which cases to measure on a device, in which order, by which protocol."""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import exp, log
from pathlib import Path
from statistics import median
from typing import TypeVar

import msgspec
import numpy as np

import mnbench
from mnbench.model.outputs import Output
from mnbench.network.cost import Cost
from mnbench.network.layer import Layer
from mnbench.network.row import Row
from mnbench.network.variant import Precision, Variant
from mnbench.results.record import FedInput, Latency, RooflineBound
from mnbench.targets.device import Device

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialProtocol:
    """How one process times its rows.

    It opens every session, runs it once and then `warmup_runs` times. It visits all rows in random order, `slices`
    times. A slice lasts `slice_s` and has at least `min_turns` turns, in which every session of the row runs once. Runs
    of `warmup_s` before it bring the models back into the caches. Before its first slice, the process runs until its
    speed settles: in blocks of `min_settle_s`, for `max_settle_s` at most, or not at all if that is 0.
    """

    slices: int
    slice_s: float
    min_turns: int
    warmup_runs: int = 0
    warmup_s: float = 0.005
    min_settle_s: float = 0.025
    max_settle_s: float = 2.0
    timeout_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingConfig:
    """The settings of the protocol of `docs/measuring.md`.

    Each case is measured in at least `processes` fresh processes, and in more until its interval is within `precision`,
    a share of the median to either side, or the budget of the run, `budget_s` for each case, is spent. What is left of
    the budget narrows intervals to half of that. The range of the medians of six processes is a 96.9 % interval.

    In its first `alone` processes, a case is alone: session creation, first run and memory are measured there. In the
    others it takes turns with other cases. A process times a case for `duration_s` and at least `min_runs` runs.
    """

    processes: int = 6
    alone: int = 1
    precision: float = 0.02
    budget_s: float = 2.7
    duration_s: float = 0.06
    min_runs: int = 2
    warmup_s: float = 0.005
    max_settle_s: float = 2.0
    timeout_s: float = 120.0
    seed: int = 0

    @classmethod
    def quick(cls) -> "SamplingConfig":
        """Return the settings of a first look: within ±10 %, 16 rows in about 10 s without building their models.

        Several cases are never alone in a process, so their session creation, first run and memory are not known.
        """
        return cls(processes=6, alone=0, precision=0.1, budget_s=0.6, duration_s=0.03)

    @classmethod
    def thorough(cls) -> "SamplingConfig":
        """Return the settings for figures to publish: within ±1 %, from at least 12 processes."""
        return cls(processes=12, alone=3, precision=0.01, budget_s=20.0)

    @property
    def protocol(self) -> TrialProtocol:
        """How one process times its cases."""
        return TrialProtocol(
            slices=1,
            slice_s=self.duration_s,
            min_turns=self.min_runs,
            warmup_s=self.warmup_s,
            max_settle_s=self.max_settle_s,
            timeout_s=self.timeout_s,
        )

    def for_emulator(self) -> "SamplingConfig":
        """Return the settings for an emulated processor: one run, which may take minutes."""
        once = {"processes": 1, "alone": 1, "min_runs": 1, "timeout_s": 600.0}
        return replace(self, **once, **dict.fromkeys(("budget_s", "duration_s", "warmup_s", "max_settle_s"), 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkCase:
    """A benchmark case: one row of the table, a model file with its facts.

    `alpha` and `architecture` are None for a model that is not from a table; `resolution` is (height, width), or
    None if the input is not an image. `inputs_path` is an .npz file with the inputs (`in.NAME`), the outputs of the
    reference in fp32 (`out.INDEX`), and those of a quantized graph by its own definition, for these inputs
    (`own.INDEX`) and for inputs that moved a little (`moved.INDEX`); `outputs` says which can be compared. `cost`
    is that of the graph as built; `layers` are those of the measured model, and `moved_bytes` what every run of it
    must move. `count_notes` say how costs were counted. `inputs` are what it is fed. `data_bytes` is the size of
    the files beside `path` that hold the weights of a model larger than 2 GB. `source` is the variant, None for a
    user's file; `file` is its path, None for a model in memory. `denormal_share` is the share of the weights that
    are denormal numbers, 0 to 1.
    """

    variant: str
    architecture: str | None
    alpha: float | None
    resolution: tuple[int, int] | None
    precision: Precision
    batch: int | None
    path: Path
    inputs_path: Path
    sha256: str
    cost: Cost
    peak_activation_bytes: int | None
    layers: tuple[Layer, ...] = field(repr=False)
    inputs: tuple[FedInput, ...] = ()
    data_bytes: int = 0
    file: str | None = None
    moved_bytes: int | None = None
    count_notes: tuple[str, ...] = ()
    outputs: tuple[Output, ...] = ()
    source: Variant | None = None
    simplified: bool = True
    fold_batch_norm: bool = True
    denormal_share: float = 0.0

    @property
    def row(self) -> Row:
        """The row of its record."""
        return Row.of(self.variant, self.architecture, self.file, self.sha256)


class HostDrift(msgspec.Struct, frozen=True, kw_only=True):
    """How much runs on one host differ: the log ratios of runs to their median, by a model's latency in ns."""

    deviations: dict[int, list[float]]

    @classmethod
    def of_runs(cls, runs: Sequence[Mapping[str, int]]) -> "HostDrift":
        """Return the drift between runs, each with the latencies of models in ns; the last one has every model."""
        deviations: dict[int, list[float]] = {}
        for model in runs[-1]:
            latencies_ns = [run[model] for run in runs if model in run]
            typical_ns = median(latencies_ns)
            deviations[round(typical_ns)] = [log(latency_ns / typical_ns) for latency_ns in latencies_ns]
        return cls(deviations=deviations)

    def widen(self, latency: Latency) -> Latency:
        """Return the latency with the interval that includes the drift."""
        below, above = self.factors_near(latency.median)
        low, high = round(latency.low / above), round(latency.high / below)
        return msgspec.structs.replace(latency, low_with_drift=low, high_with_drift=high)

    def factors_near(self, latency_ns: float) -> tuple[float, float]:
        """Return the factors between which 95 % of runs are expected; those of the extremes if there are few."""
        nearest = min(self.deviations, key=lambda calibrated_ns: abs(log(calibrated_ns / latency_ns)))
        below, above = np.quantile(self.deviations[nearest], (0.025, 0.975), method="weibull")
        return exp(below), exp(above)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Cases to measure on a device by a protocol. `allow_fallback` accepts nodes on other providers.

    `roofline_bounds` holds the known bounds of cases by the ids of their rows.
    """

    cases: tuple[BenchmarkCase, ...]
    device: Device
    sampling: SamplingConfig
    allow_fallback: bool = False
    roofline_bounds: Mapping[str, RooflineBound] = field(default_factory=dict[str, RooflineBound])
    drift: HostDrift | None = None

    @property
    def id(self) -> str:
        """Return eight characters that change with everything that changes a measurement, except the host."""
        facts = [
            mnbench.__version__,
            asdict(self.sampling),
            self.device.settings,
            self.allow_fallback,
            [(case.row.id, case.sha256, [fed.sha256 for fed in case.inputs]) for case in self.cases],
        ]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


def shuffle_round(cases: Sequence[T], seed: int, process: int | str) -> list[T]:
    """Return the cases in an order drawn for this round, so that slow drift of the host affects all alike."""
    draw = random.Random(f"{seed}/{process}")  # noqa: S311  an order, not a secret
    return draw.sample(cases, len(cases))
