"""What is measured, in which order, by which protocol."""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import exp, log
from pathlib import Path
from typing import TypeVar

import msgspec

import mnbench
from mnbench.network.cost import Cost
from mnbench.network.layer import Layer
from mnbench.network.variant import Precision
from mnbench.results.record import RooflineBound
from mnbench.stats import quantile
from mnbench.targets.device import Device

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingConfig:
    """The absolute protocol of `docs/measuring.md`.

    Each cell is visited by at least `processes` fresh processes, and by more until its interval is as narrow as
    `precision`, a share of the median to either side, or `budget_s` is spent. A visit creates a session, runs it once,
    warms it up, and times runs until both minima are met. Six processes make the range of their medians a 96.9 %
    interval.
    """

    processes: int = 6
    precision: float = 0.01
    budget_s: float = 20.0
    warmup_runs: int = 2
    min_warmup_s: float = 0.025
    max_warmup_s: float = 2.0
    min_runs: int = 10
    min_duration_s: float = 1.5
    timeout_s: float = 120.0
    seed: int = 0

    def for_emulator(self) -> "SamplingConfig":
        """What an emulated processor can tell, it tells in one run; it may take minutes."""
        once = {"processes": 1, "warmup_runs": 1, "min_runs": 1, "timeout_s": 600.0}
        none = dict.fromkeys(("budget_s", "min_warmup_s", "max_warmup_s", "min_duration_s"), 0.0)
        return replace(self, **once, **none)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkCase:
    """One row of the table to come: a model file and what is known of it without running it on the device.

    `alpha` and `architecture` are None for a model that did not come from a table; `resolution` is (height, width), or
    None where the input is no image. `feed` is an .npz file: `in.NAME` is what the model is fed, `out.INDEX` what the
    reference answers to that, `own.INDEX` what a quantized graph answers by its own definition. `cost` is that of the
    graph as it was built; `layers` are the measured model's.
    """

    variant: str
    architecture: str | None
    alpha: float | None
    resolution: tuple[int, int] | None
    precision: Precision
    batch: int
    path: Path
    inputs_path: Path
    sha256: str
    cost: Cost
    peak_activation_bytes: int
    layers: tuple[Layer, ...] = field(repr=False)


class HostDrift(msgspec.Struct, frozen=True, kw_only=True):
    """How far runs of one host have lain apart: by a model's latency in ns, the log ratios of runs to their median."""

    deviations: dict[int, list[float]]

    def factors_near(self, latency_ns: float) -> tuple[float, float]:
        """Factors below and above 1 between which 95 % of runs lay, of the model whose latency is nearest."""
        nearest = min(self.deviations, key=lambda item: abs(log(item / latency_ns)))
        ordered = sorted(self.deviations[nearest])
        return exp(quantile(ordered, 0.025)), exp(quantile(ordered, 0.975))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Cells × a device, by a protocol. `allow_fallback` also measures what did not all run on the device's provider.

    `ceilings` are those of cells by variant, where they are known.
    """

    cases: tuple[BenchmarkCase, ...]
    device: Device
    sampling: SamplingConfig
    allow_fallback: bool = False
    roofline_bounds: Mapping[str, RooflineBound] = field(default_factory=dict[str, RooflineBound])
    drift: HostDrift | None = None

    @property
    def id(self) -> str:
        """Eight characters that change with anything that would change a measurement, but for the host."""
        facts = [
            mnbench.__version__,
            asdict(self.sampling),
            msgspec.to_builtins(self.device),
            self.allow_fallback,
            [(cell.variant, cell.sha256) for cell in self.cases],
        ]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]

    def cases_of_round(self, process: int) -> list[BenchmarkCase]:
        """Every cell, in the order of that round."""
        return shuffle_round(self.cases, self.sampling.seed, process)


def shuffle_round(cases: Sequence[T], seed: int, process: int | str) -> list[T]:
    """Cells in an order drawn anew for each round of visits: the host's slow drift hits all alike."""
    draw = random.Random(f"{seed}/{process}")  # noqa: S311  an order, not a secret
    return draw.sample(cases, len(cases))
