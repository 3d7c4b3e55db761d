"""Diagnose a device: its facts, its noise sources, and how much two runs of one model differ there."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from mnbench.bench.devices import reject_emulated
from mnbench.bench.drift import DriftLog, calibrate
from mnbench.bench.plan import Plan, SamplingConfig
from mnbench.bench.prepare import prepare_case
from mnbench.bench.self_comparison import SelfComparison, compare_with_itself, noise_sentence, self_comparison_table
from mnbench.errors import MnbenchError
from mnbench.families import parse_variant
from mnbench.hosts.facts_table import facts_table
from mnbench.hosts.host_facts import read_host
from mnbench.hosts.noise_sources import NoiseSource, noise_sources
from mnbench.model.build import build_model
from mnbench.progress import OnProgress
from mnbench.results.facts import Conditions, GpuFacts, HostFacts
from mnbench.tables.table import Column, Table
from mnbench.targets.device import Device
from mnbench.temporary import temporary_folder

REST_S = 1.0
MODELS = ("v1-a0.25-r96", "v1-a0.5-r224")
"""A quarter of a millisecond and several milliseconds on a fast processor."""

SAMPLING = SamplingConfig(processes=6, duration_s=0.2)
CALIBRATION_RUNS = 24
SHOWN_CONDITIONS = (
    *("load_1min", "load_5min", "load_15min", "cpu_pressure_10s", "memory_pressure_10s"),
    *("frequency_hz", "temperature_c", "free_memory_bytes", "swap_used_bytes"),
)
"""Conditions that mean something by themselves; the others are counters."""


@dataclass(frozen=True, kw_only=True)
class HostReport:
    """What a diagnosis found. `noise_missing` is why there are no self-comparisons."""

    device: Device
    runtime_version: str | None
    facts: HostFacts
    conditions: Conditions
    gpu: GpuFacts | None
    noise_sources: tuple[NoiseSource, ...]
    self_comparisons: tuple[SelfComparison, ...] = ()
    noise_missing: str | None = None

    def tables(self) -> list[Table[Any]]:
        runtime = f"{self.device.runtime} {self.runtime_version or 'not installed'}"
        facts = {
            **self.facts,
            **{name: self.conditions.get(name) for name in SHOWN_CONDITIONS},
            **{f"gpu_{name}": value for name, value in (self.gpu or {}).items()},
            "runtime": runtime,
            "provider": self.device.provider,
            "threads": self.device.threads,
        }
        tables: list[Table[Any]] = [facts_table(facts, f"{self.device.name}: {self.device.summary}")]
        if self.noise_sources:
            columns = [
                Column[NoiseSource](name="severity", left=True),
                Column[NoiseSource](name="name", title="noise source", left=True),
                Column[NoiseSource](name="evidence", left=True, wrap=True),
            ]
            # An indented note is a command to copy.
            fixes = [line for source in self.noise_sources for line in (f"{source.name}:", f"    {source.fix}")]
            tables.append(Table(columns=columns, rows=self.noise_sources, title="noise sources", notes=fixes))
        if self.self_comparisons:
            return [*tables, self_comparison_table(self.self_comparisons)]
        notes = [] if self.noise_sources else ["no noise source was found"]
        notes.append(f"noise was not measured: {self.noise_missing}")
        return [*tables[:-1], replace(tables[-1], notes=[*tables[-1].notes, *notes])]

    def to_dict(self) -> dict[str, Any]:
        comparisons = self.self_comparisons
        return {
            "device": self.device.name,
            "runtime": {"name": self.device.runtime, "version": self.runtime_version},
            "facts": self.facts,
            "conditions": self.conditions,
            "gpu": self.gpu,
            "noise_sources": [asdict(source) for source in self.noise_sources],
            "noise": {"sentence": noise_sentence(comparisons), "models": comparisons} if comparisons else None,
            "noise_missing": self.noise_missing,
        }


def diagnose(device: Device, *, measure_noise: bool = True, on_progress: OnProgress | None = None) -> HostReport:
    """Read the device's facts, find its noise sources, and measure how much two runs of one model differ there.

    Raises:
        UnreachableError: no worker starts there.
    """
    host = read_host(device, rest_s=REST_S)
    snapshots = [host.before, host.conditions]
    comparisons: list[SelfComparison] = []
    missing = None if measure_noise else "it was not requested"
    if measure_noise:
        try:
            with _noise_plan(device) as plan:
                comparisons = compare_with_itself(plan, on_progress=on_progress)
            # Stolen time, heat and swapping show under load, not in one second of rest.
            snapshots.append(read_host(device).conditions)
        except MnbenchError as failure:
            missing = f"{failure.message} ({failure.hint})"
    return HostReport(
        device=device,
        runtime_version=host.runtime_version,
        facts=host.facts,
        conditions=snapshots[-1],
        gpu=host.gpu,
        noise_sources=tuple(noise_sources(host.facts, *snapshots, gpu=host.gpu)),
        self_comparisons=tuple(comparisons),
        noise_missing=missing,
    )


def calibrate_host(device: Device, *, duration_s: float, on_progress: OnProgress | None = None) -> DriftLog:
    """Measure runs spread over the duration, and store the drift between them. An interrupted calibration counts.

    Raises:
        MnbenchError: measuring or storing failed, or the device is emulated.
    """
    with _noise_plan(device) as plan:
        interval_s = duration_s / CALIBRATION_RUNS
        return calibrate(plan, runs=CALIBRATION_RUNS, interval_s=interval_s, on_progress=on_progress)


@contextmanager
def _noise_plan(device: Device) -> Generator[Plan]:
    """Build the models of a noise measurement in a temporary folder."""
    reject_emulated(device, "and so is their noise")
    with temporary_folder() as folder:
        models = {name: build_model(parse_variant(name)) for name in MODELS}
        cases = [prepare_case(model, folder, variant=name, seed=0) for name, model in models.items()]
        yield Plan(cases=tuple(cases), device=device, sampling=SAMPLING)
