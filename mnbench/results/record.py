"""A record: everything about one measured cell, as one line of JSON."""

import math
from typing import Any

import msgspec

from mnbench.network.architecture import OptionValue
from mnbench.network.variant import Padding, Precision
from mnbench.results.host_identity import HostIdentity, RecordKey, Setting

SCHEMA = 2
"""Schema 1 had the variant's classes, options, padding and form in its name alone."""


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Nanoseconds of one run. `median` is that of the processes' medians, between `low` and `high` with `coverage`.

    `p10`, `p90` and `min` are of all runs together; so is `p99`, where they are worth 662 independent ones.
    `low_with_drift` and `high_with_drift` include the host's own drift, where `mnbench doctor --calibrate` measured it.
    """

    median: int
    low: int
    high: int
    p10: int
    p90: int
    p99: int | None = None
    min: int
    coverage: float
    low_with_drift: int | None = None
    high_with_drift: int | None = None

    @property
    def interval(self) -> tuple[int, int]:
        """The interval, with the host's drift if it was calibrated."""
        return self.low_with_drift or self.low, self.high_with_drift or self.high

    @property
    def precision(self) -> float:
        """How far the interval's farther end lies from the median, as a share of it; of one process, infinite."""
        return max(self.high / self.median - 1, 1 - self.low / self.median) if self.coverage else math.inf


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """What ran the model; `library_sha256` is that of its library, by the record of the wheel it came in."""

    name: str
    version: str
    build: str | None = None
    library_sha256: str | None = None


class SessionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the device's profile set up: entries of the runtime, of its provider, and variables of the environment."""

    options: dict[str, str] = {}
    provider_options: dict[str, str] = {}
    environment: dict[str, str] = {}


class RooflineBound(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds a cell from below on its device. Peak and bandwidth are None where the device could not tell.

    `moved_bytes` are those that every run must move: weights, inputs and outputs, each once. `bound_ns` is the longer
    of what its Mult-Adds take at the peak and what those bytes take at the bandwidth.
    """

    peak_mult_adds_per_s: float | None
    bandwidth_bytes_per_s: float | None
    moved_bytes: int
    bound_ns: int | None


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Shares, 0 to 1, of nodes and of Mult-Adds that ran on the provider asked for; None where it does not tell."""

    nodes: float | None
    mult_adds: float | None


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """Why a figure should not be trusted, and what to do. One that is `minor` is worth knowing, and no more."""

    name: str
    advice: str
    minor: bool = False


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One cell. `error` says why it has no latency; what was `emulated` has none either, nor any other time.

    `conversion_ns` is what it took to bring the model into the form that the runtime reads, once, where that is not
    ONNX; it is no part of `session_ns`. `first_run_ns`, `session_ns`, `cpu_ns` (of a run, this thread's work) and
    `copies_ns` (to and from a device's own memory) are medians over processes; `effective_runs` are what `runs`, which
    follow each other, are worth; `difference` is the largest of an output from onnxruntime's CPU in fp32, as a share of
    the output's spread; `conditions` are the host's before the first visit and after the last; `session` is None in
    records from before it was kept.
    """

    schema: int = SCHEMA
    id: str
    run: str
    measured_at: str
    mnbench_version: str
    variant: str
    architecture: str | None
    alpha: float | None
    resolution: tuple[int, int] | None
    precision: Precision = "fp32"
    batch: int = 1
    classes: int | None = None
    options: dict[str, OptionValue] = {}
    padding: Padding = "torch"
    simplified: bool = True
    fold_batch_norm: bool = True
    device: str
    provider: str
    runtime: Runtime
    threads: int
    session: SessionOptions | None = None
    error: str | None = None
    latency_ns: Latency | None = None
    first_run_ns: int | None = None
    session_ns: int | None = None
    conversion_ns: int | None = None
    cpu_ns: int | None = None
    copies_ns: dict[str, int] = {}
    difference: float | None = None
    peak_rss_bytes: int | None = None
    processes: int = 0
    runs: int = 0
    effective_runs: int = 0
    params: int
    mult_adds: int
    memory_access: int
    memory_access_bytes: int
    peak_activation_bytes: int
    roofline: RooflineBound | None = None
    placement: Placement = Placement(nodes=None, mult_adds=None)
    issues: tuple[Issue, ...] = ()
    model_sha256: str
    seed: int
    host: dict[str, Any]
    conditions: list[dict[str, Any]] = []
    gpu: dict[str, Any] | None = None

    @property
    def emulated(self) -> bool:
        """Whether another processor was imitated."""
        return bool(self.host.get("emulated"))

    @property
    def setting(self) -> Setting:
        """Where and how the model ran."""
        host = HostIdentity.from_facts(self.host, self.gpu)
        return Setting(self.device, self.threads, self.runtime.name, self.runtime.version, host)

    @property
    def key(self) -> RecordKey:
        """The key of which only the newest record is shown."""
        return RecordKey(self.variant, self.architecture, self.setting)

    @property
    def trusted(self) -> bool:
        """Whether nothing speaks against the latency."""
        return self.latency_ns is not None and all(issue.minor for issue in self.issues)
