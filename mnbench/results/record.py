"""Records: a measured case with all its facts, stored as one line of JSON. A record that decodes is valid."""

import math
from functools import cached_property
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from mnbench.network.architecture import OptionValue
from mnbench.network.row import Row
from mnbench.network.variant import Padding, Precision
from mnbench.results.facts import (
    Amount,
    Conditions,
    Count,
    GpuFacts,
    HostFacts,
    Name,
    Nanoseconds,
    Rate,
    Sha256,
    Share,
    Text,
    Version,
)
from mnbench.results.host_identity import HostIdentity, RecordKey, Setting
from mnbench.stats import relative_half_width

SCHEMA = 3
"""Schema 1 had the variant's classes, options, padding and form in its name alone."""

Side: TypeAlias = Annotated[int, Meta(ge=1, lt=2**31)]


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """The latency of one run, in ns: the median of the processes' medians, and its interval with its coverage.

    `undisturbed` is the mean of each process's fastest run, over the faster half of the processes; None in old records.
    `p10`, `p90` and `min` are over all runs; so is `p99`, if the runs have an effective sample size of 662 or more.
    `low_with_drift` and `high_with_drift` include the host's drift, if `mnbench doctor --calibrate` measured it.
    """

    median: Nanoseconds
    low: Nanoseconds
    high: Nanoseconds
    undisturbed: Nanoseconds | None = None
    p10: Nanoseconds
    p90: Nanoseconds
    p99: Nanoseconds | None = None
    min: Nanoseconds
    coverage: Share
    low_with_drift: Nanoseconds | None = None
    high_with_drift: Nanoseconds | None = None

    def __post_init__(self) -> None:
        for low, high in ((self.low, self.high), self.interval):
            if not low <= self.median <= high:
                raise ValueError(f"the median {self.median} is not between {low} and {high}")

    @property
    def interval(self) -> tuple[int, int]:
        """The interval, with the host's drift if it was calibrated."""
        return self.low_with_drift or self.low, self.high_with_drift or self.high

    @property
    def precision(self) -> float:
        """The larger distance of an end of the interval from the median, as a share of it; infinite for one process."""
        return relative_half_width(self.low, self.median, self.high) if self.coverage else math.inf


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """The runtime of a model; `library_sha256` is the digest of its library that its wheel records."""

    name: Name
    version: Version
    build: Text | None = None
    library_sha256: Text | None = None


class SessionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options that the device file sets: of the runtime and its provider, and environment variables."""

    options: dict[Text, Text] = {}
    provider_options: dict[Text, Text] = {}
    environment: dict[Text, Text] = {}


class RooflineBound(msgspec.Struct, frozen=True, kw_only=True):
    """The lower bound of a case's latency on its device. Peak and bandwidth are None if they could not be measured.

    `moved_bytes` are the bytes that every run must move: weights, inputs and outputs, once. `bound_ns`, None if the
    Mult-Adds or the bytes are not known, is the longer of
    the time for its Mult-Adds at the peak, and of the time for these bytes at the bandwidth.
    """

    peak_mult_adds_per_s: Rate | None
    bandwidth_bytes_per_s: Rate | None
    moved_bytes: Count | None
    bound_ns: Count | None


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """The shares, 0 to 1, of nodes and of Mult-Adds on the requested provider; None if they are not reported."""

    nodes: Share | None
    mult_adds: Share | None


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """A reason not to trust a figure, with advice. A `minor` issue does not affect the figure."""

    name: Text
    advice: Text
    minor: bool = False


class FedInput(msgspec.Struct, frozen=True, kw_only=True):
    """What one input was fed: `values` says it in a word, as normal, ones, 16000, 0..255, or the path of a file.

    Values that nobody gave are `chosen`. `assumed` are the axes whose size nobody gave, which is 1.
    """

    name: Text
    type: Text
    shape: tuple[Count, ...]
    values: Text
    sha256: Sha256
    chosen: bool = False
    assumed: tuple[Count, ...] = ()

    def __str__(self) -> str:
        """`state 2×1×128 (normal)`, or `rate 16000`."""
        sides = "×".join(map(str, self.shape))
        return f"{self.name} {sides} ({self.values})" if sides else f"{self.name} {self.values}"


class Record(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A measured case. `error` says why it has no latency; an `emulated` case has no times at all.

    `conversion_ns` is the time to convert the model for a runtime that does not read ONNX; it is not part of
    `session_ns`. `first_run_ns`, `session_ns`, `cpu_ns` (CPU time of the thread in a run) and `copies_ns` (to and from
    the memory of a GPU) are medians over processes. `effective_runs` is the effective sample size of `runs`, which are
    not independent. `difference` is the largest of an output from onnxruntime's CPU provider in fp32, as a share of
    the output's largest number; `not_compared` says of each output that was not compared, why. `file` is the path of
    a user's own model, and `inputs` what it was fed; its `batch` is None if it has no images and no `--batch` was
    given: the first axis may be time. `count_notes` say how costs were counted, or why one is not known.
    `conditions` are those of the host before the first trial and after the last. `precision_target` is the half width
    of the interval, as a share of the median, that was requested. It and `session` are None in old records that did not
    store them.
    """

    schema: Annotated[int, Meta(ge=1, le=SCHEMA)] = SCHEMA
    id: Text
    run: Name
    measured_at: Annotated[str, Meta(pattern=r"\A\d{4}-\d\d-\d\dT[\d:.+Z-]{0,30}\Z")]
    mnbench_version: Version
    variant: Text
    architecture: Text | None
    alpha: Annotated[float, Meta(gt=0, le=1e6)] | None
    resolution: tuple[Side, Side] | None
    precision: Precision = "fp32"
    batch: Side | None = 1
    classes: Count | None = None
    options: dict[Text, OptionValue] = {}
    padding: Padding = "torch"
    simplified: bool = True
    fold_batch_norm: bool = True
    device: Name
    provider: Annotated[str, Meta(pattern=r"\A[\w.:,+() -]{0,200}\Z")]
    runtime: Runtime
    threads: Annotated[int, Meta(ge=0, le=10_000)]
    session: SessionOptions | None = None
    error: Text | None = None
    latency_ns: Latency | None = None
    first_run_ns: Count | None = None
    session_ns: Count | None = None
    conversion_ns: Count | None = None
    cpu_ns: Count | None = None
    copies_ns: dict[Text, Count] = {}
    difference: Amount | None = None
    not_compared: tuple[Text, ...] = ()
    peak_rss_bytes: Count | None = None
    precision_target: Amount | None = None
    processes: Count = 0
    runs: Count = 0
    effective_runs: Count = 0
    params: Count
    mult_adds: Count | None
    memory_access: Count | None
    memory_access_bytes: Count | None
    peak_activation_bytes: Count | None
    count_notes: tuple[Text, ...] = ()
    roofline: RooflineBound | None = None
    placement: Placement = Placement(nodes=None, mult_adds=None)
    issues: tuple[Issue, ...] = ()
    model_sha256: Sha256
    file: Text | None = None
    inputs: tuple[FedInput, ...] = ()
    seed: Count
    host: HostFacts
    conditions: list[Conditions] = []
    gpu: GpuFacts | None = None

    @property
    def emulated(self) -> bool:
        return bool(self.host.get("emulated"))

    @property
    def bound_ns(self) -> int | None:
        """The roofline's lower bound of the latency, if it is known."""
        return self.roofline.bound_ns if self.roofline else None

    @property
    def setting(self) -> Setting:
        return Setting(self.device, self.threads, self.runtime.name, self.runtime.version, self.host_identity)

    @property
    def host_identity(self) -> HostIdentity | None:
        """The host; None if nothing ran there."""
        return self._host_identity

    @cached_property
    def _host_identity(self) -> HostIdentity | None:
        return HostIdentity.from_facts(self.host, self.gpu) if self.host else None

    @property
    def key(self) -> RecordKey:
        """The key of which only the newest record is shown."""
        return RecordKey(self.row, self.setting)

    @cached_property
    def row(self) -> Row:
        """What was measured."""
        return Row.of(self.variant, self.architecture, self.file, self.model_sha256)

    @property
    def trusted(self) -> bool:
        """Whether the latency has no issue that affects it."""
        return self.latency_ns is not None and all(issue.minor for issue in self.issues)
