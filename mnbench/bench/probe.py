"""Prove that a device works: run a small graph, check its outputs, and report the placement of its nodes."""

from pathlib import Path
from typing import Any

from mnbench import families
from mnbench.bench.plan import BenchmarkCase, Plan, SamplingConfig
from mnbench.bench.prepare import prepare_case
from mnbench.bench.trial import run_trial
from mnbench.model.build import build_model
from mnbench.network.variant import Variant
from mnbench.results.trial_result import TrialResult
from mnbench.stats import median
from mnbench.tables.table import ABSENT, Table
from mnbench.targets.device import Device
from mnbench.targets.listing import key_value_table
from mnbench.units import format_ms

ALPHA, SIDE = 0.25, 96
PROBE_SAMPLING = SamplingConfig(processes=1, duration_s=0.2)


def probe(device: Device, folder: Path, *, allow_fallback: bool = False) -> tuple[BenchmarkCase, TrialResult]:
    """Run one trial of a small V1 on the device; the model is written into `folder`.

    Raises:
        TrialError: the worker crashed, hung or failed, its outputs are wrong, or nodes ran on another provider.
        RuntimeUnavailable, UnreachableError: nothing can be measured on this device.
    """
    variant = Variant(architecture=families.architecture("v1"), alpha=ALPHA, resolution=(SIDE, SIDE))
    cell = prepare_case(build_model(variant), folder, variant=variant.name, seed=0)
    protocol = PROBE_SAMPLING.for_emulator() if device.emulated else PROBE_SAMPLING
    return cell, run_trial(Plan(cases=(cell,), device=device, sampling=protocol, allow_fallback=allow_fallback), cell)


def probe_to_dict(device: Device, variant: str, sample: TrialResult) -> dict[str, Any]:
    """Return what the trial showed, in base units."""
    placement, emulated = sample.placement, bool(sample.host.get("emulated"))
    return {
        "device": device.name,
        "variant": variant,
        "runtime": sample.runtime,
        "provider": device.provider,
        "placement": None if placement is None else {name: len(nodes) for name, nodes in placement.items()},
        "difference": sample.difference,
        "latency_ns": None if emulated else round(median(sample.latencies_ns.tolist())),
        "session_ns": None if emulated else sample.session_ns,
        "conversion_ns": sample.conversion_ns,
        "threads": sample.threads,
        "host": sample.host,
    }


def probe_table(device: Device, variant: str, sample: TrialResult) -> Table[tuple[str, str]]:
    """Return what the trial showed as a table."""
    entries = probe_to_dict(device, variant, sample)
    runtime: dict[str, str | None] = entries["runtime"]
    placement: dict[str, int] | None = entries["placement"]
    total = sum((placement or {}).values())
    rows = [
        ("device", f"{device.name} works"),
        ("runtime", f"{runtime['name']} {runtime['version']}"),
        ("build", runtime["build"] or ABSENT),
        ("host", f"{sample.host.get('cpu')}, {sample.host.get('cores')} cores, {sample.host.get('system')}"),
        (
            "placement",
            ", ".join(f"{count} of {total} nodes on {name}" for name, count in placement.items())
            if placement
            else "not reported by this version",
        ),
        ("outputs", f"differ from the reference by {sample.difference:.1e} of their spread"),
        ("conversion", ABSENT if sample.conversion_ns is None else f"{format_ms(sample.conversion_ns)} ms"),
    ]
    if entries["latency_ns"] is None:
        return key_value_table("what", [*rows, ("a run", f"{variant}; emulated, so it has no latency")])
    rows += [
        ("session", f"{format_ms(sample.session_ns)} ms"),
        ("a run", f"{format_ms(entries['latency_ns'])} ms, {variant}; one process, not a measurement"),
    ]
    return key_value_table("what", rows)
